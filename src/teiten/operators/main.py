"""``teiten-operator``: the operator's own keys and signatures, on the operator's own machine."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from teiten.foundation.clock import Clock, SystemClock
from teiten.foundation.errors import TeitenError
from teiten.operators import drafting, keys, signing
from teiten.operators.ability import list_gaps
from teiten.operators.arguments import parse
from teiten.operators.describing import describe, describe_signatures
from teiten.operators.drafting import Request
from teiten.operators.errors import DraftError, OperatorError, SigningError
from teiten.operators.files import read_file, replace_file, write_new
from teiten.operators.record import SigningRecord
from teiten.operators.signing import OpenedCommand
from teiten.operators.targets_file import find_targets_path, load_targets
from teiten.protocol import commands, judging
from teiten.protocol.commands import Envelope, Targets
from teiten.protocol.errors import OperatorListError
from teiten.protocol.judging import Refused
from teiten.protocol.operator_list import (
    PERSON,
    Operator,
    OperatorList,
    read_entry,
    read_operator_list,
)
from teiten.protocol.verbs import CLASSES, VERBS

_FAILED = 1
_DAY_SECONDS = 86_400
#: Nobody's key is believed for longer without being looked at.
_MAX_DAYS = 3_650
_MAX_TARGETS_BYTES = 2_097_152


def main(argv: Sequence[str] | None = None, clock: Clock | None = None) -> int:
    """Run one verb; give the exit status: 0 done, 1 failed with a line that says why, 2 wrong usage."""
    words = list(sys.argv[1:] if argv is None else argv)
    options = parse(words)
    name = f"{options.thing} {getattr(options, 'verb', '')}".strip()
    try:
        return _VERBS[name](options, clock or SystemClock())
    except TeitenError as error:
        sys.stderr.write(f"teiten-operator: {error}\n")
        return _FAILED
    except KeyboardInterrupt:
        return 130


def _create_key(options: argparse.Namespace, clock: Clock) -> int:
    del clock
    if options.file.exists():
        raise OperatorError(f"{options.file} is there already; a key is never overwritten")
    made = keys.create_key(options.file, keys.read_passphrase(options.passphrase_file, is_new=True))
    _say(f"{made.key_id} in {options.file}; its public half in {keys.public_path(options.file)}")
    return 0


def _show_key(options: argparse.Namespace, clock: Clock) -> int:
    half = keys.load_public_half(options.file)
    now_s = _now_s(clock)
    if PERSON.fullmatch(options.person) is None:
        raise DraftError(
            f"--person {options.person!r:.80} must be small letters, digits and ._@+-, so that one person has one spelling"
        )
    if not 1 <= options.days <= _MAX_DAYS:
        raise DraftError(f"--days {options.days} must be 1 to {_MAX_DAYS}")
    classes = {name.strip().upper() for name in options.classes.split(",")}
    if not classes <= set(CLASSES):
        raise DraftError(
            f"--classes {options.classes!r:.40} must be some of {','.join(CLASSES)}, such as A,B"
        )
    entry = Operator(
        key_id=half.key_id,
        person=options.person,
        public_key=half.public_key,
        classes=tuple(sorted(classes)),
        roles=tuple(sorted(set(options.role))),
        valid_from_s=now_s - now_s % _DAY_SECONDS,
        valid_to_s=now_s + options.days * _DAY_SECONDS,
    )
    text = json.dumps(entry.to_fields(), indent=1)
    read_entry(text.encode())
    _say(text)
    return 0


def _make_list(options: argparse.Namespace, clock: Clock) -> int:
    before = signing.load_operator_list(options.before) if options.before else OperatorList(0, ())
    for key_id in options.withdraw:
        before = signing.withdraw(before, key_id, _now_s(clock))
    added = tuple(_read_entry(path) for path in options.entries)
    if not added and not options.withdraw:
        raise OperatorError("nothing to change: name entries to add, or --withdraw a key")
    _refuse_repeated(before, added)
    made = OperatorList(before.version + 1, (*before.operators, *added))
    text = made.to_json()
    read_operator_list(text)
    write_new(options.output, text)
    _say(f"version {made.version} with {len(made.operators)} keys in {options.output}; sign it as a target")
    for gap in list_gaps(made, now_s=_now_s(clock)):
        _say(f"note: {gap}")
    return 0


def _read_entry(path: Path) -> Operator:
    try:
        return read_entry(read_file(path, "entry", max_bytes=4096))
    except OperatorListError as error:
        raise OperatorError(
            f"{path} is no entry of the list ({error}); give a file with what `teiten-operator key show` printed"
        ) from error


def _refuse_repeated(before: OperatorList, added: Sequence[Operator]) -> None:
    known = {one.key_id: one for one in before.operators}
    for one in added:
        other = known.get(one.key_id)
        if other is not None:
            told = (
                "was withdrawn and never comes back" if other.withdrawn_s is not None else "is there already"
            )
            raise OperatorError(
                f"key {one.key_id} of {one.person} {told} (as {other.person}'s); a key stands on the list once, and each "
                "person makes a key of their own"
            )
        known[one.key_id] = one


def _check_list(options: argparse.Namespace, clock: Clock) -> int:
    operators, now_s = signing.load_operator_list(options.file), _now_s(clock)
    _say(f"version {operators.version}, {len(operators.operators)} keys")
    for one in operators.operators:
        _say(
            f"{one.key_id}  {one.person}  {','.join(one.classes)}  {','.join(one.roles) or '-'}  {_tell(one, now_s)}"
        )
    for gap in list_gaps(operators, now_s=now_s):
        _say(gap)
    return 0


def _new_command(options: argparse.Namespace, clock: Clock) -> int:
    targets = _read_targets(options)
    half = keys.load_public_half(options.key)
    if options.words and options.name != "exec":
        raise DraftError(f"words after -- are for exec; {options.name} takes none")
    if options.output.exists():
        raise DraftError(f"{options.output} is there already; it is not overwritten")
    asked = Request(
        verb=options.name,
        arguments=options.arguments,
        words=options.words,
        targets=targets,
        reason=options.reason,
        valid_seconds=drafting.read_duration(options.valid) if options.valid else None,
        delay_seconds=drafting.read_duration(options.after) if options.after else 0,
    )
    with SigningRecord(options.key) as record:
        command = drafting.draft_command(asked, key_id=half.key_id, record=record, clock=clock)
    if options.targets:
        _put_beside(options.targets, find_targets_path(options.output))
    write_new(options.output, commands.write_envelope(Envelope(commands.write_command(command))))
    listed = load_targets(options.targets) if options.targets else None
    for line in describe(command, listed):
        _say(line)
    _say(f"written to {options.output}; nobody has signed it yet")
    return 0


def _sign(options: argparse.Namespace, clock: Clock) -> int:
    opened = signing.open_command(options.file, options.targets)
    operators, now_s = signing.load_operator_list(options.operators), _now_s(clock)
    half = keys.load_public_half(options.key)
    with SigningRecord(options.key) as record:
        operator = signing.check_may_sign(opened, half.key_id, operators, record=record, now_s=now_s)
        _describe(opened, operators, now_s)
        if not options.yes:
            _ask(opened, operator)
        key = keys.load_key(options.key, keys.read_passphrase(options.passphrase_file))
        signed = signing.sign_command(opened, half.key_id, key, record=record)
    replace_file(options.file, commands.write_envelope(signed))
    _say(f"signed by {operator.person} with {half.key_id}")
    return _tell_state(signed, operators, now_s=now_s, is_needed=False)


def _show(options: argparse.Namespace, clock: Clock) -> int:
    opened = signing.open_command(options.file, options.targets)
    _describe(opened, signing.load_operator_list(options.operators), _now_s(clock))
    return 0


def _check(options: argparse.Namespace, clock: Clock) -> int:
    opened = signing.open_command(options.file, options.targets)
    operators = signing.load_operator_list(options.operators)
    return _tell_state(opened.envelope, operators, now_s=_now_s(clock), is_needed=True)


def _read_targets(options: argparse.Namespace) -> Targets:
    if options.to:
        return drafting.read_sensors(options.to)
    listed = load_targets(options.targets)
    if options.selector and options.selector != listed.selector:
        raise DraftError(f"the targets file is the list of {listed.selector!r}, not of {options.selector!r}")
    return listed.to_targets()


def _put_beside(source: Path, target: Path) -> None:
    """Let the list lie beside its command, where those who sign look for it; another command's list stays.

    Raises:
        DraftError: when another list lies there.
    """
    if source.resolve() == target.resolve():
        return
    content = read_file(source, "targets file", max_bytes=_MAX_TARGETS_BYTES)
    if target.exists() and read_file(target, "targets file", max_bytes=_MAX_TARGETS_BYTES) != content:
        raise DraftError(f"{target} is there already and is another list; choose another --output")
    replace_file(target, content)


def _describe(opened: OpenedCommand, operators: OperatorList, now_s: int) -> None:
    lines = describe(opened.command, opened.targets)
    for line in lines + describe_signatures(opened.envelope, opened.command, operators, now_s=now_s):
        _say(line)


def _ask(opened: OpenedCommand, operator: Operator) -> None:
    """Have the person type the verb: a habit of pressing y signs nothing.

    Raises:
        SigningError: when anything else is typed, or nobody is there to type.
    """
    verb = opened.command.verb
    sys.stdout.write(f"Sign this as {operator.person}? Type the verb ({verb}) to sign: ")
    sys.stdout.flush()
    if sys.stdin.readline().strip() != verb:
        raise SigningError("not signed")


def _tell_state(envelope: Envelope, operators: OperatorList, *, now_s: int, is_needed: bool) -> int:
    verdict = judging.examine(envelope, operators, now_s=now_s)
    if isinstance(verdict, Refused):
        _say(f"sensors would refuse it now: {verdict}")
        return _FAILED if is_needed else 0
    needs = " by the root helper" if VERBS[verdict.command.verb].needs_root else ""
    _say(f"sensors would obey it now{needs}; signed by {', '.join(verdict.persons)}. Hand it in at the base")
    return 0


def _tell(operator: Operator, now_s: int) -> str:
    if operator.withdrawn_s is not None:
        return "withdrawn"
    if now_s >= operator.valid_to_s:
        return "over"
    days = (operator.valid_to_s - now_s) // _DAY_SECONDS
    return "not yet valid" if now_s < operator.valid_from_s else f"valid for {days} days"


def _now_s(clock: Clock) -> int:
    return clock.now_us() // 1_000_000


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")


_VERBS: dict[str, Callable[[argparse.Namespace, Clock], int]] = {
    "key create": _create_key,
    "key show": _show_key,
    "list make": _make_list,
    "list check": _check_list,
    "command new": _new_command,
    "sign": _sign,
    "show": _show,
    "check": _check,
}


if __name__ == "__main__":
    sys.exit(main())
