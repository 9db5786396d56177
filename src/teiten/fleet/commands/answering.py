"""Take in what sensors answer: many in one transaction, each checked by itself, the first one wins."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

from django.db import transaction

from teiten.accounts import audit
from teiten.accounts.chain import Entry
from teiten.fleet.commands import metrics
from teiten.fleet.commands.errors import ResultRefusedError
from teiten.fleet.commands.models import Command, CommandResult
from teiten.fleet.models import SensorKey
from teiten.fleet.rollouts import services as rollouts
from teiten.fleet.rollouts.models import Rollout, RolloutTarget, TargetState
from teiten.fleet.rollouts.services import Outcome
from teiten.protocol import results as wire
from teiten.protocol.errors import ResultError

_OUTCOMES: dict[str, Outcome] = {"done": "ok", "failed": "failed", "refused": "refused"}
_OVER = (TargetState.EXPIRED, TargetState.CANCELLED)
#: Refusals that no honest sensor meets: they go into the audit chain.
SUSPICIOUS = frozenset({"result.signature", "result.foreign", "result.key", "result_exists"})
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


@dataclass(frozen=True)
class Told:
    """A result on its way in."""

    #: Who sent it, as the gateway authenticated it.
    sensor: int
    #: The command that its path names.
    command_id: str
    body: bytes
    #: 64 bytes, by the sensor's key that the body names.
    signature: bytes


@dataclass(frozen=True)
class Taken:
    """A result that is kept."""

    #: False: the same one was kept before.
    is_new: bool


@dataclass(frozen=True)
class _Known:
    """What the base has about the results of one group."""

    commands: Mapping[str, Command]
    targets: Mapping[tuple[str, int], str]
    results: Mapping[tuple[str, int], bytes]
    keys: Mapping[tuple[int, int], bytes]


def take_results(group: Sequence[Told], *, at: datetime) -> list[Taken | ResultRefusedError]:
    """Keep a group of results of different (sensor, command); gives what became of each, in order."""
    read = [_read(told) for told in group]
    whole = [
        (told, result) for told, result in zip(group, read, strict=True) if isinstance(result, wire.Result)
    ]
    with transaction.atomic():
        known = _look_up(whole)
        judged = {id(told): _judge(told, result, known) for told, result in whole}
        fresh = [(told, result) for told, result in whole if judged[id(told)] == Taken(is_new=True)]
        _keep(fresh, known, at)
    answers = [
        judged[id(told)] if isinstance(result, wire.Result) else result
        for told, result in zip(group, read, strict=True)
    ]
    for answer in answers:
        if isinstance(answer, ResultRefusedError):
            metrics.RESULTS.labels(answer.code).inc()
    return answers


def note_refusal(told: Told, refused: ResultRefusedError, *, at: datetime) -> None:
    """Write down that a sensor, by its own request, brought an answer that cannot be its own."""
    facts = {"code": refused.code, "detail": str(refused)[:200], "command": told.command_id}
    audit.append_many(
        [Entry("command.answer_refused", f"sensor:{told.sensor}", actor="", facts=facts)], at=at
    )


def _read(told: Told) -> wire.Result | ResultRefusedError:
    if len(told.body) > wire.MAX_RESULT_BYTES:
        return ResultRefusedError(
            "too_large", f"a result has at most {wire.MAX_RESULT_BYTES} bytes", status=413
        )
    try:
        result = wire.read_result(told.body)
    except ResultError as error:
        return ResultRefusedError(error.code, str(error), status=400)
    if result.sensor != told.sensor:
        return ResultRefusedError(
            "result.foreign", f"the result is of sensor {result.sensor}, not of {told.sensor}", status=400
        )
    if result.command_id != told.command_id:
        return ResultRefusedError(
            "result.foreign",
            f"the result is of command {result.command_id}, not of {told.command_id}",
            status=400,
        )
    return result


def _look_up(whole: Sequence[tuple[Told, wire.Result]]) -> _Known:
    ids = {told.command_id for told, _ in whole}
    sensors = {told.sensor for told, _ in whole}
    # Envelope and list of sensors are long, and not asked for here.
    asked = Command.objects.select_related("rollout").defer("envelope", "sensors").filter(pk__in=ids)
    commands = {one.pk: one for one in asked}
    named = {one.rollout_id: one.pk for one in commands.values() if one.rollout_id is not None}
    # Locked in one order, so that two groups cannot wait for each other, and a stop waits for neither half.
    targets = (
        RolloutTarget.objects.select_for_update(of=("self",), no_key=True)
        .filter(rollout__in=named, sensor__in=sensors)
        .order_by("pk")
    )
    found = targets.values_list("rollout_id", "sensor_id", "state")
    kept = CommandResult.objects.filter(command__in=ids, sensor__in=sensors)
    # A key that a recovery ended may be in other hands, and answers for nobody any more.
    keys = SensorKey.objects.filter(sensor__in=sensors, revoked_at=None)
    return _Known(
        commands,
        targets={(named[rollout], sensor): state for rollout, sensor, state in found},
        results={
            (command, sensor): bytes(body)
            for command, sensor, body in kept.values_list("command_id", "sensor_id", "body")
        },
        keys={
            (sensor, key_no): bytes(public_key)
            for sensor, key_no, public_key in keys.values_list("sensor_id", "key_no", "public_key")
        },
    )


def _judge(told: Told, result: wire.Result, known: _Known) -> Taken | ResultRefusedError:
    name = (told.command_id, told.sensor)
    command = known.commands.get(told.command_id)
    if command is None or command.rollout is None:
        return ResultRefusedError(
            "command_unknown", f"command {told.command_id} is not known here", status=404
        )
    state = known.targets.get(name)
    if state is None:
        return ResultRefusedError(
            "command_unknown", f"command {told.command_id} was not for sensor {told.sensor}", status=404
        )
    flaw = _find_flaw(told, result, command, known)
    if flaw is not None:
        return flaw
    kept = known.results.get(name)
    if kept is not None:
        return _judge_repeat(told, kept)
    if state in _OVER:
        return ResultRefusedError(
            "result_late", f"command {told.command_id} is {state} for sensor {told.sensor}", status=410
        )
    return Taken(is_new=True)


def _judge_repeat(told: Told, kept: bytes) -> Taken | ResultRefusedError:
    if kept == told.body:
        return Taken(is_new=False)
    return ResultRefusedError(
        "result_exists", f"sensor {told.sensor} has answered {told.command_id} otherwise before", status=409
    )


def _find_flaw(told: Told, result: wire.Result, command: Command, known: _Known) -> ResultRefusedError | None:
    public_key = known.keys.get((told.sensor, result.key_no))
    if public_key is None:
        return ResultRefusedError(
            "result.key", f"sensor {told.sensor} has no key {result.key_no}", status=400
        )
    try:
        wire.verify_result(public_key, told.body, told.signature)
    except ResultError as error:
        return ResultRefusedError(error.code, str(error), status=400)
    if result.payload_sha256 != bytes(command.payload_sha256):
        return ResultRefusedError(
            "result.foreign", f"the result answers other bytes than those of command {command.pk}", status=400
        )
    return None


def _keep(fresh: Sequence[tuple[Told, wire.Result]], known: _Known, at: datetime) -> None:
    by_rollout: dict[Rollout, dict[int, tuple[Outcome, str]]] = {}
    for told, result in fresh:
        rollout = known.commands[told.command_id].rollout
        if rollout is not None:
            by_rollout.setdefault(rollout, {})[told.sensor] = (_outcome_of(result), result.reason)
    for rollout, outcomes in by_rollout.items():
        rollouts.report_many(rollout, outcomes, at=at)
    CommandResult.objects.bulk_create(
        CommandResult(
            command_id=told.command_id,
            sensor_id=told.sensor,
            state=result.state,
            reason=result.reason,
            key_no=result.key_no,
            body=told.body,
            signature=told.signature,
            started_at=_instant(result.started_us),
            ended_at=_instant(result.ended_us),
            received_at=at,
        )
        for told, result in fresh
    )
    for _, result in fresh:
        metrics.RESULTS.labels(result.state).inc()
    audit.append_many([_record(told, result) for told, result in fresh], at=at)


def _outcome_of(result: wire.Result) -> Outcome:
    # Who was told too late did nothing wrong.
    return "expired" if result.reason == "expired" else _OUTCOMES[result.state]


def _record(told: Told, result: wire.Result) -> Entry:
    facts = {
        "command": told.command_id,
        "state": result.state,
        "reason": result.reason,
        "key_no": result.key_no,
        "result_sha256": hashlib.sha256(told.body).hexdigest(),
    }
    return Entry("command.answered", f"sensor:{told.sensor}", actor="", facts=facts)


def _instant(at_us: int) -> datetime:
    return _EPOCH + timedelta(microseconds=at_us)
