"""The command line of ``teiten-operator``."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import teiten
from teiten.protocol.operator_list import ROLES
from teiten.protocol.verbs import LIMITS, VERBS

#: Shown at the end of each verb's help; a test reads each.
EXAMPLES = {
    "key create": "teiten-operator key create alice.key",
    "key show": "teiten-operator key show alice.key --person alice --classes A,B > alice.json",
    "list make": "teiten-operator list make --before operators.json dora.json --output operators-2.json",
    "list check": "teiten-operator list check operators.json",
    "command new": "teiten-operator command new log_tail lines=100 --to 7,9,12-20 --reason 'hangs since 04:00' "
    "--key alice.key --output tail.command.json",
    "sign": "teiten-operator sign tail.command.json --key alice.key --operators operators.json",
    "show": "teiten-operator show tail.command.json",
    "check": "teiten-operator check tail.command.json",
}


def parse(words: Sequence[str]) -> argparse.Namespace:
    """Read the words; arguments of a command may stand before and after options.

    What follows ``--`` are the words of a free command, whatever they look like.
    """
    at = list(words).index("--") if "--" in words else len(words)
    parser = make_parser()
    options, rest = parser.parse_known_args(words[:at])
    takes = {"new": "arguments", "make": "entries"}.get(getattr(options, "verb", ""))
    if rest and (takes is None or any(word.startswith("-") for word in rest)):
        parser.error(f"not understood: {' '.join(rest)}")
    if takes is not None:
        kind = Path if takes == "entries" else str
        setattr(options, takes, [*getattr(options, takes), *(kind(word) for word in rest)])
    options.words = list(words[at + 1 :])
    return options


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="teiten-operator",
        description="Write and sign commands for sensors, on the operator's own machine. The base holds no such key.",
    )
    parser.add_argument("--version", action="version", version=f"teiten-operator {teiten.__version__}")
    things = parser.add_subparsers(dest="thing", required=True, metavar="THING")
    _add_key(things)
    _add_list(things)
    _add_command(things)
    _add_signing(things)
    for one in _list_verbs(parser):
        # What is described at length already ends with its own example.
        example = f"example:\n  {EXAMPLES[one.prog.partition(' ')[2]]}"
        one.epilog = f"{one.epilog}\n\n{example}" if one.epilog else example
        one.formatter_class = argparse.RawDescriptionHelpFormatter
    return parser


def _list_verbs(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """Give the verbs that have none below them."""
    below = [one.choices for one in parser._actions if isinstance(one, argparse._SubParsersAction)]  # noqa: SLF001  # argparse has no public name for them
    if not below:
        yield parser
    for choices in below:
        for verb in choices.values():
            yield from _list_verbs(verb)


def describe_verbs() -> str:
    """Give the table of verbs, for help."""
    lines = ["verbs, by class:"]
    for verb in VERBS.values():
        taken = ", ".join(f"{one.name} ({one.describe()})" for one in verb.arguments)
        lines.append(f"  {verb.command_class}  {verb.name:<12} {verb.help}" + (f": {taken}" if taken else ""))
    for name, limits in LIMITS.items():
        role = f", one {limits.role}" if limits.role else ""
        minutes = limits.lifetime_seconds // 60
        lines.append(
            f"class {name} {limits.meaning}: {limits.persons} person(s){role}, {minutes} min at most"
        )
    return "\n".join(lines)


def _add_key(things: Any) -> None:
    key = things.add_parser("key", help="this operator's key")
    verbs = key.add_subparsers(dest="verb", required=True, metavar="VERB")
    create = verbs.add_parser("create", help="make a key in a file that a passphrase protects")
    create.add_argument("file", type=Path, metavar="FILE", help="where the key shall lie (0600)")
    _add_passphrase(create)
    show = verbs.add_parser("show", help="print the public half as an entry of the list of operators")
    show.add_argument("file", type=Path, metavar="FILE")
    show.add_argument("--person", required=True, help="who holds it: a-z, 0-9 and ._@+-")
    show.add_argument("--classes", default="A", help="classes it may sign, for example A,B (default: A)")
    show.add_argument("--role", action="append", choices=ROLES, default=[], help="a role of the person")
    show.add_argument("--days", type=int, default=365, help="days that it is valid (default: 365)")


def _add_list(things: Any) -> None:
    operators = things.add_parser("list", help="the list of operators, a target of the update repository")
    verbs = operators.add_subparsers(dest="verb", required=True, metavar="VERB")
    make = verbs.add_parser("make", help="write the next version; sign it with `teiten release` then")
    make.add_argument("entries", nargs="*", type=Path, metavar="ENTRY", help="files that `key show` printed")
    make.add_argument("--before", type=Path, metavar="FILE", help="the present list")
    make.add_argument(
        "--withdraw", action="append", default=[], metavar="KEY_ID", help="this key counts no more"
    )
    make.add_argument("--output", type=Path, required=True, metavar="FILE")
    check = verbs.add_parser("check", help="say who is on a list and what each may sign")
    check.add_argument("file", type=Path, metavar="FILE")


def _add_command(things: Any) -> None:
    command = things.add_parser("command", help="write a command")
    verbs = command.add_subparsers(dest="verb", required=True, metavar="VERB")
    new = verbs.add_parser(
        "new",
        help="write a command that nobody has signed yet",
        epilog=describe_verbs(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    new.add_argument("name", metavar="NAME", help="what the sensors shall do, for example status")
    new.add_argument("arguments", nargs="*", metavar="NAME=VALUE", help="its arguments")
    whom = new.add_mutually_exclusive_group(required=True)
    whom.add_argument("--to", metavar="SENSORS", help="by number, for example 7,9,12-20")
    whom.add_argument(
        "--targets", type=Path, metavar="FILE", help="by selector: the list that the base made of it"
    )
    new.add_argument("--selector", metavar="TEXT", help="the selector that --targets must be the list of")
    new.add_argument("--reason", required=True, help="why, in one line; everybody who signs reads it")
    new.add_argument(
        "--valid", metavar="TIME", help="how long, for example 30m (default: as its class allows)"
    )
    new.add_argument("--after", metavar="TIME", help="valid only after this time, for example 2h")
    new.add_argument("--key", type=Path, required=True, metavar="FILE", help="whose command it is")
    new.add_argument("--output", type=Path, required=True, metavar="FILE", help="NAME.command.json")


def _add_signing(things: Any) -> None:
    sign = things.add_parser("sign", help="read a command, and sign it")
    _add_command_file(sign)
    sign.add_argument("--key", type=Path, required=True, metavar="FILE")
    _add_passphrase(sign)
    sign.add_argument("--yes", action="store_true", help="do not ask; for scripts that have shown it already")
    show = things.add_parser("show", help="say in plain words what a command is and who has signed it")
    _add_command_file(show)
    check = things.add_parser("check", help="say whether sensors would obey a command now, and why not")
    _add_command_file(check)


def _add_command_file(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("file", type=Path, metavar="FILE", help="a command file")
    verb.add_argument(
        "--operators",
        type=Path,
        default=Path("operators.json"),
        metavar="FILE",
        help="the list of operators (default: operators.json)",
    )
    verb.add_argument(
        "--targets", type=Path, metavar="FILE", help="the list of its selector, if not NAME.targets.json"
    )


def _add_passphrase(verb: argparse.ArgumentParser) -> None:
    verb.add_argument(
        "--passphrase-file",
        type=Path,
        metavar="FILE",
        help="private file with the passphrase; otherwise asked for",
    )
