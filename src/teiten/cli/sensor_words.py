"""What can be typed about sensors, and about the files of rules that judge their packets."""

from __future__ import annotations

import argparse
from pathlib import Path

from teiten.cli.words import Verbs, add_group, add_verb

_INSTANT = "YYYY-MM-DD[THH:MM]"
_KINDS = ("isp", "enterprise", "university", "cloud", "idc", "other")
_MODES = ("silent", "answering")
_FILES = ("bogons", "probes")


def add_words(verbs: Verbs[argparse.ArgumentParser]) -> None:
    """Declare the verbs."""
    group = add_group(verbs, "sensor", "Make, list, place, suspend and revoke sensors.")
    _add_making(group)
    _add_places(group)
    _add_addresses(group)
    _add_maintenance(group)
    for name, text in (
        ("suspend", "Refuse a sensor's data until it is resumed."),
        ("resume", "Accept a suspended sensor again."),
        ("revoke", "Refuse a sensor for ever."),
    ):
        change = add_verb(group, name, f"sensor_commands:{name}", text)
        change.add_argument("name")
        change.add_argument("--reason", required=True)
    _add_standing(group)
    _add_rules(verbs)


def _add_standing(group: Verbs[argparse.ArgumentParser]) -> None:
    approve = add_verb(
        group, "approve", "standing_commands:approve", "Let in a sensor that has enrolled and waits."
    )
    approve.add_argument("name")
    approve.add_argument("--reason", default="")
    recover = add_verb(
        group,
        "recover",
        "standing_commands:recover",
        "Print a recovery token for a sensor whose key is lost, or in two hands.",
    )
    recover.add_argument("name")
    recover.add_argument("--reason", required=True)
    recover.add_argument(
        "--cidr", default="", metavar="NETWORK", help="the token works from this network only"
    )
    for name, text in (
        ("release", "Give batches that were kept back on suspicion to the loader."),
        ("discard", "Decide that batches that were kept back on suspicion are never loaded."),
    ):
        verb = add_verb(group, name, f"standing_commands:{name}", text)
        verb.add_argument("name")
        verb.add_argument("--reason", required=True)


def _add_making(group: Verbs[argparse.ArgumentParser]) -> None:
    create = add_verb(
        group,
        "create",
        "making_commands:create",
        "Make a sensor and print its one-time token, or many and write what installs them.",
    )
    create.add_argument("name")
    create.add_argument("--region", required=True, metavar="CODE")
    create.add_argument("--org", default="", metavar="CODE", help="organisation that houses it")
    create.add_argument(
        "--may-import", action="store_true", help="it may send imports (teiten-sensor replay)"
    )
    create.add_argument(
        "--approve", action="store_true", help="after it has enrolled it waits for `teiten sensor approve`"
    )
    create.add_argument(
        "--cidr", default="", metavar="NETWORK", help="its token works from this network only"
    )
    create.add_argument(
        "--bundle", type=Path, metavar="FILE", help="also write the settings a sensor needs to this file"
    )
    _add_installing(create)
    _add_site(create)
    _add_asking(group)


def _add_asking(group: Verbs[argparse.ArgumentParser]) -> None:
    add_verb(group, "list", "sensor_commands:list_all", "List the sensors with their states.")
    token = add_verb(
        group, "token", "sensor_commands:issue_token", "Print a new one-time token for a sensor."
    )
    token.add_argument("name")
    configure = add_verb(
        group,
        "configure",
        "place_commands:configure",
        "Set how soon a sensor sends, and how little payload it keeps.",
    )
    configure.add_argument("name")
    configure.add_argument("--window", type=int, metavar="SECONDS", help="length of an ordinary window")
    configure.add_argument(
        "--payload",
        type=int,
        metavar="BYTES",
        help="most payload bytes kept per packet; 0 switches payload off",
    )
    configure.add_argument("--examples", type=int, metavar="N", help="most payload examples a window")


def _add_installing(create: argparse.ArgumentParser) -> None:
    create.add_argument(
        "--count", type=int, default=1, metavar="N", help="make NAME-0001 to NAME-N; needs --output"
    )
    create.add_argument(
        "--output", type=Path, metavar="DIR", help="write an install script and cloud-init user data for each"
    )
    create.add_argument(
        "--packages", type=Path, metavar="DIR", help="folder of the launcher's deb and rpm (make packages)"
    )
    create.add_argument(
        "--embed",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="package or bundle that the scripts carry instead of fetching it; repeatable",
    )
    create.add_argument(
        "--allow-exec",
        action="store_true",
        help="it obeys free commands (class C) of two operators; without this it never does",
    )


def _add_site(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--kind", choices=_KINDS, help="what kind of network it stands in")
    parser.add_argument("--country", metavar="CC", help="two capital letters")
    parser.add_argument("--asn", type=int, metavar="NUMBER", help="AS number; 0 for unknown")
    parser.add_argument("--provider", metavar="NAME")
    parser.add_argument("--mode", choices=_MODES, help="whether it answers")


def _add_places(group: Verbs[argparse.ArgumentParser]) -> None:
    place = add_verb(
        group,
        "place",
        "place_commands:place",
        "Say where a sensor stands from now on; what is not given stays. Without options: list its places.",
    )
    place.add_argument("name")
    place.add_argument("--region", metavar="CODE")
    _add_site(place)
    place.add_argument("--from", dest="since", metavar=_INSTANT, help="since when (default now)")


def _add_addresses(group: Verbs[argparse.ArgumentParser]) -> None:
    address = add_verb(
        group,
        "address",
        "place_commands:address",
        "Say which public address is a sensor's. Without options: list its addresses.",
    )
    address.add_argument("name")
    what = address.add_mutually_exclusive_group()
    what.add_argument("--public", metavar="ADDRESS", help="address or prefix that the Internet sends to")
    what.add_argument(
        "--end", type=int, metavar="ENTRY", help="end this entry, or withdraw it with an early --to"
    )
    address.add_argument("--local", default="", metavar="ADDRESS", help="what packets carry, behind 1:1 NAT")
    address.add_argument("--from", dest="since", metavar=_INSTANT, help="since when (default now)")
    address.add_argument(
        "--to", dest="until", metavar=_INSTANT, help="until when (default until further notice)"
    )
    address.add_argument(
        "--instead", action="store_true", help="end the open addresses that were entered before"
    )
    address.add_argument("--note", default="")


def _add_maintenance(group: Verbs[argparse.ArgumentParser]) -> None:
    maintenance = add_verb(
        group,
        "maintenance",
        "place_commands:maintenance",
        "Plan a time without observation. Without options: list what is planned.",
    )
    maintenance.add_argument("name")
    maintenance.add_argument("--from", dest="since", metavar=_INSTANT)
    maintenance.add_argument("--to", dest="until", metavar=_INSTANT)
    maintenance.add_argument("--reason", default="")
    maintenance.add_argument(
        "--cancel", type=int, metavar="ENTRY", help="take a planned time back, or end it now"
    )


def _add_rules(verbs: Verbs[argparse.ArgumentParser]) -> None:
    group = add_group(verbs, "rules", "Files of rules: networks that cannot send, and payloads with a name.")
    for name, text in (
        ("check", "Read a file of rules and say what is wrong with it; change nothing."),
        ("use", "Check a file of rules and use it from the next block on."),
    ):
        verb = add_verb(group, name, f"rules_commands:{name}", text)
        verb.add_argument("kind", choices=_FILES)
        if name == "check":
            verb.add_argument("file", type=Path, metavar="FILE")
        else:
            verb.add_argument("file", type=Path, nargs="?", metavar="FILE", help="none: the file that ships")
