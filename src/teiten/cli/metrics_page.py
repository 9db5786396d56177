"""The page ``docs/metrics.md``, written from the metrics that the rooms declare."""

from __future__ import annotations

import importlib
import pkgutil
from pathlib import Path

from prometheus_client.metrics import MetricWrapperBase

import teiten

_INTRODUCTION = """# Metrics

Prometheus text format at `/metrics` of the gateway's local listener (`gateway.metrics_host`, `gateway.metrics_port`); a sensor writes
its own as a text file for node exporter (`sensor.metrics_dir`). Labels never hold an address or anything else a stranger can choose.

This page is generated (`make docs`).
"""


def render() -> str:
    """Give the page."""
    parts = [_INTRODUCTION]
    for room in sorted(module.name for module in pkgutil.iter_modules(teiten.__path__)):
        rows = _rows_of(room)
        if rows:
            parts.append(
                "\n".join([f"## {room}", "", "| metric | type | meaning |", "|---|---|---|", *rows, ""])
            )
    return "\n".join(parts)


def _rows_of(room: str) -> list[str]:
    """Give the rows of a room and of the folders in it."""
    root = Path(teiten.__path__[0]) / room
    # Only what declares some is loaded: other folders may need Django set up.
    folders = [path.parent.name for path in root.glob("*/metrics.py")]
    places = [f"teiten.{room}", *(f"teiten.{room}.{folder}" for folder in folders)]
    return sorted(row for place in places for row in _list_declared(place))


def _list_declared(place: str) -> list[str]:
    try:
        module = importlib.import_module(f"{place}.metrics")
    except ModuleNotFoundError:
        return []
    return [
        f"| `{family.name}` | {family.type} | {family.documentation} |"
        for value in vars(module).values()
        if isinstance(value, MetricWrapperBase)
        for family in value.describe()
    ]
