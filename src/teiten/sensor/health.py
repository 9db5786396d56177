"""``health.json``: what the two processes count, for the launcher that judges a release on probation.

The file only counts; what the counts mean is decided by the launcher, which is not part of
the release. Times are seconds since boot, which no step of the clock changes.
"""

from __future__ import annotations

import contextlib
import json
import time
from pathlib import Path
from typing import Any

import teiten
from teiten.protocol.heartbeat import MAX_ERROR_CHARACTERS, MAX_RELEASE, UpdateState
from teiten.sensor.chain import Chain
from teiten.sensor.errors import StateError
from teiten.sensor.state import CAPTURE_STATUS, StateFolder

HEALTH, HINT = "health.json", "release-hint.json"
_STATES = ("steady", "trying", "rolled_back", "blocked")


def read_release() -> int:
    """Give the number of the release that this program was started from; 0: from none."""
    # <release>/lib/teiten/__init__.py
    manifest = Path(teiten.__file__).parents[2] / "RELEASE.json"
    return _take_release(_read_object(manifest))


def read_boot_seconds() -> float:
    """Give the seconds since boot, suspension included (clock_gettime(2), CLOCK_BOOTTIME)."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def write_health(
    state: StateFolder, sending: dict[str, Any], *, beat_at_us: int | None, waiting: int
) -> None:
    """Write what is counted, as far as the disk lets it.

    Args:
        state: the sensor's folder.
        sending: the status of the sending process, which calls this.
        beat_at_us: when a heartbeat was accepted last; None: since its start, none.
        waiting: batches in the spool.
    """
    capture = state.read_json(CAPTURE_STATUS)
    receipt = sending.get("last_receipt") or {}
    before = state.read_json(HEALTH)
    own = receipt.get("epoch") == capture.get("epoch") and receipt.get("seq", 0) >= capture.get(
        "first_seq", 1
    )
    record = {
        "v": 1,
        "release": read_release(),
        "written_boot_s": round(read_boot_seconds(), 3),
        "heartbeat_at_us": beat_at_us or before.get("heartbeat_at_us", 0),
        "clock_offset_us": sending.get("clock_offset_us"),
        "window_seconds": capture.get("window_seconds"),
        "capture": {
            "release": capture.get("release", 0),
            "pid": capture.get("pid"),
            "rounds": capture.get("rounds", 0),
            "sealed": capture.get("spool", {}).get("sealed", 0),
        },
        "sending": {
            "heartbeats": sending.get("beats", 0),
            "receipts": sending.get("receipted", 0),
            "own_receipt": bool(receipt) and own,
            "waiting": waiting,
        },
    }
    with contextlib.suppress(OSError):
        state.write_json(HEALTH, record)


def note_release(state: StateFolder, chain: Chain) -> None:
    """Put a change of the release into the sensor's own chain, as far as the disk lets it."""
    release, before = read_release(), _take_release(state.read_json(HEALTH))
    if release and release != before:
        with contextlib.suppress(StateError):
            chain.append("update", {"release": release, "before": before, "software": teiten.__version__})


def write_hint(state: StateFolder, release: int | None) -> None:
    """Tell the launcher which release may be taken; None from the base: none now."""
    record = {"release": release or 0}
    if record != state.read_json(HINT):
        with contextlib.suppress(OSError):
            state.write_json(HINT, record)


def read_update(report: Path) -> UpdateState | None:
    """Read what the launcher says of updates; None where no launcher started this program."""
    release, told = read_release(), _read_object(report)
    state = told.get("state")
    if not release and not told:
        return None
    detail = "".join(c if c.isprintable() else " " for c in str(told.get("detail", "")))
    return UpdateState(
        release or _take_release(told),
        state if state in _STATES else "steady",
        detail[:MAX_ERROR_CHARACTERS],
    )


def _take_release(told: dict[str, Any]) -> int:
    release = told.get("release")
    return release if isinstance(release, int) and 0 <= release <= MAX_RELEASE else 0


def _read_object(path: Path) -> dict[str, Any]:
    try:
        told = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return told if isinstance(told, dict) else {}
