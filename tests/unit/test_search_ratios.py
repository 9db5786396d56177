"""Ratios of rates: symmetric, honest about spread."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from teiten.search.ratios import Rate, compare_rates, find_quantile

pytestmark = pytest.mark.requirement("R2.3")


@st.composite
def rates(draw: st.DrawFn) -> Rate:
    size = draw(st.integers(1, 20))
    packets = draw(st.lists(st.integers(0, 10_000), min_size=size, max_size=size))
    days = draw(st.lists(st.floats(0.01, 5), min_size=size, max_size=size))
    return Rate(np.array(packets, dtype=float), np.array(days))


@given(rates(), rates())
@settings(max_examples=150, deadline=None)
def test_swapping_the_sides_inverts_the_ratio(one: Rate, other: Rate) -> None:
    ratio, back = compare_rates(one, other), compare_rates(other, one)

    if ratio.value:
        assert back.value == pytest.approx(1 / ratio.value)
    if ratio.low is not None and ratio.high is not None:
        assert (back.low, back.high) == pytest.approx((1 / ratio.high, 1 / ratio.low))
        assert ratio.value is not None
        assert ratio.low <= ratio.value <= ratio.high


def test_what_cannot_be_told_is_none() -> None:
    some = Rate(np.array([3.0, 4.0]), np.array([1.0, 1.0]))
    nothing = Rate(np.zeros(2), np.ones(2))
    unwatched = Rate(np.zeros(0), np.zeros(0))

    assert compare_rates(some, nothing).value is None
    assert compare_rates(some, unwatched).value is None
    assert compare_rates(unwatched, some).value is None
    assert compare_rates(nothing, some).value == 0
    assert compare_rates(nothing, some).low is None
    assert compare_rates(Rate(np.array([9.0]), np.array([1.0])), some).low is None


@pytest.mark.parametrize(
    ("freedom", "expected"),
    [(1, 12.7062), (4, 2.7764), (5, 2.5706), (10, 2.2281), (30, 2.0423), (9_999, 1.9602)],
)
def test_quantiles_are_student_s(freedom: int, expected: float) -> None:
    assert find_quantile(freedom) == pytest.approx(expected, abs=2e-3)


def test_a_group_that_one_sensor_dominates_is_unsure() -> None:
    days = np.ones(20)
    even = Rate(np.full(20, 100.0), days)
    uneven = Rate(np.array([2_000.0] + [0.0] * 19), days)

    sure, unsure = compare_rates(even, even), compare_rates(uneven, even)

    assert sure.high is not None
    assert unsure.high is not None
    assert sure.value == unsure.value == 1
    assert sure.high < 1.1
    assert unsure.high > 5


def test_the_interval_holds_the_truth_as_often_as_it_says() -> None:
    """Overdispersed counts (gamma-mixed Poisson) of 25 and 40 sensors, true ratio 1.5."""
    rng = np.random.default_rng(random.Random(3).randint(0, 2**32))
    hits = 0
    for _ in range(400):
        sides = []
        for size, rate in ((25, 150.0), (40, 100.0)):
            days = rng.uniform(0.5, 1.0, size)
            sides.append(Rate(rng.poisson(rng.gamma(4, rate / 4, size) * days).astype(float), days))
        found = compare_rates(*sides)
        assert found.low is not None
        assert found.high is not None
        hits += found.low <= 1.5 <= found.high
    assert 0.92 <= hits / 400 <= 0.98
