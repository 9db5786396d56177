"""Batches that were kept back on suspicion: somebody decides what becomes of them.

While a sensor is quarantined nobody can say which of two machines sent what, so the
decision comes after the recovery (or the revocation): release them to the loader, or
discard them. Discarded batches stay in the ledger with their receipts and count
nowhere; what still comes of the same epoch is kept back again, until it is released.
"""

from __future__ import annotations

from dataclasses import dataclass

from django.db import transaction

from teiten.fleet import journal, landing_facts, services
from teiten.fleet.checking import check_reason
from teiten.fleet.errors import SensorStateError
from teiten.fleet.models import Sensor, SensorEventKind, SensorState
from teiten.fleet.services import Act


@dataclass(frozen=True)
class Decided:
    """What became of how many batches."""

    sensor: Sensor
    batches: int


def release_batches(sensor: Sensor, *, reason: str, act: Act) -> Decided:
    """Give batches that were kept back to the loader, and hold nothing more of their epochs.

    Raises:
        SensorStateError: when nothing is kept back, or nobody has recovered or revoked the sensor.
        FleetInputError: without a reason.
    """
    with transaction.atomic():
        locked = _lock_decidable(sensor, reason)
        epoch, locked.held_epoch = locked.held_epoch, 0
        locked.save(update_fields=["held_epoch"])
        batches = landing_facts.release_held(locked.pk)
        _note(SensorEventKind.HELD_RELEASED, locked, reason=reason, act=act, batches=batches, epoch=epoch)
    return Decided(locked, batches)


def discard_batches(sensor: Sensor, *, reason: str, act: Act) -> Decided:
    """Decide that batches that were kept back are never loaded.

    Raises:
        SensorStateError: when nothing is kept back, or nobody has recovered or revoked the sensor.
        FleetInputError: without a reason.
    """
    with transaction.atomic():
        locked = _lock_decidable(sensor, reason)
        batches = landing_facts.discard_held(locked.pk)
        _note(
            SensorEventKind.HELD_DISCARDED,
            locked,
            reason=reason,
            act=act,
            batches=batches,
            epoch=locked.held_epoch,
        )
    return Decided(locked, batches)


def _lock_decidable(sensor: Sensor, reason: str) -> Sensor:
    check_reason(reason)
    locked = services.lock_sensor(sensor.pk)
    if not locked.held_epoch:
        raise SensorStateError(f"nothing of sensor {locked.name} is kept back")
    if locked.held_epoch >= locked.epoch and locked.state != SensorState.REVOKED:
        raise SensorStateError(
            f"sensor {locked.name} is {locked.state} in epoch {locked.epoch}, which is under suspicion; recover it first"
            " (`teiten sensor recover`), or resume it if it was one machine after all"
        )
    return locked


def _note(kind: SensorEventKind, sensor: Sensor, *, reason: str, act: Act, batches: int, epoch: int) -> None:
    journal.record_event(
        kind, sensor, at=act.at, actor=act.actor, reason=reason.strip(), batches=batches, epoch=epoch
    )
