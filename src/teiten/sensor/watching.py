"""One interface under watch: opened, lost, opened again; what it holds and what it dropped."""

from __future__ import annotations

import logging
from typing import Literal, TypeAlias

from teiten.sensor import interfaces
from teiten.sensor.config import SensorConfig
from teiten.sensor.errors import CaptureDeniedError, CaptureError
from teiten.sensor.prefixes import Network
from teiten.sensor.ring import Ring, Waiter
from teiten.sensor.staging import Staging

_log = logging.getLogger(__name__)

State: TypeAlias = Literal["up", "down", "missing"]
#: A slot of 256 bytes leaves 176 from the IP header on; longer payloads need the next power of two.
_SMALL_SLOT_PAYLOAD = 64
_SLOT_BYTES, _LARGE_SLOT_BYTES = 256, 512


def slot_bytes_for(payload_bytes: int) -> int:
    """Give the slot that holds headers and the payload that is kept."""
    return _SLOT_BYTES if payload_bytes <= _SMALL_SLOT_PAYLOAD else _LARGE_SLOT_BYTES


class WatchedInterface:
    """Keeps a ring on one interface, through every loss of it."""

    def __init__(self, name: str, config: SensorConfig, waiter: Waiter) -> None:
        self.name = name
        self.state: State = "missing"
        self.error = ""
        self.addresses: tuple[Network, ...] = ()
        self.offloads: tuple[str, ...] = ()
        self.mtu = 0
        #: How often the interface was lost, went down or could not be opened.
        self.losses = 0
        self._config = config
        self._waiter = waiter
        self._ring: Ring | None = None

    @property
    def fileno(self) -> int | None:
        return None if self._ring is None else self._ring.fileno()

    def take(self, staging: Staging) -> int:
        return 0 if self._ring is None else self._ring.take(staging)

    def holds(self, count: int) -> bool:
        """Tell whether at least ``count`` packets wait."""
        return self._ring is not None and self._ring.holds(count)

    def copy_long_packets(self, wanted: bool) -> None:  # noqa: FBT001  # a switch
        """Have packets that are longer than a slot kept whole, or not."""
        if self._ring is not None:
            self._ring.copy_long_packets(wanted)

    def read_drops(self) -> int:
        return 0 if self._ring is None else self._ring.read_drops()

    def read_fullest_permille(self) -> int | None:
        """Give how full the ring was at most since the last call, in thousandths; None without one."""
        return None if self._ring is None else self._ring.read_fullest_permille()

    def clear_error(self) -> None:
        """Take note of what the socket reports; :meth:`check` finds out what it means."""
        if self._ring is not None:
            self._ring.read_error()

    def check(self) -> None:
        """Open, or notice that the interface went down, away or was made anew.

        Raises:
            CaptureDeniedError: when the process may not capture at all.
        """
        index = interfaces.find_index(self.name)
        if self._ring is not None and index != self._ring.index:
            self._lose(f"interface {self.name} was deleted")
        if self._ring is None:
            self._open()
        if self._ring is None:
            self._change_state("missing")
        else:
            self._change_state("up" if interfaces.is_up(self.name) else "down")

    def check_addresses(self) -> None:
        """Look up what addresses the interface holds now."""
        try:
            self.addresses = interfaces.list_addresses(self.name)
        except CaptureError:
            self.addresses = ()

    def close(self) -> None:
        if self._ring is not None:
            self._waiter.remove(self._ring)
            self._ring.close()
            self._ring = None

    def _open(self) -> None:
        config = self._config
        try:
            ring = Ring(self.name, slots=config.ring_slots, slot_bytes=slot_bytes_for(config.payload_bytes))
        except CaptureDeniedError:
            raise
        except CaptureError as error:
            if str(error) != self.error:
                self.error = str(error)
                self.losses += 1
                _log.error("An interface cannot be watched; trying again", extra={"error": self.error})
            return
        self._ring = ring
        self._waiter.add(ring)
        self._look_at_offloads()
        self.check_addresses()

    def _look_at_offloads(self) -> None:
        self.mtu = interfaces.find_mtu(self.name) or 0
        turn_off = self._config.disable_offloads
        self.offloads = (
            interfaces.turn_off_offloads(self.name) if turn_off else interfaces.list_offloads(self.name)
        )
        if "gro" in self.offloads or "lro" in self.offloads:
            _log.warning(
                "The interface merges packets before they are seen; set sensor.disable_offloads or run ethtool -K",
                extra={"interface": self.name, "offloads": ",".join(self.offloads)},
            )

    def _lose(self, reason: str) -> None:
        self.close()
        self.error = reason
        self.losses += 1
        _log.error("An interface is lost", extra={"error": reason})

    def _change_state(self, state: State) -> None:
        if state == self.state:
            return
        if state == "up":
            self.error = ""
            self.check_addresses()
            _log.info("An interface is watched", extra={"interface": self.name})
        elif state == "down":
            self.error = f"interface {self.name} is down; what arrives meanwhile is not seen"
            self.losses += 1
            _log.error("An interface is down", extra={"interface": self.name})
        self.state = state
