"""One simulated sensor: a real key, a real enrolment, real seals and TLS; only the packets are made."""

from __future__ import annotations

import base64
import contextlib
import logging
import platform
import secrets
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from teiten.foundation.clock import Clock
from teiten.foundation.logs import OncePer
from teiten.protocol import enrolment, keys
from teiten.protocol.heartbeat import Heartbeat, HeartbeatAnswer, InterfaceState
from teiten.sensor import column_sets
from teiten.sensor.connection import GatewayAddress
from teiten.sensor.errors import (
    BusyError,
    ClockSkewError,
    ConflictError,
    RefusedError,
    StandingError,
    UplinkError,
)
from teiten.sensor.sealing import SealedBatch, SealingIdentity
from teiten.sensor.uplink import Uplink
from teiten.simulators import metrics
from teiten.simulators.config import SensorPlan
from teiten.simulators.errors import FleetStateError, FleetStoppedError, WorkOrderError
from teiten.simulators.ledger import Ledger, PendingBatch, Standing
from teiten.simulators.quick_sealing import seal_window
from teiten.simulators.recorder import SOFTWARE, PlannedWindow, Recorder, read_facts, write_facts

_log = logging.getLogger(__name__)

#: Gives the enrolment token of the sensor with that name.
TokenProvider = Callable[[str], str]
_SHORTEST_WAIT_SECONDS, _LONGEST_WAIT_SECONDS = 0.25, 15.0
_STANDING_WAIT_SECONDS = 20.0
_TROUBLE_SECONDS = 30.0
_DISK_FREE_BYTES = 64_000_000_000

#: One line for a whole fleet that cannot reach its gateway.
_trouble = OncePer(_TROUBLE_SECONDS)


