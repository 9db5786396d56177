"""The sensors of the demonstration as child processes, started and stopped with the rest."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from pathlib import Path
from typing import Self

from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from teiten.cli.errors import CliError
from teiten.simulators import orders
from teiten.simulators.config import FleetSimulationConfig

_STOP_SECONDS = 20.0
#: Share of the history between two lines of progress where there is no terminal.
_LINE_SHARE = 0.1


async def stop_process(process: Process | None) -> None:
    """Ask a child to end, and end it when it does not."""
    if process is None or process.returncode is not None:
        return
    process.send_signal(signal.SIGTERM)
    try:
        await asyncio.wait_for(process.wait(), _STOP_SECONDS)
    except asyncio.TimeoutError:
        process.kill()
        await process.wait()


class FleetProcess:
    """The simulated fleet: ``python -m teiten.simulators.fleet``."""

    def __init__(self, order: FleetSimulationConfig) -> None:
        self._order = order
        self._process: Process | None = None
        self._task: asyncio.Task[None] | None = None
        self._failure = ""

    async def start(self) -> None:
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "teiten.simulators.fleet", "--order", "-", stdin=PIPE, stdout=PIPE
        )
        if self._process.stdin is not None:
            self._process.stdin.write(orders.write_order(self._order).encode())
            self._process.stdin.close()
        self._task = asyncio.create_task(self._follow(self._process), name="simulated fleet")

    async def stop(self) -> None:
        await stop_process(self._process)
        if self._task is not None:
            with contextlib.suppress(CliError):
                await self._task

    async def wait(self) -> None:
        if self._task is not None:
            await asyncio.shield(self._task)

    async def _follow(self, process: Process) -> None:
        """Show what the fleet says until it ends."""
        with _HistoryBar() as bar:
            while process.stdout is not None and (line := await process.stdout.readline()):
                event = json.loads(line)
                if event["event"] == "joined":
                    print(f"simulated fleet: {event['sensors']} sensors have joined", flush=True)
                elif event["event"] == "history":
                    bar.show(event)
                elif event["event"] == "watching":
                    bar.close()
                    print(
                        f"simulated history: {event['batches']} batches, {event['packets']:,} packets "
                        f"in {event['seconds']} s; the fleet is watching",
                        flush=True,
                    )
                elif event["event"] == "failed":
                    self._failure = event["message"]
        if await process.wait() != 0:
            raise CliError(f"the simulated fleet ended: {self._failure or 'its log lines say why'}")


class _HistoryBar:
    """A progress bar on a terminal, a line now and then elsewhere."""

    def __init__(self) -> None:
        self._progress: Progress | None = None
        self._next_share = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def show(self, event: dict[str, int | str]) -> None:
        done, total = int(event["done"]), int(event["total"])
        if not total:
            return
        if not sys.stdout.isatty():
            if done / total >= self._next_share:
                self._next_share = done / total + _LINE_SHARE
                print(f"simulated history: {done / total:.0%}, at {event['day']}", flush=True)
            return
        if self._progress is None:
            self._progress = Progress(
                TextColumn("simulated history"),
                BarColumn(),
                TaskProgressColumn(),
                TextColumn("{task.fields[day]}"),
                TimeRemainingColumn(),
            )
            self._progress.start()
            self._task = self._progress.add_task("history", total=total, day="")
        self._progress.update(self._task, completed=done, total=total, day=event["day"])

    def close(self) -> None:
        if self._progress is not None:
            self._progress.stop()
            self._progress = None


class RealSensorProcess:
    """``teiten-sensor run`` on this machine's own interface, where that is allowed."""

    def __init__(self, settings: Path, *, token: str, payload_bytes: int) -> None:
        self._settings = settings
        self._token = token
        self._payload_bytes = payload_bytes
        self._process: Process | None = None

    async def start(self) -> None:
        """Enrol at first, then record; a machine that does not allow it goes on without."""
        if self._token and not await self._enrol():
            return
        self._process = await asyncio.create_subprocess_exec(
            *_PROGRAM, "run", "--config", str(self._settings), stdin=DEVNULL
        )
        kept = (
            f"keeps {self._payload_bytes} payload bytes per packet"
            if self._payload_bytes
            else "keeps no payload"
        )
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._process.wait(), 1.5)
        if self._process.returncode is None:
            print(f"real sensor: recording on this machine's interface; it {kept}", flush=True)
        else:
            print(
                "real sensor: not running (see the line above); the demonstration goes on without it",
                flush=True,
            )

    async def _enrol(self) -> bool:
        process = await asyncio.create_subprocess_exec(
            *_PROGRAM,
            "enrol",
            "--config",
            str(self._settings),
            "--token-file",
            "-",
            stdin=PIPE,
            stdout=DEVNULL,
        )
        await process.communicate(self._token.encode())
        return process.returncode == 0

    async def stop(self) -> None:
        await stop_process(self._process)

    async def wait(self) -> None:
        """Never end by itself: the demonstration goes on without a real sensor."""
        await asyncio.Event().wait()


_PROGRAM = (sys.executable, "-m", "teiten.sensor.main")
