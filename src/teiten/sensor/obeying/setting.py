"""``set_config``: limits that operators signed, beside what the base may set without them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from teiten.sensor.obeying.files import write_durably
from teiten.sensor.obeying.outcome import Outcome, done
from teiten.sensor.reporting import read_orders
from teiten.sensor.state import COMMANDED, StateFolder


def set_config(state: StateFolder, arguments: Mapping[str, Any]) -> Outcome:
    """Keep the given limits for the recording process; null takes one back.

    Raises:
        StateError: when the disk refuses.
    """
    limits = {**state.read_json(COMMANDED), **arguments}
    kept = {name: value for name, value in limits.items() if value is not None}
    write_durably(state.path / COMMANDED, json.dumps(kept).encode())
    orders = read_orders(state)
    told = {
        "payload_bytes": orders.payload_bytes,
        "examples_per_window": orders.examples_per_window,
        "window_seconds": orders.window_seconds,
    }
    return done(
        json.dumps({name: "as set" if value is None else value for name, value in told.items()}) + "\n"
    )
