"""Pure parts of the search room: headers, files, chunks, buckets, figures, gaps."""

from __future__ import annotations

import csv
import io
import json
from datetime import datetime, timedelta, timezone
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from teiten.foundation.clock import from_us, to_us
from teiten.search import exports, formats, gaps, periods, rebuilding
from teiten.search.answers import Figure
from teiten.search.dimensions import DIMENSIONS, describe
from teiten.search.errors import QueryError
from teiten.search.figures import change_of, measure, summarise
from teiten.search.holes import Hole, is_explained
from teiten.search.language import parse
from teiten.search.masking import mask_batch
from teiten.search.members import Member, Roster
from teiten.search.planner import plan
from teiten.search.predicates import Binding, write_filter
from teiten.search.query import Query, for_period
from teiten.search.references import ReferenceDesk, RowPlace
from teiten.search.roster import project
from teiten.search.visibility import for_role
from teiten.search.watched import Watched

pytestmark = pytest.mark.requirement("R2.3")

NOW = datetime(2026, 11, 21, 3, 0, tzinfo=timezone.utc)
ROW: dict[str, Any] = {
    "ip_version": 4, "tos": 0, "total_length": 44, "ip_id": 0x1C46, "ip_df": 1, "ip_mf": 0, "fragment_offset": 0,
    "ttl": 64, "protocol": 6, "src_addr": bytes(10) + b"\xff\xff" + bytes([192, 0, 2, 1]),
    "dst_addr": bytes(10) + b"\xff\xff" + bytes([198, 51, 100, 2]), "src_port": 54321, "dst_port": 80,
    "tcp_seq": 0x01020304, "tcp_ack": 0, "tcp_flags": 2, "tcp_window": 64240, "tcp_options": b"\x02\x04\x05\xb4",
    "payload_length": 0, "icmp_type": 0, "icmp_code": 0,
}  # fmt: skip


class TestHeader:
    def test_a_tcp_syn_is_rebuilt_byte_for_byte(self) -> None:
        header, parts = rebuilding.rebuild_header(ROW, ())

        assert header.hex() == (
            "4500002c1c4640004006" + header[10:12].hex() + "c0000201c6336402"
            "d431005001020304000000006002faf0" + header[36:40].hex() + "020405b4"
        )
        assert rebuilding.compute_checksum(header[:20]) == 0
        pseudo = header[12:20] + bytes([0, 6, 0, 24])
        assert rebuilding.compute_checksum(pseudo + header[20:]) == 0
        assert {part.state for part in parts} == {"plain", "recomputed", "unknown"}
        assert parts[0].start == 0
        assert all(a.end == b.start for a, b in pairwise(parts))

    def test_a_masked_checksum_does_not_give_the_masked_away(self) -> None:
        masked = ("dst_addr", "tcp_seq", "tcp_ack", "ip_id")

        one = rebuilding.rebuild_header(ROW, masked)
        other = rebuilding.rebuild_header(
            {**ROW, "dst_addr": bytes(16), "tcp_seq": None, "tcp_ack": 9, "ip_id": 7}, masked
        )

        assert one == other

    @settings(max_examples=60, deadline=None)
    @given(st.binary(max_size=40), st.sampled_from([4, 6, 0]), st.sampled_from([6, 17, 1, 58, 47]))
    def test_any_columns_give_a_header(self, options: bytes, version: int, protocol: int) -> None:
        row = {**ROW, "tcp_options": options, "ip_version": version, "protocol": protocol}

        header, parts = rebuilding.rebuild_header(row, ())

        assert sum(part.end - part.start for part in parts) == len(header)
        rebuilding.read_options(options)

    def test_options_are_put_into_words(self) -> None:
        options = bytes.fromhex("020405b4 0402 080a 0102030405060708 01 030307".replace(" ", ""))

        assert rebuilding.read_options(options) == ("MSS 1460", "SACK", "TS", "NOP", "WS 7")
        assert rebuilding.read_options(b"\x02") == ("…",)


