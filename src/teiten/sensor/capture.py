"""The recording loop: rings → columns → exclusion → windows → keeper.

One thread does all of it; sealing and disk are the keeper's. Each round waits for
a packet, lets more gather, empties all rings, and parses when enough has gathered
or half a second has passed: cost is per round and per block, not per packet.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from teiten.foundation.clock import Clock
from teiten.protocol.header import Watched
from teiten.sensor.column_sets import count_rows, select_rows
from teiten.sensor.config import SensorConfig
from teiten.sensor.examples import ExampleChooser, attach_examples, count_examples
from teiten.sensor.exclusion import Exclusion
from teiten.sensor.keeper import Keeper
from teiten.sensor.prefixes import Network, PrefixSet, parse_network
from teiten.sensor.ring import Waiter
from teiten.sensor.ring_fill import RingFill
from teiten.sensor.staging import RawPackets, Staging
from teiten.sensor.watching import WatchedInterface, slot_bytes_for
from teiten.sensor.windows import Instant, Window, Windows
from teiten.traffic.parse import ParsedColumns, parse_packets

_log = logging.getLogger(__name__)

_NETWORK_OFFSET = 80
_STAGED_PACKETS = 4_096
#: Blocks taken in one round, so that a flood cannot keep the clock from being looked at.
_BLOCKS_PER_ROUND = 16
#: Looks at the rings while packets gather, and how many waiting packets end it.
_GATHER_LOOKS, _MANY_PACKETS = 10, 1_024
#: Longest time that a packet waits for others before it is parsed.
_PARSE_SECONDS = 0.5
_CHECK_SECONDS = 1.0
#: The same while an interface is down or away, so that it is watched again soon.
_EAGER_CHECK_SECONDS = 0.1
_WAIT_SECONDS = 0.25


@dataclass
class CaptureCounts:
    """Packets since the process started."""

    captured: int = 0
    kernel_drops: int = 0
    solicited: int = 0
    other_destination: int = 0
    moved: int = 0
    merged: int = 0
    windows: int = 0
    clock_steps: int = 0


class Capture:
    """Watches interfaces until told to stop.

    Args:
        config: the sensor's settings.
        exclusion: what the host solicits.
        windows: the state machine that packets are fed to.
        keeper: takes closed windows.
        clock: the machine's.
        alive: called at the end of every round.
    """

    def __init__(
        self,
        config: SensorConfig,
        exclusion: Exclusion,
        *,
        windows: Windows,
        keeper: Keeper,
        clock: Clock,
        alive: Callable[[], None] = lambda: None,
    ) -> None:
        self._alive = alive
        self._config = config
        self._exclusion = exclusion
        #: What shall be left out; may be set from another thread.
        self.exclusion = exclusion
        self._windows = windows
        self._keeper = keeper
        self._clock = clock
        self._waiter = Waiter()
        width = slot_bytes_for(config.payload_bytes) - _NETWORK_OFFSET
        self._staging = Staging(capacity=_STAGED_PACKETS, width=width)
        self._staged_since = 0.0
        self._configured = tuple(parse_network(text, what="sensor.observed") for text in config.observed)
        self._observed = PrefixSet(())
        self._next_check = 0.0
        #: Length that windows shall have; may be set from another thread.
        self.window_seconds = config.live_window_seconds if config.live else config.window_seconds
        #: Payload bytes that shall be kept; may be set from another thread.
        self.payload_bytes = windows.payload_bytes
        self.examples = ExampleChooser(per_window=config.examples_per_window, whole_only=True)
        self._next_address_check = 0.0
        self.interfaces = [WatchedInterface(name, config, self._waiter) for name in config.interfaces]
        self.counts = CaptureCounts()
        self.ring_fill = RingFill()

    @property
    def watched(self) -> tuple[Network, ...]:
        return self._observed.networks

    def run(self, stop: threading.Event) -> None:
        """Watch until ``stop``; the last window is closed and handed over.

        Raises:
            CaptureDeniedError: when the process may not capture.
        """
        try:
            self.check_interfaces()
            while not stop.is_set() and self._keeper.failure is None:
                if self._wait():
                    self._gather(stop)
                self.work()
        finally:
            self._finish()

    def work(self) -> None:
        """Do one round: empty the rings, parse what is due, close what is due."""
        now = self._now()
        emptied = self._drain(now)
        window = self._windows.current
        is_due = window is not None and now.wall_us >= window.end_us
        if self._staging.count and (is_due or now.monotonic - self._staged_since >= _PARSE_SECONDS):
            self._parse(now)
        if now.monotonic >= self._next_check:
            self.check_interfaces()
        self._windows.set_length(self.window_seconds * 1_000_000, now)
        if self.payload_bytes != self._windows.payload_bytes:
            self._change_payload(now)
        if self.exclusion is not self._exclusion:
            self._change_exclusion(now)
        self._keep_whole_packets()
        if emptied:
            self._hand_over(self._windows.advance(now))
        self._alive()

    def check_interfaces(self) -> None:
        """See what can be watched now; a change closes the window."""
        now = self._now()
        self._next_check = now.monotonic + _CHECK_SECONDS
        self._read_drops()
        fills = [interface.read_fullest_permille() for interface in self.interfaces]
        self.ring_fill.note(fills, now=now.monotonic)
        addresses_due = now.monotonic >= self._next_address_check
        if addresses_due:
            self._next_address_check = now.monotonic + self._config.address_check_seconds
        for interface in self.interfaces:
            interface.check()
            if addresses_due and interface.state == "up":
                interface.check_addresses()
        if any(interface.state != "up" for interface in self.interfaces):
            self._next_check = now.monotonic + _EAGER_CHECK_SECONDS
        self._keep_whole_packets()
        self._watch(now)

    def _watch(self, now: Instant) -> None:
        observed = self._list_observed()
        if observed == self._observed.networks:
            return
        self._drain(now)
        self._parse(now)
        _log.info(
            "What is watched has changed", extra={"prefixes": ",".join(map(str, observed)) or "nothing"}
        )
        self._observed = PrefixSet(observed)
        mode = self._config.mode
        watched = tuple(Watched(str(network), mode) for network in observed)
        self._hand_over(self._windows.watch(watched, now))

    def _change_payload(self, now: Instant) -> None:
        """Keep more or less payload from here on, in a window of its own."""
        self._drain(now)
        self._parse(now)
        _log.info("What is kept of payloads has changed", extra={"payload_bytes": self.payload_bytes})
        self._hand_over(self._windows.set_payload(self.payload_bytes, now))

    def _change_exclusion(self, now: Instant) -> None:
        """Judge by another declaration from here on; what has come before is judged by the old one."""
        self._drain(now)
        self._parse(now)
        self._exclusion = self.exclusion
        _log.info(
            "What is left out as solicited has changed",
            extra={
                "exclusion": "; ".join(self._exclusion.declaration),
                "exclusion_digest": self._exclusion.digest,
            },
        )

    def _keep_whole_packets(self) -> None:
        """Have the kernel keep whole packets only while an example may still be taken."""
        wanted = self._windows.payload_bytes > 0 and self.examples.is_hungry
        for interface in self.interfaces:
            interface.copy_long_packets(wanted)

    def _list_observed(self) -> tuple[Network, ...]:
        """Give the observed prefixes that an interface that is up can receive."""
        up = [interface for interface in self.interfaces if interface.state == "up"]
        if self._configured:
            return self._configured if up else ()
        found = {network for interface in up for network in interface.addresses}
        return tuple(sorted(found, key=lambda network: (network.version, network.network_address.packed)))

    def _wait(self) -> bool:
        """Wait for a packet; give whether one has come."""
        reports = self._waiter.wait(_WAIT_SECONDS)
        for fileno, is_error in reports:
            if is_error:
                self._clear_error(fileno)
        return bool(reports)

    def _gather(self, stop: threading.Event) -> None:
        """Let packets gather: long while they are few, not past the first look that shows many."""
        for _look in range(_GATHER_LOOKS):
            stop.wait(self._config.gather_seconds)
            if stop.is_set() or any(interface.holds(_MANY_PACKETS) for interface in self.interfaces):
                return

    def _clear_error(self, fileno: int) -> None:
        for interface in self.interfaces:
            if interface.fileno == fileno:
                interface.clear_error()
        self._next_check = 0.0

    def _drain(self, now: Instant) -> bool:
        """Take what waits in the rings; give whether they were emptied."""
        for _block in range(_BLOCKS_PER_ROUND * len(self.interfaces)):
            before = self._staging.count
            taken = sum(interface.take(self._staging) for interface in self.interfaces)
            if taken and not before:
                self._staged_since = now.monotonic
            if self._staging.room:
                return True
            self._parse(now)
        return False

    def _parse(self, now: Instant) -> None:
        if not self._staging.count:
            return
        packets = self._staging.filled()
        columns = self._read_columns(packets)
        verdict = self._exclusion.judge(columns, self._observed)
        if self._windows.payload_bytes:
            self.examples.begin_day(now.wall_us)
            frames = self._staging.frames
            chosen = self.examples.choose(columns, packets, kept=verdict.kept, frames=frames)
            columns = attach_examples(columns, chosen)
        self._staging.clear()
        self._count(packets, solicited=verdict.solicited, other=verdict.other_destination)
        if verdict.excluded:
            self._windows.count(excluded=verdict.excluded)
            columns = select_rows(columns, verdict.kept)
        if count_rows(columns):
            self._hand_over(self._windows.feed(columns, now))

    def _read_columns(self, packets: RawPackets) -> ParsedColumns:
        return parse_packets(
            packets.raw,
            packets.captured_length,
            wire_length=packets.wire_length,
            observed_at_us=packets.observed_at_us,
            vlan=packets.vlan,
            payload_bytes=self._windows.payload_bytes,
            stacked_vlan=packets.stacked,
        )

    def _count(self, packets: RawPackets, *, solicited: int, other: int) -> None:
        taken = len(packets.wire_length)
        # A link of 9,000 bytes is the largest in use; above the MTU only an offload makes packets.
        longest = max((interface.mtu for interface in self.interfaces), default=0) or 65_536
        merged = int(np.count_nonzero(packets.wire_length > longest))
        self.counts = replace(
            self.counts,
            captured=self.counts.captured + taken,
            solicited=self.counts.solicited + solicited,
            other_destination=self.counts.other_destination + other,
            merged=self.counts.merged + merged,
        )

    def _read_drops(self) -> None:
        drops = sum(interface.read_drops() for interface in self.interfaces)
        if drops:
            self._windows.count(kernel_drops=drops)
            self.counts.kernel_drops += drops

    def _hand_over(self, closed: list[Window]) -> None:
        for window in closed:
            self.counts.windows += 1
            self.counts.moved += window.moved
            self.counts.clock_steps += window.clock_stepped
            self._keeper.put(window)
        if closed:
            current = self._windows.current
            used = count_examples(current.chunks) if current else 0
            self.examples.begin_window(used, at=self._clock.monotonic())

    def _finish(self) -> None:
        now = self._now()
        self._drain(now)
        self._parse(now)
        self._read_drops()
        self._hand_over(self._windows.stop(now))
        for interface in self.interfaces:
            interface.close()

    def _now(self) -> Instant:
        return Instant(self._clock.now_us(), self._clock.monotonic())
