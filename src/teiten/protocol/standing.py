"""What keeps the base from taking a sensor's batches as they come: told to the sensor, never guessed by it."""

from __future__ import annotations

import re
from typing import Literal, TypeAlias

from teiten.protocol.json_fields import Fields

#: ``pending_approval``: enrolled, and an operator must let it in; ``suspended``: an operator keeps it out for now;
#: ``quarantined``: its batches are taken and kept back, because two machines seem to use its key.
Standing: TypeAlias = Literal["pending_approval", "suspended", "quarantined"]

_STANDING = re.compile(r"pending_approval|suspended|quarantined")
_KNOWN: dict[str, Standing] = {
    "pending_approval": "pending_approval",
    "suspended": "suspended",
    "quarantined": "quarantined",
}


def read_standing(fields: Fields) -> Standing | None:
    """Take the optional field ``standing``; None where nothing keeps the sensor out."""
    return _KNOWN[fields.take_text("standing", _STANDING)] if fields.has("standing") else None
