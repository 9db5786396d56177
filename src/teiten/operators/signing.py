"""Sign a command, unless this key must not: everything that the sensors will check is checked here first."""

from __future__ import annotations

import dataclasses
import hashlib
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from teiten.operators.errors import SigningError
from teiten.operators.files import read_file
from teiten.operators.record import SigningRecord
from teiten.operators.targets_file import TargetList, find_targets_path, load_targets
from teiten.protocol import commands, judging
from teiten.protocol.commands import Command, Envelope, digest_of_sensors
from teiten.protocol.errors import CommandError, OperatorListError
from teiten.protocol.operator_list import MAX_LIST_BYTES, Operator, OperatorList, read_operator_list

_DAY_SECONDS = 86_400


@dataclass(frozen=True)
class OpenedCommand:
    """A command file, read and checked as far as one can without signing."""

    envelope: Envelope
    command: Command
    targets: TargetList | None


def open_command(path: Path, targets_path: Path | None = None) -> OpenedCommand:
    """Read a command file, and the list of its selector.

    Raises:
        SigningError: when it is malformed, or the list is another one than the command means.
        OperatorError: when a file cannot be read.
    """
    text = read_file(path, "command file", max_bytes=commands.MAX_ENVELOPE_BYTES)
    try:
        envelope = commands.read_envelope(text)
        command = commands.read_command(envelope.payload)
    except CommandError as error:
        raise SigningError(f"{path}: {error}") from error
    if command.targets.is_explicit:
        return OpenedCommand(envelope, command, None)
    targets = load_targets(targets_path or find_targets_path(path))
    if digest_of_sensors(targets.sensors) != command.targets.resolved_sha256:
        raise SigningError("the targets file holds other sensors than this command means")
    return OpenedCommand(envelope, command, targets)


def load_operator_list(path: Path) -> OperatorList:
    """Read the list of operators.

    Raises:
        SigningError: when it is malformed.
        OperatorError: when it cannot be read.
    """
    try:
        return read_operator_list(read_file(path, "list of operators", max_bytes=MAX_LIST_BYTES))
    except OperatorListError as error:
        raise SigningError(f"list of operators {path}: {error}") from error


def check_may_sign(
    opened: OpenedCommand, key_id: str, operators: OperatorList, *, record: SigningRecord, now_s: int
) -> Operator:
    """Refuse what this key must not sign; give who it is.

    Raises:
        SigningError: with the rule.
    """
    operator, command = operators.find(key_id), opened.command
    if operator is None:
        raise SigningError(f"key {key_id} is not on the list of operators (version {operators.version})")
    if operator.withdrawn_s is not None:
        raise SigningError(f"key {key_id} of {operator.person} has been withdrawn; make a new one")
    if not operator.valid_from_s <= now_s < operator.valid_to_s:
        raise SigningError(f"key {key_id} of {operator.person} is not valid now")
    if command.command_class not in operator.classes:
        allowed = ", ".join(operator.classes) or "none"
        raise SigningError(
            f"this key signs classes {allowed}; the command is of class {command.command_class}"
        )
    _check_content(opened, now_s)
    if command.created_by == key_id and record.find_counter(command.command_id) != command.counter:
        raise SigningError("the command says that this key wrote it, but its record does not: do not sign it")
    if command.counter > now_s + _DAY_SECONDS:
        raise SigningError("the command's counter is far ahead: it would lock its writer out of every sensor")
    return operator


def sign_command(
    opened: OpenedCommand, key_id: str, key: Ed25519PrivateKey, *, record: SigningRecord
) -> Envelope:
    """Sign; the record is on the disk before the signature exists.

    Raises:
        SigningError: when this key has signed another content under this id.
    """
    digest = hashlib.sha256(opened.envelope.payload).digest()
    record.note_signature(opened.command.command_id, digest)
    return commands.sign_envelope(opened.envelope, key_id, key)


def _check_content(opened: OpenedCommand, now_s: int) -> None:
    flaw = judging.find_flaw(opened.command, now_s=now_s)
    if flaw is not None:
        raise SigningError(str(flaw))


def withdraw(operators: OperatorList, key_id: str, now_s: int) -> OperatorList:
    """Give the next version of a list, without a key's word.

    Raises:
        SigningError: when it is not on the list.
    """
    if operators.find(key_id) is None:
        raise SigningError(f"key {key_id} is not on the list")
    changed = tuple(
        dataclasses.replace(one, withdrawn_s=one.withdrawn_s or now_s) if one.key_id == key_id else one
        for one in operators.operators
    )
    return OperatorList(operators.version, changed)
