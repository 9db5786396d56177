"""What the base may set on a sensor with an answer, without a signed command."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from teiten.protocol.header_text import MAX_EXAMPLES, MAX_PAYLOAD_BYTES
from teiten.protocol.json_fields import Fields

MAX_WINDOW_SECONDS = 3600


@dataclass(frozen=True)
class SensorConfig:
    """Settings that change how soon data arrive, or that less of them is recorded, never more.

    The payload settings only lower what the sensor's own settings allow, because an
    answer is signed by the gateway and not by an operator. What is not set is not
    written, so that a sensor that does not know the field still reads the answer.
    """

    #: Grows with every change; the sensor tells which one it runs.
    version: int = 1
    #: Close a window every second, for analysts who look on.
    live: bool = False
    #: Length of an ordinary window.
    window_seconds: int = 300
    #: Most payload bytes kept per packet; 0: payload off; None: as the sensor is set.
    payload_bytes: int | None = None
    #: Most payload examples a window; None: as the sensor is set.
    examples_per_window: int | None = None


def fields_of_config(config: SensorConfig) -> dict[str, Any]:
    optional = {
        "payload_bytes": config.payload_bytes,
        "examples_per_window": config.examples_per_window,
    }
    return {
        "version": config.version,
        "live": config.live,
        "window_seconds": config.window_seconds,
        **{name: value for name, value in optional.items() if value is not None},
    }


def read_config(fields: Fields) -> SensorConfig:
    return SensorConfig(
        version=fields.take_int("version", 1, (1 << 31) - 1),
        live=fields.take_bool("live"),
        window_seconds=fields.take_int("window_seconds", 1, MAX_WINDOW_SECONDS),
        payload_bytes=_take_optional(fields, "payload_bytes", MAX_PAYLOAD_BYTES),
        examples_per_window=_take_optional(fields, "examples_per_window", MAX_EXAMPLES),
    )


def _take_optional(fields: Fields, name: str, high: int) -> int | None:
    return fields.take_int_or_none(name, 0, high) if fields.has(name) else None
