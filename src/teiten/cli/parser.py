"""What can be typed after ``teiten``; each verb names the function that does it."""

from __future__ import annotations

import argparse
from pathlib import Path

import teiten
from teiten.cli import command_words, custody_words, dataset_words, host_words, release_words, sensor_words
from teiten.cli.words import Verbs
from teiten.cli.words import add_group as _group
from teiten.cli.words import add_verb as _verb


def build() -> argparse.ArgumentParser:
    """Give the parser of the whole command line."""
    parser = argparse.ArgumentParser(prog="teiten", description="Teiten: Internet fixed-point observation.")
    parser.add_argument("--version", action="version", version=f"teiten {teiten.__version__}")
    parser.add_argument(
        "--config", type=Path, metavar="FILE", help="settings file (else TEITEN_CONFIG, else defaults)"
    )
    parser.add_argument("--log-level", default=None, choices=("DEBUG", "INFO", "WARNING", "ERROR"))
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    _add_running(verbs)
    sensor_words.add_words(verbs)
    release_words.add_words(verbs)
    command_words.add_words(verbs)
    host_words.add_words(verbs)
    _add_user(verbs)
    _add_care(verbs)
    dataset_words.add_words(verbs)
    custody_words.add_words(verbs)
    return parser


def _add_running(verbs: Verbs[argparse.ArgumentParser]) -> None:
    _verb(verbs, "up", "up:run_up", "Run gateway, loader, portal and worker in one process.")
    demo = _verb(
        verbs, "demo", "demo:run_demo", "Run `up` with a simulated fleet and, where allowed, one real sensor."
    )
    demo.add_argument("--sensors", type=int, default=20, metavar="N", help="simulated sensors (default 20)")
    demo.add_argument(
        "--days", type=int, default=30, metavar="N", help="days of simulated history (default 30)"
    )
    demo.add_argument("--seed", type=int, default=1, help="seed of the simulation (default 1)")
    demo.add_argument(
        "--interface",
        metavar="NAME",
        help="interface of the real sensor (default: the one of the default route)",
    )
    demo.add_argument(
        "--payload",
        type=int,
        default=0,
        metavar="BYTES",
        help="payload bytes the real sensor keeps (default 0)",
    )
    demo.add_argument(
        "--no-real-sensor", action="store_true", help="do not open an interface of this machine"
    )
    _verb(verbs, "gateway", "services:run_gateway", "Run the gateway alone.")
    loader = verbs.add_parser("loader", help="Run the loader alone; or look after quarantined batches.")
    loader.set_defaults(route="services:run_loader")
    choices = loader.add_subparsers(dest="subverb", metavar="VERB")
    listing = _verb(
        choices,
        "quarantined",
        "loader_verbs:list_quarantined",
        "List quarantined batches with their reasons.",
    )
    listing.add_argument("--limit", type=int, default=50, metavar="N")
    requeue = _verb(
        choices, "requeue", "loader_verbs:requeue", "Give quarantined batches to the loader again."
    )
    requeue.add_argument("--reason", metavar="CODE", help="only those quarantined for this reason")
    requeue.add_argument("--sensor", type=int, metavar="N", help="only those of this sensor")
    _verb(verbs, "portal", "services:run_portal", "Run the portal alone (needs a ClickHouse server).")
    _verb(verbs, "worker", "services:run_worker", "Run the worker for queued and periodic jobs alone.")


def _add_user(verbs: Verbs[argparse.ArgumentParser]) -> None:
    group = _group(verbs, "user", "Make and change users and their API tokens.")
    create = _verb(group, "create", "user_commands:create", "Make a user and print a first password once.")
    create.add_argument("user_id")
    create.add_argument("--role", required=True, choices=("operator", "analyst", "member"))
    create.add_argument("--org", required=True, metavar="CODE")
    create.add_argument("--name", default="", help="display name")
    _verb(group, "list", "user_commands:list_all", "List the users.")
    password = _verb(
        group, "password", "user_commands:reset_password", "Set a new first password and print it once."
    )
    password.add_argument("user_id")
    token = _verb(group, "token", "user_commands:issue_token", "Issue an API token and print it once.")
    token.add_argument("user_id")
    token.add_argument("--days", type=int, default=90, metavar="N", help="validity (1 to 365, default 90)")
    token.add_argument("--label", default="cli")
    payload = _verb(
        group, "payload", "user_commands:permit_payload", "Allow a person to see payload for stated reasons."
    )
    payload.add_argument("user_id")
    payload.add_argument("decision", choices=("allow", "refuse"))


def _add_care(verbs: Verbs[argparse.ArgumentParser]) -> None:
    migrate = _verb(verbs, "migrate", "care:migrate", "Bring all databases to this version's schema.")
    migrate.add_argument(
        "--dry-run", action="store_true", help="print the store's statements, change nothing"
    )
    geo = _group(verbs, "geo", "Country and AS data in MaxMind-DB format.")
    use = _verb(geo, "use", "care:use_reference", "Check country/AS files and use them from now on.")
    use.add_argument(
        "files", type=Path, nargs="*", metavar="FILE", help="MaxMind-DB file; one or two (country, AS)"
    )
    use.add_argument("--survey", type=Path, metavar="CSV", help="list of known survey scanners")
    store = _group(verbs, "store", "Check and repair the store's roll-ups, apply retention.")
    check = _verb(store, "check", "store_verbs:check", "Compare raw rows with every roll-up.")
    check.add_argument("--day", metavar="YYYY-MM-DD", help="only this UTC day")
    rebuild = _verb(store, "rebuild", "store_verbs:rebuild", "Make one day's roll-ups anew from raw rows.")
    rebuild.add_argument("day", metavar="YYYY-MM-DD")
    _verb(
        store,
        "retention",
        "store_verbs:apply_retention",
        "Delete what is past its data set's retention, now.",
    )
    _verb(verbs, "doctor", "doctor:run_doctor", "Say what is wrong with this installation and what to do.")
