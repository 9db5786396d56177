"""The verb ``replay``: import, send, and say how far it is."""

from __future__ import annotations

import argparse
import dataclasses
import threading
from dataclasses import dataclass

from teiten.foundation.clock import Clock
from teiten.sensor.config import SensorConfig
from teiten.sensor.errors import ReplayError
from teiten.sensor.importing import Importer, ImportRecord, ImportRequest, parse_observed, wait_for_room
from teiten.sensor.progress import ProgressLine
from teiten.sensor.replay import ReplayReport
from teiten.sensor.reporting import read_orders
from teiten.sensor.sending import Sending
from teiten.sensor.spool import Spool, SpoolLimits
from teiten.sensor.state import StateFolder

#: Failures in a row after which a person should hear of them.
_PATIENCE = 4
_LOOK_SECONDS = 0.1


@dataclass(frozen=True)
class ReplayOutcome:
    """What is to be said at the end."""

    lines: tuple[str, ...]
    #: What did not go well; empty when all did.
    problems: tuple[str, ...]


def run_replay(options: argparse.Namespace, config: SensorConfig, clock: Clock) -> ReplayOutcome:
    """Import the files and send them, unless they shall stay in the spool.

    Raises:
        SensorError: when it cannot be done; the message says what stands and how to go on.
    """
    state = StateFolder(config.state_dir)
    identity = state.load_identity().sealing
    state.lock()
    # What the gateway switched off stays off for captures too.
    orders = read_orders(state)
    request = ImportRequest(
        name=options.name,
        files=tuple(options.files),
        observed=parse_observed(config.observed, config.mode),
        payload_bytes=orders.limit_payload(config.import_payload_bytes),
        examples_per_window=orders.limit_examples(config.examples_per_window),
        again=options.again,
    )
    spool = Spool(
        state.path, epoch=identity.epoch, limits=SpoolLimits(config.spool_bytes, config.min_free_bytes)
    )
    courier = None if options.spool_only else Courier(config, state, clock)
    importer = Importer(
        identity,
        spool,
        record=ImportRecord(state, request),
        max_bytes=config.spool_bytes,
        wait_for_room=None if courier is None else wait_for_room(courier.find_failure),
        start_sending=(lambda: None) if courier is None else courier.start,
    )
    line = ProgressLine(clock)
    try:
        report = importer.run(
            request,
            lambda done, total, packets: line.show(done / max(1, total), f"{packets:,} packets sealed"),
        )
        if courier is not None:
            courier.deliver_all(line)
    finally:
        line.end()
        if courier is not None:
            courier.stop()
        spool.sweep()
        spool.close()
        state.unlock()
    return _describe(report, courier)


class Courier:
    """Sends what the import puts into the spool, while it goes on."""

    def __init__(self, config: SensorConfig, state: StateFolder, clock: Clock) -> None:
        config = dataclasses.replace(config, first_connect_seconds=0.0, poll_seconds=0.05)
        self._sending = Sending(config, state, clock, beats=False)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._sending.run, args=(self._stop,), name="courier")

    def start(self) -> None:
        self._thread.start()

    @property
    def set_aside(self) -> int:
        """Batches that the gateway will never take."""
        counts = self._sending.sender.counts
        return counts.refused + counts.conflicts + counts.corrupt

    def find_failure(self) -> str:
        """Say why sending does not get on, empty while it does."""
        sender = self._sending.sender
        if not self._thread.is_alive():
            return "sending stopped"
        return sender.last_error if sender.failures >= _PATIENCE else ""

    def deliver_all(self, line: ProgressLine) -> None:
        """Wait until the spool is empty.

        Raises:
            ReplayError: when sending does not get on; the batches stay in the spool.
        """
        if self._thread.ident is None:
            # A capture without packets, or an import whose batches were sealed before.
            self.start()
        pause = threading.Event()
        total = max(1, len(self._sending.outbox.list_waiting()))
        while left := len(self._sending.outbox.list_waiting()):
            line.show(1 - min(left, total) / total, f"sending: {left:,} batches left")
            reason = self.find_failure()
            if reason:
                raise ReplayError(
                    f"{reason}; {left} batches stay in the spool: `teiten-sensor upload` or `run` will send them"
                )
            pause.wait(_LOOK_SECONDS)
        line.show(1.0, "all batches receipted", at_once=True)

    def stop(self) -> None:
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()


def _describe(report: ReplayReport, courier: Courier | None) -> ReplayOutcome:
    what = "spooled" if courier is None else "sent and receipted"
    lines = [f"{report.dataset}: {report.packets:,} packets in {report.batches:,} batches {what}"]
    if report.skipped_frames:
        lines.append(f"{report.skipped_frames:,} frames carry no IP and were passed over")
    if report.untimed_packets:
        lines.append(
            f"{report.untimed_packets:,} packets have no time of their own and took that of the one before"
        )
    problems = list(report.problems)
    if courier is not None and courier.set_aside:
        problems.append(
            f"{courier.set_aside} batches were refused for ever and stand in spool/aside; the log says why"
        )
    return ReplayOutcome(tuple(lines), tuple(problems))
