"""Whether a command may be obeyed: pure functions, the same for sensor, root helper, base and operators.

The base asks :func:`examine` (is it signed well enough to be taken up?), a sensor
asks :func:`judge`, which also looks at the sensor itself, its clock and what it has
obeyed before. Both answer with the command or with one reason code.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field

from teiten.protocol import commands, verbs
from teiten.protocol.commands import Command, Envelope, EnvelopeSignature
from teiten.protocol.errors import CommandError
from teiten.protocol.operator_list import OperatorList
from teiten.protocol.verbs import CLASSES, LIMITS, VERBS

#: Seconds that a sensor's clock may be behind the operator's.
MAX_EARLY_SECONDS = 60

#: Reason code → what it means, for people.
REASONS: dict[str, str] = {
    "form": "the command is malformed",
    "id_differs": "the command is delivered under another command's id",
    "operators_missing": "this sensor has no list of operators that it can believe",
    "signatures_few": "too few persons have signed",
    "signature_wrong": "a signature is not of this command",
    "key_unknown": "a signing key is not on the list of operators",
    "key_withdrawn": "a signing key has been withdrawn",
    "key_not_valid": "a signing key is not valid now",
    "class_not_allowed": "a signing key may not sign this class of commands",
    "role_missing": "none of those who signed has the role that this class asks for",
    "creator_unsigned": "the operator who wrote the command has not validly signed it",
    "verb_unknown": "this program does not know the verb",
    "class_wrong": "the verb belongs to another class",
    "arguments": "an argument breaks its rule",
    "lifetime": "the command is valid for longer than its class allows",
    "targets_explicit": "this class must name its sensors one by one",
    "not_targeted": "this sensor is not among the targets",
    "targets_differ": "the delivered list of sensors is not the one that was signed",
    "too_early": "the command is not valid yet",
    "expired": "the command is not valid any more",
    "repeated": "this command has been obeyed or refused before",
    "counter": "a newer command of the same operator has been obeyed before",
    "class_not_agreed": "this sensor's own settings do not allow this class of commands",
    "exec_off": "this sensor was made without free commands (sensor.allow_exec)",
}


@dataclass(frozen=True)
class Accepted:
    """A command that may be obeyed."""

    command: Command
    #: Persons whose signatures counted, sorted.
    persons: tuple[str, ...]


@dataclass(frozen=True)
class Refused:
    """Why it may not."""

    #: A key of ``REASONS``.
    reason: str
    #: The particulars, one line.
    detail: str
    #: As far as it could be read.
    command: Command | None = None

    def __str__(self) -> str:
        return f"{REASONS[self.reason]}: {self.detail}"


@dataclass(frozen=True)
class SensorState:
    """What a sensor remembers of commands, and what its own settings allow."""

    #: ``<key id>/<class>`` → counter of the newest command obeyed.
    counters: Mapping[str, int] = field(default_factory=dict)
    #: Ids of commands obeyed.
    command_ids: Collection[str] = ()
    classes: Collection[str] = CLASSES
    allow_exec: bool = False


@dataclass(frozen=True)
class Signer:
    """One signature, and what it is worth."""

    key_id: str
    #: Empty when the key is not on the list.
    person: str
    roles: tuple[str, ...]
    #: A key of ``REASONS``; empty: it counts.
    flaw: str


class _Refusal(Exception):
    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


def counter_name(command: Command) -> str:
    """Name the counter that a command moves: its writer's, in its class.

    Counters of the classes are apart, so that a question asked while a change rolls
    out does not make the sensors further behind refuse the change.
    """
    return f"{command.created_by}/{command.command_class}"


def list_signers(
    envelope: Envelope, command_class: str, operators: OperatorList, *, now_s: int
) -> tuple[Signer, ...]:
    """Give every signature with what it is worth for a command of this class."""
    return tuple(
        _weigh(envelope, signature, command_class, operators=operators, now_s=now_s)
        for signature in envelope.signatures
    )


def examine(envelope: Envelope, operators: OperatorList, *, now_s: int) -> Accepted | Refused:
    """Check everything that does not depend on one sensor."""
    return _answer(envelope, lambda command: _examine(envelope, command, operators, now_s=now_s))


def find_flaw(command: Command, *, now_s: int) -> Refused | None:
    """Say what no signature can heal, of a command that may still wait for some; None when nothing is."""
    try:
        _check_content(command, now_s)
    except _Refusal as refusal:
        return Refused(refusal.reason, str(refusal), command)
    return None


def judge(
    envelope: Envelope,
    operators: OperatorList,
    *,
    now_s: int,
    sensor: int,
    state: SensorState,
    resolved: Collection[int] | None = None,
) -> Accepted | Refused:
    """Decide whether sensor ``sensor`` obeys.

    Args:
        envelope: as it was delivered.
        operators: whose signatures may count.
        now_s: the time, as far as the sensor knows it.
        sensor: the number of the one who asks.
        state: what it remembers and what its settings allow.
        resolved: the list delivered beside a selector.
    """

    def check(command: Command) -> tuple[str, ...]:
        persons = _examine(envelope, command, operators, now_s=now_s)
        _check_target(command, sensor, resolved)
        _check_early(command, now_s)
        _check_repetition(command, state)
        _check_agreement(command, state)
        return persons

    return _answer(envelope, check)


def _answer(envelope: Envelope, check: Callable[[Command], tuple[str, ...]]) -> Accepted | Refused:
    try:
        command = commands.read_command(envelope.payload)
    except CommandError as error:
        return Refused("form", str(error))
    try:
        return Accepted(command, check(command))
    except _Refusal as refusal:
        return Refused(refusal.reason, str(refusal), command)


def _examine(envelope: Envelope, command: Command, operators: OperatorList, *, now_s: int) -> tuple[str, ...]:
    signers = list_signers(envelope, command.command_class, operators, now_s=now_s)
    persons = _count_persons(command, signers)
    _check_content(command, now_s)
    return persons


def _check_content(command: Command, now_s: int) -> None:
    _check_verb(command)
    limits = LIMITS[command.command_class]
    if command.expires_s - command.not_before_s > limits.lifetime_seconds:
        raise _Refusal(
            "lifetime", f"class {command.command_class} is valid {limits.lifetime_seconds} s at most"
        )
    if limits.explicit_only and not command.targets.is_explicit:
        raise _Refusal("targets_explicit", f"class {command.command_class} takes no selector")
    if now_s >= command.expires_s:
        raise _Refusal("expired", f"it expired {now_s - command.expires_s} s ago")


def _weigh(
    envelope: Envelope,
    signature: EnvelopeSignature,
    command_class: str,
    *,
    operators: OperatorList,
    now_s: int,
) -> Signer:
    operator = operators.find(signature.key_id)
    if operator is None:
        return Signer(signature.key_id, "", (), "key_unknown")
    flaw = ""
    if operator.withdrawn_s is not None:
        flaw = "key_withdrawn"
    elif not operator.valid_from_s <= now_s < operator.valid_to_s:
        flaw = "key_not_valid"
    elif command_class not in operator.classes:
        flaw = "class_not_allowed"
    elif not commands.is_signed_by(envelope, signature, operator.public_key):
        flaw = "signature_wrong"
    return Signer(signature.key_id, operator.person, operator.roles, flaw)


def _count_persons(command: Command, signers: tuple[Signer, ...]) -> tuple[str, ...]:
    limits = LIMITS[command.command_class]
    valid = [signer for signer in signers if not signer.flaw]
    persons = sorted({signer.person for signer in valid})
    if len(persons) < limits.persons:
        flawed = next((signer for signer in signers if signer.flaw), None)
        have = f"{len(persons)} of {limits.persons} persons have validly signed"
        if flawed is not None:
            raise _Refusal(flawed.flaw, f"{flawed.key_id} {flawed.person}".rstrip() + f"; {have}")
        raise _Refusal("signatures_few", have)
    if command.created_by not in {signer.key_id for signer in valid}:
        raise _Refusal("creator_unsigned", f"it was written with {command.created_by}")
    if limits.role and not any(limits.role in signer.roles for signer in valid):
        raise _Refusal("role_missing", f"class {command.command_class} asks for one {limits.role}")
    return tuple(persons)


def _check_verb(command: Command) -> None:
    verb = VERBS.get(command.verb)
    if verb is None:
        raise _Refusal("verb_unknown", command.verb)
    if verb.command_class != command.command_class:
        raise _Refusal("class_wrong", f"{verb.name} is of class {verb.command_class}")
    try:
        verbs.check_arguments(verb, command.arguments)
    except CommandError as error:
        raise _Refusal("arguments", str(error)) from error


def _check_target(command: Command, sensor: int, resolved: Collection[int] | None) -> None:
    targets = command.targets
    if targets.is_explicit:
        if sensor not in targets.sensors:
            raise _Refusal("not_targeted", f"sensor {sensor} is not named")
        return
    sensors = sorted(set(resolved or ()))
    if not 1 <= len(sensors) <= targets.max_sensors or len(sensors) != len(resolved or ()):
        raise _Refusal(
            "targets_differ", f"{len(resolved or ())} sensors came; at most {targets.max_sensors} were meant"
        )
    if commands.digest_of_sensors(sensors) != targets.resolved_sha256:
        raise _Refusal("targets_differ", "its SHA-256 is another")
    if sensor not in sensors:
        raise _Refusal("not_targeted", f"sensor {sensor} is not on the list")


def _check_early(command: Command, now_s: int) -> None:
    if command.not_before_s - now_s > MAX_EARLY_SECONDS:
        raise _Refusal("too_early", f"it is valid in {command.not_before_s - now_s} s")


def _check_repetition(command: Command, state: SensorState) -> None:
    if command.command_id in state.command_ids:
        raise _Refusal("repeated", command.command_id)
    last = state.counters.get(counter_name(command), 0)
    if command.counter <= last:
        raise _Refusal("counter", f"its counter is {command.counter}; {last} has been obeyed")


def _check_agreement(command: Command, state: SensorState) -> None:
    if command.command_class not in state.classes:
        raise _Refusal("class_not_agreed", f"class {command.command_class}")
    if command.verb == "exec" and not state.allow_exec:
        raise _Refusal("exec_off", "ask who made it")
