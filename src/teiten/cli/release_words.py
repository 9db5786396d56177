"""What can be typed about releases."""

from __future__ import annotations

import argparse
from pathlib import Path

from teiten.cli.words import Verbs, add_group, add_verb, whole

_ROLES = ("root", "targets")


def add_words(verbs: Verbs[argparse.ArgumentParser]) -> None:
    """Declare the verbs."""
    group = add_group(verbs, "release", "Make, sign, publish and roll out releases of the sensor's program.")
    _add_signing(group)
    _add_making(group)
    _add_rolling(group)


def _add_signing(group: Verbs[argparse.ArgumentParser]) -> None:
    keys = add_group(group, "keys", "Keys of the people who sign; on their own machines.")
    create = add_verb(keys, "create", "release_commands:create_key", "Make a key that a passphrase closes.")
    create.add_argument("--role", required=True, choices=_ROLES)
    create.add_argument(
        "--person", required=True, metavar="NAME", help="whose it is; thresholds count people"
    )
    create.add_argument("--out", required=True, type=Path, metavar="FILE", help="FILE and FILE.pub are made")
    _add_passphrase(create)
    sign = add_verb(group, "sign", "release_commands:sign", "Show a draft and add a person's signature.")
    sign.add_argument("--key", required=True, type=Path, metavar="FILE")
    sign.add_argument(
        "--draft", type=Path, metavar="FILE", help="a copy of a draft (else those of this base)"
    )
    sign.add_argument("--yes", action="store_true", help="do not ask whether the draft is what it should be")
    _add_passphrase(sign)
    merge = add_verb(
        group, "merge", "release_commands:merge", "Take the signatures of signed copies of a draft."
    )
    merge.add_argument("files", nargs="+", type=Path, metavar="FILE")


def _add_making(group: Verbs[argparse.ArgumentParser]) -> None:
    init = add_verb(group, "init", "release_commands:init", "Draft the first root from people's public keys.")
    init.add_argument("keys", nargs="+", type=Path, metavar="FILE.pub", help="3 or more of each role")
    init.add_argument(
        "--anew",
        action="store_true",
        help="although another was public: no installed sensor believes this one",
    )
    build = add_verb(
        group, "build", "release_commands:build", "Draft the next targets: bundles and settings for sensors."
    )
    build.add_argument("--bundle", action="append", default=[], type=Path, metavar="FILE", help="repeatable")
    build.add_argument("--operators", type=Path, metavar="FILE", help="operators.json: who may command")
    build.add_argument(
        "--gateway", type=Path, metavar="FILE", help="gateway.json: see `release gateway-file`"
    )
    build.add_argument(
        "--drop",
        action="append",
        default=[],
        type=whole(1),
        metavar="N",
        help="release to withdraw; repeatable",
    )
    build.add_argument(
        "--above",
        type=whole(0, 1 << 31),
        default=0,
        metavar="N",
        help="number the targets above N (after a lost backup)",
    )
    _add_gateway_file(group)
    _add_changing(group)


def _add_gateway_file(group: Verbs[argparse.ArgumentParser]) -> None:
    gateway = add_verb(
        group,
        "gateway-file",
        "release_gateway:write_gateway",
        "Write gateway.json of this base's pins and keys.",
    )
    gateway.add_argument("--out", required=True, type=Path, metavar="FILE")
    gateway.add_argument(
        "--pin", action="append", default=[], metavar="SHA256", help="a further pin; repeatable"
    )
    gateway.add_argument(
        "--gateway-key", action="append", default=[], metavar="ID=BASE64URL", help="a further key; repeatable"
    )
    gateway.add_argument("--url", default="", help="where the gateway is, if it has moved")


def _add_changing(group: Verbs[argparse.ArgumentParser]) -> None:
    rotate = add_verb(
        group, "rotate", "release_commands:rotate", "Draft the next root: renew it, change people."
    )
    rotate.add_argument(
        "--add", action="append", default=[], type=Path, metavar="FILE.pub", help="repeatable"
    )
    rotate.add_argument("--remove", action="append", default=[], metavar="ROLE:PERSON", help="repeatable")
    rotate.add_argument("--online", action="store_true", help="new online keys (snapshot and timestamp)")
    discard = add_verb(group, "discard", "release_commands:discard", "Throw a draft away.")
    discard.add_argument("role", choices=_ROLES)
    add_verb(group, "publish", "release_commands:publish", "Make signed drafts public.")
    add_verb(group, "renew", "release_commands:renew", "Sign snapshot and timestamp anew when it is time.")
    add_verb(
        group, "status", "release_commands:status", "Say what is published, drafted, signed and rolled out."
    )


def _add_rolling(group: Verbs[argparse.ArgumentParser]) -> None:
    promote = add_verb(
        group, "promote", "release_rollouts:promote", "Let sensors take a release, a few first."
    )
    promote.add_argument("release", type=whole(1), metavar="N", help="number of the release")
    promote.add_argument("--to", default="all", metavar="SELECTOR", help="which sensors (default all)")
    promote.add_argument("--stages", default="1,10,50,100", metavar="PERCENT,…")
    promote.add_argument("--per-minute", type=int, default=60, metavar="N", help="most sensors a minute")
    promote.add_argument(
        "--soak", type=int, default=900, metavar="SECONDS", help="wait between stages (default 900)"
    )
    promote.add_argument(
        "--dry-run", action="store_true", help="say whom it would reach and who is left out; start nothing"
    )
    for name, text in (
        ("halt", "Let no further sensor take a release for now."),
        ("resume", "Go on after a halt."),
        ("stop", "End a roll-out for good."),
    ):
        verb = add_verb(group, name, f"release_rollouts:{name}", text)
        verb.add_argument("release", type=whole(1), metavar="N", help="number of the release")
        verb.add_argument("--reason", required=True, metavar="TEXT", help="why; it stays in the audit log")


def _add_passphrase(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--passphrase-file", type=Path, metavar="FILE", help="its first line (else it is asked for)"
    )
