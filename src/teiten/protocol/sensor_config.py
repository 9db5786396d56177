"""What the base may set on a sensor with an answer, without a signed command."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from teiten.protocol.json_fields import Fields

MAX_WINDOW_SECONDS = 3600


@dataclass(frozen=True)
class SensorConfig:
    """Settings that only change how soon data arrive, never what is recorded."""

    #: Grows with every change; the sensor tells which one it runs.
    version: int = 1
    #: Close a window every second, for analysts who look on.
    live: bool = False
    #: Length of an ordinary window.
    window_seconds: int = 300


def fields_of_config(config: SensorConfig) -> dict[str, Any]:
    return {"version": config.version, "live": config.live, "window_seconds": config.window_seconds}


def read_config(fields: Fields) -> SensorConfig:
    return SensorConfig(
        version=fields.take_int("version", 1, (1 << 31) - 1),
        live=fields.take_bool("live"),
        window_seconds=fields.take_int("window_seconds", 1, MAX_WINDOW_SECONDS),
    )
