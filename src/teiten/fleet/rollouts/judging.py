"""How far a roll-out may go: pure rules, for commands and updates alike.

A roll-out has stages, each a share of its targets. Rules of trust, all of them kept
by tests over arbitrary histories:

* Never is more released than the present stage allows, nor faster than the rate.
* A stage is left only forwards, and only when its sensors have answered well.
* Too many failures, or sensors that fell silent after they were released, halt it;
  a halt stays until a person acts.

Sensors that did not speak when they were released count neither for nor against:
they are the baseline.
"""

from __future__ import annotations

import hashlib
import itertools
import math
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

BUCKETS = 10_000
DEFAULT_STAGES = (1, 10, 50, 100)
#: Nobody watches a roll-out for longer between two stages.
MAX_SOAK_SECONDS = 7 * 86_400
_MINUTE_SECONDS = 60

Action: TypeAlias = Literal["wait", "release", "advance", "halt", "finish"]


@dataclass(frozen=True)
class Rules:
    """What a roll-out goes by."""

    #: Percent of the targets, ascending, the last one 100.
    stages: tuple[int, ...]
    #: Most sensors released within a minute.
    per_minute: int
    #: Seconds after the last release of a stage until the next may begin.
    soak_seconds: int
    #: Share of the released sensors that may fail, fall silent, or still owe an answer.
    bad_share: float = 0.02


@dataclass(frozen=True)
class Standing:
    """How far a roll-out is. Counts are of targets."""

    #: Index of the present stage.
    stage: int
    total: int
    #: Ever released, whatever became of them.
    released: int
    released_last_minute: int
    ok: int
    #: Failed or refused.
    bad: int
    #: Released, spoke then, and silent now without a plan.
    fell_silent: int
    #: Released, spoke then, not answered yet.
    owing: int
    #: Released and not settled, silent ones included.
    open: int
    #: Seconds since the last release.
    quiet_seconds: float


@dataclass(frozen=True)
class Step:
    """What to do now."""

    action: Action
    #: How many to release.
    count: int = 0
    #: The next stage, when advancing.
    stage: int = 0
    reason: str = ""


def bucket_of(key: str, sensor: int) -> int:
    """Give a sensor's place (0 to 9,999) in the order of a roll-out; another roll-out begins with others."""
    digest = hashlib.sha256(f"{key}/{sensor}".encode()).digest()
    return int.from_bytes(digest[:8], "big") % BUCKETS


def order_sensors(key: str, sensors: Iterable[int], *, silent: Collection[int]) -> list[int]:
    """Give the order of release: sensors that speak first, so that the first stage tells something."""
    return sorted(sensors, key=lambda sensor: (sensor in silent, bucket_of(key, sensor), sensor))


def limit_of(total: int, percent: int) -> int:
    """Give how many of ``total`` a stage may have released; at least one."""
    return min(total, max(1, math.ceil(total * percent / 100)))


def find_fault(stages: Sequence[int], per_minute: int, soak_seconds: int = 0) -> str | None:
    """Say which rule stages, rate or pause break; None when none."""
    ascending = all(low < high for low, high in itertools.pairwise(stages))
    if not stages or not ascending or stages[0] < 1 or stages[-1] != 100:
        told = ",".join(map(str, stages)) or "nothing"
        return f"stages must be percentages that ascend to 100, such as 1,10,50,100, not {told:.60}"
    if not 1 <= per_minute <= BUCKETS:
        return f"the rate must be 1 to {BUCKETS} sensors a minute, not {per_minute}"
    if not 0 <= soak_seconds <= MAX_SOAK_SECONDS:
        return f"the pause between stages must be 0 to {MAX_SOAK_SECONDS} seconds, not {soak_seconds}"
    return None


def find_shortage(rules: Rules, total: int, seconds: float) -> str | None:
    """Say why ``seconds`` cannot be enough to release ``total`` sensors, and what would be; None when they can.

    Counted is what rate and pauses alone take: answers come on top.
    """
    limits = {limit_of(total, percent) for percent in rules.stages}
    pauses = rules.soak_seconds * (len(limits) - 1)
    needed = pauses + (math.ceil(total / rules.per_minute) - 1) * _MINUTE_SECONDS
    if needed < seconds:
        return None
    told = (
        f"{total} sensors at {rules.per_minute} a minute, with {pauses} s of pauses, take {needed} s at least; "
        f"{max(0, int(seconds))} s are left"
    )
    minutes = math.ceil((seconds - pauses) / _MINUTE_SECONDS)
    if minutes >= 1 and math.ceil(total / minutes) <= BUCKETS:
        return f"{told}: release {math.ceil(total / minutes)} a minute or more"
    return f"{told}: shorten the pauses, take fewer stages, or name fewer sensors"


def decide(rules: Rules, standing: Standing) -> Step:
    """Give the next step of a running roll-out."""
    trouble = find_trouble(rules, standing)
    if trouble is not None:
        return Step("halt", reason=trouble)
    limit = limit_of(standing.total, rules.stages[standing.stage])
    if standing.released < limit:
        return _release(rules, standing, limit)
    if not is_settled(rules, standing):
        return Step("wait")
    following = _next_stage(rules, standing, limit)
    if following is not None:
        return Step("advance", stage=following)
    return Step("finish") if standing.open == 0 else Step("wait")


def find_trouble(rules: Rules, standing: Standing) -> str | None:
    """Say why a roll-out must halt; None when it need not."""
    tolerated = rules.bad_share * standing.released
    if standing.bad > tolerated:
        return f"{standing.bad} of {standing.released} sensors failed or refused"
    if standing.fell_silent > tolerated:
        return f"{standing.fell_silent} of {standing.released} sensors fell silent after their release"
    return None


def is_settled(rules: Rules, standing: Standing) -> bool:
    """Tell whether the present stage has answered well enough, and long enough ago."""
    if standing.owing > rules.bad_share * standing.released:
        return False
    is_only_silent = standing.open == standing.released
    if standing.ok == 0 and not is_only_silent:
        return standing.total == 0
    return standing.quiet_seconds >= rules.soak_seconds


def _release(rules: Rules, standing: Standing, limit: int) -> Step:
    allowed = min(limit - standing.released, rules.per_minute - standing.released_last_minute)
    return Step("release", count=allowed) if allowed > 0 else Step("wait")


def _next_stage(rules: Rules, standing: Standing, limit: int) -> int | None:
    """Give the next stage that lets more sensors in."""
    for stage in range(standing.stage + 1, len(rules.stages)):
        if limit_of(standing.total, rules.stages[stage]) > limit:
            return stage
    return None
