"""The list of sensors that a selector means: made by the base, judged by people, bound by its SHA-256.

``{"selector": "region:kanto", "sensors": [{"number": 7, "name": "tokyo-7"}, 8]}``; names are for
people only.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from teiten.operators.errors import DraftError
from teiten.operators.files import read_file
from teiten.protocol.commands import MAX_TARGETS, Targets, digest_of_sensors
from teiten.protocol.errors import CommandError
from teiten.protocol.json_fields import Fields, Thing, read_object
from teiten.protocol.keys import MAX_SENSOR

_MAX_BYTES = 2_097_152
_THING = Thing("targets", CommandError)
_SUFFIX = re.compile(r"(\.command)?\.json$")


@dataclass(frozen=True)
class TargetList:
    """Sensors by number, and their names as far as the base told them."""

    selector: str
    sensors: tuple[int, ...]
    names: dict[int, str]

    def to_targets(self) -> Targets:
        return Targets(
            selector=self.selector,
            max_sensors=len(self.sensors),
            resolved_sha256=digest_of_sensors(self.sensors),
        )

    def describe(self, most: int = 10) -> str:
        """Name the first few."""
        shown = [f"{sensor} {self.names.get(sensor, '')}".rstrip() for sensor in self.sensors[:most]]
        left = len(self.sensors) - len(shown)
        return ", ".join(shown) + (f" and {left} more" if left else "")


def load_targets(path: Path) -> TargetList:
    """Read a list that the base made.

    Raises:
        OperatorError: when it cannot be read or breaks a rule.
    """
    text = read_file(path, "targets file", max_bytes=_MAX_BYTES)
    try:
        fields = read_object(_THING, text, max_bytes=_MAX_BYTES)
        selector = fields.take_line("selector", 1000)
        entries: list[Any] = list(fields.take_rest().get("sensors", ()))
        found = dict(_read_sensor(entry) for entry in entries)
    except (CommandError, TypeError) as error:
        raise DraftError(f"targets file {path}: {error}") from error
    if not 1 <= len(found) <= MAX_TARGETS or len(found) != len(entries):
        raise DraftError(f"targets file {path} must name 1 to {MAX_TARGETS} sensors, each once")
    return TargetList(
        selector, tuple(sorted(found)), {number: name for number, name in found.items() if name}
    )


def find_targets_path(command_path: Path) -> Path:
    """Give where the list of a command lies: beside it, ``NAME.targets.json``."""
    return command_path.with_name(_SUFFIX.sub("", command_path.name) + ".targets.json")


def _read_sensor(entry: Any) -> tuple[int, str]:
    if type(entry) is int and 1 <= entry <= MAX_SENSOR:
        return entry, ""
    fields = Fields(_THING, entry)
    number = fields.take_int("number", 1, MAX_SENSOR)
    name = fields.take_line("name", 200)
    fields.take_rest()
    return number, name
