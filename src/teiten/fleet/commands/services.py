"""Take up what operators signed, roll it out, stop it.

The base checks all that it can, so that a mistake is told to the operator and not by
ten thousand sensors; every sensor checks it all again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone

from django.db import IntegrityError, connection, transaction

from teiten.accounts import audit
from teiten.fleet.checking import checked_reason
from teiten.fleet.commands import metrics, operators
from teiten.fleet.commands.consent import find_withdrawn, tell_unagreed
from teiten.fleet.commands.errors import CommandRefusedError, CommandStateError
from teiten.fleet.commands.models import Command, CommandState
from teiten.fleet.commands.targeting import find_unfit, resolve_selector
from teiten.fleet.errors import FleetInputError
from teiten.fleet.rollouts import services as rollouts
from teiten.fleet.rollouts.judging import DEFAULT_STAGES
from teiten.fleet.rollouts.models import UNDER_WAY
from teiten.fleet.services import Act
from teiten.protocol import commands as wire
from teiten.protocol import judging
from teiten.protocol.commands import Envelope
from teiten.protocol.errors import CommandError

#: Refusals that more signatures can heal: the command is kept until they come.
_WAITS = frozenset({"signatures_few", "creator_unsigned", "role_missing"})
#: States in which signatures may still come.
_BEFORE_START = (CommandState.DRAFT, CommandState.SIGNED, CommandState.APPROVED)
#: What helps with a command that cannot be started.
_NEXT: dict[str, str] = {
    CommandState.DRAFT.value: "hand it in again with signatures (`teiten command submit`)",
    CommandState.SIGNED.value: "hand it in again with the signatures that are missing (`teiten command submit`)",
    CommandState.STARTED.value: "`teiten command show` says how far it is",
    CommandState.WITHDRAWN.value: "draft a new one",
}


@dataclass(frozen=True)
class Checked:
    """What the base found of an envelope."""

    command: wire.Command
    envelope: Envelope
    sensors: tuple[int, ...]
    state: CommandState
    #: Persons who have validly signed.
    persons: tuple[str, ...]
    #: What is still wanted; empty when approved.
    wanted: str


def check_envelope(content: bytes, *, targets: Sequence[int] | None = None, now: datetime) -> Checked:
    """Check an envelope file and whom it is for; changes nothing.

    Args:
        content: the envelope file.
        targets: the list that a selector meant when it was signed; None: as the fleet is now.
        now: present time.

    Raises:
        CommandRefusedError: with the reason.
        SelectorError: when the selector cannot be read.
    """
    envelope, command = _read(content)
    known = operators.get_operators()
    now_s = int(now.timestamp())
    hopeless = judging.find_flaw(command, now_s=now_s)
    if hopeless is not None:
        raise CommandRefusedError(hopeless.reason, str(hopeless))
    signers = judging.list_signers(envelope, command.command_class, known, now_s=now_s)
    flawed = next((signer for signer in signers if signer.flaw), None)
    if flawed is not None:
        # One signature too many that is worth nothing is a mistake, or somebody who should sign no more.
        raise CommandRefusedError(
            flawed.flaw, f"{judging.REASONS[flawed.flaw]}: {flawed.key_id} {flawed.person}"
        )
    verdict = judging.examine(envelope, known, now_s=now_s)
    wanted = ""
    if isinstance(verdict, judging.Refused):
        if verdict.reason not in _WAITS:
            raise CommandRefusedError(verdict.reason, str(verdict))
        wanted = str(verdict)
    persons = tuple(sorted({signer.person for signer in signers}))
    state = CommandState.APPROVED if not wanted else CommandState.SIGNED if persons else CommandState.DRAFT
    return Checked(command, envelope, _find_sensors(command, targets), state, persons, wanted)


def submit(content: bytes, *, targets: Sequence[int] | None = None, act: Act) -> tuple[Command, Checked]:
    """Take up an envelope, or add its signatures to the command that is known already.

    Raises:
        CommandRefusedError: with the reason; nothing but a line in the audit log was written.
        SelectorError: when the selector cannot be read.
    """
    try:
        return _submit_once(content, targets, act)
    except CommandRefusedError as error:
        metrics.SUBMITTED.labels(error.reason).inc()
        digest = hashlib.sha256(content).hexdigest()
        audit.append(
            "command.rejected",
            f"envelope:{digest[:32]}",
            {"reason": error.reason, "detail": str(error)[:200], "sha256": digest},
            act,
        )
        raise


def start(
    command: Command,
    *,
    act: Act,
    per_minute: int,
    stages: Sequence[int] = DEFAULT_STAGES,
) -> Command:
    """Give an approved command to its sensors, a few first.

    Raises:
        CommandStateError: when it is not approved, is over, or would be overtaken.
        RolloutError: when stages or rate break a rule.
    """
    with transaction.atomic():
        locked = Command.objects.select_for_update(no_key=True).get(pk=command.pk)
        _check_startable(locked, act.at)
        locked.rollout = rollouts.start_rollout(
            kind="command",
            subject=locked.pk,
            sensors=locked.sensors,
            stages=stages,
            per_minute=per_minute,
            act=act,
            not_before=locked.not_before_at,
            not_after=locked.expires_at,
        )
        locked.state = CommandState.STARTED
        locked.save(update_fields=["rollout", "state"])
        audit.append(
            "command.started",
            f"command:{locked.pk}",
            {"rollout": locked.rollout.pk, "sensors": len(locked.sensors)},
            act,
        )
    return locked


def stop(command: Command, *, reason: str, act: Act) -> int:
    """Keep a command from whoever has not fetched it; gives how many sensors those are.

    Raises:
        CommandStateError: when it is over already.
        RolloutError: when its roll-out is over, or without a reason.
    """
    try:
        facts = {"reason": checked_reason(reason)}
    except FleetInputError as error:
        raise CommandStateError(str(error)) from error
    with transaction.atomic():
        locked = Command.objects.select_for_update(no_key=True).get(pk=command.pk)
        if locked.state == CommandState.WITHDRAWN:
            raise CommandStateError(f"command {locked.pk} was withdrawn before")
        if locked.rollout is None:
            locked.state = CommandState.WITHDRAWN
            locked.save(update_fields=["state"])
            audit.append("command.withdrawn", f"command:{locked.pk}", facts, act)
            return len(locked.sensors)
        kept = rollouts.stop(locked.rollout, reason=reason, act=act)
        audit.append("command.stopped", f"command:{locked.pk}", {**facts, "cancelled": kept}, act)
    return kept


def get_command(command_id: str) -> Command:
    """Give a command by its id, or by the beginning of it.

    Raises:
        CommandStateError: when there is none, or several begin so.
    """
    found = list(Command.objects.select_related("rollout").filter(pk__startswith=command_id.upper())[:2])
    if len(found) != 1 or not command_id:
        what = "several commands begin with" if found and command_id else "there is no command"
        raise CommandStateError(f"{what} {command_id!r}; `teiten command list` names them")
    return found[0]


def _submit_once(content: bytes, targets: Sequence[int] | None, act: Act) -> tuple[Command, Checked]:
    """Take an envelope up; where another hands the same one in at this moment, add to theirs."""
    try:
        with transaction.atomic():
            return _submit(content, targets, act)
    except IntegrityError:
        with transaction.atomic():
            return _submit(content, targets, act)


def _submit(content: bytes, targets: Sequence[int] | None, act: Act) -> tuple[Command, Checked]:
    envelope, told = _read(content)
    known = Command.objects.select_for_update(no_key=True).filter(pk=told.command_id).first()
    if known is None:
        checked = check_envelope(content, targets=targets, now=act.at)
        return _enter(checked, act), checked
    if bytes(known.payload_sha256) != hashlib.sha256(envelope.payload).digest():
        raise CommandRefusedError(
            "payload_differs", f"another command is known as {known.pk}; nothing was changed"
        )
    merged = _merge(wire.read_envelope(bytes(known.envelope)), envelope)
    checked = check_envelope(wire.write_envelope(merged), targets=known.sensors, now=act.at)
    if known.state not in _BEFORE_START:
        raise CommandRefusedError("repeated", f"command {known.pk} is {known.state} already")
    if merged.signatures != wire.read_envelope(bytes(known.envelope)).signatures:
        known.envelope, known.signers, known.state = (
            wire.write_envelope(merged),
            list(checked.persons),
            checked.state,
        )
        known.save(update_fields=["envelope", "signers", "state"])
        _note("signed", checked, act)
    return known, checked


def _enter(checked: Checked, act: Act) -> Command:
    told = checked.command
    command = Command.objects.create(
        id=told.command_id,
        command_class=told.command_class,
        verb=told.verb,
        arguments=dict(told.arguments),
        reason=told.reason,
        created_by=told.created_by,
        signers=list(checked.persons),
        selector=told.targets.selector,
        sensors=list(checked.sensors),
        counter=told.counter,
        not_before_at=_instant(told.not_before_s),
        expires_at=_instant(told.expires_s),
        envelope=wire.write_envelope(checked.envelope),
        payload_sha256=hashlib.sha256(checked.envelope.payload).digest(),
        state=checked.state,
        submitted_at=act.at,
        submitted_by=act.actor,
    )
    _note("submitted", checked, act)
    return command


def _note(what: str, checked: Checked, act: Act) -> None:
    told = checked.command
    metrics.SUBMITTED.labels(checked.state.value).inc()
    facts = {
        "class": told.command_class,
        "verb": told.verb,
        "arguments": dict(told.arguments),
        "reason": told.reason,
        "created_by": told.created_by,
        "signers": checked.persons,
        "sensors": len(checked.sensors),
        "sensors_sha256": wire.digest_of_sensors(checked.sensors).hex(),
        "payload_sha256": hashlib.sha256(checked.envelope.payload).hexdigest(),
        "state": checked.state.value,
    }
    audit.append(f"command.{what}", f"command:{told.command_id}", facts, act)


def _read(content: bytes) -> tuple[Envelope, wire.Command]:
    try:
        envelope = wire.read_envelope(content)
        return envelope, wire.read_command(envelope.payload)
    except CommandError as error:
        raise CommandRefusedError("form", f"{judging.REASONS['form']}: {error}") from error


def _merge(known: Envelope, added: Envelope) -> Envelope:
    mine = {one.key_id: one for one in known.signatures}
    mine.update({one.key_id: one for one in added.signatures})
    return Envelope(known.payload, tuple(mine.values()))


def _find_sensors(command: wire.Command, targets: Sequence[int] | None) -> tuple[int, ...]:
    sensors = command.targets.sensors
    if not command.targets.is_explicit:
        given = resolve_selector(command.targets.selector).sensors if targets is None else tuple(targets)
        sensors = _check_resolved(command, given, is_now=targets is None)
    unfit = find_unfit(sensors)
    if unfit:
        named = ", ".join(map(str, unfit[:5]))
        raise CommandRefusedError(
            "sensors_unknown", f"{len(unfit)} targets are unknown, not enrolled or revoked: {named}"
        )
    unagreed = tell_unagreed(sensors, command.command_class)
    if unagreed:
        raise CommandRefusedError("class_unagreed", unagreed)
    return sensors


def _check_resolved(command: wire.Command, given: tuple[int, ...], *, is_now: bool) -> tuple[int, ...]:
    meant = command.targets
    if len(given) > meant.max_sensors or wire.digest_of_sensors(given) != meant.resolved_sha256:
        way_out = (
            "the fleet has changed since; hand the targets file in with it, or resolve and sign again"
            if is_now
            else "take the targets file that belongs to it"
        )
        raise CommandRefusedError(
            "targets_differ", f"the list of {len(given)} sensors is not the one that was signed: {way_out}"
        )
    return tuple(sorted(given))


def _check_startable(command: Command, now: datetime) -> None:
    if command.state != CommandState.APPROVED:
        raise CommandStateError(
            f"command {command.pk} is {command.state}, not approved; {_NEXT[command.state]}"
        )
    if now >= command.expires_at:
        raise CommandStateError(f"command {command.pk} expired at {command.expires_at:%Y-%m-%d %H:%M:%S} UTC")
    _check_still_approved(command, now)
    unagreed = tell_unagreed(command.sensors, command.command_class)
    if unagreed:
        raise CommandStateError(unagreed)
    with connection.cursor() as cursor:
        # Two people who begin two commands of one operator at once: the second sees the first.
        cursor.execute(
            "SELECT pg_advisory_xact_lock(hashtext(%s))", [f"{command.created_by}/{command.command_class}"]
        )
    rivals = Command.objects.filter(created_by=command.created_by, command_class=command.command_class)
    newer = rivals.filter(counter__gte=command.counter, rollout__isnull=False).exclude(pk=command.pk).first()
    if newer is not None:
        raise CommandStateError(
            f"command {newer.pk} of the same operator and class is newer and was started; "
            "sensors that obeyed it would refuse this one: sign it again"
        )
    # One whose time is over is obeyed by nobody any more, halted or not: it stands in nobody's way.
    going = rivals.select_related("rollout").filter(rollout__state__in=UNDER_WAY, expires_at__gt=now)
    older = going.first()
    if older is not None:
        raise CommandStateError(_tell_older(older))


def _tell_older(older: Command) -> str:
    """Say which command stands in the way of a newer one, how it stands, and what ends it."""
    rollout = older.rollout
    told = f"command {older.pk} of the same operator and class is under way"
    if rollout is not None:
        why = f": {rollout.reason}" if rollout.reason else ""
        told = f"{told} (roll-out {rollout.pk}, {rollout.state}{why})"
    return (
        f"{told}; sensors further behind would refuse it: let it end or stop it first "
        f"(`teiten command stop {older.pk} --reason …`)"
    )


def _check_still_approved(command: Command, now: datetime) -> None:
    """Refuse what its sensors would: somebody who signed may have been withdrawn since."""
    refused = find_withdrawn(command, operators.get_operators(), now)
    if refused is not None:
        raise CommandStateError(
            f"command {command.pk} was approved, and is not any more: {refused}; have it signed again"
        )


def _instant(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, tz=timezone.utc)
