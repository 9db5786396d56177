"""The simulated fleet: real enrolment, keys, TLS, seals and batches around made packets.

One process, few threads. ``run_fleet`` for callers in Python; for another process::

    python -m teiten.simulators.fleet --order FILE

It writes one JSON object a line to standard output (``joined``, ``history``,
``watching``, ``stopped``, ``failed``) and logs to standard error.
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from teiten.foundation import logs
from teiten.foundation.clock import Clock, SystemClock, from_us
from teiten.foundation.errors import TeitenError
from teiten.sensor.connection import GatewayAddress, parse_address
from teiten.simulators.config import FleetSimulationConfig, TelescopeConfig
from teiten.simulators.errors import FleetStateError, FleetStoppedError, WorkOrderError
from teiten.simulators.history import History, HistoryProgress
from teiten.simulators.ledger import Ledger
from teiten.simulators.live import Live
from teiten.simulators.orders import read_order
from teiten.simulators.population import DAY_US, HOUR_US
from teiten.simulators.recorder import Recorder
from teiten.simulators.sensors import SimulatedSensor, TokenProvider, read_gateway_keys
from teiten.simulators.telescope import Telescope

#: Sensors that join at once; enrolment waits for the gateway's database.
_JOINING_WORKERS = 8
_PROGRESS_SECONDS = 0.2
_PARENT_SECONDS = 0.5


@dataclass(frozen=True)
class FleetEvent:
    """Something that the caller may want to show."""

    #: ``joined``, ``history`` or ``watching``.
    event: str
    #: Figures by name.
    facts: dict[str, Any]


Report = Callable[[FleetEvent], None]


def run_fleet(
    config: FleetSimulationConfig,
    *,
    clock: Clock,
    stop: threading.Event,
    report: Report,
    provide_token: TokenProvider | None = None,
) -> None:
    """Let the fleet join, catch up with its past and watch until ``stop`` is set.

    Args:
        config: the fleet and its gateway.
        clock: this machine's.
        stop: set from anywhere to end; what is in hand goes on at the next start.
        report: called from several threads, at most some times a second.
        provide_token: gives tokens that the work order does not hold.

    Raises:
        TeitenError: when the order, the state folder or the gateway's answers allow no going on.
    """
    fleet = Fleet(config, clock=clock, stop=stop, report=report)
    try:
        fleet.join(provide_token)
        fleet.watch()
    except FleetStoppedError:
        # Told to stop: all that matters is in the ledger.
        return
    finally:
        fleet.close()


def keep_anchor(config: FleetSimulationConfig, ledger: Ledger, now_us: int) -> int:
    """Give the instant from which campaigns and planned troubles count: the hour of the first start."""
    return ledger.keep("anchor_us", config.anchor_us or now_us // HOUR_US * HOUR_US)


class Fleet:
    """All sensors of one work order."""

    def __init__(
        self, config: FleetSimulationConfig, *, clock: Clock, stop: threading.Event, report: Report
    ) -> None:
        self._config = config
        self._clock = clock
        self._stop = stop
        self._report = report
        self._reported_at = -_PROGRESS_SECONDS
        address = parse_address(
            config.gateway_url,
            pins=config.pins,
            ca_file=config.ca_file,
            authority=config.authority,
            timeout_seconds=config.timeout_seconds,
        )
        folder = _make_folder(config.state_dir)
        self._ledger = Ledger(folder / "fleet.sqlite")
        self.anchor_us = keep_anchor(config, self._ledger, clock.now_us())
        self.sensors = self._make_sensors(address, folder)

    def join(self, provide_token: TokenProvider | None) -> None:
        """Enrol whoever is new, and settle what the last start left open."""
        with ThreadPoolExecutor(_JOINING_WORKERS, thread_name_prefix="join") as pool:
            enrolled = sum(pool.map(lambda sensor: sensor.join(provide_token), self.sensors))
            resent = sum(pool.map(lambda sensor: sensor.resend(), self.sensors))
        facts = {
            "sensors": len(self.sensors),
            "enrolled": enrolled,
            "resent": resent,
            "anchor_us": self.anchor_us,
        }
        self._report(FleetEvent("joined", facts))

    def watch(self) -> None:
        """Send the past and the present side by side until stopped."""
        config, now_us = self._config, self._clock.now_us()
        live = Live(
            self.sensors,
            self._clock,
            self._stop,
            from_us=now_us,
            window_seconds=config.window_seconds,
            live_window_seconds=config.live_window_seconds,
            heartbeat_seconds=config.heartbeat_seconds,
            longest_window_seconds=config.history_window_seconds,
        )
        with ThreadPoolExecutor(config.live_workers, thread_name_prefix="live") as pool:
            running = [pool.submit(live.work) for _ in range(config.live_workers)]
            try:
                self._send_history(now_us)
                while not self._stop.wait(1.0):
                    # A thread that ended without being told to has failed: do not go on half alive.
                    for worker in running:
                        if worker.done():
                            worker.result()
            finally:
                self._stop.set()
                live.wake()
            for worker in running:
                worker.result()

    def close(self) -> None:
        for sensor in self.sensors:
            sensor.close()
        self._ledger.close()

    def _send_history(self, now_us: int) -> None:
        config = self._config
        started = self._clock.monotonic()
        history = History(
            self.sensors,
            self._ledger,
            start_us=now_us - config.history_days * DAY_US,
            end_us=now_us,
            window_us=config.history_window_seconds * 1_000_000,
            report=self._report_history,
        )
        final = history.send(config.history_workers)
        seconds = round(self._clock.monotonic() - started, 1)
        facts = {"batches": final.done_batches, "packets": final.packets, "seconds": seconds}
        self._report(FleetEvent("watching", facts))

    def _report_history(self, progress: HistoryProgress) -> None:
        now = self._clock.monotonic()
        is_last = progress.done_batches == progress.total_batches
        if now - self._reported_at < _PROGRESS_SECONDS and not is_last:
            return
        self._reported_at = now
        facts = {
            "done": progress.done_batches,
            "total": progress.total_batches,
            "packets": progress.packets,
            "day": from_us(progress.day_us).date().isoformat(),
        }
        self._report(FleetEvent("history", facts))

    def _make_sensors(self, address: GatewayAddress, folder: Path) -> list[SimulatedSensor]:
        config = self._config
        telescope = Telescope(
            TelescopeConfig(
                seed=config.seed,
                anchor_us=self.anchor_us // DAY_US * DAY_US,
                rate=config.rate,
                unit_hours=config.unit_hours,
            )
        )
        boot_id = secrets.token_hex(8)
        return [
            SimulatedSensor(
                plan,
                Recorder(
                    plan,
                    telescope,
                    anchor_us=self.anchor_us,
                    payload_bytes=config.payload_bytes,
                    boot_id=boot_id,
                ),
                ledger=self._ledger,
                address=address,
                gateway_keys=read_gateway_keys(config.gateway_keys),
                folder=folder,
                clock=self._clock,
                stop=self._stop,
                boot_id=boot_id,
            )
            for plan in config.sensors
        ]


def _make_folder(folder: Path) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        folder.chmod(0o700)
    except OSError as error:
        raise FleetStateError(f"state folder {folder} cannot be used: {error.strerror}") from error
    return folder


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a fleet from a work order until SIGINT, SIGTERM or the end of the parent process."""
    parser = argparse.ArgumentParser(
        prog="python -m teiten.simulators.fleet", description="Run a simulated fleet."
    )
    parser.add_argument("--order", required=True, help="work order, JSON or TOML; - reads standard input")
    parser.add_argument("--log-level", default="WARNING")
    parser.add_argument("--stay", action="store_true", help="go on when the parent process ends")
    chosen = parser.parse_args(arguments)
    logs.set_up(level=chosen.log_level)
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    if not chosen.stay:
        threading.Thread(target=_watch_parent, args=(os.getppid(), stop), daemon=True).start()
    try:
        run_fleet(_read_order_file(chosen.order), clock=SystemClock(), stop=stop, report=_write_event)
    except TeitenError as error:
        _write_event(FleetEvent("failed", {"message": str(error)}))
        return 1
    _write_event(FleetEvent("stopped", {}))
    return 0


def _read_order_file(name: str) -> FleetSimulationConfig:
    try:
        text = sys.stdin.read() if name == "-" else Path(name).read_text(encoding="utf-8")
    except OSError as error:
        raise WorkOrderError(f"work order {name} cannot be read: {error.strerror}") from error
    return read_order(text, name=f"work order {name}")


def _watch_parent(parent: int, stop: threading.Event) -> None:
    while not stop.wait(_PARENT_SECONDS):
        if os.getppid() != parent:
            stop.set()


def _write_event(event: FleetEvent) -> None:
    sys.stdout.write(json.dumps({"event": event.event, **event.facts}) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
