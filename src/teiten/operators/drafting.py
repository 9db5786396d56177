"""Write a command down, so that it can be shown, discussed and signed."""

from __future__ import annotations

import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from teiten.foundation.clock import Clock
from teiten.operators.errors import DraftError
from teiten.operators.record import SigningRecord
from teiten.protocol import commands
from teiten.protocol.commands import Command, Targets
from teiten.protocol.errors import CommandError
from teiten.protocol.keys import MAX_SENSOR
from teiten.protocol.verbs import LIMITS, VERBS, Argument, Verb, check_arguments

_DURATION = re.compile(r"([1-9][0-9]{0,5})(s|m|h)")
_UNITS = {"s": 1, "m": 60, "h": 3600}


@dataclass(frozen=True)
class Request:
    """What an operator typed."""

    verb: str
    #: ``NAME=VALUE``.
    arguments: Sequence[str]
    #: Words after ``--``, of a free command.
    words: Sequence[str]
    targets: Targets
    reason: str
    #: Seconds from now that it is valid; None: as long as its class allows.
    valid_seconds: int | None = None
    #: Seconds from now until it is valid.
    delay_seconds: int = 0


def draft_command(request: Request, *, key_id: str, record: SigningRecord, clock: Clock) -> Command:
    """Make a command; its counter is kept before it is given.

    Raises:
        DraftError: when it is none that anybody could sign.
    """
    verb = find_verb(request.verb)
    arguments = read_arguments(verb, request.arguments, request.words)
    limits = LIMITS[verb.command_class]
    if limits.explicit_only and not request.targets.is_explicit:
        raise DraftError(f"{verb.name} must name its sensors one by one: use --to")
    lifetime = limits.lifetime_seconds if request.valid_seconds is None else request.valid_seconds
    if lifetime > limits.lifetime_seconds:
        raise DraftError(
            f"class {verb.command_class} is valid {limits.lifetime_seconds} s at most; use --valid"
        )
    now_us = clock.now_us()
    now_s = now_us // 1_000_000
    command_id = commands.make_command_id(now_us, secrets.token_bytes(10))
    command = Command(
        command_id=command_id,
        command_class=verb.command_class,
        verb=verb.name,
        arguments=arguments,
        targets=request.targets,
        not_before_s=now_s + request.delay_seconds,
        expires_s=now_s + request.delay_seconds + lifetime,
        counter=record.next_counter(command_id, now_s),
        # Full-width spaces and line breaks become one space; what cannot be shown is refused.
        reason=" ".join(request.reason.split()),
        created_by=key_id,
    )
    try:
        return commands.read_command(commands.write_command(command))
    except CommandError as error:
        raise DraftError(str(error)) from error


def find_verb(name: str) -> Verb:
    """Find a verb by name.

    Raises:
        DraftError: naming those that there are.
    """
    verb = VERBS.get(name)
    if verb is None:
        raise DraftError(f"there is no verb {name!r:.60}; there are: {', '.join(VERBS)}")
    return verb


def read_arguments(verb: Verb, texts: Sequence[str], words: Sequence[str]) -> dict[str, Any]:
    """Read ``NAME=VALUE`` and, for a free command, the words after ``--``.

    Raises:
        DraftError: naming the argument and its rule.
    """
    known = {argument.name: argument for argument in verb.arguments}
    found: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or name in found:
            raise DraftError(f"argument {text!r:.80} must be NAME=VALUE, each name once")
        found[name] = _read_value(known.get(name), value)
    if words:
        found["argv"] = list(words)
    try:
        check_arguments(verb, found)
    except CommandError as error:
        raise DraftError(str(error)) from error
    return found


def read_duration(text: str) -> int:
    """Read ``90s``, ``30m`` or ``24h`` in seconds.

    Raises:
        DraftError: for another form.
    """
    match = _DURATION.fullmatch(text)
    if match is None:
        raise DraftError(f"duration {text!r:.40} must be like 90s, 30m or 24h")
    return int(match[1]) * _UNITS[match[2]]


def read_sensors(text: str) -> Targets:
    """Read ``7,9,12-20``.

    Raises:
        DraftError: for another form, or too many.
    """
    found: set[int] = set()
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        low, high = _read_sensor(first), _read_sensor(last) if dash else _read_sensor(first)
        if high < low:
            raise DraftError(f"--to: {part!r:.40} is no range of sensors; the lower number comes first")
        if high - low >= commands.MAX_TARGETS:
            raise DraftError(
                f"--to: {part!r:.40} names {high - low + 1} sensors; at most {commands.MAX_TARGETS} fit one command"
            )
        found.update(range(low, high + 1))
    if len(found) > commands.MAX_TARGETS:
        raise DraftError(f"--to names {len(found)} sensors; at most {commands.MAX_TARGETS} fit one command")
    return Targets(tuple(sorted(found)))


def _read_sensor(text: str) -> int:
    if not text.isascii() or not text.isdecimal() or not 1 <= int(text[:11]) <= MAX_SENSOR:
        raise DraftError(f"--to: {text!r:.40} is no sensor's number")
    return int(text)


def _read_value(argument: Argument | None, value: str) -> Any:
    if argument is None or argument.kind != "whole":
        return value
    if value == "none" and argument.nullable:
        return None
    return int(value) if re.fullmatch(r"[0-9]{1,12}", value) else value
