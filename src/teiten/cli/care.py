"""``teiten migrate`` and ``teiten geo use``."""

from __future__ import annotations

import argparse
from pathlib import Path

from teiten.cli import wiring
from teiten.cli.dataset_doors import PublishedReference
from teiten.cli.installation import Installation
from teiten.datasets.reading import Defaults, read_list
from teiten.foundation.settings import Source
from teiten.loader.reference import ReferenceBook
from teiten.loader.survey_list import read_survey_list
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
    """Check reference files and use them from the next block on; a survey list is one list among others."""
    with Installation(source) as installation:
        content = _read_survey(options.survey) if options.survey else None
        book = ReferenceBook(installation.place_dir)
        if options.files or content is None:
            book.use(options.files)
        if content is not None:
            _publish_survey(installation, content, options.survey.name)
        data = book.open(book.current_version())
    print(
        f"reference data {data.version}: countries {_yes(data.countries)}, AS numbers {_yes(data.asns)}, "
        f"survey networks {len(data.survey.networks) if data.survey else 0}"
    )
    return 0


def _read_survey(path: Path) -> bytes:
    """Read and check a list before anything is changed.

    Raises:
        TeitenError: when it cannot be read or used.
    """
    read_survey_list(path)
    content = path.read_bytes()
    read_list(content, file=path.name, defaults=Defaults())
    return content


def _publish_survey(installation: Installation, content: bytes, file: str) -> None:
    """Take a list as what the list of installed networks says, and give all lists to the loader."""
    wiring.migrate(installation)
    from teiten.datasets import importing, publishing
    from teiten.fleet.services import Act

    now = installation.clock.now()
    importing.import_list(publishing.INSTALLED_LIST, content, file=file, defaults=Defaults(), act=Act(now))
    publishing.publish(PublishedReference(installation), at=now, config=installation.section("datasets"))


def _yes(table: object) -> str:
    return "no" if table is None else "yes"
