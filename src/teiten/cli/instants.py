"""Days and instants as people type them."""

from __future__ import annotations

from datetime import datetime, timezone
from zoneinfo import ZoneInfo

from teiten.cli.errors import CliError

_EARLIEST, _LATEST = 1970, 2200


def read_instant(name: str, text: str, *, zone: str) -> datetime:
    """Read a day or an instant; without a zone of its own it is one of the installation's.

    Raises:
        CliError: naming the option and the form.
    """
    try:
        read = datetime.fromisoformat(text)
    except ValueError as error:
        raise CliError(f"{name}: {text!r} is no instant; write 2026-11-21 or 2026-11-21T09:30") from error
    if not _EARLIEST <= read.year < _LATEST:
        raise CliError(f"{name}: {text!r} is not between {_EARLIEST} and {_LATEST}")
    at = read if read.tzinfo is not None else read.replace(tzinfo=ZoneInfo(zone))
    return at.astimezone(timezone.utc)
