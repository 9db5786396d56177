"""Write all packets of a stopped installation's data set to a Parquet file, bytes as hexadecimal text."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import pyarrow.parquet as pq

from teiten.cli import wiring
from teiten.cli.installation import Installation
from teiten.foundation import settings
from teiten.traffic.columns import COLUMNS

_BYTES = ("tcp_options", "payload")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("dataset")
    parser.add_argument("file", type=Path)
    options = parser.parse_args()
    installation = Installation(settings.load(options.config))
    names = ", ".join(
        f"lower(hex({column.name})) AS {column.name}" if column.name in _BYTES else column.name
        for column in COLUMNS
    )
    try:
        store = wiring.open_store(installation)
        try:
            rows = store.select(
                f"SELECT {names} FROM packets WHERE dataset = {{dataset:String}} ORDER BY observed_at",
                {"dataset": options.dataset},
                role="maintenance",
            )
            pq.write_table(rows, options.file)
        finally:
            store.close()
    finally:
        installation.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
