"""What can be typed about commands, roll-outs and the audit chain."""

from __future__ import annotations

import argparse
from pathlib import Path

from teiten.cli.words import Verbs, add_group, add_verb, whole


def add_words(verbs: Verbs[argparse.ArgumentParser]) -> None:
    """Declare the verbs."""
    _add_command(verbs)
    _add_rollout(verbs)
    _add_audit(verbs)


def _add_command(verbs: Verbs[argparse.ArgumentParser]) -> None:
    group = add_group(verbs, "command", "Commands to sensors, as operators signed them.")
    known = add_verb(
        group, "operators", "command_commands:bring_operators", "Bring or show the list of operators."
    )
    known.add_argument("file", type=Path, nargs="?", metavar="operators.json")
    preview = add_verb(
        group,
        "preview",
        "command_commands:preview",
        "Show whom a selector means now, and the SHA-256 to sign.",
    )
    preview.add_argument("--selector", required=True, metavar="TEXT", help="region = kanto and version < 1.4")
    preview.add_argument(
        "--output", type=Path, metavar="FILE", help="write the targets file for `teiten-operator`"
    )
    targets = add_verb(
        group, "targets", "command_commands:print_targets", "Print the targets file of a selector."
    )
    targets.add_argument("selector", metavar="SELECTOR")
    submit = add_verb(
        group, "submit", "command_commands:submit", "Hand in a signed command, look at it, and start it."
    )
    submit.add_argument("file", type=Path, metavar="COMMAND.json")
    submit.add_argument("--targets", type=Path, metavar="FILE", help="the targets file of a selector")
    submit.add_argument("--dry-run", action="store_true", help="check and count only")
    submit.add_argument("--start", action="store_true", help="begin its roll-out, when it is approved")
    _add_pace(submit)
    start = add_verb(group, "start", "command_commands:start", "Begin the roll-out of an approved command.")
    start.add_argument("id", metavar="ID", help="of the command, or its beginning")
    _add_pace(start)
    listing = add_verb(group, "list", "command_commands:list_all", "List commands, newest first.")
    listing.add_argument(
        "--limit", type=whole(1, 100_000), default=50, metavar="N", help="at most N (default 50)"
    )
    show = add_verb(group, "show", "command_commands:show", "Show one command and how far it is.")
    show.add_argument("id", metavar="ID", help="of the command, or its beginning")
    show.add_argument(
        "--sensor", default="", metavar="NAME", help="what this sensor answered, with its output"
    )
    show.add_argument("--results", action="store_true", help="every sensor that did not just do it")
    show.add_argument("--envelope", type=Path, metavar="FILE", help="write the signed envelope")
    stop = add_verb(group, "stop", "command_commands:stop", "Keep it from whoever has not fetched it.")
    stop.add_argument("id", metavar="ID", help="of the command, or its beginning")
    stop.add_argument("--reason", required=True, metavar="TEXT", help="why; it stays in the audit log")


def _add_pace(verb: argparse.ArgumentParser) -> None:
    verb.add_argument(
        "--stages",
        default="1,10,50,100",
        metavar="PERCENTS",
        help="stages of its roll-out (default 1,10,50,100)",
    )
    verb.add_argument("--per-minute", type=int, metavar="N", help="most sensors a minute")
    verb.add_argument("--yes", action="store_true", help="do not ask")


def _add_rollout(verbs: Verbs[argparse.ArgumentParser]) -> None:
    group = add_group(verbs, "rollout", "Roll-outs of commands and updates, stage by stage.")
    listing = add_verb(group, "list", "rollout_commands:list_all", "List roll-outs, newest first.")
    listing.add_argument("--all", action="store_true", help="also those that are over")
    show = add_verb(group, "show", "rollout_commands:show", "Show one roll-out, stage by stage.")
    show.add_argument("number", type=whole(1), metavar="NUMBER", help="as `teiten rollout list` says it")
    for name, text in (
        ("pause", "Release nobody more until it is resumed."),
        ("resume", "Go on after a pause or a halt, accepting what went wrong so far."),
        ("stop", "End it for good."),
    ):
        change = add_verb(group, name, f"rollout_commands:{name}", text)
        change.add_argument(
            "number", type=whole(1), metavar="NUMBER", help="as `teiten rollout list` says it"
        )
        change.add_argument("--reason", required=True, metavar="TEXT", help="why; it stays in the audit log")


def _add_audit(verbs: Verbs[argparse.ArgumentParser]) -> None:
    group = add_group(verbs, "audit", "The chain of records of what was done to the fleet.")
    verify = add_verb(
        group,
        "verify",
        "audit_commands:verify",
        "Check every record, and heads that were kept; name the first break.",
    )
    verify.add_argument(
        "--from", dest="first", type=int, default=1, metavar="N", help="only from record N on"
    )
    verify.add_argument(
        "--heads", type=Path, action="append", default=[], metavar="FILE", help="signed heads kept elsewhere"
    )
    verify.add_argument("--key", metavar="HEX", help="public key of those heads (default: this base's)")
    add_verb(group, "head", "audit_commands:print_head", "Print the signed head, to be kept elsewhere.")
    export = add_verb(group, "export", "audit_commands:export", "Write records as lines of JSON.")
    export.add_argument("--from", dest="first", type=int, default=1, metavar="N")
    export.add_argument("--to", dest="last", type=int, metavar="N")
    export.add_argument("--output", type=Path, metavar="FILE", help="default: standard output")
