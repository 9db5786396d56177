"""Replace the sensor's key: write the next one, bring it in, flip. At every instant one key works.

The next key is on the disk before anybody hears of it. The gateway is asked with the
old key until it has answered; asking again is harmless. Then one rename makes the new
key the sensor's, and the old one is removed. After a crash, or an answer that was
lost, the next look finds the pending key and goes on with it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from pathlib import Path

from teiten.foundation.clock import Clock
from teiten.protocol import rotation
from teiten.protocol.rotation import RotateAnswer, RotateRequest
from teiten.sensor.config import SensorConfig
from teiten.sensor.connection import address_of
from teiten.sensor.errors import (
    ClockSkewError,
    ConflictError,
    RefusedError,
    SensorError,
    StandingError,
    UplinkError,
)
from teiten.sensor.reporting import read_orders
from teiten.sensor.slots import SlotFile
from teiten.sensor.spool_files import DONE, FAILED, READY, list_names, parse_name
from teiten.sensor.state import GatewaySettings, StateFolder, choose_gateway, choose_gateway_keys
from teiten.sensor.uplink import Uplink

_log = logging.getLogger(__name__)

#: File of a key that the gateway may not know yet.
PENDING = "key-next.pem"
_DAY_US = 86_400_000_000
#: Seconds until the next try after a refusal, which only a person can mend.
_REFUSED_SECONDS = 3_600.0
_RETRY_SECONDS = 55.0
#: A clock that was set by more says nothing of a key's age until the gateway has told the offset, or for so long.
_SET_US, _UNSURE_SECONDS = 60_000_000, 600.0


def _nothing(point: str) -> None:
    """Stand where tests kill the process."""


def rotate_key(
    state: StateFolder,
    gateway: GatewaySettings,
    *,
    clock: Clock,
    timeout_seconds: float = 30.0,
    gateway_keys: Mapping[str, bytes] | None = None,
    at: Callable[[str], None] = _nothing,
) -> int:
    """Give the sensor a new key; gives its number.

    Args:
        state: the enrolled sensor's folder; recording and sending processes of it take the new key by themselves.
        gateway: where to ask.
        clock: this machine's.
        timeout_seconds: for the gateway.
        gateway_keys: whose answers are believed; those of the enrolment if not given.
        at: called at the points ``pending``, ``answered`` and ``flipped``.

    Raises:
        StateError: when there is no identity, another process changes the key, or the disk refuses.
        UplinkError: when the gateway refuses or cannot be reached; the old key stands. Safe to repeat.
    """
    with state.changing_key():
        identity = state.load_identity()
        key_no, epoch = identity.sealing.key_no + 1, identity.sealing.epoch
        new_key = state.make_key(PENDING)
        at("pending")
        request = rotation.make_request(
            new_key,
            sensor=identity.sealing.sensor,
            key_no=key_no,
            sealed_to=find_last_seq(state.path, epoch=epoch),
        )
        with Uplink(
            address_of(gateway, timeout_seconds=timeout_seconds),
            clock,
            identity=identity.sealing,
            gateway_keys=gateway_keys or identity.gateway_keys,
            clock_offset_us=read_orders(state).clock_offset_us,
        ) as uplink:
            answer = _ask(uplink, request)
            at("answered")
            now_us = clock.now_us() + (uplink.clock_offset_us or 0)
        state.adopt_key(PENDING, key_no=answer.key_no, epoch=answer.epoch, at_us=now_us)
        at("flipped")
    _log.info("The sensor has a new key", extra={"key_no": answer.key_no})
    return answer.key_no


def find_last_seq(state_dir: Path, *, epoch: int) -> int:
    """Give the highest number that was sealed in an epoch, as far as the disk knows; 0: none."""
    numbers = [0]
    if (state_dir / "spool-state.bin").exists():
        slots = SlotFile(state_dir / "spool-state.bin")
        record = slots.record or {}
        slots.close()
        if record.get("epoch") == epoch:
            numbers.append(int(record["last_seq"]))
    for folder in (READY, DONE, FAILED):
        if (state_dir / "spool" / folder).is_dir():
            names = map(parse_name, list_names(state_dir / "spool" / folder))
            numbers += [name.seq for name in names if name is not None and name.epoch == epoch]
    return max(numbers)


class KeyKeeper:
    """Ends a rotation that was interrupted, and begins one when the key has become old."""

    def __init__(self, config: SensorConfig, state: StateFolder, clock: Clock) -> None:
        self._config = config
        self._state = state
        self._clock = clock
        self._not_before = 0.0
        #: Wall time that agrees with monotonic time 0, µs, and until when age is not believed.
        self._origin_us = self._find_origin_us()
        self._unsure_until = 0.0
        #: Why the last try failed; empty when there was none.
        self.error = ""

    def look(self) -> None:
        """Rotate when it is due; what goes wrong is logged and tried again later."""
        if self._clock.monotonic() < self._not_before or not self.is_due():
            return
        try:
            self.rotate()
            self.error = ""
        except SensorError as error:
            is_refused = isinstance(error, (ConflictError, RefusedError, StandingError))
            wait = _REFUSED_SECONDS if is_refused else _RETRY_SECONDS
            self._not_before = self._clock.monotonic() + wait
            self.error = str(error)
            _log.error("The key cannot be replaced now", extra={"error": str(error)})

    def rotate(self) -> int:
        """Rotate now; gives the new key's number.

        Raises:
            StateError, UplinkError: as :func:`rotate_key`.
        """
        enrolled = self._state.load_identity()
        return rotate_key(
            self._state,
            choose_gateway(self._config, enrolled.gateway),
            clock=self._clock,
            timeout_seconds=self._config.timeout_seconds,
            gateway_keys=choose_gateway_keys(self._config, enrolled.gateway_keys),
        )

    def is_due(self) -> bool:
        """Tell whether a rotation is under way, or the key is older than the settings want it."""
        if self._state.has_key(PENDING):
            return True
        if not self._config.key_days or not self._is_clock_sure():
            return False
        offset_us = read_orders(self._state).clock_offset_us or 0
        age_us = self._clock.now_us() + offset_us - self._state.keyed_at_us()
        return age_us > self._config.key_days * _DAY_US

    def _is_clock_sure(self) -> bool:
        """Tell whether the wall clock has gone on as it was for some time."""
        origin_us = self._find_origin_us()
        if abs(origin_us - self._origin_us) > _SET_US:
            self._origin_us = origin_us
            self._unsure_until = self._clock.monotonic() + _UNSURE_SECONDS
        return self._clock.monotonic() >= self._unsure_until

    def _find_origin_us(self) -> int:
        return self._clock.now_us() - round(self._clock.monotonic() * 1_000_000)


def _ask(uplink: Uplink, request: RotateRequest) -> RotateAnswer:
    try:
        answer = uplink.rotate(request)
    except ClockSkewError as error:
        uplink.clock_offset_us = error.offset_us
        answer = uplink.rotate(request)
    if (answer.sensor, answer.key_no) != (request.sensor, request.key_no):
        raise UplinkError(f"the gateway answered for key {answer.sensor}.{answer.key_no}, not ours")
    return answer
