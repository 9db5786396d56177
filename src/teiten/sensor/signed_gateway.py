"""``gateway.json``: where the gateway is and how it proves itself, as the repository's keys have signed it.

The launcher writes it from a TUF target, fetched without the old pins, so that a sensor
that slept through a change of pins or keys finds back. It stands above settings and
enrolment, which may be a year old.
"""

from __future__ import annotations

import json
import logging
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from teiten.protocol import keys
from teiten.protocol.errors import MessageError

_log = logging.getLogger(__name__)
_MAX_BYTES = 1 << 20
#: What a signature does not make sensible is left aside whole: a slip must not stop the fleet.
_URL = re.compile(r"(?:https://[A-Za-z0-9.:\[\]-]+/?)?")
_AUTHORITY = re.compile(r"[A-Za-z0-9.:\[\]-]*")
_PIN = re.compile(r"(?:sha256[/:])?(?:[0-9a-fA-F]{64}|[A-Za-z0-9+/_-]{43}=?)")


@dataclass(frozen=True)
class SignedGateway:
    """What the file says; what it leaves out stays as it was."""

    url: str = ""
    authority: str = ""
    pins: tuple[str, ...] = ()
    #: id → raw public key.
    keys: dict[str, bytes] = field(default_factory=dict)


def read_signed_gateway(path: Path | None) -> SignedGateway:
    """Read the file; one that is absent or makes no sense says nothing."""
    if path is None or not path.exists():
        return SignedGateway()
    try:
        with path.open("rb") as file:
            return _read(json.loads(file.read(_MAX_BYTES)))
    except (OSError, ValueError, TypeError, AttributeError, MessageError) as error:
        _log.error(
            "The signed settings of the gateway cannot be read",
            extra={"file": str(path), "error": str(error)},
        )
        return SignedGateway()


def _read(told: dict[str, Any]) -> SignedGateway:
    return SignedGateway(
        url=_check(told.get("url", ""), _URL, "url"),
        authority=_check(told.get("authority", ""), _AUTHORITY, "authority"),
        pins=tuple(_check(pin, _PIN, "pins") for pin in told.get("pins", ())),
        keys={
            str(name): keys.from_text(text, size_bytes=keys.PUBLIC_KEY_BYTES)
            for name, text in told.get("gateway_keys", {}).items()
        },
    )


def _check(value: Any, form: re.Pattern[str], name: str) -> str:
    if not isinstance(value, str) or form.fullmatch(value) is None:
        raise ValueError(f"{name} is of another form: {str(value)[:80]!r}")
    return value
