"""What the base learns of updates: one small file that the sensor puts into its heartbeats."""

from __future__ import annotations

import contextlib
import logging

from teiten.launcher import files
from teiten.launcher.releases import ReleaseShelf

_log = logging.getLogger(__name__)
#: Characters that a heartbeat takes.
_MAX_CHARACTERS = 200


def write_report(shelf: ReleaseShelf, *, blocked: str | None = None) -> dict[str, object]:
    """Write how updates stand; ``blocked`` says why none can be taken, None leaves that as it was."""
    places = shelf.places
    standing = str(files.read_json(places.report).get("blocked", "")) if blocked is None else blocked
    state, detail = _judge(shelf, standing)
    record = {
        "v": 1,
        "release": shelf.current,
        "state": state,
        "detail": "".join(c if c.isprintable() else " " for c in detail)[:_MAX_CHARACTERS],
        "blocked": standing[:_MAX_CHARACTERS],
    }
    # A full disk must stop neither a roll-back nor the next try.
    with contextlib.suppress(OSError):
        if record != files.read_json(places.report):
            files.write_json(places.report, record)
            _log.info("Releases on this host have changed", extra={**record})
    return dict(record)


def _judge(shelf: ReleaseShelf, blocked: str) -> tuple[str, str]:
    pending = shelf.read_pending()
    if pending is not None and pending.release == shelf.current:
        return "trying", f"release {pending.release}"
    newest = max(shelf.list_bad().values(), key=lambda bad: bad.release, default=None)
    if newest is not None and newest.release > shelf.current and not _is_of_host(blocked):
        return "rolled_back", f"release {newest.release}: {newest.why}"
    return ("blocked", blocked) if blocked else ("steady", "")


def _is_of_host(blocked: str) -> bool:
    """Tell whether the host or the repository, and not one bundle, keeps updates from being taken."""
    return bool(blocked) and not blocked.startswith("bundle:")
