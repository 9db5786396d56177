"""Key rotation: the old key brings in the next one, once, whatever gets lost on the way.

One transaction that holds the sensor's row: the old key is replaced and the new one
entered, or nothing. The same request again gets the same answer. Two different
successors of one key mean that two machines hold it: that is an alarm.

The old key stays good for the seals of the numbers that it may have sealed, so that
a long spool survives. How far that goes the sensor says; between its word and the
moment when the recording process takes the new key, some more windows are sealed
under the old one, for which :data:`OVERLAP` numbers are allowed.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from django.db import transaction

from teiten.fleet import journal, metrics, services
from teiten.fleet.errors import RotationError
from teiten.fleet.heartbeats import address_of
from teiten.fleet.models import Sensor, SensorEventKind, SensorKey, SensorState
from teiten.protocol.rotation import RotateAnswer, RotateRequest

#: Numbers after ``sealed_to`` that the old key may still seal; an hour of windows of one second is 3,600.
OVERLAP = 4096

#: Keys of one sensor within a day; each stays for ever, with a line in the history and one in the audit chain.
MOST_A_DAY = 24

_STANDS = {
    SensorState.QUARANTINED: "it is quarantined; its operator must recover it first",
    SensorState.SUSPENDED: "it is suspended; ask its operator",
    SensorState.PENDING_APPROVAL: "it waits for an operator's approval",
}


def rotate_key(request: RotateRequest, *, used_key_no: int, peer: str, now: datetime) -> RotateAnswer:
    """Replace the key ``used_key_no``, which signed the request, by the one in it.

    Raises:
        RotationError: with the reason; nothing but an alarm was written.
    """
    with transaction.atomic():
        outcome = _decide(request, used_key_no=used_key_no, peer=address_of(peer), now=now)
    code = outcome.code if isinstance(outcome, RotationError) else "accepted"
    metrics.ROTATIONS.labels(code).inc()
    if isinstance(outcome, RotationError):
        raise outcome
    return outcome


def _decide(
    request: RotateRequest, *, used_key_no: int, peer: str | None, now: datetime
) -> RotateAnswer | RotationError:
    sensor = services.lock_sensor(request.sensor)
    used = sensor.keys.filter(key_no=used_key_no, revoked_at=None).first()
    if used is None or sensor.state == SensorState.REVOKED:
        return RotationError("key_revoked", f"key {used_key_no} is not valid any more; recover the sensor")
    taken = SensorKey.objects.filter(public_key=request.public_key).first()
    if taken is not None:
        return _answer_again(request, used, taken)
    if used.superseded_at is not None:
        services.quarantine_sensor(
            sensor.pk, at=now, why="two keys want to follow the same one", key_no=used.key_no, peer=peer
        )
        return RotationError(
            "key_conflict", f"another key has followed key {used.key_no}; an operator has been told"
        )
    refusal = _reason_to_refuse(request, used, sensor, now=now)
    return refusal or _replace(sensor, used, request, peer=peer, now=now)


def _reason_to_refuse(
    request: RotateRequest, used: SensorKey, sensor: Sensor, *, now: datetime
) -> RotationError | None:
    if request.key_no != used.key_no + 1:
        return RotationError("key_number", f"the key after {used.key_no} is {used.key_no + 1}")
    if sensor.state != SensorState.ACTIVE:
        reason = _STANDS.get(SensorState(sensor.state), f"it is {sensor.state}")
        return RotationError(f"sensor_{sensor.state}", f"sensor {sensor.pk} cannot rotate its key: {reason}")
    if sensor.keys.filter(created_at__gt=now - timedelta(days=1)).count() >= MOST_A_DAY:
        return RotationError("rotated_often", f"a key is replaced at most {MOST_A_DAY} times a day")
    return None


def _answer_again(request: RotateRequest, used: SensorKey, taken: SensorKey) -> RotateAnswer | RotationError:
    """Give the answer that was lost; meanwhile the old key has sealed more."""
    is_ours = taken.sensor_id == used.sensor_id and taken.revoked_at is None
    if not is_ours or taken.key_no != request.key_no or taken.key_no != used.key_no + 1:
        return RotationError("key_taken", "this public key is in use already; make a new one")
    _extend(used, request)
    return RotateAnswer(taken.sensor_id, taken.key_no, taken.epoch)


def _replace(
    sensor: Sensor, used: SensorKey, request: RotateRequest, *, peer: str | None, now: datetime
) -> RotateAnswer:
    used.superseded_at = now
    used.save(update_fields=["superseded_at"])
    _extend(used, request)
    key = services.add_key(sensor, public_key=request.public_key, at=now, from_seq=request.sealed_to + 1)
    journal.record_event(
        SensorEventKind.KEY_ROTATED, sensor, at=now, key_no=key.key_no, sealed_to=request.sealed_to, peer=peer
    )
    return RotateAnswer(sensor.pk, key.key_no, key.epoch)


def _extend(used: SensorKey, request: RotateRequest) -> None:
    used.to_seq = max(used.to_seq or 0, request.sealed_to + OVERLAP)
    used.save(update_fields=["to_seq"])
