"""What a person may read about the fleet; every function starts from the viewer.

Operators and analysts see sensors as they are, others only those of their own
organisation. The rest is shown under a pseudonym that is the same for everybody
of one organisation and different for another, without anything that says whose
it is or where.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from django.conf import settings
from django.db.models import Count, F, OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Coalesce

from teiten.accounts.models import Organisation, Role, User
from teiten.fleet import health, known
from teiten.fleet.config import FleetConfig
from teiten.fleet.health import Condition, Facts, Judge
from teiten.fleet.known import Brief, Known
from teiten.fleet.models import (
    HostContact,
    ObservedAddress,
    Region,
    Sensor,
    SensorEvent,
    SensorState,
)
from teiten.search import pseudonyms
from teiten.search.visibility import derive_key


@dataclass(frozen=True)
class SensorRow:
    """One sensor as its viewer may see it."""

    #: None where the sensor is shown under a pseudonym.
    id: int | None
    #: Its name, or its pseudonym.
    name: str
    is_masked: bool
    region: str
    #: Code of the organisation that houses it; empty where masked.
    organisation: str
    dataset: str
    #: The worst thing that is true of it, and everything that is.
    condition: Condition
    conditions: tuple[Condition, ...]
    enrolled_at: datetime | None
    heartbeat_at: datetime | None
    booted_at: datetime | None
    last_batch_at: datetime | None
    missing_batches: int
    #: Server minus sensor, µs.
    clock_offset_us: int | None
    software: str
    spool_batches: int
    spool_bytes: int
    #: Packets captured since the sensor's start.
    captured: int
    #: Packets dropped by the kernel since the sensor's start.
    kernel_drops: int
    #: Share of recent packets that the kernel dropped.
    drop_share: float
    #: Empty where masked.
    last_error: str
    disk_free_bytes: int | None = None
    #: Fullest that a capture ring was in the last minute or two, in thousandths.
    ring_fill_permille: int | None = None
    #: Release that runs, and what the launcher says: steady, trying, rolled_back, blocked; empty without one.
    release: int | None = None
    update_state: str = ""
    update_detail: str = ""
    #: The sensor's own audit chain: records, and SHA-256 of the last one as hex.
    audit_records: int = 0
    audit_head: str = ""


class SensorBrief(NamedTuple):
    """One sensor on a screen of all of them, as its viewer may see it: what it is in, and by what it is found."""

    #: None where the sensor is shown under a pseudonym.
    id: int | None
    #: Its name, or its pseudonym.
    name: str
    is_masked: bool
    region: str
    #: Code of the organisation that houses it; empty where masked.
    organisation: str
    software: str
    #: The worst thing that is true of it first.
    conditions: tuple[Condition, ...]
    #: µs of its last heartbeat, or of its enrolment before the first; None where masked.
    heard_us: int | None = None
    missing_batches: int = 0
    #: Server minus sensor, µs.
    clock_offset_us: int | None = None
    #: Share of recent packets that the kernel dropped.
    drop_share: float = 0.0

    @property
    def condition(self) -> Condition:
        return self.conditions[0]


def may_see_all(viewer: User) -> bool:
    """Tell whether a viewer sees every sensor as it is."""
    return viewer.has_role(Role.ANALYST)


def sensors_visible_to(viewer: User) -> QuerySet[Sensor]:
    """Give the sensors that a viewer sees as they are."""
    sensors = Sensor.objects.select_related("region", "organisation").order_by("id")
    return sensors if may_see_all(viewer) else sensors.filter(organisation=viewer.organisation_id)


def sensor_states(
    viewer: User,
    *,
    now: datetime,
    config: FleetConfig,
    dataset: str | None = None,
    sensors: Collection[int] | None = None,
) -> list[SensorRow]:
    """Give sensors with their states, in the order of their numbers (masked ones last, by pseudonym).

    Args:
        viewer: who looks.
        now: the instant at which they are judged.
        config: the rules of judging.
        dataset: only sensors of this data set.
        sensors: only these numbers; somebody else's stays masked.
    """
    key = derive_key(settings.SECRET_KEY.encode(), viewer.organisation_id)
    sees_all, judge = may_see_all(viewer), Judge(now=now, config=config)
    rows = [
        _show(one, judge)
        if sees_all or one.organisation_id == viewer.organisation_id
        else _mask(one, pseudonyms.make_name(key, one.id), judge)
        for one in known.read_known(now=now, dataset=dataset, sensors=sensors)
    ]
    return sorted(rows, key=lambda row: (row.is_masked, row.id or 0, row.name))


def sensor_briefs(
    viewer: User, *, now: datetime, config: FleetConfig, dataset: str | None = None
) -> list[SensorBrief]:
    """Give every sensor in brief, in the order of their numbers (masked ones last, by pseudonym)."""
    key = derive_key(settings.SECRET_KEY.encode(), viewer.organisation_id)
    sees_all, judge = may_see_all(viewer), Judge(now=now, config=config)
    shown: list[SensorBrief] = []
    masked: list[SensorBrief] = []
    for one in known.read_briefs(now=now, dataset=dataset):
        if sees_all or one.organisation_id == viewer.organisation_id:
            shown.append(_brief(one, judge))
        else:
            masked.append(_mask_brief(one, pseudonyms.make_name(key, one.id), judge))
    return [*shown, *sorted(masked, key=lambda row: row.name)]


def count_conditions(rows: Iterable[SensorRow | SensorBrief]) -> Mapping[Condition, int]:
    """Count sensors by their worst condition, every condition named, worst first."""
    counted = Counter(row.condition for row in rows)
    return {condition: counted[condition] for condition in Condition}


def events_visible_to(viewer: User, *, sensor_id: int | None = None) -> QuerySet[SensorEvent]:
    """Give the history, newest first, of the sensors that a viewer sees as they are."""
    events = SensorEvent.objects.select_related("sensor", "actor").order_by("-id")
    if not may_see_all(viewer):
        events = events.filter(sensor__organisation=viewer.organisation_id)
    return events if sensor_id is None else events.filter(sensor=sensor_id)


def addresses_visible_to(viewer: User) -> QuerySet[ObservedAddress]:
    """Give the real addresses, newest period first, of the sensors that a viewer sees as they are."""
    addresses = ObservedAddress.objects.select_related("sensor").order_by("sensor", "-valid_from")
    if may_see_all(viewer):
        return addresses
    return addresses.filter(sensor__organisation=viewer.organisation_id)


def hosts_visible_to(viewer: User, *, named: str = "") -> QuerySet[Organisation]:
    """Give organisations by code: to operators any, to others their own.

    Each has ``sensors_housed`` (not revoked), ``contacts_named`` and ``classes_agreed`` (None where it
    has said nothing: A and B).
    """
    housed = Sensor.objects.exclude(state=SensorState.REVOKED).filter(organisation=OuterRef("pk"))
    named_there = HostContact.objects.filter(organisation=OuterRef("pk"))
    hosts = Organisation.objects.order_by("code").annotate(
        sensors_housed=_count(housed),
        contacts_named=_count(named_there),
        classes_agreed=F("host_agreement__command_classes"),
    )
    if named:
        hosts = hosts.filter(
            Q(code__icontains=named) | Q(name_ja__icontains=named) | Q(name_en__icontains=named)
        )
    return hosts if viewer.has_role(Role.OPERATOR) else hosts.filter(pk=viewer.organisation_id)


def _count(rows: QuerySet[Any]) -> Coalesce:
    counted = rows.order_by().values("organisation").annotate(n=Count("pk")).values("n")
    return Coalesce(Subquery(counted), 0)


def list_regions() -> list[Region]:
    """Give the regions in their order of display; they are nobody's secret."""
    return list(Region.objects.order_by("position", "code"))


