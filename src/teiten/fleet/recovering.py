"""Recovery: a new key and a new epoch for a sensor whose key is lost, or in two hands.

An administrator issues a token for this one sensor; the machine that is to be the
sensor from now on uses it once. Every older key stops signing requests with that
moment, so a clone is out; batches that older keys have sealed stay what they are and
may still come from the recovered machine's spool. Numbers begin again at 1 in the
new epoch. Batches that were kept back wait for a decision (:mod:`teiten.fleet.holding`).

So too a sensor comes back that its host withdrew: until the new key is there, it stays
withdrawn. What an operator revoked stays revoked.
"""

from __future__ import annotations

from datetime import datetime

from django.db import transaction

from teiten.fleet import journal, metrics, services, tokens
from teiten.fleet.checking import check_reason, checked_cidr
from teiten.fleet.config import FleetConfig
from teiten.fleet.enrolling import Enrolled, answer_for
from teiten.fleet.errors import EnrolmentError, SensorStateError
from teiten.fleet.heartbeats import address_of
from teiten.fleet.models import (
    EnrolmentToken,
    Sensor,
    SensorEventKind,
    SensorHealth,
    SensorKey,
    SensorState,
    StoppedBy,
    TokenPurpose,
)
from teiten.fleet.services import Act, IssuedToken
from teiten.protocol import recovery
from teiten.protocol.recovery import RecoverRequest

#: States of a sensor that once had a key, and may have another.
_RECOVERABLE = frozenset(
    {
        SensorState.ACTIVE,
        SensorState.QUARANTINED,
        SensorState.SUSPENDED,
        SensorState.PENDING_APPROVAL,
    }
)


def is_recoverable(sensor: Sensor) -> bool:
    """Tell whether a sensor may be given a new key: it had one, and no operator has ended it."""
    return sensor.state in _RECOVERABLE or _is_withdrawn(sensor)


def issue_recovery(
    sensor: Sensor, *, reason: str, act: Act, config: FleetConfig, cidr: str = ""
) -> IssuedToken:
    """Issue a recovery token for an enrolled sensor; older unused tokens of it stop working.

    Raises:
        SensorStateError: when it never enrolled, or an operator has revoked it.
        FleetInputError: without a reason, or when ``cidr`` is no network.
    """
    check_reason(reason)
    network = checked_cidr(cidr)
    with transaction.atomic():
        locked = services.lock_sensor(sensor.pk)
        if not is_recoverable(locked):
            raise SensorStateError(
                f"sensor {locked.name} is {locked.state}; only a sensor that has enrolled can be recovered"
                " (`teiten sensor token` is for one that has not)"
            )
        issued = services.add_token(
            locked, purpose=TokenPurpose.RECOVER, network=network, act=act, config=config
        )
        journal.record_event(
            SensorEventKind.RECOVERY_ISSUED,
            locked,
            at=act.at,
            actor=act.actor,
            token=issued.token_id,
            reason=reason.strip(),
            **({"withdrawn": True} if _is_withdrawn(locked) else {}),
        )
    return issued


def recover_sensor(request: RecoverRequest, *, peer: str, now: datetime) -> Enrolled:
    """Give the sensor of the request's token the request's key, in a new epoch.

    Raises:
        EnrolmentError: with the reason; nothing but an alarm was written.
    """
    outcome = tokens.settle(lambda: _decide(request, peer=address_of(peer), now=now))
    metrics.RECOVERIES.labels(outcome.code if isinstance(outcome, EnrolmentError) else "accepted").inc()
    if isinstance(outcome, EnrolmentError):
        raise outcome
    return outcome


def _decide(request: RecoverRequest, *, peer: str | None, now: datetime) -> Enrolled | EnrolmentError:
    recovery.verify_possession(request)
    token = tokens.lock_token(request.token_id, TokenPurpose.RECOVER)
    if isinstance(token, EnrolmentError):
        return token
    sensor = services.lock_sensor(token.sensor_id)
    refusal = _reason_to_refuse(request, token, sensor, peer=peer, now=now)
    if refusal is not None:
        tokens.note_refusal(token, refusal, peer=peer, now=now)
        return refusal
    if token.used_at is not None:
        return answer_for(sensor, SensorKey.objects.get(public_key=request.public_key))
    return _renew(request, token, sensor, peer=peer, now=now)


def _reason_to_refuse(
    request: RecoverRequest, token: EnrolmentToken, sensor: Sensor, *, peer: str | None, now: datetime
) -> EnrolmentError | None:
    if token.used_at is not None:
        return tokens.check_repeat(token, request.public_key, peer=peer, now=now)
    refusal = tokens.check_token(token, peer=peer, now=now) or _check_sensor(request, sensor)
    return refusal or tokens.check_proof(token, lambda secret: recovery.verify_proof(request, secret))


def _check_sensor(request: RecoverRequest, sensor: Sensor) -> EnrolmentError | None:
    if request.sensor is not None and request.sensor != sensor.pk:
        return EnrolmentError(
            "token_sensor",
            f"this token is for sensor {sensor.pk}, and this machine is sensor {request.sensor}",
        )
    if not is_recoverable(sensor):
        return EnrolmentError("sensor_state", f"the sensor is {sensor.state}; it cannot be recovered")
    return None


def _renew(
    request: RecoverRequest, token: EnrolmentToken, sensor: Sensor, *, peer: str | None, now: datetime
) -> Enrolled:
    sensor.keys.filter(revoked_at=None).update(revoked_at=now)
    sensor.epoch += 1
    if sensor.state in (SensorState.QUARANTINED, SensorState.REVOKED):
        sensor.state, sensor.stopped_by = _state_after(sensor), StoppedBy.NOBODY
    sensor.save(update_fields=["epoch", "state", "stopped_by"])
    key = services.add_key(sensor, public_key=request.public_key, at=now)
    tokens.use_token(token, request.public_key, peer=peer, now=now)
    # Heartbeats of older keys open nothing any more, so the counter may begin anew.
    SensorHealth.objects.filter(sensor=sensor).update(counter=0)
    services.forget_suspicion(sensor)
    journal.record_event(
        SensorEventKind.RECOVERED, sensor, at=now, key_no=key.key_no, epoch=sensor.epoch, peer=peer
    )
    return answer_for(sensor, key)


def _is_withdrawn(sensor: Sensor) -> bool:
    by_host = sensor.state == SensorState.REVOKED and sensor.stopped_by == StoppedBy.HOST
    return by_host and sensor.enrolled_at is not None and sensor.organisation.is_active


def _state_after(sensor: Sensor) -> SensorState:
    """Give what a stopped sensor becomes: withdrawing one that nobody has approved approves nothing."""
    waited = sensor.events.filter(
        kind=SensorEventKind.ENROLLED, detail__state=SensorState.PENDING_APPROVAL.value
    )
    is_approved = sensor.events.filter(kind=SensorEventKind.APPROVED).exists()
    return SensorState.PENDING_APPROVAL if waited.exists() and not is_approved else SensorState.ACTIVE
