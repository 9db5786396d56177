"""What became of one command, before it is signed as a result."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

from teiten.protocol.results import State, clean_output

_STATES: tuple[State, ...] = ("done", "failed", "refused")


@dataclass(frozen=True)
class Outcome:
    """State, reason code and output; the reason is empty when it was done."""

    state: State
    reason: str = ""
    output: str = ""
    truncated: bool = False

    def to_fields(self) -> dict[str, Any]:
        return asdict(self)


def done(text: str = "") -> Outcome:
    """Say that it was done; ``text`` is cleaned and cut to what a result can carry."""
    output, truncated = clean_output(text.encode(errors="replace"))
    return Outcome("done", "", output, truncated)


def failed(reason: str, text: str = "") -> Outcome:
    output, truncated = clean_output(text.encode(errors="replace"))
    return Outcome("failed", reason, output, truncated)


def refused(reason: str, text: str = "") -> Outcome:
    output, truncated = clean_output(text.encode(errors="replace"))
    return Outcome("refused", reason, output, truncated)


def read_outcome(fields: dict[str, Any]) -> Outcome | None:
    """Read what :meth:`Outcome.to_fields` gave, from a file that may hold anything; None when it is none."""
    state, reason, output = fields.get("state"), fields.get("reason"), fields.get("output")
    if state not in _STATES or not isinstance(reason, str) or not isinstance(output, str):
        return None
    text, cut = clean_output(output.encode(errors="replace"))
    return Outcome(state, reason if state != "done" else "", text, cut or fields.get("truncated") is True)


def describe(outcome: Outcome) -> str:
    """Give the outcome in one line, for logs and the chain."""
    return json.dumps({"state": outcome.state, "reason": outcome.reason})
