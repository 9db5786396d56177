"""``teiten rules …``: bogon networks and payload labels as data."""

from __future__ import annotations

import argparse

from teiten.cli.installation import Installation
from teiten.foundation.settings import Source
from teiten.loader.reference import ReferenceBook, check_rule_file
from teiten.traffic.probes import ProbeTable
from teiten.traffic.validity import BogonTable


def check(_source: Source, options: argparse.Namespace) -> int:
    """Read a file and say what it holds."""
    print(f"{options.file}: {_describe(check_rule_file(options.kind, options.file))}; nothing was changed")
    return 0


def use(source: Source, options: argparse.Namespace) -> int:
    """Use a file, or what ships with Teiten, from the next block on."""
    with Installation(source) as installation:
        data = ReferenceBook(installation.place_dir).use(rule_files={options.kind: options.file})
    table = data.bogons if options.kind == "bogons" else data.probes
    print(f"reference data {data.version}: {_describe(table)}")
    return 0


def _describe(table: BogonTable | ProbeTable) -> str:
    if isinstance(table, BogonTable):
        return f"{len(table.rows)} bogon networks"
    return f"{len(table.rules)} probe rules"
