"""What state a sensor is in, from facts alone."""

from __future__ import annotations

import dataclasses
from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from teiten.fleet.config import FleetConfig
from teiten.fleet.health import Condition, Facts, drop_share, judge

NOW = datetime(2026, 11, 21, 3, 0, tzinfo=timezone.utc)
CONFIG = FleetConfig()
GOOD = Facts(
    standing="active",
    enrolled_at=NOW - timedelta(days=3),
    heartbeat_at=NOW - timedelta(seconds=30),
    recent_captured=10_000,
    recent_drops=0,
    clock_offset_us=200_000,
    missing_batches=0,
)


def states_of(**changes: object) -> tuple[str, ...]:
    return tuple(one.value for one in judge(dataclasses.replace(GOOD, **changes), now=NOW, config=CONFIG))


@pytest.mark.parametrize(
    ("changes", "states"),
    [
        ({}, ("watching",)),
        ({"clock_offset_us": None}, ("watching",)),
        ({"recent_captured": 0}, ("watching",)),
        ({"heartbeat_at": NOW - timedelta(seconds=150)}, ("watching",)),
        ({"heartbeat_at": NOW - timedelta(seconds=151)}, ("silent",)),
        ({"heartbeat_at": None, "enrolled_at": NOW - timedelta(seconds=10)}, ("watching",)),
        ({"heartbeat_at": None}, ("silent",)),
        ({"heartbeat_at": NOW + timedelta(hours=1)}, ("watching",)),
        ({"missing_batches": 1}, ("gapped",)),
        ({"recent_drops": 10}, ("watching",)),
        ({"recent_drops": 11}, ("dropping",)),
        ({"clock_offset_us": 1_000_000}, ("watching",)),
        ({"clock_offset_us": 1_000_001}, ("skewed",)),
        ({"clock_offset_us": -1_000_001}, ("skewed",)),
        ({"standing": "quarantined"}, ("quarantined",)),
        ({"standing": "quarantined", "heartbeat_at": None}, ("quarantined", "silent")),
        ({"standing": "revoked", "heartbeat_at": None}, ("revoked",)),
        ({"standing": "suspended", "missing_batches": 3}, ("suspended",)),
        ({"standing": "suspended", "by_host": True}, ("paused",)),
        ({"standing": "revoked", "by_host": True}, ("withdrawn",)),
        ({"standing": "pending_approval"}, ("pending_approval",)),
        ({"heartbeat_at": None, "is_planned": True}, ("maintenance",)),
        ({"is_planned": True}, ("watching",)),
        ({"ring_fill_permille": 799, "disk_free_bytes": 1 << 30}, ("watching",)),
        ({"ring_fill_permille": 800}, ("ring_full",)),
        ({"disk_free_bytes": (1 << 30) - 1}, ("disk_low",)),
        ({"disk_free_bytes": 0}, ("disk_low",)),
        ({"update_state": "trying"}, ("watching",)),
        ({"update_state": "rolled_back"}, ("update_failed",)),
        ({"update_state": "blocked", "ring_fill_permille": 1000}, ("ring_full", "update_failed")),
        ({"standing": "token_issued", "heartbeat_at": None, "enrolled_at": None}, ("waiting",)),
        (
            {"heartbeat_at": None, "missing_batches": 9, "recent_drops": 9_000, "clock_offset_us": 9_000_000},
            ("silent", "gapped", "dropping", "skewed"),
        ),
    ],
)
@pytest.mark.requirement("R1.3")
def test_a_sensor_is_shown_as_it_is(changes: dict, states: tuple[str, ...]) -> None:
    assert states_of(**changes) == states


@given(
    standing=st.sampled_from(
        ["created", "token_issued", "pending_approval", "active", "suspended", "revoked", "quarantined"]
    ),
    silent_seconds=st.none() | st.integers(-10_000, 10_000),
    captured=st.floats(0, 1e12),
    drops=st.floats(0, 1e12),
    offset=st.none() | st.integers(-(10**12), 10**12),
    missing=st.integers(0, 10**6),
    later=st.fixed_dictionaries(
        {
            "is_planned": st.booleans(),
            "by_host": st.booleans(),
            "disk_free_bytes": st.none() | st.integers(0, 1 << 40),
            "ring_fill_permille": st.none() | st.integers(0, 1000),
            "update_state": st.sampled_from(["", "steady", "trying", "rolled_back", "blocked"]),
        }
    ),
)
def test_there_is_always_a_state_and_watching_stands_alone(
    standing: str,
    silent_seconds: int | None,
    captured: float,
    drops: float,
    offset: int | None,
    missing: int,
    later: dict,
) -> None:
    heard = None if silent_seconds is None else NOW - timedelta(seconds=silent_seconds)
    facts = Facts(standing, NOW - timedelta(days=9), heard, captured, drops, offset, missing, **later)

    found = judge(facts, now=NOW, config=CONFIG)

    assert found
    assert list(found) == [condition for condition in Condition if condition in found], (
        "worst first, no repeats"
    )
    assert (Condition.WATCHING in found) == (found == (Condition.WATCHING,))
    assert 0.0 <= drop_share(facts) <= 1.0
