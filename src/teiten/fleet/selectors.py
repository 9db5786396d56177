"""What a person may read about the fleet; every function starts from the viewer.

Operators and analysts see sensors as they are, others only those of their own
organisation. The rest is shown under a pseudonym that is the same for everybody
of one organisation and different for another, without anything that says whose
it is or where.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from django.conf import settings
from django.db.models import QuerySet

from teiten.accounts.models import Role, User
from teiten.fleet import health
from teiten.fleet.config import FleetConfig
from teiten.fleet.health import Condition, Facts
from teiten.fleet.landing_facts import NOTHING, Landed, read_landed
from teiten.fleet.models import Region, Sensor, SensorEvent, SensorHealth
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


def may_see_all(viewer: User) -> bool:
    """Tell whether a viewer sees every sensor as it is."""
    return viewer.has_role(Role.ANALYST)


def sensors_visible_to(viewer: User) -> QuerySet[Sensor]:
    """Give the sensors that a viewer sees as they are."""
    sensors = Sensor.objects.select_related("region", "organisation").order_by("id")
    return sensors if may_see_all(viewer) else sensors.filter(organisation=viewer.organisation_id)


def sensor_states(
    viewer: User, *, now: datetime, config: FleetConfig, dataset: str | None = None
) -> list[SensorRow]:
    """Give every sensor with its state, in the order of their numbers (masked ones last, by pseudonym)."""
    landed = read_landed(now=now)
    sensors = Sensor.objects.select_related("organisation", "health").order_by("id")
    if dataset is not None:
        sensors = sensors.filter(dataset=dataset)
    rows = [_row_of(sensor, landed, viewer=viewer, now=now, config=config) for sensor in sensors]
    return sorted(rows, key=lambda row: (row.is_masked, row.id or 0, row.name))


def count_conditions(rows: Iterable[SensorRow]) -> Mapping[Condition, int]:
    """Count sensors by their worst condition, every condition named, worst first."""
    counted = Counter(row.condition for row in rows)
    return {condition: counted[condition] for condition in Condition}


def events_visible_to(viewer: User, *, sensor_id: int | None = None) -> QuerySet[SensorEvent]:
    """Give the history, newest first, of the sensors that a viewer sees as they are."""
    events = SensorEvent.objects.select_related("sensor", "actor").order_by("-id")
    if not may_see_all(viewer):
        events = events.filter(sensor__organisation=viewer.organisation_id)
    return events if sensor_id is None else events.filter(sensor=sensor_id)


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


def _row_of(
    sensor: Sensor, landed: Mapping[int, Landed], *, viewer: User, now: datetime, config: FleetConfig
) -> SensorRow:
    is_masked = not (may_see_all(viewer) or sensor.organisation_id == viewer.organisation_id)
    said: SensorHealth | None = getattr(sensor, "health", None)
    received = landed.get(sensor.pk, NOTHING)
    if is_masked:
        received = _veil(received)
    facts = facts_of(sensor, said, received)
    if is_masked:
        facts, said = replace(facts, recent_captured=0.0, recent_drops=0.0), None
    conditions = health.judge(facts, now=now, config=config)
    return SensorRow(
        id=None if is_masked else sensor.pk,
        name=pseudonym_of(sensor.pk, viewer=viewer) if is_masked else sensor.name,
        is_masked=is_masked,
        region=sensor.region_id,
        organisation="" if is_masked else sensor.organisation.code,
        dataset=sensor.dataset,
        condition=conditions[0],
        conditions=conditions,
        enrolled_at=sensor.enrolled_at,
        heartbeat_at=_to_hour(facts.heartbeat_at) if is_masked else facts.heartbeat_at,
        booted_at=said.booted_at if said else None,
        last_batch_at=received.last_batch_at,
        missing_batches=received.missing_batches,
        clock_offset_us=None if is_masked else facts.clock_offset_us,
        software=said.software if said else "",
        spool_batches=said.spool_batches if said else 0,
        spool_bytes=said.spool_bytes if said else 0,
        captured=said.captured if said else 0,
        kernel_drops=said.kernel_drops if said else 0,
        drop_share=health.drop_share(facts),
        last_error=said.last_error if said and not is_masked else "",
    )


def _veil(received: Landed) -> Landed:
    """Give of somebody else's sensor what a flood towards its address would not change: hours, no counts."""
    return replace(received, last_batch_at=_to_hour(received.last_batch_at), missing_batches=0)


def _to_hour(instant: datetime | None) -> datetime | None:
    return instant.replace(minute=0, second=0, microsecond=0) if instant is not None else None


def facts_of(sensor: Sensor, said: SensorHealth | None, landed: Landed) -> Facts:
    """Gather what the judgement of a sensor's state rests on."""
    return Facts(
        standing=sensor.state,
        enrolled_at=sensor.enrolled_at,
        heartbeat_at=said.heartbeat_at if said else None,
        recent_captured=said.recent_captured if said else 0.0,
        recent_drops=said.recent_drops if said else 0.0,
        clock_offset_us=said.clock_offset_us if said else None,
        missing_batches=landed.missing_batches,
    )
