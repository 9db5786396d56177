"""What `teiten sensor place|address|maintenance|configure` do: change histories and give what to print."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from teiten.fleet.sites import Site
from teiten.foundation.clock import Clock

if TYPE_CHECKING:
    # Django's models can be imported only once Django has been set up.
    from teiten.fleet.models import Maintenance, ObservedAddress, SensorPlacement
    from teiten.fleet.services import Act


@dataclass(frozen=True)
class Period:
    """One entry of a history, as it is printed."""

    entry: int
    start: datetime
    end: datetime | None
    #: What holds in it.
    facts: tuple[str, ...]


@dataclass(frozen=True)
class Span:
    """When something holds; None: from now on, or until further notice."""

    since: datetime | None = None
    until: datetime | None = None


def place_sensor(
    name: str, *, region: str, site: dict[str, Any], since: datetime | None, clock: Clock
) -> Period:
    """Close a sensor's placement and open another; what is None in ``site``, or empty, stays as it was.

    Raises:
        SensorUnknownError: when there is no such sensor.
        FleetInputError: when a value breaks a rule; nothing was changed.
    """
    from django.db import transaction

    from teiten.fleet import placing, services

    sensor = services.get_sensor(name)
    present = placing.find_placement(sensor)
    before = placing.site_of(present) if present else Site()
    given = {field: value for field, value in site.items() if value is not None}
    with transaction.atomic():
        code = region or sensor.region_id
        placed = placing.place_sensor(
            sensor,
            region=services.find_or_create_region(code=code, name_ja=code, name_en=code),
            site=replace(before, **given),
            act=_act(clock),
            since=since,
        )
    return _tell_place(placed)


def list_places(name: str) -> list[Period]:
    """List where a sensor stood, newest first."""
    from teiten.fleet import placing, services

    return [_tell_place(one) for one in placing.list_placements(services.get_sensor(name))]


def state_address(
    name: str, *, public: str, local: str, span: Span, is_successor: bool, note: str, clock: Clock
) -> Period:
    """Enter a public address.

    Raises:
        SensorUnknownError: when there is no such sensor.
        FleetInputError: naming the entry and the rule; nothing was changed.
    """
    from teiten.fleet import addressing, services

    entry = addressing.state_address(
        services.get_sensor(name),
        public=public,
        local=local,
        since=span.since,
        until=span.until,
        is_successor=is_successor,
        note=note,
        act=_act(clock),
    )
    return _tell_address(entry)


def end_address(name: str, entry: int, *, until: datetime | None, clock: Clock) -> Period:
    """End an entry, or withdraw it where it would end before it began."""
    from teiten.fleet import addressing, services

    return _tell_address(
        addressing.end_address(entry, sensor=services.get_sensor(name), until=until, act=_act(clock))
    )


def list_addresses(name: str) -> list[Period]:
    """List a sensor's addresses, newest first."""
    from teiten.fleet import addressing, services

    return [_tell_address(one) for one in addressing.list_addresses(services.get_sensor(name))]


def plan_maintenance(name: str, *, start: datetime, end: datetime, reason: str, clock: Clock) -> Period:
    """Plan a time without observation."""
    from teiten.fleet import maintaining, services

    planned = maintaining.plan_maintenance(
        services.get_sensor(name), start=start, end=end, reason=reason, act=_act(clock)
    )
    return _tell_maintenance(planned)


def cancel_maintenance(name: str, entry: int, *, clock: Clock) -> Period:
    """Take a planned time back, or end it now."""
    from teiten.fleet import maintaining, services

    return _tell_maintenance(
        maintaining.cancel_maintenance(entry, sensor=services.get_sensor(name), act=_act(clock))
    )


def list_maintenance(name: str) -> list[Period]:
    """List when a sensor was or will be off, newest first."""
    from teiten.fleet import maintaining, services

    return [_tell_maintenance(one) for one in maintaining.list_maintenance(services.get_sensor(name))]


def configure_sensor(name: str, *, wanted: dict[str, Any], clock: Clock) -> str:
    """Set how soon a sensor sends and how little payload it keeps; gives what it is told."""
    from teiten.fleet import services

    sensor = services.configure_sensor(services.get_sensor(name), act=_act(clock), **wanted)
    told = asdict(services.config_of(sensor))
    settings = ", ".join(
        f"{field} {'as it is set' if value is None else value}" for field, value in told.items()
    )
    return f"sensor {sensor.pk} {sensor.name}: {settings}"


def _act(clock: Clock) -> Act:
    from teiten.fleet.services import Act

    return Act(clock.now())


def _tell_place(one: SensorPlacement) -> Period:
    facts = (one.region_id, one.kind, one.mode, one.country or "-", str(one.asn or "-"), one.provider or "-")
    return Period(one.pk, one.valid_from, one.valid_to, tuple(map(str, facts)))


def _tell_address(one: ObservedAddress) -> Period:
    from teiten.fleet import networks

    facts = (networks.tell(one.public), networks.tell(one.local), str(one.known_by), one.note or "-")
    return Period(one.pk, one.valid_from, one.valid_to, facts)


def _tell_maintenance(one: Maintenance) -> Period:
    return Period(one.pk, one.start_at, one.end_at, (one.reason,))
