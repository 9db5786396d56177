"""The gateway's HTTP side over a transport in memory: cut anywhere it is the same, changed anywhere it lands nothing."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parents[1] / "fuzz"))
from wire_harness import BEAT, WireHarness, honest_batch, signed

pytestmark = pytest.mark.requirement("R1.2", "R2.1")
SMALL = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
BATCH = honest_batch()


@pytest.fixture(scope="module")
def harness() -> Iterator[WireHarness]:
    made = WireHarness()
    yield made
    made.close()


@SMALL
@given(cuts=st.lists(st.integers(0, len(BATCH)), max_size=6))
def test_a_request_is_the_same_however_it_is_cut(harness: WireHarness, cuts: list[int]) -> None:
    ends = sorted({0, *cuts, len(BATCH)})
    parts = [BATCH[start:end] for start, end in pairwise(ends)]

    assert harness.check(parts) == [201]


@SMALL
@given(place=st.integers(0, len(BATCH) - 1), bit=st.integers(0, 7))
def test_a_bit_that_flips_lands_nothing_else(harness: WireHarness, place: int, bit: int) -> None:
    """Some bits say nothing (``Host``, the minor version); what lands is what was sealed, or the check raises."""
    changed = bytearray(BATCH)
    changed[place] ^= 1 << bit

    assert len(harness.check([bytes(changed)])) <= 1


@SMALL
@given(body=st.binary(max_size=300))
def test_a_body_that_nobody_understands_is_named(harness: WireHarness, body: bytes) -> None:
    assert harness.check([signed("POST", "/v1/heartbeat", body)]) == [400]


@SMALL
@given(noise=st.binary(min_size=1, max_size=200))
def test_noise_between_requests_hurts_no_later_one(harness: WireHarness, noise: bytes) -> None:
    harness.check([BATCH, noise])

    assert harness.check([signed("POST", "/v1/heartbeat", BEAT.to_json())]) == [200]
