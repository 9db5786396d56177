"""Enrolment: the one use of a token binds one key to one sensor.

The whole decision is one transaction that holds the token's row, so that two
requests with one token cannot both win. A request whose answer was lost is sent
again with the same key: the secret is gone by then, but the signature under the
bound key proves who asks, and the same answer is given until the token expires.
The token with another key is an alarm, never a change.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import IntegrityError, transaction

from teiten.fleet import journal, metrics, sealing, services
from teiten.fleet.config import FleetConfig
from teiten.fleet.errors import EnrolmentError, FleetError
from teiten.fleet.heartbeats import address_of
from teiten.fleet.models import EnrolmentToken, Sensor, SensorEvent, SensorEventKind, SensorKey, SensorState
from teiten.protocol import enrolment
from teiten.protocol.enrolment import EnrolRequest
from teiten.protocol.errors import SignatureError, TokenError
from teiten.protocol.sensor_config import SensorConfig

#: A reused token is written into the history at most this often.
_ALARM_EVERY = timedelta(hours=1)


@dataclass(frozen=True)
class Enrolled:
    """What the sensor is from now on."""

    sensor: int
    key_no: int
    epoch: int
    config: SensorConfig


def enrol_sensor(request: EnrolRequest, *, peer: str, now: datetime, config: FleetConfig) -> Enrolled:
    """Bind the request's key to the sensor of its token.

    Raises:
        EnrolmentError: with the reason; nothing but an alarm was written.
    """
    try:
        enrolment.verify_possession(request)
        with transaction.atomic():
            outcome = _decide(request, peer=address_of(peer), now=now, config=config)
    except SignatureError as error:
        outcome = EnrolmentError("bad_signature", str(error))
    except IntegrityError:
        outcome = EnrolmentError("key_taken", "this public key belongs to a sensor already; make a new key")
    if isinstance(outcome, EnrolmentError):
        metrics.ENROLMENTS.labels(outcome.code).inc()
        raise outcome
    metrics.ENROLMENTS.labels("accepted").inc()
    return outcome


def _decide(
    request: EnrolRequest, *, peer: str | None, now: datetime, config: FleetConfig
) -> Enrolled | EnrolmentError:
    """Give the answer or the refusal; what is written with a refusal (an alarm) stays written."""
    token = EnrolmentToken.objects.select_for_update().filter(pk=request.token_id).first()
    if token is None:
        return EnrolmentError("token_unknown", "this enrolment token is unknown; ask for a new one")
    sensor = services.lock_sensor(token.sensor_id)
    if token.used_at is not None:
        return _answer_again(request, token, sensor, peer=peer, now=now)
    refusal = _reason_to_refuse(request, token, sensor, peer=peer, now=now)
    if refusal is not None:
        return refusal
    return _bind(request, token, sensor, peer=peer, now=now, config=config)


def _answer_again(
    request: EnrolRequest, token: EnrolmentToken, sensor: Sensor, *, peer: str | None, now: datetime
) -> Enrolled | EnrolmentError:
    if bytes(token.used_key or b"") != request.public_key:
        _raise_alarm(token, now=now, peer=peer)
        return EnrolmentError(
            "token_used", "this enrolment token was used with another key; an operator has been told"
        )
    if now >= token.expires_at:
        return EnrolmentError(
            "token_expired", "this enrolment token has expired; the sensor is enrolled already"
        )
    return _answer_for(sensor, SensorKey.objects.get(public_key=request.public_key))


def _reason_to_refuse(
    request: EnrolRequest, token: EnrolmentToken, sensor: Sensor, *, peer: str | None, now: datetime
) -> EnrolmentError | None:
    if token.revoked_at is not None or token.sealed_secret is None:
        return EnrolmentError(
            "token_revoked", "this enrolment token was replaced or revoked; ask for a new one"
        )
    if now >= token.expires_at:
        return EnrolmentError("token_expired", "this enrolment token has expired; ask for a new one")
    if token.cidr and not _is_inside(peer, token.cidr):
        return EnrolmentError("token_address", "this enrolment token may not be used from this address")
    if sensor.state != SensorState.TOKEN_ISSUED:
        return EnrolmentError("sensor_state", f"the sensor is {sensor.state}; it cannot be enrolled")
    return _check_proof(request, bytes(token.sealed_secret))


def _check_proof(request: EnrolRequest, sealed_secret: bytes) -> EnrolmentError | None:
    try:
        enrolment.verify_proof(request, sealing.unseal(sealed_secret, name=request.token_id))
    except TokenError:
        return EnrolmentError("token_proof", "the proof is not of this token; copy the whole token again")
    except FleetError as error:
        return EnrolmentError("token_unreadable", str(error))
    return None


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
    token.used_at, token.used_key, token.used_from, token.sealed_secret = now, request.public_key, peer, None
    token.save(update_fields=["used_at", "used_key", "used_from", "sealed_secret"])
    sensor.state = SensorState.PENDING_APPROVAL if config.approve_sensors else SensorState.ACTIVE
    sensor.enrolled_at = now
    sensor.save(update_fields=["state", "enrolled_at"])
    journal.record_event(
        SensorEventKind.ENROLLED, sensor, at=now, key_no=key.key_no, peer=peer, **_facts_of(request)
    )
    return _answer_for(sensor, key)


def _answer_for(sensor: Sensor, key: SensorKey) -> Enrolled:
    return Enrolled(
        sensor=sensor.pk,
        key_no=key.key_no,
        epoch=sensor.epoch,
        config=services.config_of(sensor),
    )


def _raise_alarm(token: EnrolmentToken, *, now: datetime, peer: str | None) -> None:
    """Write the alarm, but not a row for each try of somebody who only knows the token's id."""
    earlier = SensorEvent.objects.filter(
        sensor=token.sensor_id,
        kind=SensorEventKind.TOKEN_REUSED,
        at__gt=now - _ALARM_EVERY,
        detail__token=token.pk,
    )
    if not earlier.exists():
        journal.record_event(SensorEventKind.TOKEN_REUSED, token.sensor_id, at=now, token=token.pk, peer=peer)


def _facts_of(request: EnrolRequest) -> dict[str, Any]:
    facts = request.facts
    return {"os": facts.os, "arch": facts.arch, "python": facts.python, "software": facts.software}


def _is_inside(peer: str | None, cidr: str) -> bool:
    return peer is not None and ipaddress.ip_address(peer) in ipaddress.ip_network(cidr)
