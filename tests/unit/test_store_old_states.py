"""Stores of earlier versions, with data in them, come forward without loss."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pyarrow as pa
import pyarrow.ipc
import pytest

from teiten.foundation.clock import FixedClock
from teiten.store import check, migration, schema, zone
from teiten.store.config import StoreConfig
from teiten.store.connections import quote_identifier
from teiten.store.schema import ROLLUPS
from teiten.store.service import Store
from teiten.store.testing import shared_folder

STATES = sorted(Path(__file__).parents[1].glob("golden/store_states/[0-9]*"))
SNAPSHOT = Path(__file__).parents[2] / "src/teiten/store/schema.sql"


def restore(store: Store, folder: Path) -> None:
    """Make a store as it was: schema, rows through the old views, record of migrations."""
    store.connections.create_database()
    statements = re.split(r";\n", (folder / "schema.sql").read_text(encoding="utf-8"))
    for statement in sorted(
        (one for one in statements if one.strip()), key=lambda one: "MATERIALIZED VIEW" in one
    ):
        store.command(statement)
    zone.settle(store.connections, store.config.zone)
    for table in ("packets", "coverage"):
        with pa.OSFile(str(folder / f"{table}.arrow")) as file:
            store.connections.insert(table, pa.ipc.open_file(file).read_all(), token=f"old:{table}")
    for number, name, digest in json.loads((folder / "migrations.json").read_text(encoding="utf-8")):
        store.command(
            "INSERT INTO schema_migrations VALUES ({number:UInt32}, {name:String}, {digest:String}, now64(6))",
            {"number": number, "name": name, "digest": digest},
        )


@pytest.mark.requirement("R2.1")
@pytest.mark.parametrize("folder", STATES, ids=[path.name for path in STATES])
def test_an_old_state_comes_forward(folder: Path, clock: FixedClock) -> None:
    config = StoreConfig(path=shared_folder(), database=f"old_{folder.name}")
    old = Store(config, clock)
    try:
        restore(old, folder)

        Store.open(config, clock).close()

        assert migration.list_pending(old.connections) == []
        assert schema.describe(old.connections) == SNAPSHOT.read_text(encoding="utf-8")
        assert check.check_all(old) == []
        sums = {
            table: old.select(f"SELECT sum(packets) AS n FROM {table}")["n"][0].as_py() for table in ROLLUPS
        }
        assert set(sums.values()) == {120}
    finally:
        old.command(f"DROP DATABASE {quote_identifier(config.database)} SYNC")
        old.close()


def test_there_is_a_state_to_come_from() -> None:
    assert STATES
