"""The recording process: wires capture, windows, keeper and spool, and says how it is."""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import hashlib
import logging
import os
import threading
import uuid
from typing import Any

import teiten
from teiten.foundation.clock import Clock
from teiten.sensor.capture import Capture
from teiten.sensor.config import SensorConfig
from teiten.sensor.errors import CaptureError, StateError
from teiten.sensor.health import read_release
from teiten.sensor.interfaces import find_default_interface
from teiten.sensor.keeper import Keeper
from teiten.sensor.names import merge_addresses, read_names
from teiten.sensor.own_traffic import build_exclusion
from teiten.sensor.reporting import Orders, read_orders
from teiten.sensor.sealed import SealingIdentity
from teiten.sensor.spool import Spool, SpoolLimits
from teiten.sensor.state import CAPTURE_STATUS, IdentityWatch, StateFolder, choose_gateway
from teiten.sensor.watchdog import find_watchdog
from teiten.sensor.watching import WatchedInterface
from teiten.sensor.windows import WindowRules, Windows

#: Sealing looks around twice a second; a disk that holds it up for longer is no sign of life.
_SEALING_SECONDS = 60.0
#: malloc.h of glibc; another library has no ``mallopt``, or refuses it.
_M_ARENA_MAX = -8

_log = logging.getLogger(__name__)


class Recording:
    """Everything that records into one state folder.

    Raises:
        SensorError: when the settings, the identity or the state folder do not allow it.
    """

    def __init__(self, config: SensorConfig, state: StateFolder, clock: Clock) -> None:
        config = _with_interface(config)
        self._identity_watch = IdentityWatch(state)
        identity = state.load_identity()
        state.lock()
        self._config = config
        self._state = state
        self._clock = clock
        self._boot_id = uuid.uuid4().hex
        self._started_at_us = clock.now_us()
        self._orders = read_orders(state)
        self._gateway_url = choose_gateway(config, identity.gateway).url
        self._names = read_names(state)
        exclusion = build_exclusion(config, gateway_url=self._gateway_url, names=self._names)
        limits = SpoolLimits(config.spool_bytes, config.min_free_bytes)
        self._spool = Spool(state.path, epoch=identity.sealing.epoch, limits=limits)
        self._release, self._rounds = read_release(), 0
        self._epoch, self._first_seq = identity.sealing.epoch, self._spool.next_seq
        self._keeper = Keeper(
            identity.sealing,
            self._spool,
            boot_id=self._boot_id,
            clock_offset_us=lambda: self._orders.clock_offset_us,
            clock=clock,
            renew=self._find_new_identity,
        )
        rules = WindowRules(
            length_us=config.window_seconds * 1_000_000,
            phase_us=phase_of(identity.sealing.sensor, config.window_seconds),
            early_rows=config.early_rows,
            max_rows=config.max_rows,
        )
        windows = Windows(
            rules,
            previous_end_us=self._spool.last_window_end_us,
            # As ordered before the first packet: an off switch must not open again at a restart.
            payload_bytes=self._orders.limit_payload(config.payload_bytes),
        )
        self._watchdog = find_watchdog(clock)
        self.capture = Capture(
            config,
            exclusion,
            windows=windows,
            keeper=self._keeper,
            clock=clock,
            alive=self._give_sign_of_life,
        )
        self._apply(self._orders)
        self._status_stop = threading.Event()
        self._status_thread = threading.Thread(target=self._report, name="status")

    def open(self) -> None:
        """Open the interfaces, so that what forbids it is known before anything else starts.

        Raises:
            CaptureDeniedError: when the process may not capture.
        """
        self.capture.check_interfaces()

    def run(self, stop: threading.Event) -> None:
        """Record until ``stop``; the last window is sealed and spooled.

        Raises:
            CaptureDeniedError: when the process may not capture.
            StateError: when sealing has stopped.
        """
        self._log_start()
        _share_heap()
        # Before the other threads start, which inherit it: one that waits for a processor while it
        # holds the interpreter's lock would stall the emptying of the rings.
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, 0, self._config.nice)
        self._keeper.start()
        self._status_thread.start()
        try:
            self.capture.run(stop)
        finally:
            self._watchdog.say_stopping()
            self._keeper.stop()
            self._status_stop.set()
            self._status_thread.join()
            self._write_status(running=False)
            self._state.unlock()
        if self._keeper.failure is not None:
            raise StateError(f"sealing stopped: {self._keeper.failure}") from self._keeper.failure

    def _log_start(self) -> None:
        declaration = self.capture.exclusion.declaration
        _log.info(
            "Recording starts",
            extra={
                "interfaces": ",".join(self._config.interfaces),
                "payload_bytes": self._config.payload_bytes,
                "exclusion": "; ".join(declaration),
                "exclusion_digest": self.capture.exclusion.digest,
            },
        )

    def _find_new_identity(self) -> SealingIdentity | None:
        """Give the identity when a rotation or a recovery has changed it."""
        found = self._identity_watch.look()
        if found is None:
            return None
        _log.info(
            "The identity has changed", extra={"key_no": found.sealing.key_no, "epoch": found.sealing.epoch}
        )
        if found.sealing.epoch != self._epoch:
            self._epoch, self._first_seq = found.sealing.epoch, 1
        return found.sealing

    def _report(self) -> None:
        while not self._status_stop.wait(self._config.status_seconds):
            self._obey(read_orders(self._state))
            self._learn_names()
            self._write_status(running=True)

    def _learn_names(self) -> None:
        """Leave out also what the sending process has found since; what was declared stays."""
        told = read_names(self._state)
        names = {name: merge_addresses(self._names.get(name, ()), told.get(name, ())) for name in told}
        names = {**self._names, **names}
        if names == self._names:
            return
        self._names = names
        self.capture.exclusion = build_exclusion(self._config, gateway_url=self._gateway_url, names=names)

    def _give_sign_of_life(self) -> None:
        """Tell systemd that capture goes round, as long as sealing does too."""
        if self._clock.monotonic() - self._keeper.stepped_at < _SEALING_SECONDS:
            self._rounds += 1
            self._watchdog.feed()

    def _obey(self, orders: Orders) -> None:
        told = _list_settings(orders)
        if told != _list_settings(self._orders):
            _log.info("The gateway has set the sensor", extra=told)
        self._orders = orders
        self._apply(orders)

    def _apply(self, orders: Orders) -> None:
        config, capture = self._config, self.capture
        capture.payload_bytes = orders.limit_payload(config.payload_bytes)
        capture.examples.per_window = orders.limit_examples(config.examples_per_window)
        ordinary = orders.window_seconds or self._config.window_seconds
        is_live = orders.live or self._config.live
        self.capture.window_seconds = self._config.live_window_seconds if is_live else ordinary

    def _write_status(self, *, running: bool) -> None:
        with contextlib.suppress(OSError):
            self._state.write_json(CAPTURE_STATUS, self._as_status(running=running))

    def _as_status(self, *, running: bool) -> dict[str, Any]:
        spool = self._spool
        return {
            "running": running,
            "pid": os.getpid(),
            "software": teiten.__version__,
            "release": self._release,
            "rounds": self._rounds,
            "epoch": self._epoch,
            "first_seq": self._first_seq,
            "boot_id": self._boot_id,
            "started_at_us": self._started_at_us,
            "written_at_us": self._clock.now_us(),
            "packets": {**vars(self.capture.counts), **vars(self.capture.examples.counts)},
            "watched": [str(network) for network in self.capture.watched],
            "mode": self._config.mode,
            "payload_bytes": self.capture.payload_bytes,
            "examples_per_window": self.capture.examples.per_window,
            "window_seconds": self.capture.window_seconds,
            "interfaces": [_describe(interface) for interface in self.capture.interfaces],
            "exclusion": list(self.capture.exclusion.declaration),
            "names": {name: list(found) for name, found in self._names.items()},
            "exclusion_digest": self.capture.exclusion.digest,
            "spool": {
                "waiting": spool.waiting,
                "waiting_bytes": spool.waiting_bytes,
                "oldest_window_us": spool.oldest_window_us,
                "lost_batches": spool.lost_batches,
                "held_windows": self._keeper.held_windows,
                **vars(spool.counts),
            },
            "ring_fill_permille": self.capture.ring_fill.permille if running else None,
            "last_window_end_us": spool.last_window_end_us,
            "last_error": self._find_error(),
        }

    def _find_error(self) -> str:
        errors = [interface.error for interface in self.capture.interfaces if interface.error]
        if not errors and not self.capture.watched:
            names = ", ".join(self._config.interfaces)
            errors.append(f"nothing is watched: {names} holds no address; set sensor.observed")
        if self._keeper.held_windows:
            errors.append(self._keeper.last_error)
        return "; ".join(errors)


