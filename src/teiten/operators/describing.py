"""A command in plain words: what a person reads before signing."""

from __future__ import annotations

import json
import shlex

from teiten.foundation.clock import from_us
from teiten.operators.targets_file import TargetList
from teiten.protocol.commands import Command, Envelope
from teiten.protocol.judging import REASONS, list_signers
from teiten.protocol.operator_list import OperatorList
from teiten.protocol.verbs import LIMITS, VERBS

_UNKNOWN = "a verb that this program does not know"


def describe(command: Command, targets: TargetList | None) -> list[str]:
    """Give a command as lines, a fact each."""
    verb, limits = VERBS.get(command.verb), LIMITS[command.command_class]
    who = f"{limits.persons} persons sign" if limits.persons > 1 else "1 person signs"
    role = f", one of them {limits.role}" if limits.role else ""
    return [
        f"command    {command.command_id}",
        f"does       {command.verb}: {verb.help if verb else _UNKNOWN}",
        *(f"           {name} = {_plain(value)}" for name, value in command.arguments.items()),
        f"class      {command.command_class} ({limits.meaning}): {who}{role}",
        *_describe_targets(command, targets),
        f"valid      from {_instant(command.not_before_s)} until {_instant(command.expires_s)}",
        f"reason     {command.reason}",
        f"written by {command.created_by}, number {command.counter}",
    ]


def describe_signatures(
    envelope: Envelope, command: Command, operators: OperatorList, *, now_s: int
) -> list[str]:
    """Give each signature with what it is worth, as lines."""
    signers = list_signers(envelope, command.command_class, operators, now_s=now_s)
    if not signers:
        return ["signed     by nobody yet"]
    return [
        f"signed     by {signer.key_id} {signer.person or '(unknown)'}: "
        + (f"does not count: {REASONS[signer.flaw]}" if signer.flaw else "counts")
        for signer in signers
    ]


def _describe_targets(command: Command, targets: TargetList | None) -> list[str]:
    if command.targets.is_explicit:
        sensors = command.targets.sensors
        shown = ", ".join(map(str, sensors[:10]))
        left = len(sensors) - 10
        return [f"sensors    {len(sensors)}: {shown}" + (f" and {left} more" if left > 0 else "")]
    count = command.targets.max_sensors
    lines = [f"sensors    {count} at most, selected by {command.targets.selector!r}"]
    return lines + ([f"           {targets.describe()}"] if targets else [])


def _plain(value: object) -> str:
    if isinstance(value, list) and all(isinstance(word, str) for word in value):
        return shlex.join(word if word.isprintable() else json.dumps(word) for word in value)
    return json.dumps(value)


def _instant(at_s: int) -> str:
    return from_us(at_s * 1_000_000).strftime("%Y-%m-%d %H:%M:%S UTC")
