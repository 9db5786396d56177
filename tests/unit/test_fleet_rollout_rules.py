"""The rules of roll-outs: a few first, never faster, never back, and a halt that stays."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from teiten.fleet.rollouts.judging import (
    BUCKETS,
    Rules,
    Standing,
    bucket_of,
    decide,
    find_fault,
    find_shortage,
    limit_of,
    order_sensors,
)

pytestmark = pytest.mark.requirement("R1.3")
RULES = Rules(stages=(1, 10, 50, 100), per_minute=5000, soak_seconds=0)
START = Standing(
    stage=0, total=10_000, released=0, released_last_minute=0, ok=0, bad=0, fell_silent=0, owing=0, open=0,
    quiet_seconds=0.0,
)  # fmt: skip


def stand(**changes: float) -> Standing:
    return dataclasses.replace(START, **changes)


def test_it_works() -> None:
    assert decide(RULES, START).count == 100
    assert decide(RULES, stand(released=100, owing=100, open=100)).action == "wait"
    assert decide(RULES, stand(released=100, ok=99, owing=1, open=1)) == dataclasses.replace(
        decide(RULES, START), action="advance", count=0, stage=1
    )
    assert decide(RULES, stand(stage=3, released=10_000, ok=10_000)).action == "finish"


@pytest.mark.parametrize(
    ("changes", "action"),
    [
        ({"released": 100, "ok": 97, "bad": 3}, "halt"),
        ({"released": 100, "ok": 98, "bad": 2}, "advance"),
        ({"released": 100, "ok": 100, "fell_silent": 3}, "halt"),
        ({"released": 1, "bad": 1, "total": 3}, "halt"),
        ({"released": 100, "ok": 0, "owing": 2, "open": 2}, "wait"),
        # Nobody of the stage speaks: nothing is learnt by waiting.
        ({"released": 100, "ok": 0, "owing": 0, "open": 100}, "advance"),
        ({"stage": 3, "released": 10_000, "ok": 9_990, "open": 10}, "wait"),
    ],
)
def test_outcomes_decide(changes: dict[str, float], action: str) -> None:
    assert decide(RULES, stand(**changes)).action == action


def test_a_stage_soaks_and_a_rate_holds() -> None:
    slow = dataclasses.replace(RULES, per_minute=30, soak_seconds=600)

    assert decide(slow, START).count == 30
    assert decide(slow, stand(released=30, released_last_minute=30, open=30, owing=30)).action == "wait"
    settled = stand(released=100, ok=100, quiet_seconds=599)
    assert decide(slow, settled).action == "wait"
    assert decide(slow, dataclasses.replace(settled, quiet_seconds=600)).action == "advance"


@pytest.mark.parametrize("stages", [(), (10, 5, 100), (0, 100), (10, 50), (50, 50, 100), (100, 101)])
def test_stages_that_break_a_rule_are_named(stages: tuple[int, ...]) -> None:
    assert "ascend to 100" in str(find_fault(stages, 10))


@pytest.mark.parametrize(
    ("per_minute", "soak_seconds", "said"),
    [
        (0, 0, "1 to 10000 sensors a minute, not 0"),
        (-5, 0, "not -5"),
        (10_001, 0, "not 10001"),
        (1, -1, "0 to 604800 seconds, not -1"),
        (1, 10**12, "0 to 604800 seconds"),
    ],
)
def test_a_pace_that_breaks_a_rule_is_named(per_minute: int, soak_seconds: int, said: str) -> None:
    assert said in str(find_fault((1, 100), per_minute, soak_seconds))
    assert find_fault((1, 100), 1, 604_800) is None


@pytest.mark.parametrize(
    ("changes", "total", "seconds", "said"),
    [
        # 167 minutes of releases do not fit into an hour; 167 a minute do.
        ({"per_minute": 60}, 10_000, 3600, "release 167 a minute or more"),
        ({"per_minute": 167}, 10_000, 3600, None),
        ({"per_minute": 5000}, 10_000, 61, None),
        ({"per_minute": 5000}, 10_000, 60, "release 10000 a minute or more"),
        ({"soak_seconds": 1300}, 10_000, 3600, "shorten the pauses"),
        # Three sensors have three different stages at most.
        ({"soak_seconds": 1300}, 3, 3600, None),
        ({"soak_seconds": 1300}, 1, 1, None),
        ({}, 1, 0, "0 s are left"),
    ],
)
def test_what_cannot_be_done_in_time_is_said_before(
    changes: dict[str, int], total: int, seconds: int, said: str | None
) -> None:
    told = find_shortage(dataclasses.replace(RULES, **changes), total, seconds)
    assert told is None if said is None else said in str(told)


def test_the_order_begins_with_sensors_that_speak_and_differs_between_rollouts() -> None:
    sensors = range(1, 200)
    order = order_sensors("command/a", sensors, silent={5, 6})

    assert sorted(order) == list(sensors)
    assert set(order[-2:]) == {5, 6}
    assert order != order_sensors("command/b", sensors, silent={5, 6})
    assert 0 <= bucket_of("k", 1) < BUCKETS


@dataclass
class World:
    """Targets that answer as hypothesis tells them."""

    total: int
    stage: int = 0
    halted: bool = False
    ended: bool = False

    def __post_init__(self) -> None:
        self.states = ["waiting"] * self.total
        self.minute = 0

    def standing(self) -> Standing:
        count = self.states.count
        released = self.total - count("waiting")
        return Standing(
            stage=self.stage,
            total=self.total,
            released=released,
            released_last_minute=self.minute,
            ok=count("ok"),
            bad=count("bad"),
            fell_silent=count("silent"),
            owing=count("open") + count("silent"),
            open=count("open") + count("silent"),
            quiet_seconds=1000.0,
        )


@settings(max_examples=80, deadline=None)
@given(
    total=st.integers(1, 300),
    rate=st.integers(1, 400),
    stages=st.sampled_from([(1, 10, 50, 100), (100,), (5, 100)]),
    script=st.lists(
        st.lists(st.sampled_from(["ok", "ok", "ok", "bad", "silent", "open"]), max_size=40), max_size=25
    ),
)
def test_whatever_sensors_do_the_rules_hold(
    total: int, rate: int, stages: tuple[int, ...], script: list[list[str]]
) -> None:
    world, rules = World(total), Rules(stages, per_minute=rate, soak_seconds=60)
    for answers in script:
        world.minute = 0
        take_steps(world, rules)
        waiting_for = [number for number, state in enumerate(world.states) if state == "open"]
        for number, answer in zip(waiting_for, answers, strict=False):
            world.states[number] = answer


def take_steps(world: World, rules: Rules) -> None:
    for _ in range(2 * len(rules.stages) + 3):
        before = world.standing()
        step = decide(rules, before)
        if step.action == "halt":
            # Nothing that a halted roll-out sees makes it go on: it halts again, or asks for nothing.
            assert before.bad or before.fell_silent
            return
        if step.action == "advance":
            assert step.stage > world.stage
            assert before.released >= limit_of(world.total, rules.stages[world.stage])
            world.stage = step.stage
        elif step.action == "release":
            assert 0 < step.count <= rules.per_minute - world.minute
            assert before.released + step.count <= limit_of(world.total, rules.stages[world.stage])
            first = world.states.index("waiting")
            world.states[first : first + step.count] = ["open"] * step.count
            world.minute += step.count
        else:
            assert step.action == "wait" or before.open == 0
            return
    raise AssertionError("the steps do not end")
