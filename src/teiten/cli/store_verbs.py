"""``teiten store …``: maintenance, in whichever process owns the store.

While ``teiten up`` runs, an embedded store is its own; the work is then handed to it
through the queue in PostgreSQL. Otherwise it is done here.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import time
from collections.abc import Callable, Mapping
from datetime import date
from typing import Any

from teiten.cli import wiring
from teiten.cli.doors import StoreMaintenance
from teiten.cli.errors import CliError
from teiten.cli.installation import Installation
from teiten.foundation.settings import Source
from teiten.store.errors import StoreUnavailable

Work = Callable[[StoreMaintenance], Mapping[str, Any]]


def check(source: Source, options: argparse.Namespace) -> int:
    """Compare raw rows with every roll-up; exit code 1 when something differs."""
    day = _day(options.day) if options.day else None
    arguments = {"day": day.isoformat()} if day else {}
    facts = _do(source, "store.check", arguments, work=lambda store: store.check(day))
    for message in facts["differences"]:
        print(message)
    if not facts["differences"]:
        print("raw rows, roll-ups and coverage agree")
    return 1 if facts["differences"] else 0


def rebuild(source: Source, options: argparse.Namespace) -> int:
    """Make one day's roll-ups anew."""
    day = _day(options.day)
    facts = _do(source, "store.rebuild", {"day": day.isoformat()}, work=lambda store: store.rebuild(day))
    print(json.dumps(facts, ensure_ascii=False))
    return 0


def apply_retention(source: Source, _options: argparse.Namespace) -> int:
    """Delete what is past its term."""
    facts = _do(source, "store.retention", {}, work=_retain)
    print("\n".join(facts["removed"]) or "nothing is past its term")
    return 0


def _retain(store: StoreMaintenance) -> Mapping[str, Any]:
    from teiten.custody.holding import standing_holds

    return store.apply_retention(standing_holds)


def _do(source: Source, job: str, arguments: dict[str, Any], *, work: Work) -> Mapping[str, Any]:
    """Do the work here when the store is free, else hand it to its owner."""
    with Installation(source) as installation:
        wiring.migrate(installation)
        try:
            with contextlib.closing(wiring.open_store(installation)) as store:
                return work(StoreMaintenance(store))
        except StoreUnavailable:
            return _hand_over(installation, job, arguments)


def _hand_over(installation: Installation, job: str, arguments: dict[str, Any]) -> Mapping[str, Any]:
    from teiten.automation import services

    run = services.request_run(job, arguments, requested_by="command", clock=installation.clock)
    print(f"the store belongs to a running Teiten; handed over as run {run.pk}", flush=True)
    return services.wait_for_run(run, clock=installation.clock, sleep=time.sleep)


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise CliError(f"{text!r} is no day; write it as YYYY-MM-DD, for example 2026-11-21") from error