class TestFiles:
    BATCH = pa.record_batch(
        {
            "dataset": pa.array(["live", "live", None]),
            "region": pa.array(["=1+2", 'kanto, "x"', "-a"]),
            "ttl": pa.array([1, 2, None], pa.uint8()),
            "observed_at": pa.array([NOW, NOW, None], pa.timestamp("us", "UTC")),
        }
    )

    def test_csv_is_safe_for_spreadsheets(self) -> None:
        data = b"".join(formats.write("csv", iter([self.BATCH]), metadata={}, byte_order_mark=True))

        assert data.startswith(b"\xef\xbb\xbf")
        rows = list(csv.reader(io.StringIO(data.decode("utf-8-sig"))))
        assert [row[1] for row in rows[1:]] == ["'=1+2", 'kanto, "x"', "'-a"]
        assert rows[1][3] == "2026-11-21 03:00:00.000000Z"

    @settings(max_examples=60, deadline=None)
    @given(st.lists(st.text(max_size=8), max_size=5))
    def test_no_cell_is_a_formula(self, texts: list[str]) -> None:
        safe = formats.protect_formulas(pa.array(texts, pa.string())).to_pylist()

        assert not any(text[:1] in ("=", "+", "-", "@", "\t", "\r", "\n") and text for text in safe)

    def test_lines_are_json(self) -> None:
        data = b"".join(formats.write("ndjson", iter([self.BATCH, self.BATCH.slice(0, 0)]), metadata={}))

        rows = [json.loads(line) for line in data.decode().splitlines()]
        assert rows[1] == {
            "dataset": "live",
            "region": 'kanto, "x"',
            "ttl": 2,
            "observed_at": "2026-11-21T03:00:00.000000Z",
        }
        assert rows[2]["ttl"] is None

    @settings(max_examples=60, deadline=None)
    @given(
        st.lists(
            st.tuples(st.integers(0, 300), st.integers(1, 700_000)), max_size=30, unique_by=lambda x: x[0]
        )
    )
    def test_chunks_cover_every_row_once(self, hours: list[tuple[int, int]]) -> None:
        hour = 3_600_000_000
        given_hours = [(number * hour, rows) for number, rows in sorted(hours)]

        chunks = exports.plan_chunks(given_hours, start_us=0, end_us=400 * hour)

        assert sum(chunk.rows for chunk in chunks) == sum(rows for _, rows in given_hours)
        assert all(chunk.rows <= exports.CHUNK_ROWS + 10 for chunk in chunks)
        assert all(a.end <= b.start for a, b in pairwise(chunks))
        for start, _ in given_hours:
            inside = [c for c in chunks if to_us(c.start) < start + hour and to_us(c.end) > start]
            assert to_us(inside[0].start) <= start
            assert to_us(inside[-1].end) >= start + hour


class TestWindows:
    @settings(max_examples=100, deadline=None)
    @given(
        st.datetimes(datetime(2020, 1, 1), datetime(2030, 1, 1), timezones=st.just(timezone.utc)),
        st.integers(1, 100 * 86_400),
        st.sampled_from(["Asia/Tokyo", "UTC", "Asia/Kolkata", "America/New_York"]),
    )
    def test_whole_buckets_cover_the_period(self, start: datetime, seconds: int, zone: str) -> None:
        query = Query("live", start, start + timedelta(seconds=seconds))
        step = periods.pick_step(query.length)

        window = periods.lay_out(query, step_seconds=step, zone=zone)

        assert window.start_us <= to_us(query.start)
        assert window.end_us >= to_us(query.end)
        assert window.end_us - to_us(query.end) <= step * 1_000_000 + 3_600_000_000
        assert window.count <= 386
        assert window.before().end_us == window.start_us
        assert window.before().count == window.count

    @pytest.mark.parametrize(
        ("period", "buckets"), [("1h", 120), ("24h", 24), ("7d", 168), ("30d", 30), ("90d", 90)]
    )
    def test_a_relative_period_keeps_its_length(self, period: str, buckets: int) -> None:
        query = for_period("live", period, now=NOW + timedelta(minutes=17))

        window = plan(query, zone="Asia/Tokyo").window

        assert window.count == buckets
        assert window.end_us >= to_us(query.end)

    def test_days_are_the_zones(self) -> None:
        window = periods.lay_out(for_period("live", "90d", now=NOW), step_seconds=86_400, zone="Asia/Tokyo")

        assert {start.hour for start in window.starts} == {15}


