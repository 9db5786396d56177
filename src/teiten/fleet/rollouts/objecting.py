"""Who may object to a roll-out going on: the room that knows what is rolled out.

Roll-outs know neither commands nor releases. Each of those rooms says here, when its
app is made ready, how to find out that its subject must not go on; a roll-out that is
objected to halts before its next step.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import TypeAlias

from teiten.fleet.rollouts.models import Rollout

#: Says why a roll-out must not go on, and what to do; None when nothing speaks against it.
Objection: TypeAlias = Callable[[Rollout, datetime], str | None]

_OBJECTIONS: dict[str, Objection] = {}


def let_object(kind: str, find: Objection) -> None:
    """Ask ``find`` before every step of roll-outs of this kind."""
    _OBJECTIONS[kind] = find


def find_objection(rollout: Rollout, now: datetime) -> str | None:
    """Say why a roll-out must not go on; None when nothing speaks against it."""
    find = _OBJECTIONS.get(rollout.kind)
    return None if find is None else find(rollout, now)
