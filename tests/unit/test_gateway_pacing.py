"""How often one sensor may ask."""

from __future__ import annotations

from datetime import datetime, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from teiten.foundation.clock import FixedClock
from teiten.gateway import pacing
from teiten.gateway.errors import Refusal
from teiten.gateway.pacing import Pace, Paces

pytestmark = pytest.mark.requirement("R2.1")
PACE = Pace("tests", 0.5, 20)


@pytest.fixture
def paces(clock: FixedClock) -> Paces:
    return Paces(clock)


def test_so_much_may_come_at_once_and_then_waits(paces: Paces, clock: FixedClock) -> None:
    for _ in range(10):
        paces.spend(PACE, 7)
    with pytest.raises(Refusal) as refused:
        paces.spend(PACE, 7)
    assert (refused.value.status, refused.value.code) == (429, "too_many_requests")
    wait = refused.value.retry_after_seconds or 0
    clock.advance(wait)
    paces.spend(PACE, 7)


def test_one_askers_haste_is_nobody_elses(paces: Paces) -> None:
    for _ in range(10):
        paces.spend(PACE, 7)
    paces.spend(PACE, 8)
    paces.spend(Pace("others", 0.5, 20), 7)


def test_looking_counts_nothing(paces: Paces) -> None:
    for _ in range(100):
        paces.check(PACE, 7)
    paces.spend(PACE, 7)


def test_a_large_amount_is_taken_while_there_is_room_and_paid_afterwards(
    paces: Paces, clock: FixedClock
) -> None:
    paces.spend(PACE, 7, amount=500)
    with pytest.raises(Refusal) as refused:
        paces.check(PACE, 7)
    assert (refused.value.retry_after_seconds or 0) > 900
    clock.advance(1_000)
    paces.check(PACE, 7)


def test_memory_is_bounded(paces: Paces, clock: FixedClock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pacing, "MOST_ASKERS", 100)
    for asker in range(1_000):
        paces.spend(PACE, asker)
        clock.advance(0.001)
    assert len(paces._used[PACE.name]) <= 100


@given(gaps=st.lists(st.floats(0, 5), min_size=1, max_size=60))
@settings(max_examples=25)
def test_no_pattern_of_asking_gets_more_than_burst_and_pace(gaps: list[float]) -> None:
    clock = FixedClock(datetime(2026, 11, 21, tzinfo=timezone.utc))
    paces, taken, passed = Paces(clock), 0, 0.0
    for gap in gaps:
        clock.advance(gap)
        passed += gap
        try:
            paces.spend(PACE, 7)
            taken += 1
        except Refusal:
            pass
    assert taken <= PACE.burst_seconds * PACE.per_second + PACE.per_second * passed + 1
