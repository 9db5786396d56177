"""Whether this sensor obeys a delivery: one judgement for the sending process and for the root helper.

Each calls it with settings, a list of operators and a memory of its own, and neither
believes what the other found.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from teiten.protocol import commands, judging
from teiten.protocol.commands import Delivery
from teiten.protocol.errors import CommandError
from teiten.protocol.judging import Accepted, Refused
from teiten.protocol.operator_list import OperatorList
from teiten.protocol.verbs import CLASSES, VERBS
from teiten.sensor.obeying.memory import Memory
from teiten.sensor.obeying.timing import find_time_s


@dataclass(frozen=True)
class Rules:
    """Who this sensor is and what its settings allow."""

    sensor: int
    load_operators: Callable[[], OperatorList]
    classes: tuple[str, ...] = CLASSES
    allow_exec: bool = False


@dataclass(frozen=True)
class Times:
    """What time it may be."""

    #: This machine's clock, µs since 1970.
    own_us: int
    #: Base minus sensor, as the base said last; None when it said nothing.
    offset_us: int | None


def decide(
    delivery: Delivery,
    operators: OperatorList,
    *,
    rules: Rules,
    memory: Memory,
    times: Times,
    only_root: bool = False,
) -> Accepted | Refused:
    """Judge what was delivered.

    Args:
        delivery: the envelope, and under which id it came.
        operators: whose signatures may count.
        rules: who the sensor is and what its settings allow.
        memory: what was obeyed before.
        times: what time it may be.
        only_root: whether it is for a helper that does nothing but what needs root.
    """
    try:
        command = commands.read_command(delivery.envelope.payload)
    except CommandError as error:
        return Refused("form", str(error))
    if command.command_id != delivery.command_id:
        return Refused("id_differs", f"it is {command.command_id}", command)
    verb = VERBS.get(command.verb)
    if only_root and verb is not None and not verb.needs_root:
        return Refused("class_wrong", f"{verb.name} needs no helper", command)
    now_s = find_time_s(
        command.command_class,
        times.own_us,
        times.offset_us,
        operators=operators,
        floor_s=memory.floor_s,
    )
    return judging.judge(
        delivery.envelope,
        operators,
        now_s=now_s,
        sensor=rules.sensor,
        state=memory.as_state(classes=rules.classes, allow_exec=rules.allow_exec),
        resolved=delivery.resolved,
    )


def describe_command(verdict: Accepted, digest: bytes) -> dict[str, Any]:
    """Give what the chain keeps of a command that is obeyed."""
    command = verdict.command
    return {
        "command_id": command.command_id,
        "payload_sha256": digest.hex(),
        "verb": command.verb,
        "class": command.command_class,
        "persons": list(verdict.persons),
        "created_by": command.created_by,
        "counter": command.counter,
        "reason": command.reason,
    }
