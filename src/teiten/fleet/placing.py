"""Move sensors: one placement ends where the next begins, and none is ever rewritten."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime

from django.db import transaction
from django.db.models import QuerySet

from teiten.fleet import journal, periods, services
from teiten.fleet.errors import FleetInputError
from teiten.fleet.models import Region, Sensor, SensorEventKind, SensorPlacement
from teiten.fleet.services import Act
from teiten.fleet.sites import Site


def place_sensor(
    sensor: Sensor, *, region: Region, site: Site, act: Act, since: datetime | None = None
) -> SensorPlacement:
    """Close a sensor's placement and open another; one that says the same is given back as it is.

    Rows that were loaded before keep the region that they have.

    Raises:
        FleetInputError: when a value breaks a rule, ``since`` lies in the future or not after the
            present placement began; nothing was changed.
    """
    start = since or act.at
    if start > act.at:
        raise FleetInputError(
            "from", f"{periods.tell(start)} lies in the future; say so when it has happened"
        )
    with transaction.atomic():
        periods.lock_histories()
        locked = services.lock_sensor(sensor.pk)
        present = locked.placements.filter(valid_to=None).first()
        if present is not None:
            if (present.region_id, site_of(present)) == (region.pk, site):
                return present
            _check_after(locked, present, start)
            present.valid_to = start
            present.save(update_fields=["valid_to"])
        placed = services.open_placement(locked, region=region, site=site, since=start)
        locked.region = region
        locked.save(update_fields=["region"])
        journal.record_event(
            SensorEventKind.PLACED,
            locked,
            at=act.at,
            actor=act.actor,
            region=region.pk,
            since=start.isoformat(),
            site=asdict(site),
        )
    return placed


def find_placement(sensor: Sensor) -> SensorPlacement | None:
    """Give the placement that holds until further notice."""
    return list_placements(sensor).filter(valid_to=None).first()


def list_placements(sensor: Sensor) -> QuerySet[SensorPlacement]:
    """Give where a sensor stood, newest first."""
    return SensorPlacement.objects.filter(sensor=sensor).order_by("-valid_from")


def site_of(placement: SensorPlacement) -> Site:
    """Give what a placement says beside the region."""
    return Site(
        country=placement.country,
        asn=placement.asn,
        provider=placement.provider,
        kind=str(placement.kind),
        mode=str(placement.mode),
    )


def _check_after(sensor: Sensor, present: SensorPlacement, start: datetime) -> None:
    if start <= present.valid_from:
        raise FleetInputError(
            "from",
            f"{periods.tell(start)} is not after {periods.tell(present.valid_from)}, when placement {present.pk} "
            f"of {sensor.name} ({present.region_id}) began; placements do not overlap, choose a later time",
        )
