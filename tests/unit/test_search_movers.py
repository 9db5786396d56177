"""What counts as growing beyond the usual range: pure arithmetic."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from teiten.search.movers import LEAST_PACKETS, Rates, find_movement

pytestmark = pytest.mark.requirement("R2.3")


def make_rates(recent: list[int], usual: list[int], *, days: float = 10.0) -> Rates:
    return Rates(
        np.array(recent, dtype=float),
        np.full(len(recent), days / 24),
        np.array(usual, dtype=float),
        np.full(len(usual), days),
    )


QUIET = [100, 110, 90, 105, 95, 100, 102] * 4


def test_growth_is_told_by_greynoise_s_formulas() -> None:
    moved = find_movement(make_rates([10] * 12 + [40] * 12, QUIET))

    assert moved is not None
    usual = sum(QUIET) / 280
    assert moved.usual_rate == pytest.approx(usual)
    assert moved.recent_rate == pytest.approx(600 / 10)
    assert moved.trend == pytest.approx((60 - usual) / usual)
    assert moved.anomaly == pytest.approx((96 - usual) / usual)
    assert moved.usual_low <= moved.usual_rate <= moved.usual_high < moved.recent_rate
    assert len(moved.spark) == 29


@pytest.mark.parametrize(
    ("recent", "usual"),
    [
        ([1, 1], [1] * 28),
        ([15, 14], [0, 1] * 14),
        ([4] * 24, QUIET),
        ([5] * 24, [20, 300] * 14),
        ([100] * 24, [0] * 28),
        ([100] * 24, [10] * 6),
    ],
    ids=["1 to 2", "too few packets", "as usual", "wide range", "never seen before", "too few days"],
)
def test_noise_is_no_trend(recent: list[int], usual: list[int]) -> None:
    assert find_movement(make_rates(recent, usual)) is None


def test_hours_that_hardly_watched_tell_no_peak() -> None:
    rates = make_rates([20] * 24, QUIET)
    rates.recent_days[3] = 0.001

    moved = find_movement(rates)

    assert moved is not None
    assert moved.peak_rate < 60


def test_days_that_nobody_watched_are_no_zeros() -> None:
    rates = make_rates([20] * 24, QUIET)
    rates.usual_packets[:10] = 0
    rates.usual_days[:10] = 0

    moved = find_movement(rates)

    assert moved is not None
    assert moved.spark[:10] == (None,) * 10
    assert moved.usual_rate == pytest.approx(sum(QUIET[10:]) / 180)


@given(
    st.lists(st.integers(0, 500), min_size=1, max_size=30),
    st.lists(st.integers(0, 500), min_size=28, max_size=28),
    st.sampled_from([0.5, 2.0, 1000.0]),
)
@settings(max_examples=60, deadline=None)
def test_more_addresses_with_as_many_packets_change_the_rates_alone(
    recent: list[int], usual: list[int], factor: float
) -> None:
    one = find_movement(make_rates(recent, usual))
    other = find_movement(make_rates(recent, usual, days=10 * factor))

    assert (one is None) == (other is None)
    if one is not None and other is not None:
        assert other.trend == pytest.approx(one.trend)
        assert other.recent_rate * factor == pytest.approx(one.recent_rate)
        assert one.recent_packets >= LEAST_PACKETS
        assert one.trend > 0
        assert one.anomaly >= one.trend
        assert one.recent_rate > one.usual_high


def test_half_the_coverage_doubles_the_rate() -> None:
    rates = make_rates([20] * 24, QUIET)

    moved = find_movement(rates)
    halved = find_movement(replace(rates, recent_days=rates.recent_days / 2))

    assert moved is not None
    assert halved is not None
    assert halved.recent_rate == pytest.approx(2 * moved.recent_rate)
