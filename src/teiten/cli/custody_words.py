"""What can be typed about legal holds, erasures and exclusions."""

from __future__ import annotations

import argparse

from teiten.cli.words import Verbs, add_group, add_verb

_INSTANT = "YYYY-MM-DD[THH:MM]"


def add_words(verbs: Verbs[argparse.ArgumentParser]) -> None:
    """Declare the verbs."""
    _add_hold(verbs)
    _add_erase(verbs)
    _add_exclude(verbs)


def _add_hold(verbs: Verbs[argparse.ArgumentParser]) -> None:
    group = add_group(verbs, "hold", "Legal holds: data that nothing may remove.")
    add = add_verb(group, "add", "custody_commands:add_hold", "Hold observations until the release.")
    about = add.add_mutually_exclusive_group(required=False)
    about.add_argument("--sensor", default="", metavar="NAME")
    about.add_argument("--address", default="", metavar="NETWORK", help="an address or a prefix")
    add.add_argument("--dataset", default="", metavar="NAME", help="alone, or to narrow the other two")
    _add_period(add, is_needed=False)
    add.add_argument("--reason", required=True)
    listing = add_verb(group, "list", "custody_commands:list_holds", "List the holds in force.")
    listing.add_argument("--all", action="store_true", help="also released ones")
    release = add_verb(group, "release", "custody_commands:release_hold", "End a hold.")
    release.add_argument("number", type=int)
    release.add_argument("--reason", required=True)


def _add_erase(verbs: Verbs[argparse.ArgumentParser]) -> None:
    group = add_group(verbs, "erase", "Erase an address, or what an organisation's sensors observed.")
    address = add_verb(
        group, "address", "custody_commands:erase_address", "Erase every packet in which an address occurs."
    )
    address.add_argument("network", help="an address, or a prefix of /16 (IPv6: /32) or longer")
    address.add_argument("--dataset", default="", metavar="NAME", help="only this data set (default: all)")
    _add_period(address, is_needed=False)
    _add_confirmation(address)
    organisation = add_verb(
        group,
        "organisation",
        "custody_commands:erase_organisation",
        "Take an organisation out: accounts closed, sensors revoked, their packets erased.",
    )
    organisation.add_argument("code")
    organisation.add_argument("--keep-data", action="store_true", help="leave what its sensors observed")
    _add_confirmation(organisation)
    add_verb(group, "list", "custody_commands:list_erasures", "List the erasures with their states.")
    retry = add_verb(group, "retry", "custody_commands:retry_erasure", "Try a failed erasure again.")
    retry.add_argument("number", type=int)


def _add_exclude(verbs: Verbs[argparse.ArgumentParser]) -> None:
    group = add_group(verbs, "exclude", "Set a sensor's data of a period aside, out of every figure.")
    add = add_verb(group, "add", "custody_commands:add_exclusion", "Exclude a sensor's data of a period.")
    add.add_argument("sensor", metavar="NAME")
    add.add_argument("--dataset", default="", metavar="NAME", help="default: the sensor's own")
    _add_period(add, is_needed=True)
    _add_confirmation(add)
    listing = add_verb(group, "list", "custody_commands:list_exclusions", "List the exclusions.")
    listing.add_argument("--all", action="store_true", help="also lifted ones")
    lift = add_verb(group, "lift", "custody_commands:lift_exclusion", "Take excluded data back in.")
    lift.add_argument("number", type=int)
    lift.add_argument("--reason", required=True)


def _add_period(verb: argparse.ArgumentParser, *, is_needed: bool) -> None:
    verb.add_argument(
        "--from", dest="since", metavar=_INSTANT, required=is_needed, help="time of observation"
    )
    verb.add_argument("--to", dest="until", metavar=_INSTANT, required=is_needed, help="exclusive")


def _add_confirmation(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("--reason", required=True)
    verb.add_argument("--dry-run", action="store_true", help="count what would be touched, change nothing")
    verb.add_argument("--yes", action="store_true", help="do not ask")
