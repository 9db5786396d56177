"""Custody on a real PostgreSQL and a real store: holds meet erasures, and kills meet nothing half-done."""

from __future__ import annotations

import sys
import uuid
from collections.abc import Iterator
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from teiten.cli.doors import StoreMaintenance
from teiten.custody.config import CustodyConfig
from teiten.custody.errors import LegalHoldError
from teiten.foundation.clock import FixedClock
from teiten.portal.testing import Cast
from teiten.store import check, erasing, exclusion, writer
from teiten.store.service import Store
from teiten.store.testing import make_coverage, make_packets, temporary_store
from teiten.store.writer import BlockRows

sys.path.insert(0, str(Path(__file__).parent))
from custody_fixtures import DAY, NOW, act_of, make_sensor

pytestmark = pytest.mark.requirement("R0.1", "R2.2")
ERASED, OTHER = "240.0.0.1", "240.0.0.2"
HOUR = timedelta(hours=1)


@pytest.fixture
def store(clock: FixedClock) -> Iterator[Store]:
    with temporary_store(clock) as opened:
        yield opened


def load(store: Store, sensor: int, *, batch: int = 1, at=NOW - DAY) -> None:
    """Store one batch of an hour with two packets of each source."""
    shared = {"sensor": sensor, "batch_seq": batch, "landed_at": at + HOUR}
    packets = [
        {**shared, "row": row, "observed_at": at + row * HOUR / 8, "src_addr": source, "dst_port": 23 + row}
        for row, source in enumerate([ERASED, OTHER, ERASED, OTHER])
    ]
    window = {**shared, "window_start_at": at, "window_end_at": at + HOUR, "rows": 4}
    rows = BlockRows(str(uuid.uuid4()), store.clock.now_us(), make_packets(*packets), make_coverage(window))
    writer.insert_block(store, rows)


def figures(store: Store) -> dict[str, Any]:
    """Raw rows, figures of roll-ups and coverage, as a member's screens would add them up."""
    counts = {
        table: store.select(f"SELECT {what} AS n FROM {table}")["n"][0].as_py()
        for table, what in (
            ("packets", "count()"),
            ("totals_1h", "sum(packets)"),
            ("sources_1d", "sum(packets)"),
            ("coverage_1h", "sum(sensor_seconds)"),
        )
    }
    counts["sources"] = sorted(
        str(row["text"])
        for row in store.select(
            "SELECT DISTINCT IPv6NumToString(src_addr) AS text FROM sources_1d ORDER BY text"
        ).to_pylist()
    )
    return counts


class Killed(BaseException):
    """Stands for a kill -9."""


class DyingStore(StoreMaintenance):
    """Dies before a certain step of the store's work."""

    def __init__(self, store: Store, at: int) -> None:
        super().__init__(store)
        self.left = at
        self.seen: list[str] = []

    def erase_address(self, **what: Any) -> Any:
        do = partial(erasing.erase_address, self._store, step=self._note)
        return do(
            network=what["network"], start=what["start_at"], end=what["end_at"], dataset=what["dataset"]
        )

    def exclude_sensor(self, **what: Any) -> Any:
        do = partial(exclusion.exclude_sensor, self._store, step=self._note)
        return do(dataset=what["dataset"], sensor=what["sensor"], start=what["start_at"], end=what["end_at"])

    def _note(self, step: str) -> None:
        self.seen.append(step)
        if self.left == 0:
            raise Killed(step)
        self.left -= 1


def test_an_erasure_leaves_nothing_of_the_address_and_all_of_the_rest(
    cast: Cast, store: Store, clock: FixedClock
) -> None:
    from teiten.custody import erasing as orders
    from teiten.custody import services

    load(store, 1)
    row = services.erase_address(ERASED, reason="asked for by its user", act=act_of(cast.dana))

    facts = orders.run_erasures(StoreMaintenance(store), clock, CustodyConfig())

    row.refresh_from_db()
    assert (row.state, row.progress, facts["erased"]) == ("done", {"counted": 2, "rows": 2}, 2)
    after = figures(store)
    assert (after["packets"], after["totals_1h"], after["sources_1d"]) == (2, 2, 2)
    assert after["sources"] == [f"::ffff:{OTHER}"]
    assert after["coverage_1h"] == 3600
    assert not check.check_all(store)


