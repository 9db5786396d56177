"""Judge the release on probation, with the launcher's own eyes.

The new code only counts (rounds of its capture loop, accepted heartbeats and batches);
what the counts mean is decided here, by code that is not new: alive is what moves
between two looks that are some seconds apart.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias

from teiten.launcher import files
from teiten.launcher.config import LauncherConfig
from teiten.launcher.flipping import Bench, commit, roll_back, settle
from teiten.launcher.machine import Machine
from teiten.launcher.releases import Pending, ReleaseShelf
from teiten.launcher.reporting import write_report

Verdict: TypeAlias = Literal["none", "wait", "committed", "rolled_back"]

#: A count that has not moved for so long stands still.
_STALE_SECONDS = 45.0
#: Two looks closer than this prove nothing.
_APART_SECONDS = 2.0
#: Three hundred years of uptime.
_MOST_SECONDS = 1e10
#: With more batches than this before it in the spool, the new release's own batch may come too late.
_BACKLOG = 20


@dataclass(frozen=True)
class Seen:
    """What ``health.json`` says of the processes of one release; 0 and False when it says nothing."""

    release: int = 0
    #: Seconds since boot at which it was written.
    written_s: float = 0.0
    capture_release: int = 0
    #: Rounds of the capture loop since its start, counted where the watchdog is fed.
    rounds: int = 0
    capture_pid: int = 0
    sealed: int = 0
    heartbeats: int = 0
    receipts: int = 0
    is_own_receipt: bool = False
    waiting: int = 0


@dataclass(frozen=True)
class Judgement:
    """What to do with the release on probation."""

    verdict: Literal["wait", "pause", "commit", "roll_back"]
    why: str = ""
    #: Nobody answered: that may not be the release's fault.
    is_doubtful: bool = False


def check_probation(bench: Bench, config: LauncherConfig) -> Verdict:
    """Look once at the release on probation and do what follows."""
    settle(bench)
    shelf = bench.shelf
    pending = shelf.read_pending()
    if pending is None:
        write_report(shelf)
        return "none"
    pending = _note_boot(bench, pending)
    seen, earlier = read_health(shelf), _read_look(shelf)
    judged = judge(
        pending,
        seen,
        earlier,
        elapsed_s=_elapsed(bench.machine, pending),
        starts=_starts(shelf),
        captures=bench.restarter.wants_capture(),
        config=config,
    )
    bench.at("check.judged")
    if judged.verdict == "commit":
        commit(bench, pending)
        return "committed"
    if judged.verdict == "roll_back":
        roll_back(bench, pending, judged.why, is_doubtful=judged.is_doubtful)
        return "rolled_back"
    if judged.verdict == "pause":
        _begin_anew(bench, pending)
    else:
        _write_look(shelf, seen, earlier)
    write_report(shelf)
    return "wait"


def judge(
    pending: Pending,
    seen: Seen,
    earlier: Seen,
    *,
    elapsed_s: float,
    starts: int,
    config: LauncherConfig,
    captures: bool = True,
) -> Judgement:
    """Decide; pure.

    Args:
        pending: what is on probation.
        seen: what its processes say now.
        earlier: what they said at an earlier look.
        elapsed_s: on probation so far.
        starts: of its most started process.
        config: the limits.
        captures: whether capture shall run. While it is switched off nothing can be proven of it: a
            release that speaks is then neither kept nor given up, and its time begins anew.
    """
    missing = _find_missing(pending, seen, earlier) if captures else _find_missing_speech(pending, seen)
    if not missing:
        return Judgement("commit" if captures else "pause")
    if starts > config.max_starts:
        return Judgement("roll_back", f"started {starts} times in vain ({missing[0]})")
    if elapsed_s >= pending.seconds:
        is_alive = missing[0] in ("no heartbeat accepted", "no batch accepted")
        return Judgement(
            "roll_back", f"after {pending.seconds} s: {', '.join(missing)}", is_doubtful=is_alive
        )
    return Judgement("wait", ", ".join(missing))


def _find_missing(pending: Pending, seen: Seen, earlier: Seen) -> list[str]:
    """Say what has not been proven yet, the gravest first."""
    fresh = seen.release == pending.release == seen.capture_release
    if not fresh:
        return ["nothing heard of its processes"]
    same_process = earlier.capture_pid == seen.capture_pid and earlier.release == seen.release
    apart = same_process and seen.written_s - earlier.written_s >= _APART_SECONDS
    proofs = (
        (apart and seen.rounds > earlier.rounds, "capture stands still"),
        (seen.heartbeats > 0, "no heartbeat accepted"),
        (_is_batch_accepted(seen), "no batch accepted"),
    )
    return [text for holds, text in proofs if not holds]


def _find_missing_speech(pending: Pending, seen: Seen) -> list[str]:
    if seen.release != pending.release:
        return ["nothing heard of its processes"]
    return [] if seen.heartbeats > 0 else ["no heartbeat accepted"]


def _is_batch_accepted(seen: Seen) -> bool:
    return seen.is_own_receipt or (seen.receipts > 0 and seen.sealed > 0 and seen.waiting > _BACKLOG)


def read_health(shelf: ReleaseShelf) -> Seen:
    """Read what the sensor counts; what is old counts as nothing."""
    told = files.read_json(shelf.places.health)
    seen = _read_seen(told)
    return seen if abs(shelf.machine.boot_seconds() - seen.written_s) <= _STALE_SECONDS else Seen()


def _read_seen(told: dict[str, Any]) -> Seen:
    capture, sending = files.take_object(told, "capture"), files.take_object(told, "sending")
    written = told.get("written_boot_s")
    # The sensor's user writes this: JSON takes a number of 400 digits for a whole one, float() does not.
    is_time = isinstance(written, (int, float)) and abs(written) < _MOST_SECONDS
    return Seen(
        release=files.take_int(told, "release"),
        written_s=float(written or 0) if is_time else -1e9,
        capture_release=files.take_int(capture, "release"),
        rounds=files.take_int(capture, "rounds"),
        capture_pid=files.take_int(capture, "pid"),
        sealed=files.take_int(capture, "sealed"),
        heartbeats=files.take_int(sending, "heartbeats"),
        receipts=files.take_int(sending, "receipts"),
        is_own_receipt=sending.get("own_receipt") is True,
        waiting=files.take_int(sending, "waiting"),
    )


def _note_boot(bench: Bench, pending: Pending) -> Pending:
    """Begin the time anew after a reboot: what the host was off for is nobody's fault."""
    machine = bench.machine
    if pending.boot_id == machine.boot_id():
        return pending
    return _begin_anew(bench, replace(pending, boots=pending.boots + 1))


