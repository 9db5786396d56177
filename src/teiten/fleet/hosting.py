"""What an organisation that houses sensors may do: name contacts, agree to commands, pause and withdraw its own.

Every act is checked against who does it: people act for their own organisation,
operators (and the command line) for any. A sensor of another organisation is as
unknown to a host as one that does not exist. What one person of a host may do is
bounded: acts an hour, contacts, and how far a plan silences alarms.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.core.exceptions import ValidationError
from django.db import IntegrityError, connection, transaction

from teiten.accounts import audit
from teiten.accounts.models import AuditRecord, Organisation, Role
from teiten.fleet import maintaining, services
from teiten.fleet.errors import (
    FleetInputError,
    HostBusyError,
    HostForbiddenError,
    SensorStateError,
    SensorUnknownError,
)
from teiten.fleet.models import (
    COMMAND_CLASSES,
    DEFAULT_CLASSES,
    HostAgreement,
    HostContact,
    Maintenance,
    Sensor,
    SensorState,
    StoppedBy,
)
from teiten.fleet.services import Act

#: Acts of one person of a host within an hour; each is a record of the audit chain.
MOST_ACTS_AN_HOUR = 300
#: Contacts of one host: each gets a mail about each alarm, whoever entered the address.
MOST_CONTACTS = 30
#: How long a host plans one of its sensors off, and how far ahead: silence is no alarm then.
LONGEST_PLAN, FARTHEST_PLAN = timedelta(days=31), timedelta(days=92)

_UNAGREED = """
SELECT s.id FROM fleet_sensor AS s LEFT JOIN fleet_hostagreement AS a ON a.organisation_id = s.organisation_id
WHERE s.id = ANY(%(sensors)s)
AND NOT (%(class)s = ANY(coalesce(a.command_classes, %(default)s::varchar[])))
ORDER BY s.id
"""


@dataclass(frozen=True)
class Host:
    """An organisation as the house of sensors."""

    organisation: Organisation
    contacts: tuple[HostContact, ...]
    #: Classes of commands that it has agreed to, in their order.
    command_classes: tuple[str, ...]
    #: When that was written down, and on what grounds; None and empty where it is the default.
    agreed_at: datetime | None
    note: str
    #: Sensors that are not revoked.
    sensors: int


def get_organisation(code: str) -> Organisation:
    """Give an organisation by its code.

    Raises:
        SensorUnknownError: when there is none.
    """
    found = Organisation.objects.filter(code=code).first()
    if found is None:
        raise SensorUnknownError(f"there is no organisation {code!r}")
    return found


def find_host(organisation: Organisation) -> Host:
    """Give what is known of a host; the caller decides who may see it."""
    agreement = HostAgreement.objects.filter(organisation=organisation).first()
    return Host(
        organisation=organisation,
        contacts=tuple(organisation.host_contacts.order_by("name", "pk")),
        command_classes=DEFAULT_CLASSES if agreement is None else tuple(sorted(agreement.command_classes)),
        agreed_at=None if agreement is None else agreement.agreed_at,
        note="" if agreement is None else agreement.note,
        sensors=organisation.sensors.exclude(state=SensorState.REVOKED).count(),
    )


def find_unagreed(sensors: Sequence[int], command_class: str) -> list[int]:
    """Give those of ``sensors`` whose host has not agreed to commands of a class, by number."""
    values: dict[str, Any] = {
        "sensors": list(sensors),
        "class": command_class,
        "default": list(DEFAULT_CLASSES),
    }
    with connection.cursor() as cursor:
        cursor.execute(_UNAGREED, values)
        return [sensor for (sensor,) in cursor.fetchall()]


def add_contact(organisation: Organisation, *, name: str, mail: str, language: str, act: Act) -> HostContact:
    """Enter somebody who is told when something is wrong with the host's sensors.

    Raises:
        HostForbiddenError: when the person is of another organisation.
        FleetInputError: when a value breaks a rule, or the address is there already.
    """
    check_house(organisation, act)
    contact = HostContact(
        organisation=organisation,
        name=name.strip(),
        mail=mail.strip(),
        language=language,
        created_at=act.at,
        created_by=act.actor,
    )
    try:
        contact.full_clean(exclude=["created_by"], validate_unique=False, validate_constraints=False)
    except ValidationError as error:
        field, messages = next(iter(error.message_dict.items()))
        raise FleetInputError(field, " ".join(map(str, messages))) from error
    if organisation.host_contacts.count() >= MOST_CONTACTS:
        raise FleetInputError(
            "mail", f"{organisation.code} has {MOST_CONTACTS} contacts, which is all it may have"
        )
    try:
        with transaction.atomic():
            contact.save(force_insert=True)
            facts = {"contact": contact.pk, "name": contact.name, "mail": contact.mail}
            audit.append("host.contact_added", _subject(organisation), facts, act)
    except IntegrityError as error:
        raise FleetInputError(
            "mail", f"{contact.mail} is a contact of {organisation.code} already"
        ) from error
    return contact


def remove_contact(organisation: Organisation, number: int, *, act: Act) -> None:
    """Take a contact away.

    Raises:
        HostForbiddenError: when the person is of another organisation.
        SensorUnknownError: when the host has no such contact.
    """
    check_house(organisation, act)
    with transaction.atomic():
        removed, _ = HostContact.objects.filter(organisation=organisation, pk=number).delete()
        if not removed:
            raise SensorUnknownError(
                f"{organisation.code} has no contact {number}; `teiten host show {organisation.code}` lists them"
            )
        audit.append("host.contact_removed", _subject(organisation), {"contact": number}, act)


def agree_classes(
    organisation: Organisation, classes: Sequence[str], *, note: str, act: Act
) -> HostAgreement:
    """Say which classes of commands operators may give to the host's sensors from now on.

    Raises:
        HostForbiddenError: when the person is of another organisation.
        FleetInputError: when a class is unknown, or nobody says on what grounds.
    """
    check_house(organisation, act)
    wanted = sorted(set(classes))
    unknown = [one for one in wanted if one not in COMMAND_CLASSES]
    if unknown:
        raise FleetInputError(
            "classes", f"{', '.join(unknown)} is no class of commands; there are {', '.join(COMMAND_CLASSES)}"
        )
    if not note.strip():
        raise FleetInputError(
            "note", "say on what grounds (a contract, a mail); it stays beside the agreement"
        )
    with transaction.atomic():
        agreement, _ = HostAgreement.objects.update_or_create(
            organisation=organisation,
            defaults={"command_classes": wanted, "note": note.strip()[:200], "agreed_at": act.at},
        )
        facts = {"classes": "".join(wanted), "note": agreement.note}
        audit.append("host.agreed", _subject(organisation), facts, act)
    return agreement


def pause_sensor(sensor: Sensor, *, reason: str, act: Act) -> Sensor:
    """Suspend a sensor in its host's name, until the host or an operator resumes it.

    Raises:
        HostForbiddenError: when it is another organisation's.
        SensorStateError: when its state does not allow it.
        FleetInputError: without a reason.
    """
    check_own(sensor, act)
    return services.suspend_sensor(sensor, reason=reason, act=act, by=StoppedBy.HOST)


def resume_sensor(sensor: Sensor, *, reason: str, act: Act) -> Sensor:
    """Take a pause back; what an operator suspended, only an operator resumes.

    Raises:
        HostForbiddenError: when it is another organisation's.
        SensorStateError: when it is not paused by its host.
        FleetInputError: without a reason.
    """
    check_own(sensor, act)
    with transaction.atomic():
        locked = services.lock_sensor(sensor.pk)
        if not _is_operator(act) and (
            locked.state != SensorState.SUSPENDED or locked.stopped_by != StoppedBy.HOST
        ):
            raise SensorStateError(
                f"sensor {locked.name} is {locked.state}, and not by its host; ask the operators to resume it"
            )
        return services.resume_sensor(locked, reason=reason, act=act)


def withdraw_sensor(sensor: Sensor, *, name: str, reason: str, act: Act) -> Sensor:
    """Revoke a sensor in its host's name; ``name`` is the sensor's, typed once more.

    It counts from the sensor's next request on, whatever anybody thinks of it. Operators and all
    contacts of the host are told, and only a recovery by an operator takes it back (ADR 0020).

    Raises:
        HostForbiddenError: when it is another organisation's.
        SensorStateError: when it is revoked already.
        FleetInputError: without a reason, or when another name was typed.
    """
    check_own(sensor, act)
    if name.strip() != sensor.name:
        raise FleetInputError("name", f"type the sensor's name, {sensor.name}, to withdraw it")
    return services.revoke_sensor(sensor, reason=reason, act=act, by=StoppedBy.HOST)


def plan_maintenance(sensor: Sensor, *, start: datetime, end: datetime, reason: str, act: Act) -> Maintenance:
    """Plan when a sensor of the own organisation is off; see :func:`maintaining.plan_maintenance`.

    Raises:
        HostForbiddenError: when it is another organisation's.
        FleetInputError: when the period breaks a rule, or without a reason.
    """
    check_own(sensor, act)
    if not _is_operator(act) and (end - start > LONGEST_PLAN or end - act.at > FARTHEST_PLAN):
        raise FleetInputError(
            "to",
            f"a host plans at most {LONGEST_PLAN.days} days at once, and {FARTHEST_PLAN.days} days ahead; "
            "ask the operators for more, or pause the sensor",
        )
    return maintaining.plan_maintenance(sensor, start=start, end=end, reason=reason, act=act)


def cancel_maintenance(sensor: Sensor, number: int, *, act: Act) -> Maintenance:
    """Take back what was planned for a sensor of the own organisation.

    Raises:
        HostForbiddenError: when it is another organisation's.
        SensorUnknownError: when it has no such period.
        FleetInputError: when the period is over.
    """
    check_own(sensor, act)
    return maintaining.cancel_maintenance(number, sensor=sensor, act=act)


def check_own(sensor: Sensor, act: Act) -> None:
    """Refuse to act on somebody else's sensor; nothing tells whether it exists.

    Raises:
        HostForbiddenError: when the person is of another organisation and no operator.
        HostBusyError: when the person did too much lately.
    """
    if not _may_act(sensor.organisation_id, act):
        raise HostForbiddenError("your organisation houses no such sensor")
    _check_busy(act)


def check_house(organisation: Organisation, act: Act) -> None:
    """Refuse to act for somebody else's organisation.

    Raises:
        HostForbiddenError: when the person is of another organisation and no operator.
        HostBusyError: when the person did too much lately.
    """
    if not _may_act(organisation.pk, act):
        raise HostForbiddenError("you may act for your own organisation only")
    _check_busy(act)


def _may_act(organisation_id: int, act: Act) -> bool:
    return _is_operator(act) or (act.actor is not None and act.actor.organisation_id == organisation_id)


def _check_busy(act: Act) -> None:
    if act.actor is None or _is_operator(act):
        return
    lately = AuditRecord.objects.filter(actor=act.actor.user_id, at__gt=act.at - timedelta(hours=1))
    if len(lately.values_list("pk", flat=True)[:MOST_ACTS_AN_HOUR]) >= MOST_ACTS_AN_HOUR:
        raise HostBusyError(f"you have done {MOST_ACTS_AN_HOUR} things within the hour; go on later")


def _is_operator(act: Act) -> bool:
    return act.actor is None or act.actor.has_role(Role.OPERATOR)


def _subject(organisation: Organisation) -> str:
    return f"organisation:{organisation.code}"