def pseudonym_of(sensor_id: int, *, viewer: User) -> str:
    """Give the name under which a viewer's organisation knows somebody else's sensor; the same in every answer."""
    key = derive_key(settings.SECRET_KEY.encode(), viewer.organisation_id)
    return pseudonyms.make_name(key, sensor_id)


def own_sensors(organisation_id: int) -> frozenset[int]:
    """Give the numbers of the sensors that an organisation hosts, those of before included."""
    return frozenset(Sensor.objects.filter(organisation=organisation_id).values_list("pk", flat=True))


def _brief(one: Brief, judge: Judge) -> SensorBrief:
    heard_us = one.enrolled_us if one.heartbeat_us is None else one.heartbeat_us
    return SensorBrief(
        one.id, one.name, False, one.region, one.organisation, one.software, judge(one),  # noqa: FBT003  # in order
        heard_us, one.missing_batches, one.clock_offset_us, health.drop_share(one),
    )  # fmt: skip


def _mask_brief(one: Brief, name: str, judge: Judge) -> SensorBrief:
    return SensorBrief(None, name, True, one.region, "", "", judge(_see_from_afar(one)))  # noqa: FBT003  # in order


def _show(one: Known, judge: Judge) -> SensorRow:
    conditions = judge(one)
    return SensorRow(
        id=one.id,
        name=one.name,
        is_masked=False,
        region=one.region,
        organisation=one.organisation,
        dataset=one.dataset,
        condition=conditions[0],
        conditions=conditions,
        enrolled_at=one.enrolled_at,
        heartbeat_at=one.heartbeat_at,
        booted_at=one.booted_at,
        last_batch_at=one.last_batch_at,
        missing_batches=one.missing_batches,
        clock_offset_us=one.clock_offset_us,
        software=one.software,
        spool_batches=one.spool_batches,
        spool_bytes=one.spool_bytes,
        captured=one.captured,
        kernel_drops=one.kernel_drops,
        drop_share=health.drop_share(one),
        last_error=one.last_error,
        disk_free_bytes=one.disk_free_bytes,
        ring_fill_permille=one.ring_fill_permille,
        release=one.release,
        update_state=one.update_state,
        update_detail=one.update_detail,
        audit_records=one.audit_records,
        audit_head=one.audit_head.hex(),
    )


def _mask(one: Known, name: str, judge: Judge) -> SensorRow:
    """Give of somebody else's sensor what a flood towards its address would not change: hours, no counts."""
    conditions = judge(_see_from_afar(one))
    return SensorRow(
        id=None, name=name, is_masked=True, region=one.region, organisation="", dataset=one.dataset,
        condition=conditions[0], conditions=conditions, enrolled_at=one.enrolled_at,
        heartbeat_at=_to_hour(one.heartbeat_at), booted_at=None, last_batch_at=_to_hour(one.last_batch_at),
        missing_batches=0, clock_offset_us=None, software="", spool_batches=0, spool_bytes=0, captured=0,
        kernel_drops=0, drop_share=0.0, last_error="",
    )  # fmt: skip


def _see_from_afar(one: Known | Brief) -> Facts:
    """Give the facts from which somebody else's sensor is judged."""
    return Facts(
        standing=one.standing,
        enrolled_at=one.enrolled_at,
        heartbeat_at=one.heartbeat_at,
        recent_captured=0.0,
        recent_drops=0.0,
        clock_offset_us=one.clock_offset_us,
        missing_batches=0,
        is_planned=one.is_planned,
        by_host=one.by_host,
    )


def _to_hour(instant: datetime | None) -> datetime | None:
    return instant.replace(minute=0, second=0, microsecond=0) if instant is not None else None