def test_a_hold_is_met_by_erasure_and_retention_and_nothing_changes(
    cast: Cast, store: Store, clock: FixedClock
) -> None:
    from teiten.custody import services
    from teiten.custody.holding import standing_holds
    from teiten.custody.models import Erasure

    load(store, 1)
    row = services.hold(
        scope="address", network="240.0.0.0/24", reason="court", act=act_of(), start_at=NOW - 2 * DAY
    )
    before = figures(store)

    with pytest.raises(LegalHoldError, match=rf"legal hold {row.pk} .*court.*teiten hold release"):
        services.erase_address(ERASED, reason="asked for by its user", act=act_of())
    clock.advance(20 * 365 * 86_400)
    StoreMaintenance(store).apply_retention(standing_holds)

    assert figures(store) == before
    assert not Erasure.objects.exists()

    services.release(row.pk, reason="closed", act=act_of())
    StoreMaintenance(store).apply_retention(standing_holds)
    assert figures(store)["packets"] == 0


@pytest.mark.parametrize("at", [2, 6])
def test_a_kill_between_the_steps_of_an_erasure_leaves_nothing_half_done(
    cast: Cast, store: Store, clock: FixedClock, at: int
) -> None:
    from teiten.custody import erasing as orders
    from teiten.custody import services

    load(store, 1)
    row = services.erase_address(ERASED, reason="asked for by its user", act=act_of())
    dying = DyingStore(store, at)
    with pytest.raises(Killed):
        orders.run_erasures(dying, clock, CustodyConfig())
    row.refresh_from_db()
    assert row.state == "running", dying.seen

    orders.run_erasures(StoreMaintenance(store), clock, CustodyConfig())

    row.refresh_from_db()
    assert (row.state, row.progress["counted"]) == ("done", 2)
    after = figures(store)
    assert (after["packets"], after["sources"]) == (2, [f"::ffff:{OTHER}"])
    assert not check.check_all(store)


@pytest.mark.parametrize("at", [4])
def test_a_kill_between_the_steps_of_an_exclusion_leaves_nothing_half_done(
    cast: Cast, store: Store, clock: FixedClock, at: int
) -> None:
    from teiten.custody import services
    from teiten.custody.excluding import run_exclusions

    sensor, other = make_sensor("alpha-01", cast.alpha), make_sensor("beta-01", cast.beta)
    load(store, sensor.pk)
    load(store, other.pk)
    before = figures(store)
    row = services.exclude(sensor, start_at=NOW - DAY, end_at=NOW, reason="its clock was wrong", act=act_of())
    with pytest.raises(Killed):
        run_exclusions(DyingStore(store, at), clock)

    run_exclusions(StoreMaintenance(store), clock)

    row.refresh_from_db()
    assert (row.state, figures(store)["packets"], figures(store)["coverage_1h"]) == ("done", 4, 3600)
    assert not check.check_all(store)

    services.lift(row.pk, reason="it was right after all", act=act_of())
    run_exclusions(StoreMaintenance(store), clock)
    assert figures(store) == before


def test_late_data_of_an_excluded_time_are_set_aside_too(cast: Cast, store: Store, clock: FixedClock) -> None:
    from teiten.custody import services
    from teiten.custody.excluding import run_exclusions

    sensor = make_sensor("alpha-01", cast.alpha)
    load(store, sensor.pk)
    row = services.exclude(sensor, start_at=NOW - DAY, end_at=NOW, reason="its clock was wrong", act=act_of())
    run_exclusions(StoreMaintenance(store), clock)
    load(store, sensor.pk, batch=2, at=NOW - DAY + 2 * HOUR)
    load(store, sensor.pk, batch=3, at=NOW + HOUR)

    facts = run_exclusions(StoreMaintenance(store), clock)

    row.refresh_from_db()
    assert (facts["late"], row.batches, figures(store)["packets"]) == (1, 2, 4)


def test_rows_are_counted_as_they_would_be_touched(cast: Cast, store: Store) -> None:
    load(store, 1)
    load(store, 2)
    door = StoreMaintenance(store)

    def count(**given: Any) -> int:
        what = {"network": None, "sensors": None, "start_at": None, "end_at": NOW, "dataset": None, **given}
        return door.count_rows(**what)["rows"]

    assert count(network=f"{ERASED}/32") == 4
    assert count(network="240.0.0.0/24") == 8
    assert count(network="2001:db8::/32") == 0
    assert count(sensors=[1]) == 4
    assert count(sensors=[1, 2], start_at=NOW - DAY + HOUR / 8) == 6
    assert count(sensors=[1], dataset="simulated") == 0
    assert count(sensors=[1], end_at=NOW - DAY) == 0
