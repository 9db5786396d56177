"""Survey scanners by their behaviour: NICT's definition scaled to what was watched."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from teiten.traffic.behaviour import RULE, FleetDay, SourceDay, is_survey, scale_thresholds

pytestmark = pytest.mark.requirement("R2.3")

#: As many addresses as NICT watches, and a fleet of the size that Teiten is for.
NICT, FLEET = FleetDay(290_000, 290_000), FleetDay(10_000, 10_000)


@pytest.mark.parametrize(
    ("source", "fleet", "expected"),
    [
        (SourceDay(300_000, 30, 200_000, 4), NICT, True),
        (SourceDay(299_999, 30, 200_000, 4), NICT, False),
        (SourceDay(300_000, 29, 200_000, 4), NICT, False),
        (SourceDay(10_345, 30, 3_000, 4), FLEET, True),
        (SourceDay(10_344, 30, 3_000, 4), FLEET, False),
        (SourceDay(10_345, 30, 2_999, 4), FLEET, False),
        # One person scans all ports of one host, in a fleet of twenty.
        (SourceDay(65_535, 65_535, 1, 4), FleetDay(20, 20), False),
        (SourceDay(60, 40, 12, 4), FleetDay(20, 20), True),
        (SourceDay(10_345, 30, 3_000, 6), FLEET, False),
        (SourceDay(0, 0, 0, 4), FleetDay(0, 0), False),
    ],
)
def test_it_judges(source, fleet, expected):
    assert is_survey(source, fleet).is_survey is expected


def test_the_reason_names_numbers_and_thresholds():
    verdict = is_survey(SourceDay(12_000, 31, 4_000, 4), FLEET)

    assert verdict.reason == (
        "12,000 packets (survey: from 10,345), 31 ports (survey: from 30), 4,000 sensors (survey: from 3,000) "
        "on 10,000.0 covered address-days, after NICT's 300,000 packets to 30 ports on 290,000 addresses"
    )
    assert verdict.rule_version == RULE.version


sizes = st.integers(0, 500_000)


@settings(max_examples=100, deadline=None)
@given(sizes, sizes, sizes, sizes)
def test_more_of_anything_never_unmakes_a_survey(packets, ports, sensors, watched):
    fleet = FleetDay(watched, watched)
    found = is_survey(SourceDay(packets, ports, sensors, 4), fleet).is_survey

    for more in ((1, 0, 0), (0, 1, 0), (0, 0, 1)):
        grown = SourceDay(packets + more[0], ports + more[1], sensors + more[2], 4)
        assert is_survey(grown, fleet).is_survey or not found


@settings(max_examples=50, deadline=None)
@given(sizes, st.integers(0, 1000))
def test_a_larger_fleet_asks_for_more(watched, more):
    small, large = (scale_thresholds(FleetDay(size, size)) for size in (watched, watched + more))

    assert large.packets >= small.packets
    assert large.sensors >= small.sensors
    assert large.ports == small.ports
