"""Which sensors that fell silent are one thing that happened."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from teiten.fleet.alarms.grouping import Place, find_groups

pytestmark = pytest.mark.requirement("R1.3")
LEAST, SHARE = 3, 0.5


def place(sensor: int, *, asn: int = 0, region: str = "kanto", organisation: str = "alpha") -> Place:
    return Place(sensor, asn, region, organisation)


def names(fallen: list[Place], expected: list[Place]) -> list[tuple[str, int]]:
    found = find_groups(fallen, expected, least=LEAST, share=SHARE)
    return [(group.name, len(group.sensors)) for group in found]


def test_an_as_that_is_away_is_one_group() -> None:
    away = [place(n, asn=64_500, organisation=f"org{n}") for n in range(4)]
    others = [place(n, asn=64_501, organisation=f"org{n}") for n in range(10, 30)]

    assert names(away, away + others) == [("asn 64500", 4)]
    assert names([*away, others[0]], away + others) == [("asn 64500", 4)]
    assert names(away[:2], away + others) == [], "two are no group"
    assert names(others[:9], away + others) == [], "nine of twenty are none either"


def test_when_half_of_all_is_silent_it_is_the_base() -> None:
    fleet = [place(n, asn=64_500 + n % 2, region=f"r{n % 3}", organisation=f"o{n % 5}") for n in range(30)]

    assert names(fleet, fleet) == [("fleet", 30)]
    assert names(fleet[:15], fleet) == [("fleet", 15)]


PLACES = st.builds(
    place,
    st.integers(1, 40),
    asn=st.sampled_from([0, 1, 2]),
    region=st.sampled_from(["a", "b"]),
    organisation=st.sampled_from(["x", "y", "z"]),
)


@settings(max_examples=50)
@given(
    fleet=st.lists(PLACES, unique_by=lambda one: one.sensor, max_size=40), chosen=st.sets(st.integers(1, 40))
)
def test_no_sensor_is_in_two_groups_and_every_group_is_large_enough(
    fleet: list[Place], chosen: set[int]
) -> None:
    fallen = [one for one in fleet if one.sensor in chosen]
    found = find_groups(fallen, fleet, least=LEAST, share=SHARE)

    named = [sensor for group in found for sensor in group.sensors]
    assert len(named) == len(set(named))
    assert set(named) <= {one.sensor for one in fallen}
    for group in found:
        assert len(group.sensors) >= LEAST
        assert len(group.sensors) <= group.expected
