"""A roll-out as a picture: one bar for each ring, its parts as wide as the sensors in each state."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from django.utils.functional import Promise

from teiten.accounts.models import User
from teiten.fleet.rollouts import selectors
from teiten.fleet.rollouts.models import Rollout, RolloutState, TargetState

#: From left to right: what is over first, what nobody has been given last.
_ORDER = (
    TargetState.OK, TargetState.FAILED, TargetState.REFUSED, TargetState.FETCHED, TargetState.RELEASED,
    TargetState.EXPIRED, TargetState.CANCELLED, TargetState.WAITING,
)  # fmt: skip


#: How the state of a roll-out, or of a command before it, is coloured; the word stands in it.
TONES = {
    "running": "new", "paused": "warn", "halted": "bad", "done": "good", "stopped": "out",
    "draft": "out", "signed": "warn", "approved": "new", "started": "new", "withdrawn": "out",
}  # fmt: skip


@dataclass(frozen=True)
class Part:
    """Sensors of a ring in one state."""

    css: str
    label: str | Promise
    count: int
    left: str
    width: str


@dataclass(frozen=True)
class Ring:
    """What one stage added."""

    percent: int
    number: int
    total: int
    answered: int
    #: Failed or refused.
    bad: int
    parts: tuple[Part, ...]
    is_later: bool


def describe_rollout(viewer: User, rollout: Rollout) -> dict[str, object]:
    """Give a roll-out's rings and totals, and what may be done with it."""
    rings = draw_rings(selectors.count_rings(viewer, rollout), stage=rollout.stage)
    counts = selectors.count_states(viewer, rollout)
    is_open = rollout.state in (RolloutState.RUNNING, RolloutState.PAUSED, RolloutState.HALTED)
    return {
        "rollout": rollout,
        "rings": rings,
        "totals": [
            (state.value, state.label, counts[state.value]) for state in _ORDER if counts[state.value]
        ],
        "stages": " → ".join(f"{percent} %" for percent in rollout.stages),
        "is_open": is_open,
        "tone": TONES.get(rollout.state, ""),
        "may_pause": rollout.state == RolloutState.RUNNING,
        "may_resume": rollout.state in (RolloutState.PAUSED, RolloutState.HALTED),
        "is_bad": rollout.state == RolloutState.HALTED,
    }


def draw_rings(counted: Sequence[tuple[int, Mapping[str, int]]], *, stage: int) -> list[Ring]:
    """Lay out the states of each ring; a ring without sensors is left out."""
    rings = []
    for number, (percent, counts) in enumerate(counted):
        total = sum(counts.values())
        if total:
            parts = _lay_out(counts, total)
            answered = sum(
                counts.get(state, 0) for state in (TargetState.OK, TargetState.FAILED, TargetState.REFUSED)
            )
            bad = sum(counts.get(state, 0) for state in (TargetState.FAILED, TargetState.REFUSED))
            rings.append(Ring(percent, number + 1, total, answered, bad, parts, number > stage))
    return rings


def _lay_out(counts: Mapping[str, int], total: int) -> tuple[Part, ...]:
    parts, left = [], 0.0
    for state in _ORDER:
        count = counts.get(state.value, 0)
        if count:
            width = count / total * 100
            parts.append(Part(f"t-{state.value}", state.label, count, f"{left:.2f}%", f"{width:.2f}%"))
            left += width
    return tuple(parts)
