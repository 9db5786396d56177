"""Whether signers and hosts still stand behind a command: asked before its start, and before each further step.

Sensors judge by their own list of operators and go on refusing or obeying as it says;
the base stops bringing round what would be refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from teiten.fleet import hosting
from teiten.fleet.checking import MAX_REASON_CHARACTERS
from teiten.fleet.commands import operators
from teiten.fleet.commands.models import Command
from teiten.fleet.models import Sensor
from teiten.fleet.rollouts import services as rollouts
from teiten.fleet.rollouts.models import Rollout, RolloutKind, RolloutState, TargetState
from teiten.fleet.services import Act
from teiten.protocol import commands as wire
from teiten.protocol import judging
from teiten.protocol.judging import Refused
from teiten.protocol.operator_list import OperatorList


def find_withdrawn(command: Command, known: OperatorList, now: datetime) -> Refused | None:
    """Say why its sensors would refuse a command that was approved once; None when they would not."""
    envelope = wire.read_envelope(bytes(command.envelope))
    verdict = judging.examine(envelope, known, now_s=int(now.timestamp()))
    return verdict if isinstance(verdict, Refused) else None


def find_objection(rollout: Rollout, now: datetime) -> str | None:
    """Say why a command's roll-out must not go on; None when nothing speaks against it."""
    command = Command.objects.filter(rollout=rollout).defer("sensors").first()
    known = operators.find_operators()
    if command is None or known is None:
        return None
    refused = find_withdrawn(command, known, now)
    # Its end is a matter of the roll-out's own clock: what was fetched in time may still be answered.
    if refused is not None and refused.reason == "expired":
        return None
    if refused is not None:
        return f"not approved any more: {refused}; stop it, and have it drafted and signed anew"
    waiting = rollout.targets.filter(state__in=(TargetState.WAITING, TargetState.RELEASED))
    return tell_unagreed(list(waiting.values_list("sensor_id", flat=True)), command.command_class) or None


def tell_unagreed(sensors: Sequence[int], command_class: str) -> str:
    """Name the sensors whose hosts have not agreed to a class; empty when all have."""
    unagreed = hosting.find_unagreed(sensors, command_class)
    if not unagreed:
        return ""
    names = Sensor.objects.filter(pk__in=unagreed[:5]).order_by("pk").values_list("name", flat=True)
    return (
        f"the hosts of {len(unagreed)} targets have not agreed to commands of class {command_class}: "
        f"{', '.join(names)}{' …' if len(unagreed) > 5 else ''}; leave them out, or write their agreement down"
        " (`teiten host agree`)"
    )


def halt_objected(act: Act) -> list[Rollout]:
    """Halt the commands under way that a new list of operators does not stand behind; gives their roll-outs."""
    going = (RolloutState.RUNNING, RolloutState.PAUSED)
    under_way = Rollout.objects.filter(kind=RolloutKind.COMMAND, state__in=going).order_by("pk")
    found = [(one, find_objection(one, act.at)) for one in under_way]
    return [
        rollouts.halt(one, reason=reason[:MAX_REASON_CHARACTERS], act=act)
        for one, reason in found
        if reason is not None
    ]
