"""Names of sensors for one organisation: stable for it, telling nothing to another.

``P-`` and eight characters: 40 bits of an HMAC of the sensor's number under the
organisation's key (:func:`teiten.search.visibility.derive_key`). Whoever has no key
cannot turn a name back, nor find that two organisations' names are one sensor's.
"""

from __future__ import annotations

import base64
import hmac
import re

from teiten.search.visibility import Visibility

PATTERN = re.compile(r"P-[A-Z2-7]{8}", re.IGNORECASE)


def name_sensor(visibility: Visibility, sensor: int) -> str | None:
    """Give a sensor's name for this viewer; None at the level *aggregate* and for real viewers.

    The own organisation's sensors have no pseudonym: their numbers are shown.
    """
    if visibility.level != "pseudonym" or visibility.pseudonym_key is None:
        return None
    if sensor in visibility.own_sensors:
        return None
    return make_name(visibility.pseudonym_key, sensor)


def make_name(key: bytes, sensor: int) -> str:
    """Give a sensor's name under an organisation's key."""
    digest = hmac.digest(key, b"sensor %d" % sensor, "sha256")
    return "P-" + base64.b32encode(digest[:5]).decode()


def is_pseudonym(text: str) -> bool:
    """Tell whether a text looks like a pseudonym."""
    return PATTERN.fullmatch(text.strip()) is not None
