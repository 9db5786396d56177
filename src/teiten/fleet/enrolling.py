"""Enrolment: the one use of a token binds one key to one sensor.

The whole decision is one transaction that holds the token's row, so that two
requests with one token cannot both win. A request whose answer was lost is sent
again with the same key: the secret is gone by then, but the signature under the
bound key proves who asks, and the same answer is given until the token expires.
The token with another key is an alarm, never a change.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from teiten.fleet import journal, metrics, services, tokens
from teiten.fleet.config import FleetConfig
from teiten.fleet.errors import EnrolmentError
from teiten.fleet.heartbeats import address_of
from teiten.fleet.models import EnrolmentToken, Sensor, SensorEventKind, SensorKey, SensorState, TokenPurpose
from teiten.protocol import enrolment
from teiten.protocol.enrolment import EnrolRequest
from teiten.protocol.sensor_config import SensorConfig
from teiten.protocol.standing import Standing

_STANDINGS: dict[str, Standing] = {
    "pending_approval": "pending_approval",
    "suspended": "suspended",
    "quarantined": "quarantined",
}


@dataclass(frozen=True)
class Enrolled:
    """What the sensor is from now on."""

    sensor: int
    key_no: int
    epoch: int
    config: SensorConfig
    #: What keeps its batches out; None: nothing does.
    standing: Standing | None = None


def enrol_sensor(request: EnrolRequest, *, peer: str, now: datetime, config: FleetConfig) -> Enrolled:
    """Bind the request's key to the sensor of its token.

    Raises:
        EnrolmentError: with the reason; nothing but an alarm was written.
    """
    outcome = tokens.settle(lambda: _decide(request, peer=address_of(peer), now=now, config=config))
    metrics.ENROLMENTS.labels(outcome.code if isinstance(outcome, EnrolmentError) else "accepted").inc()
    if isinstance(outcome, EnrolmentError):
        raise outcome
    return outcome


def _decide(
    request: EnrolRequest, *, peer: str | None, now: datetime, config: FleetConfig
) -> Enrolled | EnrolmentError:
    enrolment.verify_possession(request)
    token = tokens.lock_token(request.token_id, TokenPurpose.ENROL)
    if isinstance(token, EnrolmentError):
        return token
    sensor = services.lock_sensor(token.sensor_id)
    refusal = _reason_to_refuse(request, token, sensor, peer=peer, now=now)
    if refusal is not None:
        tokens.note_refusal(token, refusal, peer=peer, now=now)
        return refusal
    if token.used_at is not None:
        return answer_for(sensor, SensorKey.objects.get(public_key=request.public_key))
    return _bind(request, token, sensor, peer=peer, now=now, config=config)


def _reason_to_refuse(
    request: EnrolRequest, token: EnrolmentToken, sensor: Sensor, *, peer: str | None, now: datetime
) -> EnrolmentError | None:
    if token.used_at is not None:
        return tokens.check_repeat(token, request.public_key, peer=peer, now=now)
    refusal = tokens.check_token(token, peer=peer, now=now)
    if refusal is None and sensor.state != SensorState.TOKEN_ISSUED:
        refusal = EnrolmentError("sensor_state", f"the sensor is {sensor.state}; it cannot be enrolled")
    return refusal or tokens.check_proof(token, lambda secret: enrolment.verify_proof(request, secret))


def _bind(
    request: EnrolRequest,
    token: EnrolmentToken,
    sensor: Sensor,
    *,
    peer: str | None,
    now: datetime,
    config: FleetConfig,
) -> Enrolled:
    key = services.add_key(sensor, public_key=request.public_key, at=now)
    tokens.use_token(token, request.public_key, peer=peer, now=now)
    waits = sensor.needs_approval or config.approve_sensors
    sensor.state = SensorState.PENDING_APPROVAL if waits else SensorState.ACTIVE
    sensor.enrolled_at = now
    sensor.save(update_fields=["state", "enrolled_at"])
    journal.record_event(
        SensorEventKind.ENROLLED,
        sensor,
        at=now,
        key_no=key.key_no,
        peer=peer,
        state=sensor.state,
        **_facts_of(request),
    )
    return answer_for(sensor, key)


def answer_for(sensor: Sensor, key: SensorKey) -> Enrolled:
    """Say what the holder of ``key`` is from now on."""
    return Enrolled(
        sensor=sensor.pk,
        key_no=key.key_no,
        epoch=key.epoch,
        config=services.config_of(sensor),
        standing=_STANDINGS.get(sensor.state),
    )


def _facts_of(request: EnrolRequest) -> dict[str, Any]:
    facts = request.facts
    return {"os": facts.os, "arch": facts.arch, "python": facts.python, "software": facts.software}
