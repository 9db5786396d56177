"""Whether those who signed a command still stand behind it: asked before its start, and before each further step.

Sensors judge by their own list of operators and go on refusing or obeying as it says;
the base stops bringing round what would be refused.
"""

from __future__ import annotations

from datetime import datetime

from teiten.fleet.checking import MAX_REASON_CHARACTERS
from teiten.fleet.commands import operators
from teiten.fleet.commands.models import Command
from teiten.fleet.rollouts import services as rollouts
from teiten.fleet.rollouts.models import Rollout, RolloutKind, RolloutState
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
    if refused is None or refused.reason == "expired":
        return None
    return f"not approved any more: {refused}; stop it, and have it drafted and signed anew"


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
