"""Change honest JSON, as a fuzzer's bytes say; ``given`` is an ``atheris.FuzzedDataProvider``."""

from __future__ import annotations

import json
from typing import Any


def change(value: dict[str, Any], given: Any) -> bytes:
    """Put other values into an object and into the objects inside it."""
    for _ in range(given.ConsumeIntInRange(1, 4)):
        place = value
        while True:
            name = given.PickValueInList([*sorted(place), "other"])
            inner = place.get(name)
            if isinstance(inner, list) and inner and isinstance(inner[0], dict):
                inner = inner[0]
            if isinstance(inner, dict) and given.ConsumeBool():
                place = inner
                continue
            place[name] = make_value(given)
            break
    return json.dumps(value, ensure_ascii=given.ConsumeBool()).encode("utf-8", "surrogatepass")


def make_value(given: Any) -> Any:
    """Make a JSON value of some kind."""
    makers = (
        lambda: given.ConsumeInt(9),
        lambda: given.ConsumeUnicode(given.ConsumeIntInRange(0, 60)),
        lambda: given.ConsumeString(given.ConsumeIntInRange(0, 60)),
        lambda: None,
        given.ConsumeBool,
        given.ConsumeFloat,
        lambda: [given.ConsumeInt(2), {}],
        lambda: {"a": []},
        lambda: 10 ** given.ConsumeIntInRange(0, 40),
        lambda: given.PickValueInList(
            ["192.0.2.1", "2001:db8::1", "::ffff:192.0.2.1", "0.1.0", "up", "A" * 43]
        ),
    )
    return makers[given.ConsumeIntInRange(0, len(makers) - 1)]()