@pytest.mark.parametrize(
    ("text", "dimension", "period", "table"),
    [
        ("", None, "7d", "kinds_1h"),
        ("region = kanto", "hint", "7d", "totals_1h"),
        ("", "dst_port", "24h", "ports_1h"),
        ("dst_port = 23/tcp and nature = scan", None, "7d", "ports_1h"),
        ("region = kanto", "country", "24h", "countries_1h"),
        ("asn = 64500", None, "7d", "networks_1h"),
        ("region = kanto", "dst_port", "24h", "packets"),
        ("region = kanto", "dst_port", "30d", "ports_regions_1d"),
        ("country = CN", "dst_port", "30d", "ports_countries_1d"),
        ("", "tcp_fp", "7d", "fingerprints_1d"),
        ("", "src_addr", "7d", "sources_1d"),
        ("src_addr = 240.0.0.1", None, "30d", "sources_1d"),
        ("", "dst_port", "1h", "packets"),
        ("ttl = 64", None, "7d", "packets"),
        ("sensor = 4", None, "30d", "packets"),
    ],
)
def test_the_smallest_fit_table_answers(text: str, dimension: str | None, period: str, table: str) -> None:
    base = for_period("live", period, now=NOW)
    query = Query("live", base.start, base.end, filters=parse(text), period=base.period)

    made = plan(
        query, dimension=DIMENSIONS[dimension] if dimension else None, zone="Asia/Tokyo", needs_hosts=False
    )

    assert made.table.name == table
    assert made.window.step_seconds % max(1, made.table.grain_seconds) == 0


class TestFigures:
    def test_a_change_from_nothing_is_none(self) -> None:
        assert change_of(5, 0) is None
        assert change_of(None, 5) is None
        assert change_of(6, 4) == 0.5

    def test_unwatched_is_none_and_quiet_is_zero(self) -> None:
        assert measure("packets", packets=0, hosts=0, days=0) is None
        assert measure("packets", packets=0, hosts=0, days=1) == 0
        assert measure("packets", packets=3, hosts=2, days=0) == 3
        assert measure("rate", packets=3, hosts=2, days=0) is None

    @settings(max_examples=60, deadline=None)
    @given(st.lists(st.one_of(st.none(), st.floats(0, 1e9)), max_size=50))
    def test_statistics_are_in_order(self, values: list[float | None]) -> None:
        found = summarise(tuple(values), Figure(None, None, None))

        if any(value is not None for value in values):
            assert found.minimum is not None
            assert found.maximum is not None
            assert found.p95 is not None
            assert found.minimum <= found.p95 <= found.maximum


def member(sensor: int, start: float, end: float, *, region: str = "kanto") -> Member:
    """Make a member expected between two hours after the start of 1970-01-02."""
    day = 86_400_000_000
    return Member(
        sensor, region, int(day + start * 3.6e9), int(day + end * 3.6e9), 2.0, 0.0, 0, is_reporting=True,
        seconds=0, seconds_before=0, captured=0, kernel_drops=0, excluded=0, modes=("silent",),
    )  # fmt: skip


class TestGaps:
    WINDOW = periods.Window(tuple(86_400_000_000 + hour * 3_600_000_000 for hour in range(25)), 3_600, "UTC")

    @settings(max_examples=60, deadline=None)
    @given(st.lists(st.tuples(st.floats(-30, 30), st.floats(0, 40)), max_size=20))
    def test_expectation_is_the_sum_of_overlaps(self, spans: list[tuple[float, float]]) -> None:
        members = [member(i, start, start + length) for i, (start, length) in enumerate(spans)]

        expected = gaps.expect(Roster.of(members), self.WINDOW, family=4)

        edges = self.WINDOW.edges_us
        for bucket, value in enumerate(expected):
            by_hand = sum(
                2 * max(0, min(m.until_us, edges[bucket + 1]) - max(m.from_us, edges[bucket])) / 1e6
                for m in members
            )
            assert value == pytest.approx(by_hand, abs=0.01)

    def test_runs_of_missing_hours_are_one_gap(self) -> None:
        seen = Watched(np.full(24, 7_200.0), np.zeros(24), np.full(24, 3_600.0), np.ones(24, np.int64))
        for hour in (5, 6, 7, 20):
            seen.v4_seconds[hour], seen.sensor_seconds[hour] = 0.0, 0.0

        found = gaps.find_gaps(
            Roster.of([member(1, -9, 99)]), {"kanto": seen}, self.WINDOW, family=4, pending_from_us=None
        )

        assert [(gap.start_at.hour, gap.end_at.hour, gap.sensors) for gap in found] == [
            (5, 8, 1),
            (20, 21, 1),
        ]
        assert found[0].missing_address_days == pytest.approx(2 * 3 / 24)

    def test_a_region_that_never_watched_is_one_long_gap(self) -> None:
        (gap,) = gaps.find_gaps(Roster.of([member(1, -9, 99)]), {}, self.WINDOW, family=4, pending_from_us=0)

        assert gap.kind == "pending"
        assert gap.missing_address_days == pytest.approx(2.0)


