"""Write ``schema.sql``, the snapshot of what all migrations together make.

Run ``python -m teiten.store.snapshot`` after adding a migration and review the diff.
"""

from __future__ import annotations

from pathlib import Path

from teiten.store import schema
from teiten.store.testing import temporary_store


def write_snapshot(path: Path) -> None:
    """Migrate an empty store and write down its tables and views."""
    with temporary_store(is_cloned=False) as store:
        path.write_text(schema.describe(store.connections), encoding="utf-8")


if __name__ == "__main__":
    write_snapshot(Path(__file__).with_name("schema.sql"))
