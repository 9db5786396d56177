"""What the fleet and custody know of one sensor: where it stands and stood, its addresses, maintenance, exclusions.

Only for a sensor that its viewer sees as it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from django.utils.translation import gettext as _

from teiten.custody.excluding import list_exclusions
from teiten.fleet.models import Maintenance, ObservedAddress, SensorPlacement
from teiten.portal.naming.countries import name_country
from teiten.portal.naming.groups import name_mode
from teiten.portal.naming.regions import name_region
from teiten.portal.screen import Screen

_MOST = 10


@dataclass(frozen=True)
class Held:
    """Something that holds, or held, for a time."""

    what: str
    period: str
    note: str = ""
    is_now: bool = False
    #: Of maintenance that is not over: its number, by which it can be cancelled.
    number: int | None = None


@dataclass(frozen=True)
class SensorFacts:
    """Histories of one sensor, newest first."""

    placements: tuple[Held, ...] = ()
    addresses: tuple[Held, ...] = ()
    maintenance: tuple[Held, ...] = ()
    exclusions: tuple[Held, ...] = ()
    #: Planned maintenance, to be drawn.
    planned: tuple[tuple[datetime, datetime], ...] = ()


def describe_facts(sensor: int, screen: Screen) -> SensorFacts:
    """Read and write what is known of a sensor."""
    placements = SensorPlacement.objects.filter(sensor=sensor).order_by("-valid_from")[:_MOST]
    addresses = ObservedAddress.objects.filter(sensor=sensor).order_by("-valid_from", "local")[:_MOST]
    planned = list(Maintenance.objects.filter(sensor=sensor).order_by("-start_at")[:_MOST])
    excluded = list_exclusions().filter(sensor=sensor)[:_MOST]
    return SensorFacts(
        placements=tuple(_describe_placement(row, screen) for row in placements),
        addresses=tuple(
            Held(
                f"{row.public} ← {row.local}" if row.public != row.local else str(row.public),
                _write_period(row.valid_from, row.valid_to, screen),
                row.get_known_by_display(),
                _holds(row.valid_from, row.valid_to, screen.now),
            )
            for row in addresses
        ),
        maintenance=tuple(
            Held(
                row.reason, _write_period(row.start_at, row.end_at, screen),
                is_now=_holds(row.start_at, row.end_at, screen.now), number=row.pk if row.end_at > screen.now else None,
            )
            for row in planned
        ),
        exclusions=tuple(
            Held(row.reason, _write_period(row.start_at, row.end_at, screen), row.get_state_display()) for row in excluded
        ),
        planned=tuple((row.start_at, row.end_at) for row in planned),
    )  # fmt: skip


def _describe_placement(row: SensorPlacement, screen: Screen) -> Held:
    words = [
        name_region(row.region_id, screen.language),
        name_country(row.country, screen.language) if row.country else "",
        f"AS{row.asn}" if row.asn else "",
        row.provider,
        row.get_kind_display(),
        name_mode(str(row.mode)),
    ]
    return Held(
        " · ".join(word for word in words if word),
        _write_period(row.valid_from, row.valid_to, screen),
        is_now=_holds(row.valid_from, row.valid_to, screen.now),
    )


def _holds(start: datetime, end: datetime | None, now: datetime) -> bool:
    return start <= now and (end is None or now < end)


def _write_period(start: datetime, end: datetime | None, screen: Screen) -> str:
    instants = screen.instants
    if end is None:
        return _("since %(at)s") % {"at": instants.full(start)}
    return instants.period(start, end)
