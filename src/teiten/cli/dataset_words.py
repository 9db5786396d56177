"""What can be typed about survey lists, annotations and names of fingerprints."""

from __future__ import annotations

import argparse
from pathlib import Path

from teiten.cli.words import Verbs, add_group, add_verb

_INSTANT = "YYYY-MM-DD[THH:MM]"


def add_words(verbs: Verbs[argparse.ArgumentParser]) -> None:
    """Declare the verbs."""
    _add_survey(verbs)
    _add_note(verbs)
    _add_name(verbs)


def _add_survey(verbs: Verbs[argparse.ArgumentParser]) -> None:
    group = add_group(verbs, "survey", "Lists of known survey scanners.")
    take = add_verb(
        group, "import", "dataset_commands:import_list", "Take a CSV or MISP warninglist as what a list says."
    )
    take.add_argument("file", type=Path, metavar="FILE")
    take.add_argument("--list", required=True, metavar="NAME", help="the list that the file replaces")
    take.add_argument("--owner", default="", help="who scans, where the file does not say it")
    take.add_argument("--source", default="", help="where the file comes from")
    take.add_argument(
        "--from", dest="since", metavar="YYYY-MM-DD", help="from when entries without a day hold (UTC)"
    )
    take.add_argument("--publish", action="store_true", help="also give all lists to the loader")
    add_verb(group, "list", "dataset_commands:list_surveys", "List the lists with what holds of them.")
    show = add_verb(group, "show", "dataset_commands:show_survey", "Show the entries of a list.")
    show.add_argument("name")
    show.add_argument("--all", action="store_true", help="also what held once")
    add_verb(group, "publish", "dataset_commands:publish_surveys", "Give what all lists say to the loader.")
    remove = add_verb(
        group, "remove", "dataset_commands:remove_survey", "Stop using a list; its history stays."
    )
    remove.add_argument("name")
    remove.add_argument("--publish", action="store_true", help="also give what is left to the loader")


def _add_note(verbs: Verbs[argparse.ArgumentParser]) -> None:
    group = add_group(verbs, "note", "Annotations that are drawn on trends.")
    add = add_verb(group, "add", "dataset_commands:add_note", "Write an annotation.")
    add.add_argument(
        "--at", required=True, metavar=_INSTANT, help="zone of the installation, unless it names one"
    )
    add.add_argument("--until", metavar=_INSTANT)
    add.add_argument("--kind", required=True, choices=("cve", "campaign", "sensors", "rule", "other"))
    add.add_argument("--ja", required=True, metavar="TEXT", help="text for Japanese screens")
    add.add_argument("--en", required=True, metavar="TEXT", help="text for English screens")
    add.add_argument("--dataset", default="", metavar="NAME", help="only this data set (default: all)")
    add.add_argument("--link", default="", metavar="URL")
    listing = add_verb(group, "list", "dataset_commands:list_notes", "List annotations, newest first.")
    listing.add_argument("--all", action="store_true", help="also withdrawn ones")
    withdraw = add_verb(
        group, "withdraw", "dataset_commands:withdraw_note", "Take an annotation off the screens."
    )
    withdraw.add_argument("number", type=int)


def _add_name(verbs: Verbs[argparse.ArgumentParser]) -> None:
    group = add_group(verbs, "name", "Names of fingerprints, payloads and probes.")
    add = add_verb(group, "add", "dataset_commands:add_name", "Give a name to a value, for a time.")
    add.add_argument("kind", choices=("tcp_fp", "payload_hash", "probe"))
    add.add_argument("value")
    add.add_argument("name")
    add.add_argument("--version", default="", help="of what the name means")
    add.add_argument("--from", dest="since", metavar=_INSTANT, help="default: now")
    add.add_argument("--to", dest="until", metavar=_INSTANT, help="default: until further notice")
    add.add_argument("--note", default="", help="what the name rests on")
    listing = add_verb(group, "list", "dataset_commands:list_names", "List names, newest first.")
    listing.add_argument("--all", action="store_true", help="also withdrawn ones")
    withdraw = add_verb(group, "withdraw", "dataset_commands:withdraw_name", "Take a name back.")
    withdraw.add_argument("number", type=int)
