"""The work order of a simulated fleet: one JSON or TOML file, strictly read.

It may hold enrolment tokens, so it should be readable by its owner only; once the
sensors are enrolled the tokens in it are of no use to anybody.
"""

from __future__ import annotations

import dataclasses
import json
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import tomllib

from teiten.simulators.config import FleetSimulationConfig, SensorPlan
from teiten.simulators.errors import WorkOrderError

Record = TypeVar("Record")


def read_order(text: str, *, name: str = "work order") -> FleetSimulationConfig:
    """Read a work order; text that begins with ``{`` is JSON, else TOML.

    Raises:
        WorkOrderError: naming the field and the rule.
    """
    try:
        tables = json.loads(text) if text.lstrip().startswith("{") else tomllib.loads(text)
    except ValueError as error:
        raise WorkOrderError(f"{name} is neither JSON nor TOML: {error}") from error
    order = _fill(FleetSimulationConfig, tables, name)
    if not order.sensors:
        raise WorkOrderError(f"{name}: sensors must name at least one sensor")
    names = [sensor.name for sensor in order.sensors]
    twice = {sensor for sensor in names if names.count(sensor) > 1} if len(names) < 1000 else set()
    if twice or len(set(names)) < len(names):
        raise WorkOrderError(
            f"{name}: each sensor needs a name of its own; given twice: {', '.join(sorted(twice))}"
        )
    return order


def write_order(order: FleetSimulationConfig) -> str:
    """Write a work order as JSON."""
    return json.dumps(dataclasses.asdict(order), default=str, ensure_ascii=False, indent=1)


def _fill(kind: type[Record], given: Any, where: str) -> Record:
    if not isinstance(given, Mapping):
        raise WorkOrderError(f"{where} must be a table of settings, not {given!r}")
    hints = typing.get_type_hints(kind)
    fields = {field.name: field for field in dataclasses.fields(kind)}  # type: ignore[arg-type]  # both kinds are dataclasses
    unknown = sorted(set(given) - set(fields))
    if unknown:
        raise WorkOrderError(f"{where}: {unknown[0]} is unknown; known: {', '.join(fields)}")
    for name, field in fields.items():
        if name not in given and field.default is dataclasses.MISSING:
            raise WorkOrderError(f"{where}: {name} is missing")
    return kind(**{name: _convert(hints[name], value, f"{where}: {name}") for name, value in given.items()})


def _convert(hint: Any, value: Any, where: str) -> Any:
    origin = typing.get_origin(hint)
    if origin in (typing.Union, types.UnionType):
        choices = [choice for choice in typing.get_args(hint) if choice is not type(None)]
        return None if value is None else _convert(choices[0], value, where)
    if origin is tuple:
        if not isinstance(value, list):
            raise WorkOrderError(f"{where} must be a list, not {value!r}")
        inner = typing.get_args(hint)[0]
        return tuple(_convert(inner, item, f"{where}[{place}]") for place, item in enumerate(value))
    if origin is typing.Literal:
        if value not in typing.get_args(hint):
            raise WorkOrderError(f"{where} must be one of {', '.join(typing.get_args(hint))}, not {value!r}")
        return value
    if hint is SensorPlan:
        return _fill(SensorPlan, value, where)
    return _convert_plain(hint, value, where)


def _convert_plain(hint: Any, value: Any, where: str) -> Any:
    wanted: dict[Any, tuple[type, ...]] = {float: (int, float), int: (int,), str: (str,), Path: (str,)}
    if isinstance(value, bool) or not isinstance(value, wanted[hint]):
        raise WorkOrderError(
            f"{where} must be {'text' if hint in (str, Path) else 'a number'}, not {value!r}"
        )
    if isinstance(value, (int, float)) and value < 0:
        raise WorkOrderError(f"{where} must not be negative, not {value!r}")
    return hint(value)
