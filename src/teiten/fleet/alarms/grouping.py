"""Many sensors that fall silent together are one thing that happened: to an AS, a region, an organisation. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

#: From this share of all sensors on it is the base, or the way to it.
FLEET_SHARE = 0.5
FLEET = "fleet"


@dataclass(frozen=True)
class Place:
    """By what a sensor may fall silent together with others."""

    sensor: int
    #: 0 where nobody knows.
    asn: int
    region: str
    organisation: str

    @property
    def groups(self) -> tuple[str, ...]:
        """Name every group that it belongs to."""
        asn = (f"asn {self.asn}",) if self.asn else ()
        return (*asn, f"org {self.organisation}", f"region {self.region}", FLEET)


@dataclass(frozen=True)
class Group:
    """Sensors that fell silent together."""

    name: str
    sensors: tuple[int, ...]
    #: Sensors of the group that should be heard.
    expected: int


def find_groups(
    fallen: Iterable[Place], expected: Iterable[Place], *, least: int, share: float
) -> list[Group]:
    """Put sensors that fell silent together into groups; each is in one at most, the fullest one first.

    Args:
        fallen: those that fell silent lately.
        expected: all that should be heard, the fallen among them.
        least: fewer sensors are no group.
        share: of a group's expected sensors that must have fallen.
    """
    totals = Counter(name for place in expected for name in place.groups)
    left = list(fallen)
    found: list[Group] = []
    while (name := _choose(left, totals, least=least, share=share)) is not None:
        members = [place.sensor for place in left if name in place.groups]
        left = [place for place in left if name not in place.groups]
        found.append(Group(name, tuple(sorted(members)), totals[name]))
    return found


def _choose(fallen: Sequence[Place], totals: Counter[str], *, least: int, share: float) -> str | None:
    counted = Counter(name for place in fallen for name in place.groups)
    if counted[FLEET] >= least and counted[FLEET] >= FLEET_SHARE * totals[FLEET]:
        return FLEET
    fit = [
        (count / totals[name], count, name)
        for name, count in counted.items()
        if name != FLEET and count >= least and count >= share * totals[name]
    ]
    return max(fit)[2] if fit else None