def _list_settings(orders: Orders) -> dict[str, Any]:
    """Give what somebody has set: the clock's offset is measured anew with every heartbeat."""
    return {name: value for name, value in dataclasses.asdict(orders).items() if name != "clock_offset_us"}


def _share_heap() -> None:
    """Have all threads allocate from one heap (glibc): one each keeps 2 MB more after a flood."""
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 1)


def phase_of(sensor: int, length_seconds: int) -> int:
    """Give the sensor's own phase, µs: ``hash(sensor)`` modulo the window's length, spread evenly."""
    digest = hashlib.sha256(f"teiten-phase-{sensor}".encode()).digest()
    return int.from_bytes(digest[:8], "big") % (length_seconds * 1_000_000)


def _describe(interface: WatchedInterface) -> dict[str, Any]:
    return {
        "name": interface.name,
        "state": interface.state,
        "addresses": [str(network) for network in interface.addresses],
        "offloads": list(interface.offloads),
        "losses": interface.losses,
        "error": interface.error,
    }


def _with_interface(config: SensorConfig) -> SensorConfig:
    if config.interfaces:
        return config
    name = find_default_interface()
    if name is None:
        raise CaptureError(
            "there is no default route to find the interface by; set sensor.interfaces or --interface"
        )
    return dataclasses.replace(config, interfaces=(name,))
