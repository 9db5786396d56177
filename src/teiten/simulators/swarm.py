"""One of thousands of simulated sensors: real key, seals, TLS, signatures and judgement, and nothing on disk.

What a fleet of a benchmark needs and :class:`~teiten.simulators.sensors.SimulatedSensor`
does not have: it spools, obeys signed commands by the real judge, and takes updates.
One call at a time; whoever calls decides when.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections import deque
from dataclasses import dataclass, field

from teiten.foundation.clock import Clock
from teiten.protocol import judging
from teiten.protocol.commands import Delivery
from teiten.protocol.heartbeat import ChainHead, Heartbeat, HeartbeatAnswer, InterfaceState, UpdateState
from teiten.protocol.operator_list import OperatorList
from teiten.sensor import column_sets, sealing
from teiten.sensor.obeying import outcome
from teiten.sensor.obeying.answers import Answer
from teiten.sensor.sealed import SealedBatch, SealingIdentity
from teiten.sensor.uplink import Uplink
from teiten.simulators.recorder import SOFTWARE, PlannedWindow, Recorder

_SECOND_US = 1_000_000
_DISK_FREE_BYTES = 64_000_000_000


@dataclass
class SwarmSensor:
    """A sensor that keeps its spool in memory.

    Several may share a recorder: then the same arrives at each of them.
    """

    identity: SealingIdentity
    uplink: Uplink
    recorder: Recorder
    operators: OperatorList
    clock: Clock
    #: Sealed and not receipted: batch and rows, in order.
    spool: deque[tuple[SealedBatch, int]] = field(default_factory=deque)
    #: End of the last window, µs; the next begins here. 0: before the first.
    until_us: int = 0
    seq: int = 0
    rows: int = 0
    #: Number of the release that it runs.
    release: int = 1
    _starts: int = 1
    _counter: int = 0
    _captured: int = 0
    _counters: dict[str, int] = field(default_factory=dict)
    _obeyed: set[str] = field(default_factory=set)
    _chain: ChainHead = field(default_factory=lambda: ChainHead(1, hashlib.sha256(b"start").digest()))

    @property
    def boot_id(self) -> str:
        return f"swarm-{self.identity.sensor:06d}-{self._starts:04d}"

    def close_window(self, end_us: int) -> None:
        """Seal what arrived since the last window, and spool it."""
        window = PlannedWindow(self.until_us, end_us)
        draft = dataclasses.replace(self.recorder.draft(window), boot_id=self.boot_id)
        columns = self.recorder.record(window)
        sealed = sealing.seal_batch(self.identity, draft, columns=columns, seq=self.seq + 1)
        rows = column_sets.count_rows(columns)
        self.seq += 1
        self.until_us = end_us
        self._captured += rows
        self.spool.append((sealed, rows))

    def send_next(self) -> int:
        """Send the oldest batch of the spool and give its rows.

        Raises:
            UplinkError: it stays in the spool.
        """
        sealed, rows = self.spool[0]
        self.uplink.send(sealed)
        self.spool.popleft()
        self.rows += rows
        return rows

    def beat(self) -> HeartbeatAnswer:
        """Send a heartbeat.

        Raises:
            UplinkError: see :mod:`teiten.sensor.errors`.
        """
        self._counter += 1
        return self.uplink.heartbeat(self._describe())

    def obey(self) -> int:
        """Fetch what waits, let the real judge decide, answer; give the number of answers.

        Raises:
            UplinkError: what was not answered is delivered again.
        """
        deliveries = self.uplink.fetch_commands()
        for delivery in deliveries:
            self.uplink.send_result(self._answer(delivery))
            self._note(delivery.command_id)
        return len(deliveries)

    def update(self, release: int) -> None:
        """Run another release: the program starts again, what it keeps stays."""
        self.release = release
        self._starts += 1
        self._captured = 0
        self._note(f"release {release}")

    def _answer(self, delivery: Delivery) -> Answer:
        started_us = self.clock.now_us()
        verdict = judging.judge(
            delivery.envelope,
            self.operators,
            now_s=started_us // _SECOND_US,
            sensor=self.identity.sensor,
            state=judging.SensorState(self._counters, self._obeyed),
            resolved=delivery.resolved,
        )
        if isinstance(verdict, judging.Accepted):
            command = verdict.command
            self._counters[judging.counter_name(command)] = command.counter
            self._obeyed.add(command.command_id)
            became = outcome.done(f"{SOFTWARE}\nrelease {self.release}\nwindows {self.seq}\n")
        else:
            became = outcome.refused(verdict.reason, str(verdict))
        digest = hashlib.sha256(delivery.envelope.payload).digest()
        return Answer(delivery.command_id, digest, became, started_us, self.clock.now_us())

    def _note(self, what: str) -> None:
        """Let the audit chain grow by a record."""
        head = hashlib.sha256(self._chain.head + what.encode()).digest()
        self._chain = ChainHead(self._chain.count + 1, head)

    def _describe(self) -> Heartbeat:
        return Heartbeat(
            counter=self._counter,
            boot_id=self.boot_id,
            software=SOFTWARE,
            uptime_s=self._counter,
            clock_offset_us=self.uplink.clock_offset_us,
            captured=self._captured,
            kernel_drops=0,
            excluded=0,
            spool_batches=len(self.spool),
            spool_bytes=sum(len(sealed.body) for sealed, _ in self.spool),
            disk_free_bytes=_DISK_FREE_BYTES,
            last_error="",
            last_window_end_us=self.until_us or None,
            config_version=1,
            interfaces=(InterfaceState("sim0", "up", ("192.0.2.7",)),),
            ring_fill_permille=3,
            audit=self._chain,
            update=UpdateState(self.release, "steady"),
        )
