"""Run a program with limits: a list of words, never a shell; time, output, and nothing left behind."""

from __future__ import annotations

import contextlib
import os
import selectors
import shutil
import signal
import subprocess
import threading
from collections.abc import Sequence
from dataclasses import dataclass

from teiten.foundation.clock import Clock
from teiten.protocol.results import MAX_OUTPUT_BYTES, clean_output
from teiten.sensor.obeying.outcome import Outcome, failed

#: The whole environment: nothing of this process's own is handed on.
ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"}
_READ_BYTES = 65_536
_LOOK_SECONDS = 0.2
#: After the program ended, to read what is left in the pipe; its children may hold it open.
_DRAIN_SECONDS = 0.3


@dataclass
class _Run:
    process: subprocess.Popen[bytes]
    output: bytearray
    #: Empty while all is well.
    ended_by: str = ""


def find_program(name: str) -> str | None:
    """Find a program by name in the system's own folders."""
    return shutil.which(name, path=ENVIRONMENT["PATH"])


def run_program(
    words: Sequence[str], *, timeout_seconds: float, clock: Clock, stop: threading.Event | None = None
) -> Outcome:
    """Run ``words`` and give what it wrote, both streams together, cut to 256 KiB.

    Args:
        words: the program's absolute path and its arguments.
        timeout_seconds: after which it and all its children are killed.
        clock: for the limit.
        stop: kills it too, when this process has to end.
    """
    try:
        # Words come from signed commands whose arguments were checked, or from this program itself.
        process = subprocess.Popen(  # noqa: S603 - see above
            list(words),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd="/",
            env=ENVIRONMENT,
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        return failed("tool_missing", f"{words[0]} cannot be run: {error}")
    run = _Run(process, bytearray())
    try:
        _follow(run, clock.monotonic() + timeout_seconds, clock=clock, stop=stop)
    finally:
        _end(run)
    return _conclude(run)


def _follow(run: _Run, deadline: float, *, clock: Clock, stop: threading.Event | None) -> None:
    """Read until the program ends, its time is over or this process has to end."""
    pipe = run.process.stdout
    assert pipe is not None  # noqa: S101  # asked for above
    with selectors.DefaultSelector() as selector:
        selector.register(pipe, selectors.EVENT_READ)
        is_open = True
        while is_open or run.process.poll() is None:
            if run.process.poll() is not None:
                deadline = min(deadline, clock.monotonic() + _DRAIN_SECONDS)
            if not _may_go_on(run, deadline, clock=clock, stop=stop):
                return
            if is_open and selector.select(_LOOK_SECONDS):
                is_open = _read(run, pipe.fileno())
            elif not is_open:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    run.process.wait(_LOOK_SECONDS)


def _may_go_on(run: _Run, deadline: float, *, clock: Clock, stop: threading.Event | None) -> bool:
    if stop is not None and stop.is_set():
        run.ended_by = "interrupted"
        return False
    if clock.monotonic() < deadline:
        return True
    run.ended_by = "" if run.process.poll() is not None else "timeout"
    return False


def _read(run: _Run, descriptor: int) -> bool:
    """Take what is there; what is beyond the limit is read and forgotten, so that the program goes on."""
    chunk = os.read(descriptor, _READ_BYTES)
    run.output += chunk[: max(0, MAX_OUTPUT_BYTES + 1 - len(run.output))]
    return bool(chunk)


def _end(run: _Run) -> None:
    """Kill whatever the program has left: its session is its own."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(run.process.pid, signal.SIGKILL)
    if run.process.stdout is not None:
        run.process.stdout.close()
    run.process.wait()


def _conclude(run: _Run) -> Outcome:
    output, truncated = clean_output(bytes(run.output))
    code = run.process.returncode
    if run.ended_by:
        return Outcome("failed", run.ended_by, output, truncated)
    if code != 0:
        return Outcome(
            "failed", "exit_status", f"{output[: MAX_OUTPUT_BYTES // 2]}\n[exit status {code}]\n", truncated
        )
    return Outcome("done", "", output, truncated)
