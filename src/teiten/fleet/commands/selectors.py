"""What a person may read about commands; every function starts from the viewer.

None is the command line, which sees all. Operators and analysts see everything, others what concerned their own organisation's
sensors: the command, their sensors' answers, and the audit records about them.
"""

from __future__ import annotations

from collections.abc import Mapping

from django.db.models import QuerySet, TextField, Value
from django.db.models.functions import Cast, Concat

from teiten.accounts.models import AuditRecord, User
from teiten.fleet.commands.models import Command, CommandResult
from teiten.fleet.models import Sensor, SensorKey
from teiten.fleet.rollouts import selectors as rollouts
from teiten.fleet.rollouts.models import RolloutTarget, TargetState
from teiten.fleet.selectors import may_see_all
from teiten.foundation.showing import show_plain
from teiten.protocol import results as wire
from teiten.protocol.errors import ResultError

#: What a target's state is called where it is a command's.
STATE_NAMES: dict[str, str] = {
    TargetState.WAITING.value: "approved",
    TargetState.RELEASED.value: "queued",
    TargetState.FETCHED.value: "fetched",
    TargetState.OK.value: "done",
    TargetState.FAILED.value: "failed",
    TargetState.REFUSED.value: "refused",
    TargetState.EXPIRED.value: "expired",
    TargetState.CANCELLED.value: "cancelled",
}


def commands_visible_to(viewer: User | None) -> QuerySet[Command]:
    """Give commands, newest first."""
    commands = Command.objects.select_related("rollout", "submitted_by").order_by("-pk")
    if viewer is None or may_see_all(viewer):
        return commands
    own = RolloutTarget.objects.filter(sensor__organisation=viewer.organisation_id)
    return commands.filter(rollout__in=own.values("rollout"))


def results_visible_to(viewer: User | None, command: Command) -> QuerySet[CommandResult]:
    """Give a command's answers in the order in which they came; take a slice, they may be many."""
    results = command.results.select_related("sensor").order_by("pk")
    return (
        results
        if viewer is None or may_see_all(viewer)
        else results.filter(sensor__organisation=viewer.organisation_id)
    )


def read_output(result: CommandResult) -> str:
    """Give what the sensor wrote, from the bytes that it signed, as it may be shown.

    What turns the direction of writing, or is not seen at all, could make a line read as another.
    """
    return show_plain(wire.read_result(bytes(result.body)).output, kept="\n\t")


def find_forgery(result: CommandResult) -> str | None:
    """Check a kept answer again, as if somebody had written into the database; None when it is the sensor's own."""
    key = SensorKey.objects.filter(sensor=result.sensor_id, key_no=result.key_no).first()
    if key is None:
        return f"sensor {result.sensor_id} has no key {result.key_no}"
    body = bytes(result.body)
    try:
        wire.verify_result(bytes(key.public_key), body, bytes(result.signature))
        told = wire.read_result(body)
    except ResultError as error:
        return str(error)
    said = (told.command_id, told.sensor, told.key_no, told.state, told.reason)
    if said != (result.command_id, result.sensor_id, result.key_no, result.state, result.reason):
        return "its columns are not what the sensor signed"
    return None


def count_states(viewer: User | None, command: Command) -> Mapping[str, int]:
    """Count a command's sensors by state, every state named; before it is started all of them wait."""
    if command.rollout is None:
        return {**dict.fromkeys(STATE_NAMES.values(), 0), "approved": len(command.sensors)}
    counted = rollouts.count_states(viewer, command.rollout)
    return {STATE_NAMES[state]: count for state, count in counted.items()}


def count_rings(viewer: User | None, command: Command) -> list[tuple[int, Mapping[str, int]]]:
    """Count a command's sensors by state for each stage: (percent, counts of what that stage added)."""
    if command.rollout is None:
        return []
    rings = rollouts.count_rings(viewer, command.rollout)
    return [
        (percent, {STATE_NAMES[state]: count for state, count in counts.items()}) for percent, counts in rings
    ]


def audit_visible_to(viewer: User | None, *, subject: str | None = None) -> QuerySet[AuditRecord]:
    """Give audit records, newest first; ``subject`` is for example ``sensor:12``."""
    records = AuditRecord.objects.order_by("-number")
    if subject is not None:
        records = records.filter(subject=subject)
    if viewer is None or may_see_all(viewer):
        return records
    own = Sensor.objects.filter(organisation=viewer.organisation_id)
    named = own.annotate(subject=Concat(Value("sensor:"), Cast("pk", TextField()), output_field=TextField()))
    return records.filter(subject__in=named.values("subject"))
