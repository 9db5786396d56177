"""What people do about alarms."""

from __future__ import annotations

from django.db import transaction

from teiten.accounts import audit
from teiten.accounts.models import Role
from teiten.fleet.alarms import metrics
from teiten.fleet.alarms.models import Alarm
from teiten.fleet.alarms.watching import OF_EVENTS
from teiten.fleet.errors import FleetError
from teiten.fleet.services import Act


class AlarmError(FleetError):
    """There is no such alarm, or it is over."""


def acknowledge(alarm: Alarm, *, act: Act) -> Alarm:
    """Note that somebody looks after an alarm; what an event raised is closed by it.

    A group is acknowledged with its parts. The second one changes nothing.

    What an event raised may be what somebody of the host did himself: only operators close that.

    Raises:
        AlarmError: when it is over, concerns another organisation, or is for operators.
    """
    with transaction.atomic():
        locked = Alarm.objects.select_for_update(of=("self",)).get(pk=alarm.pk)
        if not _may_acknowledge(locked, act):
            raise AlarmError(f"there is no alarm {alarm.pk}; `teiten alarm list` names them")
        if locked.kind in OF_EVENTS and not _is_operator(act):
            raise AlarmError(f"alarm {locked.pk} is for the operators to look at; ask them to acknowledge it")
        if locked.closed_at is not None:
            raise AlarmError(
                f"alarm {locked.pk} has been over since {locked.closed_at:%Y-%m-%d %H:%M:%S} UTC"
            )
        if locked.acknowledged_at is not None:
            return locked
        locked.acknowledged_at, locked.acknowledged_by = act.at, act.actor
        if locked.kind in OF_EVENTS:
            locked.closed_at = max(act.at, locked.opened_at)
        locked.save(update_fields=["acknowledged_at", "acknowledged_by", "closed_at"])
        locked.parts.filter(closed_at=None, acknowledged_at=None).update(
            acknowledged_at=act.at, acknowledged_by=act.actor
        )
        facts = {"kind": locked.kind, "sensor": locked.sensor_id, "group": locked.group}
        subject = f"sensor:{locked.sensor_id}" if locked.sensor_id else f"alarm:{locked.pk}"
        audit.append("alarm.acknowledged", subject, {"alarm": locked.pk, **facts}, act)
    metrics.ALARMS.labels(locked.kind, "acknowledged").inc()
    return locked


def get_alarm(number: int) -> Alarm:
    """Give an alarm by its number.

    Raises:
        AlarmError: when there is none.
    """
    found = Alarm.objects.filter(pk=number).first()
    if found is None:
        raise AlarmError(f"there is no alarm {number}; `teiten alarm list` names them")
    return found


def _may_acknowledge(alarm: Alarm, act: Act) -> bool:
    if act.actor is None or _is_operator(act):
        return True
    return alarm.organisation_id is not None and alarm.organisation_id == act.actor.organisation_id


def _is_operator(act: Act) -> bool:
    return act.actor is None or act.actor.has_role(Role.OPERATOR)
