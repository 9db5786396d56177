"""What is erased is nowhere any more, figures agree without it, and a held day stays as it is."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from teiten.foundation.clock import FixedClock
from teiten.store import check, erasing, exclusion, retention, writer
from teiten.store.errors import ChangeRefused, DayHeld
from teiten.store.holding import Hold
from teiten.store.service import Store
from teiten.store.testing import make_coverage, make_examples, make_packets, temporary_store
from teiten.store.writer import BlockRows
from teiten.traffic import addresses

pytestmark = pytest.mark.requirement("R0.1")
START = datetime(2026, 11, 20, 3, 0, tzinfo=timezone.utc)
HOUR = timedelta(hours=1)
VICTIM = "203.0.113.7"
#: An IPv4 header as an error quotes it: from the victim, to 198.51.100.9.
QUOTE = bytes([0x45, *[0] * 11, 203, 0, 113, 7, 198, 51, 100, 9])


@pytest.fixture
def store(clock: FixedClock) -> Iterator[Store]:
    with temporary_store(clock) as opened:
        yield opened


def fill(
    store: Store, clock: FixedClock, *, sensor: int = 1, seq: int = 1, at: datetime = START
) -> BlockRows:
    shared: dict[str, Any] = {"sensor": sensor, "batch_seq": seq, "observed_at": at, "landed_at": at + HOUR}
    rows = [
        shared | {"src_addr": "240.0.0.1", "dst_port": 80},
        shared | {"src_addr": VICTIM, "payload_hash": 7},
        shared | {"dst_addr": VICTIM},
        shared | {"protocol": 1, "icmp_type": 3, "payload": QUOTE, "payload_hash": 9},
        shared | {"protocol": 1, "icmp_type": 0, "payload": QUOTE},
    ]
    window = shared | {"window_start_at": at, "window_end_at": at + HOUR, "rows": len(rows)}
    del window["observed_at"]
    examples = [shared | {"row": 1, "src_addr": VICTIM}, shared | {"row": 3}, shared | {"row": 0}]
    block = BlockRows(
        str(uuid.uuid4()),
        clock.now_us(),
        make_packets(*rows),
        make_coverage(window),
        examples=make_examples(*examples),
    )
    writer.insert_block(store, block)
    return block


def count(store: Store, table: str, condition: str = "1") -> int:
    final = "" if table in ("packets", "sources_1d") else " FINAL"
    return int(store.select(f"SELECT count() AS n FROM {table}{final} WHERE {condition}")["n"][0].as_py())


def search_everywhere(store: Store, address: str) -> list[str]:
    """Name every table with a column in which the address occurs, as bytes or as text."""
    found = []
    for row in store.select(
        "SELECT table, name, type FROM system.columns WHERE database = currentDatabase()"
        " AND NOT endsWith(table, '_view') AND (type IN ('IPv6', 'String', 'Array(String)') OR startsWith(type, 'Map'))"
    ).to_pylist():
        column = f"toString({row['name']})"
        packed = addresses.from_text(address)[12:].hex()
        is_found = f"position({column}, '{address}') > 0 OR position(lower(hex({column})), '{packed}') > 0"
        if (
            count(store, row["table"], is_found)
            if row["table"] != "packets"
            else store.select(f"SELECT 1 FROM packets WHERE {is_found} LIMIT 1").num_rows
        ):
            found.append(f"{row['table']}.{row['name']}")
    return found


def test_it_works(store: Store, clock: FixedClock) -> None:
    fill(store, clock)
    fill(store, clock, sensor=2, seq=2)
    exclusion.exclude_sensor(store, dataset="live", sensor=2, start=START, end=START + HOUR)
    store.command(
        "ALTER TABLE packets DELETE WHERE protocol = 1 AND icmp_type = 0 SETTINGS mutations_sync = 1"
    )
    store.command(
        "ALTER TABLE packets_excluded DELETE WHERE icmp_type = 0 AND protocol = 1 SETTINGS mutations_sync = 1"
    )
    assert search_everywhere(store, VICTIM)

    facts = erasing.erase_address(store, network=VICTIM)

    assert facts == {"rows": 6, "examples": 4, "days": 1}
    assert search_everywhere(store, VICTIM) == []
    assert count(store, "packets") == 1
    assert count(store, "packets_excluded") == 1
    assert count(store, "payload_examples") == count(store, "payload_examples_excluded") == 1
    assert erasing.erase_address(store, network=VICTIM) == {"rows": 0, "examples": 0, "days": 0}


def test_figures_agree_after_an_erasure(store: Store, clock: FixedClock) -> None:
    fill(store, clock)

    erasing.erase_address(store, network="203.0.113.0/24")

    assert count(store, "packets") == 2  # an echo reply quotes nobody
    assert store.select("SELECT sum(packets) AS n FROM totals_1h")["n"][0].as_py() == 2
    assert check.check_all(store) == []


class Killed(BaseException):
    pass


@pytest.mark.parametrize("every", [2, pytest.param(1, marks=pytest.mark.long)])
def test_a_kill_between_any_two_steps_is_finished_by_the_next_run(
    store: Store, clock: FixedClock, every: int
) -> None:
    names: list[str] = []
    fill(store, clock)
    erasing.erase_address(store, network=VICTIM, step=names.append)
    assert len(names) == 7
    for seq, name in enumerate(names[1::every], 2):
        # Another batch each time: what was erased before must stay so.
        fill(store, clock, seq=seq)

        def die(now: str, name: str = name) -> None:
            if now == name:
                raise Killed

        with pytest.raises(Killed):
            erasing.erase_address(store, network=VICTIM, step=die)

        assert erasing.finish(store) == 1

        assert count(store, "packets") == 2 * seq
        assert count(store, "payload_examples") == seq
        assert check.check_all(store) == [], name
        assert VICTIM not in str(store.select("SELECT arguments FROM changes").to_pylist())


def test_only_the_period_and_the_data_set_are_touched(store: Store, clock: FixedClock) -> None:
    fill(store, clock)
    fill(store, clock, seq=2, at=START + 2 * HOUR)

    assert erasing.erase_address(store, network=VICTIM, dataset="simulated")["rows"] == 0
    facts = erasing.erase_address(store, network=VICTIM, start=START, end=START + HOUR)

    assert facts["rows"] == 3
    assert count(store, "packets", f"src_addr = toIPv6('{VICTIM}')") == 1
    assert check.check_all(store) == []


def test_a_held_day_stays_as_it_is(store: Store, clock: FixedClock) -> None:
    fill(store, clock)
    held = [Hold("live", START - 50 * HOUR, None, "case 12")]

    with pytest.raises(DayHeld, match=r"2026-11-20 of live is under a legal hold \(case 12\)"):
        erasing.erase_address(store, network=VICTIM, held=held)
    with pytest.raises(DayHeld):
        erasing.erase_sensors(store, sensors=[1], held=held)

    assert count(store, "packets") == 5
    assert count(store, "changes") == 0
    other_day = [Hold(None, START - 50 * HOUR, START - 30 * HOUR, "case 13")]
    assert erasing.erase_address(store, network=VICTIM, held=other_day)["rows"] == 3


@pytest.mark.parametrize(
    ("network", "rule"),
    [
        ("0.0.0.0/0", "broader"),
        ("2000::/12", "broader"),
        ("203.0.113.7/24", "host bits"),
        ("x", "no address"),
    ],
)
def test_a_network_that_cannot_be_meant_changes_nothing(store: Store, network: str, rule: str) -> None:
    with pytest.raises(ChangeRefused, match=rule):
        erasing.erase_address(store, network=network)
    with pytest.raises(ChangeRefused, match="ends before it starts"):
        erasing.erase_address(store, network=VICTIM, start=START, end=START)
    with pytest.raises(ChangeRefused, match="no sensor"):
        erasing.erase_sensors(store, sensors=[])


def test_an_ipv6_address_goes_also_where_an_error_quotes_it(store: Store, clock: FixedClock) -> None:
    host = addresses.from_text("2001:db8::7")
    quote = bytes([0x60, *[0] * 7]) + host + bytes(16)
    packets = make_packets(
        {"src_addr": "2001:db8::7", "ip_version": 6},
        {"protocol": 58, "icmp_type": 1, "payload": quote, "ip_version": 6},
        {"src_addr": "2001:db8:1::7", "ip_version": 6},
    )
    block = BlockRows(str(uuid.uuid4()), clock.now_us(), packets, make_coverage({}, rows=3))
    writer.insert_block(store, block)

    assert erasing.erase_address(store, network="2001:db8::/48")["rows"] == 2
    assert check.check_all(store) == []


def test_days_without_raw_rows_lose_their_sources(store: Store, clock: FixedClock) -> None:
    fill(store, clock)
    clock.advance(40 * 86_400)
    retention.apply(store, retention.Terms({}, default_raw_days=30, hourly_days=90, daily_days=365))

    facts = erasing.erase_address(store, network=VICTIM)

    assert facts == {"rows": 0, "examples": 0, "days": 1}
    assert count(store, "sources_1d", f"src_addr = toIPv6('{VICTIM}')") == 0
    assert count(store, "sources_1d") > 0


def test_a_repeated_block_does_not_bring_back_what_was_erased(store: Store, clock: FixedClock) -> None:
    block = fill(store, clock)
    store.command("TRUNCATE TABLE blocks")
    erasing.erase_address(store, network=VICTIM)

    assert writer.insert_block(store, block, is_retry=True) == "written"

    assert count(store, "packets") == 2
    assert check.check_all(store) == []


def test_sensors_go_with_their_coverage(store: Store, clock: FixedClock) -> None:
    fill(store, clock)
    fill(store, clock, sensor=2, seq=2)

    facts = erasing.erase_sensors(store, sensors=[2])

    assert facts == {"rows": 5, "examples": 3, "days": 1}
    for table in ("packets", "coverage", "coverage_1h", "coverage_1d", "payload_examples"):
        sensors = store.select(f"SELECT DISTINCT sensor FROM {table}")["sensor"].to_pylist()
        assert sensors == [1], table
    assert check.check_all(store) == []


def test_sensors_of_days_without_raw_rows_leave_the_coverage(store: Store, clock: FixedClock) -> None:
    fill(store, clock)
    fill(store, clock, sensor=2, seq=2)
    clock.advance(100 * 86_400)
    retention.apply(store, retention.Terms({}, default_raw_days=30, hourly_days=90, daily_days=365))

    erasing.erase_sensors(store, sensors=[2])

    assert store.select("SELECT DISTINCT sensor FROM coverage_1d")["sensor"].to_pylist() == [1]


def test_payload_bytes_have_a_term_of_their_own(store: Store, clock: FixedClock) -> None:
    fill(store, clock)
    clock.advance(20 * 86_400)
    terms = retention.Terms({}, default_raw_days=30, hourly_days=90, daily_days=365, payload_days=10)
    held = [Hold(None, START, START + HOUR, "case 12")]

    assert retention.apply(store, terms, held=held) == []
    removed = retention.apply(store, terms)

    assert {(one.table, one.rows) for one in removed} == {("payload", 2), ("payload_examples", 3)}
    assert count(store, "packets", "payload != ''") == 0
    assert count(store, "packets", "payload_hash = 9") == 1
    assert count(store, "payload_examples") == 0
    assert retention.apply(store, terms) == []
    assert check.check_all(store) == []


def test_a_data_set_with_a_held_day_is_not_removed(store: Store, clock: FixedClock) -> None:
    fill(store, clock)

    with pytest.raises(DayHeld, match="case 12"):
        retention.remove_dataset(store, "live", held=[Hold("live", START, None, "case 12")])

    assert count(store, "packets") == 5
