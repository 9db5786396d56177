"""``teiten migrate`` and ``teiten geo use``."""

from __future__ import annotations

import argparse

from teiten.cli import wiring
from teiten.cli.installation import Installation
from teiten.foundation.settings import Source
from teiten.loader.reference import ReferenceBook
from teiten.store.service import Store


def migrate(source: Source, options: argparse.Namespace) -> int:
    """Bring all databases to this version's schema, or print what would be done to the store."""
    with Installation(source) as installation:
        if options.dry_run:
            store = Store(installation.store_config, installation.clock)
            store.connect()
            print(store.describe_pending() or "the store is up to date")
            store.close()
            return 0
        wiring.migrate(installation)
        wiring.open_store(installation).close()
        print("all schemas are up to date")
    return 0


def use_reference(source: Source, options: argparse.Namespace) -> int:
    """Check reference files and use them from the next block on."""
    with Installation(source) as installation:
        data = ReferenceBook(installation.place_dir).use(options.files, options.survey)
    print(
        f"reference data {data.version}: countries {_yes(data.countries)}, AS numbers {_yes(data.asns)}, "
        f"survey networks {len(data.survey.networks) if data.survey else 0}"
    )
    return 0


def _yes(table: object) -> str:
    return "no" if table is None else "yes"
