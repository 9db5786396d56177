"""A line in the test's hand: two network namespaces, and this process carries each packet between them.

``here`` (the sensor's end) has 192.0.2.2 and 2001:db8::2, ``there`` (the gateway's) 192.0.2.1 and
2001:db8::1. What the line does to packets is set in :class:`Faults`, at any moment. TUN devices, because
not every kernel has ``netem``.
"""

from __future__ import annotations

import contextlib
import fcntl
import heapq
import itertools
import os
import random
import select
import struct
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from sensor_wire import command, enter

#: linux/if_tun.h: TUNSETIFF; IFF_TUN | IFF_NO_PI.
_SET, _FLAGS = 0x400454CA, 0x1001
_numbers = itertools.count()


@dataclass
class Faults:
    """What the line does to packets of each direction; may be changed while it runs."""

    delay_seconds: float = 0.0
    #: 0: as fast as it can.
    bytes_per_second: float = 0.0
    #: Share of packets that vanish.
    loss: float = 0.0
    #: Longer packets vanish, and nobody is told.
    largest: int = 65_536
    is_cut: bool = False
    #: Packets for which it is true vanish.
    drops: Callable[[bytes], bool] = lambda packet: False
    #: Bytes that may wait for a slow line; more vanish.
    queue_bytes: int = 64_000


class BadLine:
    """Carries packets until closed."""

    def __init__(self, *, mtu: int = 1_500, seed: int = 1) -> None:
        name = f"bl-{os.getpid()}-{next(_numbers)}"
        self.here, self.there = f"{name}-a", f"{name}-b"
        self.faults = Faults()
        self.carried = 0
        self._mtu = mtu
        self._rng = random.Random(seed)
        self._ends: list[int] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._carry, name="line", daemon=True)

    def open(self) -> None:
        for namespace, last in ((self.here, "2"), (self.there, "1")):
            command("ip", "netns", "add", namespace)
            self._ends.append(_open_end(namespace))
            inside = ("ip", "-n", namespace)
            command(*inside, "link", "set", "lo", "up")
            command(*inside, "addr", "add", f"192.0.2.{last}/24", "dev", "t0")
            command(*inside, "addr", "add", f"2001:db8::{last}/64", "dev", "t0", "nodad")
            command(*inside, "link", "set", "t0", "mtu", str(self._mtu), "up")
        self._thread.start()

    def close(self) -> None:
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join()
        for end in self._ends:
            os.close(end)
        for namespace in (self.here, self.there):
            command("ip", "netns", "del", namespace, accepted=(0, 1))

    def _carry(self) -> None:
        waiting: list[tuple[float, int, int, bytes]] = []
        queued, free_at, order = [0, 0], [0.0, 0.0], itertools.count()
        while not self._stop.is_set():
            wait = min(0.05, max(0.0, waiting[0][0] - time.monotonic())) if waiting else 0.05
            for end in select.select(self._ends, [], [], wait)[0]:
                way, packet, now = self._ends.index(end), os.read(end, 65_536), time.monotonic()
                if self._vanishes(packet, queued[way]):
                    continue
                rate = self.faults.bytes_per_second
                free_at[way] = max(free_at[way], now) + (len(packet) / rate if rate else 0.0)
                queued[way] += len(packet)
                due = free_at[way] + self.faults.delay_seconds
                heapq.heappush(waiting, (due, next(order), way, packet))
            while waiting and waiting[0][0] <= time.monotonic():
                _due, _order, way, packet = heapq.heappop(waiting)
                queued[way] -= len(packet)
                self.carried += len(packet)
                with contextlib.suppress(OSError):
                    os.write(self._ends[1 - way], packet)

    def _vanishes(self, packet: bytes, queued: int) -> bool:
        faults = self.faults
        return (
            faults.is_cut
            or len(packet) > faults.largest
            or self._rng.random() < faults.loss
            or bool(faults.bytes_per_second and queued + len(packet) > faults.queue_bytes)
            or faults.drops(packet)
        )


@contextlib.contextmanager
def open_line(*, mtu: int = 1_500) -> Iterator[BadLine]:
    line = BadLine(mtu=mtu)
    try:
        line.open()
        yield line
    finally:
        line.close()


def _open_end(namespace: str) -> int:
    """Open a TUN device in a namespace, from a thread that has entered it."""
    made: list[int] = []

    def run() -> None:
        enter(namespace)
        end = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC)
        fcntl.ioctl(end, _SET, struct.pack("16sH", b"t0", _FLAGS))
        made.append(end)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    return made[0]
