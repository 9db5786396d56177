"""``teiten survey|note|name …``: words in, data sets changed, lines out."""

from __future__ import annotations

import argparse
from datetime import datetime
from typing import TYPE_CHECKING

from teiten.cli import printing
from teiten.cli.dataset_doors import PublishedReference
from teiten.cli.errors import CliError
from teiten.cli.installation import Installation
from teiten.cli.instants import read_instant
from teiten.foundation.settings import Source

if TYPE_CHECKING:
    # Django's models can be imported only once Django has been set up.
    from teiten.datasets.models import SurveyImport
    from teiten.fleet.services import Act


def import_list(source: Source, options: argparse.Namespace) -> int:
    """Take a file as what a list says from now on."""
    with Installation(source) as installation:
        installation.start_django()
        from teiten.datasets import importing
        from teiten.datasets.reading import Defaults

        since = read_instant("--from", options.since, zone="UTC") if options.since else None
        defaults = Defaults(owner=options.owner, source=options.source, valid_from=since)
        try:
            content = options.file.read_bytes()
        except OSError as error:
            raise CliError(f"{options.file} cannot be read: {error.strerror}") from error
        record = importing.import_list(
            options.list, content, file=options.file.name, defaults=defaults, act=_act(installation)
        )
        _tell(record)
        _publish_or_tell(installation, is_wanted=options.publish)
    return 0


def remove_survey(source: Source, options: argparse.Namespace) -> int:
    """Stop using a list."""
    with Installation(source) as installation:
        installation.start_django()
        from teiten.datasets import importing

        _tell(importing.remove_list(options.name, act=_act(installation)))
        _publish_or_tell(installation, is_wanted=options.publish)
    return 0


def publish_surveys(source: Source, _options: argparse.Namespace) -> int:
    """Give what all lists say to the loader."""
    with Installation(source) as installation:
        installation.start_django()
        _publish_or_tell(installation, is_wanted=True)
    return 0


def list_surveys(source: Source, _options: argparse.Namespace) -> int:
    """Print the lists."""
    with Installation(source) as installation:
        installation.start_django()
        from teiten.datasets import selectors

        rows = selectors.list_surveys(installation.clock.now())
    printing.print_table(
        ("list", "format", "version", "holding", "entries", "imported", "removed", "title"),
        [
            (
                row.name, row.format, row.version, row.holding, row.entries, printing.instant(row.imported_at),
                printing.instant(row.removed_at), row.title,
            )
            for row in rows
        ],
    )  # fmt: skip
    return 0


def show_survey(source: Source, options: argparse.Namespace) -> int:
    """Print the entries of a list."""
    with Installation(source) as installation:
        installation.start_django()
        from teiten.datasets import selectors

        now = installation.clock.now()
        if options.name not in {row.name for row in selectors.list_surveys(now)}:
            raise CliError(f"there is no survey list {options.name!r}; `teiten survey list` names them")
        rows = list(selectors.entries_of(options.name, at=None if options.all else now))
    printing.print_table(
        ("network", "owner", "from", "to", "kind", "source", "reason"),
        [
            (
                row.network, row.owner, printing.instant(row.valid_from), printing.instant(row.valid_to), row.kind,
                row.source, row.reason,
            )
            for row in rows
        ],
    )  # fmt: skip
    return 0


def add_note(source: Source, options: argparse.Namespace) -> int:
    """Write an annotation."""
    with Installation(source) as installation:
        installation.start_django()
        from teiten.datasets import annotating

        zone = installation.site.zone
        row = annotating.create_annotation(
            at=read_instant("--at", options.at, zone=zone),
            until_at=_optional("--until", options.until, zone),
            kind=options.kind,
            text_ja=options.ja,
            text_en=options.en,
            dataset=options.dataset,
            link=options.link,
            act=_act(installation),
        )
    print(f"annotation {row.pk} at {printing.instant(row.at)}")
    return 0


def list_notes(source: Source, options: argparse.Namespace) -> int:
    """Print annotations."""
    with Installation(source) as installation:
        installation.start_django()
        from teiten.datasets import selectors

        rows = list(selectors.list_annotations(with_withdrawn=options.all)[:500])
    printing.print_table(
        ("number", "at", "until", "data set", "kind", "text", "author", "withdrawn"),
        [
            (
                row.pk, printing.instant(row.at), printing.instant(row.until_at), row.dataset or "all", row.kind,
                f"{row.text_ja} / {row.text_en}", row.author or "-", printing.instant(row.withdrawn_at),
            )
            for row in rows
        ],
    )  # fmt: skip
    return 0


def withdraw_note(source: Source, options: argparse.Namespace) -> int:
    """Take an annotation off the screens."""
    with Installation(source) as installation:
        installation.start_django()
        from teiten.datasets import annotating

        annotating.withdraw_annotation(options.number, at=installation.clock.now(), actor=None)
    print(f"annotation {options.number} is withdrawn")
    return 0


def add_name(source: Source, options: argparse.Namespace) -> int:
    """Name a value."""
    with Installation(source) as installation:
        installation.start_django()
        from teiten.datasets import naming

        zone = installation.site.zone
        row = naming.name_fingerprint(
            kind=options.kind,
            value=options.value,
            name=options.name,
            version=options.version,
            valid_from=_optional("--from", options.since, zone) or installation.clock.now(),
            valid_to=_optional("--to", options.until, zone),
            note=options.note,
            act=_act(installation),
        )
    print(f"name {row.pk}: {row.kind} {row.value} is called {row.name!r}")
    return 0


def list_names(source: Source, options: argparse.Namespace) -> int:
    """Print names."""
    with Installation(source) as installation:
        installation.start_django()
        from teiten.datasets import selectors

        rows = list(selectors.list_names(with_withdrawn=options.all)[:500])
    printing.print_table(
        ("number", "kind", "value", "name", "version", "from", "to", "author", "withdrawn", "note"),
        [
            (
                row.pk, row.kind, row.value, row.name, row.version, printing.instant(row.valid_from),
                printing.instant(row.valid_to), row.author or "-", printing.instant(row.withdrawn_at), row.note,
            )
            for row in rows
        ],
    )  # fmt: skip
    return 0


def withdraw_name(source: Source, options: argparse.Namespace) -> int:
    """Take a name back."""
    with Installation(source) as installation:
        installation.start_django()
        from teiten.datasets import naming

        naming.withdraw_name(options.number, at=installation.clock.now(), actor=None)
    print(f"name {options.number} is withdrawn")
    return 0


def _act(installation: Installation) -> Act:
    from teiten.fleet.services import Act

    return Act(installation.clock.now())


def _optional(name: str, text: str | None, zone: str) -> datetime | None:
    return read_instant(name, text, zone=zone) if text else None


def _tell(record: SurveyImport) -> None:
    print(
        f"survey list {record.list.name}: {record.added} added, {record.changed} changed, {record.closed} closed, "
        f"{record.kept} as before"
    )


def _publish_or_tell(installation: Installation, *, is_wanted: bool) -> None:
    if not is_wanted:
        print("the loader uses it after `teiten survey publish`")
        return
    from teiten.datasets import publishing

    done = publishing.publish(
        PublishedReference(installation), at=installation.clock.now(), config=installation.section("datasets")
    )
    print(f"reference data {done.version}: {done.entries} survey entries, from the next block on")
