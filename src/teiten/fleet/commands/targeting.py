"""Whom a command is for: selectors answered from the fleet as it is now."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from teiten.fleet.commands.selecting import Candidate, read_selector
from teiten.fleet.models import Sensor, SensorState
from teiten.protocol import commands

#: A sensor that has not been let in, or never will be again, obeys nobody.
OBEYING = (SensorState.ACTIVE, SensorState.QUARANTINED, SensorState.SUSPENDED)


@dataclass(frozen=True)
class Resolved:
    """The sensors that a selector means now."""

    #: Ascending.
    sensors: tuple[int, ...]
    names: tuple[str, ...]

    @property
    def sha256(self) -> bytes:
        """What an operator's machine signs for the list."""
        return commands.digest_of_sensors(self.sensors)


def resolve_selector(text: str) -> Resolved:
    """Give the sensors that a selector means, by number.

    Raises:
        SelectorError: naming the place and the rule.
    """
    test = read_selector(text)
    found = [one for one in list_candidates() if test(one)]
    return Resolved(tuple(one.number for one in found), tuple(one.name for one in found))


def list_candidates() -> Iterator[Candidate]:
    """Give every sensor that can be told something, by number."""
    rows = Sensor.objects.filter(state__in=OBEYING, enrolled_at__isnull=False).order_by("pk")
    named = rows.values_list(
        "pk", "name", "region", "organisation__code", "state", "dataset", "health__software", "tags"
    )
    for number, name, region, org, state, dataset, version, tags in named.iterator(chunk_size=5_000):
        yield Candidate(number, name, region, org, state, dataset, version or "", tuple(tags))


def count_candidates() -> int:
    """Count every sensor that can be told something: whom ``all`` means."""
    return Sensor.objects.filter(state__in=OBEYING, enrolled_at__isnull=False).count()


def find_unfit(sensors: Sequence[int]) -> list[int]:
    """Give those of ``sensors`` that are unknown, not enrolled or revoked."""
    fit = Sensor.objects.filter(pk__in=sensors, state__in=OBEYING, enrolled_at__isnull=False)
    known = set(fit.values_list("pk", flat=True))
    return [sensor for sensor in sensors if sensor not in known]
