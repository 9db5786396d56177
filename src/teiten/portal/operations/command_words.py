"""A command in plain words: what it does, to whom, signed by whom, and what came back."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.utils.translation import gettext as _

from teiten.accounts.models import Role, User
from teiten.fleet.commands import operators, selectors
from teiten.fleet.commands.models import Command, CommandResult, CommandState
from teiten.fleet.commands.services import Checked
from teiten.fleet.models import Sensor
from teiten.fleet.selectors import may_see_all
from teiten.portal.operations.rings import TONES, describe_rollout
from teiten.protocol import commands as wire
from teiten.protocol import judging
from teiten.protocol.verbs import LIMITS, VERBS

_MOST_NAMES = 40
_BEFORE = (CommandState.DRAFT, CommandState.SIGNED, CommandState.APPROVED)


def name_class(command_class: str) -> str:
    """Say what a class of commands is about."""
    return {
        "A": _("looks only"),
        "B": _("changes how it runs"),
        "C": _("runs a free command"),
        "D": _("ends a sensor"),
    }.get(command_class, "")


def describe_line(command: Command) -> dict[str, Any]:
    """Give what a line of the list shows."""
    rollout = command.rollout
    return {
        "command": command,
        "meaning": name_class(command.command_class),
        "arguments": write_arguments(command.arguments),
        "state": rollout.get_state_display() if rollout else command.get_state_display(),
        "tone": TONES.get(rollout.state if rollout else command.state, ""),
    }


def describe_command(command: Command, viewer: User, *, now: datetime) -> dict[str, Any]:
    """Give what the page of one command shows."""
    is_operator = viewer.has_role(Role.OPERATOR)
    verb = VERBS.get(command.verb)
    is_over = command.expires_at <= now
    rollout = describe_rollout(viewer, command.rollout) if command.rollout else None
    return {
        "command": command,
        "meaning": name_class(command.command_class),
        "help": verb.help if verb else "",
        "arguments": sorted((name, _write(value)) for name, value in command.arguments.items()),
        "signers": _list_signers(command, now) if may_see_all(viewer) else [],
        "persons_wanted": LIMITS[command.command_class].persons if command.command_class in LIMITS else 0,
        "names": _list_names(command, viewer),
        "total": len(command.sensors) if may_see_all(viewer) else None,
        "progress": rollout,
        "is_over": is_over,
        "tone": TONES.get(command.state, ""),
        "may_start": is_operator and command.state == CommandState.APPROVED and not is_over,
        "may_stop": is_operator and (command.state in _BEFORE or bool(rollout and rollout["is_open"])),
        "may_move": is_operator and bool(rollout and rollout["is_open"]),
        "sha256": bytes(command.payload_sha256).hex(),
    }


def describe_result(result: CommandResult) -> dict[str, Any]:
    """Give one sensor's answer: text is shown as text, and its signature is checked again."""
    forgery = selectors.find_forgery(result)
    return {
        "result": result,
        "output": selectors.read_output(result) if forgery is None else "",
        "forgery": forgery,
        "reason": result.reason,
    }


def describe_checked(checked: Checked) -> dict[str, Any]:
    """Give what a dry run found."""
    told = checked.command
    named = Sensor.objects.filter(pk__in=checked.sensors[:_MOST_NAMES]).order_by("pk")
    return {
        "verb": told.verb,
        "command_class": told.command_class,
        "meaning": name_class(told.command_class),
        "arguments": write_arguments(told.arguments),
        "reason": told.reason,
        "persons": checked.persons,
        "wanted": checked.wanted,
        "total": len(checked.sensors),
        "names": list(named.values_list("name", flat=True)),
        "more": max(0, len(checked.sensors) - _MOST_NAMES),
        "state": checked.state.label,
    }


def write_arguments(arguments: Mapping[str, Any]) -> str:
    """Write arguments on one line."""
    return " ".join(f"{name}={_write(value)}" for name, value in sorted(arguments.items()))


def _write(value: Any) -> str:
    return " ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _list_names(command: Command, viewer: User) -> list[str]:
    """Name the first of those it is for, as far as the viewer sees them as they are."""
    sensors = Sensor.objects.filter(pk__in=command.sensors).order_by("pk")
    if not may_see_all(viewer):
        sensors = sensors.filter(organisation=viewer.organisation_id)
    return list(sensors.values_list("name", flat=True)[:_MOST_NAMES])


def _list_signers(command: Command, now: datetime) -> list[dict[str, Any]]:
    """Weigh every signature by the list of operators as it is known now."""
    known = operators.find_operators()
    if known is None:
        return []
    envelope = wire.read_envelope(bytes(command.envelope))
    found = judging.list_signers(envelope, command.command_class, known, now_s=int(now.timestamp()))
    return [
        {"person": one.person or one.key_id, "key": one.key_id, "flaw": judging.REASONS.get(one.flaw, "")}
        for one in found
    ]
