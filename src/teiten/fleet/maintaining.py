"""Plan when sensors are off, so that their silence is no alarm and no gap in what was promised."""

from __future__ import annotations

from datetime import datetime

from django.db import transaction
from django.db.models import QuerySet

from teiten.fleet import journal, periods, services
from teiten.fleet.errors import FleetInputError, SensorUnknownError
from teiten.fleet.models import Maintenance, Sensor, SensorEventKind
from teiten.fleet.services import Act

_MOST_REASON_CHARACTERS = 200


def plan_maintenance(sensor: Sensor, *, start: datetime, end: datetime, reason: str, act: Act) -> Maintenance:
    """Plan a period in which a sensor does not observe; the past may be planned too.

    Raises:
        FleetInputError: when the period is reversed or overlaps another, or without a reason.
    """
    periods.check_order(start, end)
    _check_reason(reason)
    with transaction.atomic():
        locked = services.lock_sensor(sensor.pk)
        other = locked.maintenances.filter(start_at__lt=end, end_at__gt=start).first()
        if other is not None:
            raise FleetInputError(
                "from",
                f"{periods.tell_period(start, end)} overlaps maintenance {other.pk} of {locked.name} "
                f"({periods.tell_period(other.start_at, other.end_at)}: {other.reason}); cancel that one "
                f"(`teiten sensor maintenance {locked.name} --cancel {other.pk}`) or choose another period",
            )
        planned = Maintenance.objects.create(
            sensor=locked, start_at=start, end_at=end, reason=reason.strip(), by=act.actor
        )
        _note(planned, act=act, was="planned")
    return planned


def cancel_maintenance(number: int, *, sensor: Sensor, act: Act) -> Maintenance:
    """Take a planned period back; one that has begun ends now, one that is over stays.

    Raises:
        SensorUnknownError: when the sensor has no such period.
        FleetInputError: when it is over.
    """
    with transaction.atomic():
        locked = services.lock_sensor(sensor.pk)
        planned = locked.maintenances.filter(pk=number).first()
        if planned is None:
            raise SensorUnknownError(
                f"sensor {locked.name} has no maintenance {number}; `teiten sensor maintenance {locked.name}` lists it"
            )
        if planned.end_at <= act.at:
            raise FleetInputError(
                "cancel", f"maintenance {number} was over at {periods.tell(planned.end_at)}"
            )
        if planned.start_at < act.at:
            planned.end_at = act.at
            planned.save(update_fields=["end_at"])
            _note(planned, act=act, was="ended")
        else:
            planned.delete()
            planned.pk = number
            _note(planned, act=act, was="cancelled")
    return planned


def list_maintenance(sensor: Sensor) -> QuerySet[Maintenance]:
    """Give a sensor's planned periods, newest first."""
    return Maintenance.objects.filter(sensor=sensor).order_by("-start_at")


def _check_reason(reason: str) -> None:
    if not reason.strip():
        raise FleetInputError("reason", "say why; it stands beside the gap in the coverage")
    if len(reason.strip()) > _MOST_REASON_CHARACTERS:
        raise FleetInputError("reason", f"at most {_MOST_REASON_CHARACTERS} characters")


def _note(planned: Maintenance, *, act: Act, was: str) -> None:
    journal.record_event(
        SensorEventKind.MAINTENANCE,
        planned.sensor_id,
        at=act.at,
        actor=act.actor,
        was=was,
        entry=planned.pk,
        start=planned.start_at.isoformat(),
        end=planned.end_at.isoformat(),
        reason=planned.reason,
    )
