"""What the two processes tell each other and the world: status files, orders, heartbeats.

The recording process writes ``capture.json``; the sending process reads it for
heartbeats, writes ``sending.json``, and hands what the gateway wants back in
``orders.json`` and what operators signed in ``commanded.json``. All are replaced as a
whole; a missing one means "not yet".
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import teiten
from teiten.foundation.clock import Clock
from teiten.protocol.heartbeat import (
    MAX_ADDRESSES,
    MAX_ERROR_CHARACTERS,
    NO_BOOT,
    ChainHead,
    Heartbeat,
    HeartbeatAnswer,
    InterfaceState,
    StatedAddress,
)
from teiten.sensor.errors import StateError
from teiten.sensor.health import read_update, write_hint
from teiten.sensor.outbox import Outbox
from teiten.sensor.slots import SlotFile
from teiten.sensor.state import CAPTURE_STATUS, COMMANDED, ORDERS, StateFolder

#: A status older than this is of a process that has stopped or hangs.
_STALE_US = 90_000_000


@dataclass(frozen=True)
class Orders:
    """What the recording process shall do, as the gateway said last and operators signed."""

    config_version: int = 0
    live: bool = False
    window_seconds: int | None = None
    #: Most payload bytes kept per packet; None: as the sensor is set.
    payload_bytes: int | None = None
    #: Most payload examples a window; None: as the sensor is set.
    examples_per_window: int | None = None
    clock_offset_us: int | None = None

    def limit_payload(self, own_bytes: int) -> int:
        """Give the payload bytes to keep: the gateway may lower what the settings allow, never raise it."""
        return own_bytes if self.payload_bytes is None else min(own_bytes, self.payload_bytes)

    def limit_examples(self, own: int) -> int:
        """Give the examples a window, limited as payload is."""
        return own if self.examples_per_window is None else min(own, self.examples_per_window)


def read_orders(state: StateFolder) -> Orders:
    """Read the orders; without a readable file, none.

    The gateway and the operators may each lower what is recorded: the lower limit counts.
    """
    told, commanded = state.read_json(ORDERS), state.read_json(COMMANDED)

    def number(name: str) -> int | None:
        return _read_number(told, name)

    def least(name: str) -> int | None:
        given = [value for value in (number(name), _read_number(commanded, name)) if value is not None]
        return max(0, min(given)) if given else None

    return Orders(
        config_version=int(told.get("config_version", 0)),
        live=bool(told.get("live", False)),
        window_seconds=_read_number(commanded, "window_seconds") or number("window_seconds"),
        payload_bytes=least("payload_bytes"),
        examples_per_window=least("examples_per_window"),
        clock_offset_us=number("clock_offset_us"),
    )


def _read_number(told: dict[str, Any], name: str) -> int | None:
    value = told.get(name)
    return value if type(value) is int else None


class SpoolReporter:
    """Makes heartbeats of the recording process's status, and passes on what the gateway answers."""

    def __init__(
        self,
        state: StateFolder,
        outbox: Outbox,
        clock: Clock,
        *,
        list_stated: Callable[[], tuple[StatedAddress, ...]] = tuple,
        launcher_report: Path | None = None,
        read_head: Callable[[], ChainHead | None] = lambda: None,
    ) -> None:
        self._read_head = read_head
        self._list_stated = list_stated
        self._launcher_report = launcher_report
        self._state = state
        self._outbox = outbox
        self._clock = clock
        self._counter = SlotFile(state.path / "sending-state.bin")

    def make_beat(self, *, clock_offset_us: int | None, last_error: str) -> Heartbeat:
        status = self._state.read_json(CAPTURE_STATUS)
        count = status.get("packets", {})
        error = last_error or str(status.get("last_error", ""))
        return Heartbeat(
            counter=self._count_up(),
            boot_id=str(status.get("boot_id", NO_BOOT)),
            software=teiten.__version__,
            uptime_s=max(0, (self._clock.now_us() - int(status.get("started_at_us", 0))) // 1_000_000)
            if status
            else 0,
            clock_offset_us=clock_offset_us,
            captured=int(count.get("captured", 0)),
            kernel_drops=int(count.get("kernel_drops", 0)),
            excluded=int(count.get("solicited", 0)) + int(count.get("other_destination", 0)),
            spool_batches=len(self._outbox.list_waiting()),
            spool_bytes=self._outbox.count_bytes(),
            disk_free_bytes=self._count_free(),
            last_error="".join(c if c.isprintable() else " " for c in error)[:MAX_ERROR_CHARACTERS],
            last_window_end_us=status.get("last_window_end_us"),
            config_version=read_orders(self._state).config_version,
            interfaces=tuple(_read_interface(item) for item in status.get("interfaces", [])),
            addresses=self._list_stated(),
            ring_fill_permille=self._read_ring_fill(status),
            audit=self._read_head(),
            update=read_update(self._launcher_report) if self._launcher_report else None,
        )

    def take_answer(self, answer: HeartbeatAnswer, *, clock_offset_us: int | None) -> None:
        orders = {
            "config_version": answer.config.version,
            "live": answer.config.live,
            "window_seconds": answer.config.window_seconds,
            "payload_bytes": answer.config.payload_bytes,
            "examples_per_window": answer.config.examples_per_window,
            "clock_offset_us": clock_offset_us,
        }
        write_hint(self._state, answer.release)
        if orders != self._state.read_json(ORDERS):
            with contextlib.suppress(OSError):
                self._state.write_json(ORDERS, orders)

    def _read_ring_fill(self, status: dict[str, Any]) -> int | None:
        """Give what the recording process says; nothing once it has stopped, or says nothing more."""
        fill = status.get("ring_fill_permille")
        is_old = self._clock.now_us() - int(status.get("written_at_us", 0)) > _STALE_US
        return None if is_old or type(fill) is not int else min(max(fill, 0), 1_000)

    def _count_up(self) -> int:
        """Give a number above every one used before, also after a restart; durable before it is used."""
        # Seconds since 1970 as the floor: a folder that lost this file is not refused as a replay.
        last = int((self._counter.record or {}).get("beats", 0))
        counter = max(last + 1, self._clock.now_us() // 1_000_000)
        with contextlib.suppress(StateError):
            self._counter.write({"beats": counter})
        return counter

    def _count_free(self) -> int:
        disk = os.statvfs(self._state.path)
        return disk.f_bavail * disk.f_frsize


def _read_interface(told: dict[str, Any]) -> InterfaceState:
    addresses = tuple(str(text).partition("/")[0] for text in told.get("addresses", []))
    return InterfaceState(str(told["name"]), str(told["state"]), addresses[:MAX_ADDRESSES])
