"""How full the capture rings were lately, and how a ring finds it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from teiten.sensor.ring import Ring
from teiten.sensor.ring_fill import PERIOD_SECONDS, RingFill

pytestmark = pytest.mark.requirement("R1.3")


def fill_after(*notes: tuple[float, list[int | None]]) -> int | None:
    fill = RingFill()
    for now, permilles in notes:
        fill.note(permilles, now=now)
    return fill.permille


def test_a_peak_is_told_for_a_minute_and_then_forgotten() -> None:
    assert fill_after() is None
    assert fill_after((0, [])) is None
    assert fill_after((0, [None])) is None
    assert fill_after((0, [3, 900]), (1, [2, 5])) == 900
    assert fill_after((0, [900]), (PERIOD_SECONDS, [1])) == 900
    assert fill_after((0, [900]), (PERIOD_SECONDS, [1]), (2 * PERIOD_SECONDS, [2])) == 2
    assert fill_after((0, [900]), (9 * PERIOD_SECONDS, [2])) == 2, "after a long sleep nothing old is told"
    assert fill_after((0, [900]), (PERIOD_SECONDS, [None]), (2 * PERIOD_SECONDS, [None])) is None


@given(count=st.integers(1, 64), position=st.integers(0, 63), waiting=st.integers(0, 64))
def test_a_ring_counts_what_waits(count: int, position: int, waiting: int) -> None:
    ring = object.__new__(Ring)
    waiting, ring._count, ring._position, ring._fullest = min(waiting, count), count, position % count, 0
    ring._status = np.zeros(count, np.uint32)
    ring._status[(ring._position + np.arange(waiting)) % count] = 1

    assert ring._measure_fill() == waiting
