"""The sending process: wires outbox, uplink and reporter, and says how it is."""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import random
import signal
import threading
from typing import Any

from teiten.foundation.clock import Clock
from teiten.sensor import health, metrics
from teiten.sensor.config import SensorConfig
from teiten.sensor.connection import address_of
from teiten.sensor.errors import StateError
from teiten.sensor.metadata import PROVIDERS, MetadataService
from teiten.sensor.names import NameKeeper, list_names, resolve_name
from teiten.sensor.obeying.building import ObeyingParts, build_obedience
from teiten.sensor.outbox import Outbox
from teiten.sensor.reporting import SpoolReporter, read_orders
from teiten.sensor.rotation import KeyKeeper
from teiten.sensor.sealed import SealingIdentity
from teiten.sensor.sender import Sender
from teiten.sensor.state import (
    CAPTURE_STATUS,
    SENDING_STATUS,
    GatewaySettings,
    Identity,
    IdentityWatch,
    StateFolder,
    choose_gateway,
    choose_gateway_keys,
)
from teiten.sensor.stated_addresses import AddressBook, parse_public_addresses
from teiten.sensor.uplink import Uplink
from teiten.sensor.watchdog import find_watchdog

_log = logging.getLogger(__name__)
#: A step is a heartbeat and a batch, each tried twice; resolvers and the gateway may take their time.
_STUCK_SECONDS = 600.0


class Sending:
    """Everything that sends from one state folder.

    Raises:
        SensorError: when the settings, the identity or the state folder do not allow it.
    """

    def __init__(
        self,
        config: SensorConfig,
        state: StateFolder,
        clock: Clock,
        *,
        beats: bool = True,
        is_supervised: bool = False,
    ) -> None:
        watch = IdentityWatch(state)
        identity = state.load_identity()
        gateway = choose_gateway(config, identity.gateway)
        self._config = config
        self._beats = beats
        self._state = state
        self._clock = clock
        self._names = NameKeeper(state, list_names(config, gateway_url=gateway.url), clock)
        self._uplink = self._open_uplink(identity, gateway, watch=watch)
        self._book = open_book(config, MetadataService(clock))
        self._watchdog = find_watchdog(clock)
        self.outbox = Outbox(state.path / "spool")
        self._key_keeper = KeyKeeper(config, state, clock)
        self._obeying_error = ""
        self._obeying = self._build_obeying(identity.sealing, is_supervised=is_supervised) if beats else None
        obeying = self._obeying
        self.sender = Sender(
            self.outbox,
            self._uplink,
            reporter=SpoolReporter(
                state,
                self.outbox,
                clock,
                list_stated=lambda: self._book.stated,
                launcher_report=config.launcher_report,
                read_head=lambda: obeying.chain.head if obeying else None,
            ),
            config=config,
            clock=clock,
            rng=random.Random(),  # noqa: S311  # jitter, not a secret
            beats=beats,
            before_beat=self._key_keeper.look,
            obeying=obeying.obedience if obeying else None,
        )

    def _open_uplink(self, identity: Identity, gateway: GatewaySettings, *, watch: IdentityWatch) -> Uplink:
        config = self._config
        return Uplink(
            address_of(gateway, timeout_seconds=config.timeout_seconds),
            self._clock,
            identity=identity.sealing,
            gateway_keys=choose_gateway_keys(config, identity.gateway_keys),
            clock_offset_us=read_orders(self._state).clock_offset_us,
            renew=functools.partial(self._find_new_identity, watch),
            find_addresses=self._names.find if self._beats else resolve_name,
        )

    def run(self, stop: threading.Event) -> None:
        """Send until ``stop``, then what has just been sealed."""
        if self._beats:
            self._book.start()
            self._names.start()
        if self._obeying is not None:
            health.note_release(self._state, self._obeying.chain)
            self._obeying.start()
        reporter = threading.Thread(target=self._report, args=(stop,), name="status")
        reporter.start()
        try:
            if self._beats:
                self._names.wait_until_declared(stop)
            self.sender.run(stop)
        finally:
            stop.set()
            self._watchdog.say_stopping()
            self._book.stop()
            self._names.stop()
            if self._obeying is not None:
                self._obeying.stop()
            reporter.join()
            self._write_status(running=False)
            self._uplink.close()

    def _report(self, stop: threading.Event) -> None:
        self._watchdog.feed()
        while not stop.wait(self._config.status_seconds):
            self._write_status(running=True)
            if not self._is_stuck():
                self._watchdog.feed()

    def _build_obeying(self, identity: SealingIdentity, *, is_supervised: bool) -> ObeyingParts | None:
        """Build what obeys; a folder that does not allow it leaves a sensor that records and sends."""
        try:
            return build_obedience(
                self._config,
                self._state,
                identity,
                self._clock,
                is_supervised=is_supervised,
                rotate=self._key_keeper.rotate,
            )
        except StateError as error:
            self._obeying_error = str(error)
            _log.error("This sensor cannot obey commands", extra={"error": str(error)})
            return None

    def _find_new_identity(self, watch: IdentityWatch) -> SealingIdentity | None:
        """Give the identity when a rotation or a recovery has changed it; one that cannot be read is looked at again."""
        try:
            found = watch.look()
        except StateError:
            return None
        if found is None:
            return None
        if self._obeying is not None:
            self._obeying.record_key(found.sealing)
        return found.sealing

    def _is_stuck(self) -> bool:
        """Tell whether one step of sending lasts longer than every time-out in it together, and nothing moves."""
        since = self.sender.busy_since
        if since is None:
            return False
        return self._clock.monotonic() - max(since, self._uplink.moved_at) > _STUCK_SECONDS

    def _write_status(self, *, running: bool) -> None:
        status = self._as_status(running=running)
        with contextlib.suppress(OSError):
            self._state.write_json(SENDING_STATUS, status)
        if self._beats:
            waiting = len(self.outbox.list_waiting())
            health.write_health(self._state, status, beat_at_us=self.sender.beat_at_us, waiting=waiting)
        if self._config.metrics_dir is not None:
            capture = self._state.read_json(CAPTURE_STATUS)
            metrics.write_text_file(self._config.metrics_dir, capture, status)

    def _as_status(self, *, running: bool) -> dict[str, Any]:
        return {
            "running": running,
            "pid": os.getpid(),
            "written_at_us": self._clock.now_us(),
            **self.sender.as_status(),
            "public_addresses": [f"{one.local}={one.public} ({one.known_by})" for one in self._book.stated],
            "metadata_error": self._book.error,
            "key_error": self._key_keeper.error,
            "commands": vars(self._obeying.obedience.counts) if self._obeying else {},
            "commands_error": self._obeying_error,
        }


def open_book(config: SensorConfig, service: MetadataService) -> AddressBook:
    """Give what the settings know of public addresses, and who is to be asked.

    Raises:
        DeclarationError: for an entry of ``sensor.public_addresses`` that is not understood.
    """
    provider = PROVIDERS.get(config.metadata)
    ask = None if provider is None else functools.partial(provider, service)
    return AddressBook(parse_public_addresses(config.public_addresses), ask)


def stop_with_parent(stop: threading.Event) -> None:
    """Set ``stop`` when standard input ends; leave Ctrl-C to the parent."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def watch() -> None:
        while os.read(0, 1):
            pass
        stop.set()

    threading.Thread(target=watch, name="parent", daemon=True).start()