def _begin_anew(bench: Bench, pending: Pending) -> Pending:
    machine = bench.machine
    begun = replace(pending, boot_id=machine.boot_id(), since_s=machine.boot_seconds())
    with contextlib.suppress(OSError):
        bench.shelf.write_pending(begun)
    return begun


def _elapsed(machine: Machine, pending: Pending) -> float:
    return machine.boot_seconds() - pending.since_s


def _starts(shelf: ReleaseShelf) -> int:
    return max(shelf.count_starts(shelf.current).values(), default=0)


def _read_look(shelf: ReleaseShelf) -> Seen:
    return _read_seen(files.read_json(shelf.places.look))


def _write_look(shelf: ReleaseShelf, seen: Seen, earlier: Seen) -> None:
    """Remember a look to compare the next with, unless it is too close to the one before."""
    is_close = (
        seen.capture_pid == earlier.capture_pid
        and seen.release == earlier.release
        and 0 <= seen.written_s - earlier.written_s < _APART_SECONDS
    )
    if is_close:
        return
    record = {
        "release": seen.release,
        "written_boot_s": seen.written_s,
        "capture": {"rounds": seen.rounds, "pid": seen.capture_pid},
    }
    with contextlib.suppress(OSError):
        files.write_json(shelf.places.look, record)