@pytest.mark.parametrize(
    ("ranges", "explained"),
    [
        ([], False),
        ([(1, 1, 5, 9)], True),
        ([(1, 1, 5, 6), (1, 1, 7, 9)], True),
        ([(1, 1, 5, 6), (1, 1, 8, 9)], False),
        ([(2, 1, 5, 9)], False),
        ([(1, 2, 5, 9)], False),
        ([(1, 1, 1, 20)], True),
    ],
)
def test_holes_are_explained_as_a_whole_or_not(
    ranges: list[tuple[int, int, int, int]], explained: bool
) -> None:
    assert is_explained(Hole(1, 1, 5, 9, 0), ranges) is explained


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("region = kanto and ttl = 3", "region = kanto"),
        ("region = kanto or ttl = 3", ""),
        ("region = kanto or sensor = 3", "region = kanto or sensor = 3"),
        ("not (region = kanto or sensor = 3)", "not (region = kanto or sensor = 3)"),
        ("not (region = kanto and ttl = 3)", ""),
        ("ttl = 3", ""),
    ],
)
def test_coverage_is_narrowed_only_by_what_tells_sensors_apart(text: str, kept: str) -> None:
    assert project(parse(text)) == parse(kept)


class TestSql:
    @settings(max_examples=100, deadline=None)
    @given(st.text(min_size=1, max_size=30).filter(lambda text: text.isprintable() and text.strip() == text))
    def test_no_text_of_a_viewer_becomes_sql(self, text: str) -> None:
        escaped = text.replace("\\", "\\\\").replace('"', '\\"')
        expression = parse(f'tcp_fp = "{escaped}"')
        binding = Binding()

        clause = write_filter(expression, binding)

        assert clause == "tcp_fp = {p0:String}"
        assert binding.parameters["p0"] == ("" if text.lower() == "none" else text)

    def test_addresses_are_compared_as_the_store_holds_them(self) -> None:
        binding = Binding()

        write_filter(parse("src_addr in (192.0.2.0/24, 3fff::1)"), binding)

        assert list(binding.parameters.values()) == ["::ffff:c000:200", "::ffff:c000:2ff", "3fff::1"]


def test_masked_columns_are_emptied_at_the_last_door() -> None:
    batch = pa.record_batch({"dst_port": [1], "ttl": [1], "dst_addr": [b"x" * 16], "unheard_of": ["secret"]})

    masked = mask_batch(for_role("member"), batch)

    assert masked.to_pylist() == [{"dst_port": 1, "ttl": None, "dst_addr": None, "unheard_of": None}]


def test_references_are_inverses_and_sealed_by_role() -> None:
    desk, place = ReferenceDesk(b"k" * 32), RowPlace(5, 1, 2, 3, 4, "import:a")

    for role in ("member", "analyst"):
        assert desk.read(for_role(role), desk.write(for_role(role), place)) == place
    with pytest.raises(QueryError, match="no longer valid"):
        ReferenceDesk().read(for_role("member"), desk.write(for_role("member"), place))


def test_a_group_without_a_name_is_still_shown() -> None:
    assert describe(DIMENSIONS["dst_port"], (65000, 6)).label == "65000/TCP"
    assert describe(DIMENSIONS["dst_port"], (0, 1)).label == "ICMP"
    assert describe(DIMENSIONS["protocol"], (253,)).condition == "protocol = 253"
    assert describe(DIMENSIONS["asn"], (64500,), names={64500: "Example"}).name == "Example"


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(0, 20 * 24 * 3_600_000_000), min_size=4, max_size=4).map(sorted),
    st.sampled_from(["Asia/Tokyo", "America/New_York", "Asia/Kolkata"]),
)
def test_days_are_whole_unless_a_period_begins_in_them(offsets: list[int], zone: str) -> None:
    bounds = tuple(to_us(datetime(2026, 10, 25, tzinfo=timezone.utc)) + offset for offset in offsets)

    wholly, partly = periods.part_days(bounds, zone)

    days = sorted({*wholly, *partly})
    assert len(days) == len(wholly) + len(partly)
    inside = {from_us(bound).astimezone(ZoneInfo(zone)).date() for bound in bounds}
    assert set(partly) <= inside
    assert all(after - before == timedelta(days=1) for before, after in pairwise(days))
    if bounds[0] < bounds[-1]:
        assert days[0] == from_us(bounds[0]).astimezone(ZoneInfo(zone)).date()