class SimulatedSensor:
    """Seals and sends what its recorder gives; any thread may call, one request runs at a time."""

    def __init__(
        self,
        plan: SensorPlan,
        recorder: Recorder,
        *,
        ledger: Ledger,
        address: GatewayAddress,
        gateway_keys: dict[str, bytes],
        folder: Path,
        clock: Clock,
        stop: threading.Event,
        boot_id: str,
    ) -> None:
        self.plan = plan
        self.recorder = recorder
        self._ledger = ledger
        self._address = address
        self._gateway_keys = gateway_keys
        self._key_file = folder / f"{plan.name}.pem"
        self._clock = clock
        self._stop = stop
        self._boot_id = boot_id
        self._lock = threading.Lock()
        self._uplink: Uplink | None = None
        self._identity: SealingIdentity | None = None
        self._started = clock.monotonic()
        self._captured = 0
        self._kernel_drops = 0
        self._last_window_end_us: int | None = None
        self._config_version = 0
        self._last_error = ""

    def join(self, provide_token: TokenProvider | None) -> bool:
        """Take up the identity of an earlier start, or enrol; give True when it was enrolled now.

        Raises:
            FleetStateError: when key and ledger do not fit.
            WorkOrderError: when a token is needed and there is none.
            UplinkError: when the gateway refuses.
            FleetStoppedError: when the fleet is stopped meanwhile.
        """
        standing = self._ledger.find_standing(self.plan.name)
        is_new = standing is None
        if standing is None:
            standing = self._enrol(provide_token)
            self._ledger.add_sensor(self.plan.name, standing)
        self._identity = SealingIdentity(
            standing.number, standing.key_no, standing.epoch, private_key=self._load_key()
        )
        self._uplink = Uplink(
            self._address,
            self._clock,
            identity=self._identity,
            gateway_keys={**read_gateway_keys(standing.gateway_keys.split()), **self._gateway_keys},
        )
        return is_new

    def deliver(self, window: PlannedWindow) -> int:
        """Send one window, or lose it as planned, and give its number of packets.

        Raises:
            FleetStoppedError: when the fleet is stopped first; the next start goes on.
        """
        with self._lock:
            name, seq = self.plan.name, self._ledger.last_seq(self.plan.name) + 1
            if window.is_lost:
                self._ledger.lose(name, seq, window.start_us, window.end_us)
                metrics.BATCHES.labels("lost").inc()
                return 0
            facts = write_facts(self.recorder.draft(window), self._ledger.list_tombstones(name))
            pending = PendingBatch(seq, window.start_us, window.end_us, facts)
            self._ledger.begin(name, pending)
            return self._send(pending)

    def resend(self) -> int:
        """Send again what an earlier start left without a receipt; give the number of batches."""
        with self._lock:
            waiting = self._ledger.list_pending(self.plan.name)
            for pending in waiting:
                self._send(pending)
            return len(waiting)

    def beat(self) -> HeartbeatAnswer | None:
        """Send a heartbeat; None when the gateway did not take it."""
        with self._lock:
            uplink = self._require_uplink()
            try:
                answer = uplink.heartbeat(self._describe())
            except ClockSkewError as error:
                uplink.clock_offset_us = error.offset_us
                self._miss_beat(error)
                return None
            except UplinkError as error:
                self._miss_beat(error)
                return None
            self._config_version = answer.config.version
            metrics.HEARTBEATS.labels("ok").inc()
            return answer

    def close(self) -> None:
        if self._uplink is not None:
            self._uplink.close()

    def _miss_beat(self, error: UplinkError) -> None:
        self._last_error = str(error)[:200]
        metrics.HEARTBEATS.labels(type(error).__name__).inc()

    def _send(self, pending: PendingBatch) -> int:
        """Make the batch from its facts and send it until it is settled."""
        if self._identity is None:
            raise FleetStateError(f"sensor {self.plan.name} has not joined the fleet yet")
        draft, lost = read_facts(pending.header)
        columns = self.recorder.record(PlannedWindow(pending.start_us, pending.end_us))
        sealed = seal_window(self._identity, draft, columns, seq=pending.seq, lost=lost)
        outcome = self._send_until_settled(sealed)
        self._ledger.finish(self.plan.name, pending)
        metrics.BATCHES.labels(outcome).inc()
        rows = column_sets.count_rows(columns)
        metrics.PACKETS.inc(rows)
        self._captured += rows
        self._kernel_drops += draft.kernel_drops
        self._last_window_end_us = max(self._last_window_end_us or 0, draft.window_end_us)
        return rows

    def _send_until_settled(self, sealed: SealedBatch) -> str:
        uplink = self._require_uplink()
        for wait in _growing_waits():
            try:
                uplink.send(sealed)
            except (ConflictError, RefusedError) as error:
                # Not to be tried again: the gateway holds that number, or will never take these bytes.
                self._note(error, sealed.seq)
                return "conflict" if isinstance(error, ConflictError) else "refused"
            except UplinkError as error:
                self._pause(error, uplink, wait)
            else:
                self._last_error = ""
                return "receipted"
        raise FleetStoppedError(
            f"sensor {self.plan.name} was stopped before batch {sealed.seq} was receipted"
        )

    def _pause(self, error: UplinkError, uplink: Uplink, wait_seconds: float) -> None:
        """Wait as long as the error asks for.

        Raises:
            FleetStoppedError: when the fleet is stopped meanwhile.
        """
        self._last_error = str(error)[:200]
        metrics.RETRIES.labels(type(error).__name__).inc()
        if _trouble.is_due(type(error).__name__, self._clock.monotonic()):
            _log.warning(
                "a simulated sensor cannot send and tries again",
                extra={"sensor": self.plan.name, "error": str(error), "wait_seconds": round(wait_seconds, 1)},
            )
        if isinstance(error, ClockSkewError):
            uplink.clock_offset_us = error.offset_us
        elif isinstance(error, BusyError):
            wait_seconds = error.retry_after_seconds
        elif isinstance(error, StandingError):
            wait_seconds = _STANDING_WAIT_SECONDS
        if self._stop.wait(wait_seconds):
            raise FleetStoppedError(
                f"sensor {self.plan.name} was stopped while it waited: {error}"
            ) from error

    def _note(self, error: UplinkError, seq: int) -> None:
        self._last_error = str(error)[:200]
        _log.warning(
            "the gateway did not take a batch of a simulated sensor",
            extra={"sensor": self.plan.name, "batch": seq, "error": str(error)},
        )

    def _enrol(self, provide_token: TokenProvider | None) -> Standing:
        text = self.plan.token or (provide_token(self.plan.name) if provide_token else "")
        if not text:
            raise WorkOrderError(
                f"sensor {self.plan.name} is not enrolled yet and has no token in the work order"
            )
        with contextlib.closing(
            Uplink(self._address, self._clock, gateway_keys=self._gateway_keys)
        ) as uplink:
            for wait in _growing_waits():
                request = enrolment.make_request(
                    enrolment.parse_token(text),
                    self._load_key(),
                    facts=_describe_machine(),
                    created_s=(self._clock.now_us() + (uplink.clock_offset_us or 0)) // 1_000_000,
                    nonce=secrets.token_urlsafe(16),
                )
                try:
                    answer = uplink.enrol(request)
                except (ConflictError, RefusedError, StandingError):
                    raise
                except UplinkError as error:
                    self._pause(error, uplink, wait)
                else:
                    told = " ".join(
                        f"{key.key_id}={keys.to_text(key.public_key)}" for key in answer.gateway_keys
                    )
                    return Standing(answer.sensor, answer.key_no, answer.epoch, told)
        raise FleetStoppedError(f"sensor {self.plan.name} was stopped before it was enrolled")

    def _load_key(self) -> Ed25519PrivateKey:
        """Give the sensor's key, making it at first; it is on disk before anybody hears of it."""
        if not self._key_file.exists():
            if self._ledger.find_standing(self.plan.name) is not None:
                raise FleetStateError(
                    f"key file {self._key_file} of the enrolled sensor {self.plan.name} is missing; "
                    "restore it, or remove the state folder and the sensor and enrol anew"
                )
            keys.save_private(keys.generate_key(), self._key_file)
        return keys.load_private(self._key_file)

    def _require_uplink(self) -> Uplink:
        if self._uplink is None:
            raise FleetStateError(f"sensor {self.plan.name} has not joined the fleet yet")
        return self._uplink

    def _describe(self) -> Heartbeat:
        addresses = tuple(prefix.partition("/")[0] for prefix in self.plan.prefixes)
        return Heartbeat(
            counter=self._ledger.next_beat(self.plan.name),
            boot_id=self._boot_id,
            software=SOFTWARE,
            uptime_s=int(self._clock.monotonic() - self._started),
            clock_offset_us=self.recorder.clock_offset_us(self._clock.now_us()),
            captured=self._captured,
            kernel_drops=self._kernel_drops,
            excluded=0,
            spool_batches=0,
            spool_bytes=0,
            disk_free_bytes=_DISK_FREE_BYTES,
            last_error=self._last_error,
            last_window_end_us=self._last_window_end_us,
            config_version=self._config_version,
            interfaces=(InterfaceState("sim0", "up", addresses),),
        )


def read_gateway_keys(texts: list[str] | tuple[str, ...]) -> dict[str, bytes]:
    """Read ``id=base64`` (either alphabet, with or without padding).

    Raises:
        WorkOrderError: when one has another form.
    """
    found = {}
    for text in texts:
        name, _, value = text.partition("=")
        plain = value.rstrip("=").replace("+", "-").replace("/", "_")
        try:
            raw = base64.urlsafe_b64decode(plain + "=" * (-len(plain) % 4))
        except ValueError:
            raw = b""
        if not name or len(raw) != keys.PUBLIC_KEY_BYTES:
            raise WorkOrderError(f"gateway key {text!r} must be id=base64 of 32 bytes")
        found[name] = raw
    return found


def _growing_waits() -> Iterator[float]:
    wait = _SHORTEST_WAIT_SECONDS
    while True:
        # Uniform in the upper half: sensors that failed together do not come back together.
        yield wait * (0.5 + secrets.randbelow(1000) / 2000)
        wait = min(wait * 2, _LONGEST_WAIT_SECONDS)


def _describe_machine() -> enrolment.Facts:
    return enrolment.Facts(
        os="simulated", arch=platform.machine(), python=platform.python_version(), software=SOFTWARE
    )
