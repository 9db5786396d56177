"""Every answer against what plain Python counts in the same made telescope."""

from __future__ import annotations

import random
import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import date, datetime, timedelta, timezone
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import pytest

from teiten.foundation.clock import to_us
from teiten.search import language, lines, planner
from teiten.search.config import SearchConfig
from teiten.search.dimensions import get_dimension
from teiten.search.errors import NotFound, QueryError, SearchUnavailable, TooExpensive
from teiten.search.lines import ALL
from teiten.search.query import Query, for_period
from teiten.search.service import Search
from teiten.search.tables import PACKETS
from teiten.search.visibility import for_role
from teiten.store.errors import StoreUnavailable
from teiten.traffic.addresses import from_text

sys.path.insert(0, str(Path(__file__).parent))
from search_fixtures import (
    FIRST,
    LATE_START,
    MISSING_SEQ,
    NOW,
    SILENCE,
    START,
    WINDOW,
    World,
    holds,
    open_world,
)

pytestmark = pytest.mark.requirement("R2.3")

ANALYST = for_role("analyst")
DAY = timedelta(days=1)
FILTERS = [
    "",
    "country = CN",
    "dst_port = 23/tcp",
    "region in (kanto, kinki)",
    "asn = 64503 or asn = 64504",
    "not (country in (CN, US) or nature = scan)",
    "hint = mirai",
    "hint in (mirai, zmap_new) and region = kanto",
    "src_addr = 240.0.1.0/24",
    "src_addr = 3fff::/20",
    "ip_version = 6",
    "tcp_flags = syn",
    "tcp_flags has ack",
    "ttl > 100 and ttl <= 180",
    "dst_port = 20..100",
    "dst_port in (53/udp, 8728, 1..22)",
    "protocol = icmp and icmp_type = 8",
    'tcp_fp = "1024::1460:"',
    "tcp_fp = none and protocol = tcp",
    "country = unknown",
    "survey = yes",
    f"sensor = {FIRST + 3}",
    "src_port >= 40000 and not ip_df = yes",
    "payload_hash = fedcba9876543210",
    "nature = scan and survey = no and country != IN",
    "survey_kind = behaviour",
    'actor = "Example Research" or survey_kind = listed',
    "actor != none and survey = yes",
    "validity in (bogon, spoof_suspect)",
    "probe = dns-version",
    "probe != none and dst_port = 53/udp",
    "tcp_fp != none and dst_port = 23/tcp",
    "payload_hash != none and probe = ntp-monlist",
]
DIMENSIONS = [
    "dst_port", "country", "asn", "region", "sensor", "nature", "hint", "tcp_fp", "src_addr", "ip_version",
    "protocol", "survey", "tcp_flags", "survey_kind", "actor", "validity", "probe",
    "fingerprint_port", "src_64",
]  # fmt: skip


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with open_world() as made:
        yield made


def last(period: str, text: str = "", **choices: Any) -> Query:
    return replace(for_period("live", period, now=NOW), filters=language.parse(text), **choices)


def between(world: World, query: Query, start: datetime, end: datetime) -> list[dict[str, Any]]:
    survey = {"all": (0, 1, 2), "without": (0,), "only": (1, 2)}[query.survey]
    return world.matching(
        lambda packet: (
            start <= packet["observed_at"] < end
            and packet["survey"] in survey
            and holds(query.filters, packet)
        )
    )


def covered_days(world: World, start: datetime, end: datetime, *, version: int = 4) -> float:
    seconds = 0.0
    for window in world.windows:
        if window["watched_ip_version"] == [version]:
            overlap = min(end, window["window_end_at"]) - max(start, window["window_start_at"])
            seconds += max(0.0, overlap.total_seconds())
    return seconds / 86_400


class TestTotals:
    def test_figures_are_those_of_plain_counting(self, world: World) -> None:
        answer = world.search.totals(ANALYST, last("24h"))

        now, before = NOW - DAY, NOW - 2 * DAY
        mine, previous = (between(world, last("24h"), at, at + DAY) for at in (now, before))
        assert (answer.packets.value, answer.packets.previous) == (len(mine), len(previous))
        # A sketch: 1.6 % standard error.
        assert answer.hosts.value == pytest.approx(len({packet["src_addr"] for packet in mine}), rel=0.05)
        v4 = [packet for packet in mine if packet["ip_version"] == 4]
        assert answer.rate.value == pytest.approx(len(v4) / covered_days(world, now, NOW))
        assert (answer.sensors.value, answer.sensors.previous) == (7, 6)

    def test_the_sparks_add_up(self, world: World) -> None:
        answer = world.search.totals(ANALYST, last("24h"))

        assert sum(value or 0 for value in answer.sparks["packets"]) == answer.packets.value
        assert sum(value or 0 for value in answer.previous_sparks["packets"]) == answer.packets.previous
        assert len(answer.starts) == len(answer.sparks["hosts"]) == 24

    def test_an_empty_data_set_is_no_error(self, world: World) -> None:
        answer = world.search.totals(ANALYST, replace(last("7d"), dataset="simulated"))

        assert answer.packets.value is None
        assert answer.basis.share is None
        assert answer.basis.complete_until is None

    def test_a_period_that_is_not_over_is_compared_with_the_same_share_of_the_last(self) -> None:
        with open_world(seed=3) as world:
            later = world.clock.now() + timedelta(minutes=30)
            query = for_period("live", "24h", now=later)
            world.clock.advance(1_800)

            answer = world.search.totals(ANALYST, query)

        start = NOW.replace(minute=0) - timedelta(hours=23)
        previous = len(between(world, query, start - DAY, start))
        assert answer.packets.previous == pytest.approx(previous * 23.5 / 24)


@pytest.mark.parametrize("text", FILTERS)
def test_roll_ups_packets_and_plain_counting_agree(world: World, text: str) -> None:
    rng = random.Random(text)
    for period in ("24h", "7d", "6h"):
        base = Query("live", NOW - timedelta(hours=6), NOW) if period == "6h" else last(period)
        survey = rng.choice(["all", "all", "without", "only"])
        query = replace(base, filters=language.parse(text), survey=survey)
        dimension = get_dimension(rng.choice(DIMENSIONS))
        chosen = planner.plan(query, dimension=dimension, zone="Asia/Tokyo", needs_hosts=False)
        raw = planner.plan(
            query,
            dimension=dimension,
            step_seconds=chosen.window.step_seconds,
            zone="Asia/Tokyo",
            only=PACKETS,
        )

        desk = world.search._desk
        by_choice, by_packets = (
            lines.count_lines(desk, ANALYST, query, made, dimension=dimension)[ALL] for made in (chosen, raw)
        )

        assert by_choice == by_packets
        window = (
            chosen.window.starts[0],
            chosen.window.starts[-1] + timedelta(seconds=chosen.window.step_seconds),
        )
        assert by_choice.total_packets[1] == len(between(world, query, *window))


@pytest.mark.parametrize("dimension", DIMENSIONS)
@pytest.mark.parametrize("metric", ["packets", "hosts"])
def test_rankings_are_those_of_plain_counting(world: World, dimension: str, metric: str) -> None:
    query = last("24h", "region in (kanto, kinki)", metric=metric)

    answer = world.search.top(ANALYST, query, dimension=dimension, limit=3)

    counted = count_by(dimension, between(world, query, NOW - DAY, NOW), metric)
    assert answer.distinct == len(counted)
    expected = sorted(counted.values(), reverse=True)[:3]
    assert [row.figure.value for row in answer.rows] == expected
    for row in answer.rows:
        assert row.figure.value == counted[row.group.key]
    assert answer.others.count == max(0, len(counted) - 3)
    if metric == "packets" and dimension != "hint":
        shown = sum(row.figure.value or 0 for row in answer.rows)
        assert shown + (answer.others.figure.value or 0) == answer.total.value


def count_by(dimension: str, packets: list[dict[str, Any]], metric: str) -> dict[str, int]:
    """Count a dimension's values as the query language writes them; a label's only where there is one."""
    split = get_dimension(dimension)
    packets = [packet for packet in packets if holds(split.only, packet)]
    from teiten.search.dimensions import describe

    groups: dict[str, list[str]] = {}
    for packet in packets:
        for key in keys_of(dimension, packet):
            groups.setdefault(describe(split, key).key, []).append(packet["src_addr"])
    return {key: len(set(found)) if metric == "hosts" else len(found) for key, found in groups.items()}


def keys_of(dimension: str, packet: dict[str, Any]) -> list[tuple[Any, ...]]:
    if dimension == "dst_port":
        return [(packet["dst_port"], packet["protocol"])]
    if dimension == "hint":
        return [(1 << bit,) for bit in range(8) if packet["hints"] >> bit & 1] or [(0,)]
    if dimension == "fingerprint_port":
        return [(packet["tcp_fp"], packet["dst_port"], packet["protocol"])]
    if dimension == "src_64":
        address = ip_address(packet["src_addr"])
        network = ip_network((address, 64 if address.version == 6 else 32), strict=False)
        return [(bytes(from_text(str(network.network_address))),)]
    if dimension == "src_addr":
        return [(bytes(from_text(packet["src_addr"])),)]
    if dimension == "survey":
        return [(int(packet["survey"] > 0),)]
    return [(packet[get_dimension(dimension).columns[0]],)]


def test_every_group_can_be_pivoted_on(world: World) -> None:
    query = last("24h")
    for dimension in [*DIMENSIONS, "src_prefix", "ttl", "payload_hash", "dst_addr"]:
        answer = world.search.top(ANALYST, query, dimension=dimension, limit=3, sparks=False)

        for row in answer.rows:
            narrowed = query.narrow(language.parse(row.group.condition))  # type: ignore[arg-type]
            found = between(world, narrowed, NOW - DAY, NOW)
            assert len(found) == row.figure.value, row.group


class TestRates:
    def test_a_region_is_rated_by_its_own_sensors(self, world: World) -> None:
        answer = world.search.top(ANALYST, last("24h", metric="rate"), dimension="region")

        for row in answer.rows:
            mine = [
                packet
                for packet in between(world, last("24h"), NOW - DAY, NOW)
                if packet["region"] == row.group.key and packet["ip_version"] == 4
            ]
            own = [w for w in world.windows if w["region"] == row.group.key]
            days = covered_days(replace(world, windows=own), NOW - DAY, NOW)
            assert row.figure.value == pytest.approx(len(mine) / days)
        rates = [row.figure.value or 0 for row in answer.rows]
        assert rates == sorted(rates, reverse=True)

    def test_families_are_never_mixed(self, world: World) -> None:
        v6 = world.search.totals(ANALYST, last("24h", "ip_version = 6"))

        mine = between(world, last("24h", "ip_version = 6"), NOW - DAY, NOW)
        assert v6.basis.family == 6
        assert v6.rate.value == pytest.approx(len(mine) / covered_days(world, NOW - DAY, NOW, version=6))


class TestSeries:
    def test_lines_others_and_total_add_up(self, world: World) -> None:
        answer = world.search.series(ANALYST, last("24h"), dimension="dst_port", limit=3)

        parts = [*answer.lines, answer.others]
        for bucket, whole in enumerate(answer.total.values):
            assert sum(line.values[bucket] or 0 for line in parts if line) == whole

    @pytest.mark.parametrize("rank_by", ["avg", "max", "last"])
    def test_lines_are_chosen_as_asked(self, world: World, rank_by: Any) -> None:
        answer = world.search.series(
            ANALYST, last("24h"), dimension="country", limit=20, rank_by=rank_by, previous=False
        )

        def score(values: tuple[float | None, ...]) -> float:
            known = [value or 0 for value in values]
            return {"avg": sum(known), "max": max(known), "last": known[-1]}[rank_by]

        scores = [score(line.values) for line in answer.lines]
        assert scores == sorted(scores, reverse=True)
        assert all(line.previous == () for line in answer.lines)

    def test_silence_is_none_and_quiet_is_zero(self, world: World) -> None:
        query = Query(
            "live",
            SILENCE[0] - DAY,
            SILENCE[1],
            filters=language.parse(f"sensor = {FIRST + 5} and dst_port = 8728"),
        )

        answer = world.search.series(ANALYST, query, step_seconds=3_600)

        assert set(answer.total.values[24:]) == {None}
        assert None not in answer.total.values[:24]
        assert 0 in answer.total.values[:24]
        assert answer.basis.strip.share[24:] == (0.0,) * 24

    def test_fine_buckets_read_the_windows_themselves(self, world: World) -> None:
        query = Query("live", NOW - timedelta(hours=2), NOW)

        answer = world.search.series(ANALYST, replace(query, metric="rate"), step_seconds=300)

        strip = answer.basis.strip
        assert strip.covered_address_days[0] == pytest.approx(6 * 300 / 86_400)
        hole = START + (MISSING_SEQ - 1) * WINDOW
        place = int((hole - query.start).total_seconds() // 300)
        assert strip.covered_address_days[place] == pytest.approx(5 * 300 / 86_400)

    def test_the_last_buckets_of_the_future_are_not_zero(self, world: World) -> None:
        answer = world.search.series(ANALYST, Query("live", NOW - DAY, NOW + DAY), step_seconds=3_600)

        assert set(answer.total.values[24:]) == {None}
        assert set(answer.basis.strip.share[24:]) == {None}


class TestBasis:
    def test_it_counts_what_was_watched_and_what_was_not(self, world: World) -> None:
        basis = world.search.basis(ANALYST, Query("live", START, NOW))

        assert basis.covered_address_days == pytest.approx(covered_days(world, START, NOW))
        # Sensors 1 to 5 from the start, sensor 6 a day later; sensor 7 is of the other family.
        assert basis.expected_address_days == pytest.approx(5 * 4 + 3)
        assert (basis.sensors_known, basis.sensors_watching) == (7, 7)
        assert basis.late_expected == 1
        assert basis.complete_until == NOW
        assert basis.kernel_drops == sum(w["sensor"] == FIRST + 3 for w in world.windows)

    def test_the_largest_gap_is_the_silent_day(self, world: World) -> None:
        gap = world.search.basis(ANALYST, Query("live", START, NOW)).gaps[0]

        assert (gap.start_at, gap.end_at, gap.region) == (*SILENCE, "kinki")
        assert gap.sensors == 1
        assert gap.missing_address_days == pytest.approx(1.0)

    def test_a_region_has_its_own_basis(self, world: World) -> None:
        basis = world.search.basis(
            ANALYST, replace(Query("live", START, NOW), filters=language.parse("region = kyushu and ttl > 3"))
        )

        assert basis.sensors_known == 2
        assert basis.covered_address_days == pytest.approx((NOW - LATE_START) / DAY)
        assert basis.gaps == ()

    def test_silence_shows_before_any_data_come(self) -> None:
        with open_world(seed=5) as world:
            world.clock.advance(7_200)

            basis = world.search.basis(ANALYST, for_period("live", "24h", now=world.clock.now()))

        assert (basis.sensors_watching, basis.late_expected) == (0, 7)
        assert basis.complete_until is None
        assert basis.share is not None
        assert basis.share < 22 / 24 + 0.01


class TestRows:
    def test_pages_show_each_packet_once_newest_first(self, world: World) -> None:
        viewer, query = ANALYST, last("24h", "country = CN")
        seen: list[tuple[Any, ...]] = []
        page = None
        while True:
            answer = world.search.rows(
                viewer, query, page=page, limit=97, columns=("observed_at", "src_addr", "src_port")
            )
            seen += answer.rows
            page = answer.next_page
            if page is None:
                break

        expected = between(world, query, query.start, query.end)
        assert len(seen) == len(expected) == answer.count
        assert [row[0] for row in seen] == sorted((p["observed_at"] for p in expected), reverse=True)
        assert Counter(row[1] for row in seen) == Counter(p["src_addr"] for p in expected)

    def test_rows_of_one_instant_are_not_lost_between_pages(self) -> None:
        with open_world(seed=11, per_window=0.5) as world:
            from teiten.store import writer
            from teiten.store.testing import make_coverage, make_packets

            crowd = [
                {"row": row, "batch_seq": 9_999, "sensor": FIRST + 1, "observed_at": NOW - WINDOW}
                for row in range(25)
            ]
            window = {**world.windows[0], "batch_seq": 9_999}
            writer.insert_block(
                world.store,
                writer.BlockRows(
                    "00000000-0000-0000-0000-00000000000b",
                    world.clock.now_us(),
                    make_packets(*crowd),
                    make_coverage(window),
                ),
            )
            query, page, rows = last("1h", "ttl = 50"), None, 0
            for _ in range(10):
                answer = world.search.rows(ANALYST, query, page=page, limit=4)
                rows, page = rows + len(answer.rows), answer.next_page
                if page is None:
                    break

        assert rows == len(between(world, query, query.start, query.end)) + 25

    def test_the_count_stops_at_its_limit(self, world: World) -> None:
        search = Search(world.store, world.clock, SearchConfig(count_limit=100))

        answer = search.rows(ANALYST, last("24h"), limit=1)

        assert (answer.count, answer.is_count_capped) == (100, True)
        search.close()

    def test_a_packet_is_found_again_with_its_header(self, world: World) -> None:
        query = last("24h", "protocol = tcp and ip_version = 4")
        answer = world.search.rows(ANALYST, query, limit=1)

        packet = world.search.packet(ANALYST, answer.references[0])

        newest = max(between(world, query, query.start, query.end), key=lambda p: p["observed_at"])
        assert packet.fields["dst_addr"] == newest["dst_addr"]
        assert packet.header[:2] == b"\x45\x00"
        assert packet.options == ("MSS 1460",)

    def test_a_packet_that_is_gone_is_not_found(self, world: World) -> None:
        with pytest.raises(NotFound, match="not in the store"):
            world.search.packet(ANALYST, "live~1-1-1-1@1795143600000000")

    @pytest.mark.parametrize(
        "page", ["", "x", "live~1-1-1@3", "x.AAAA", "live~99999999999-1-1-1@1", "a" * 999]
    )
    def test_a_false_page_is_refused(self, world: World, page: str) -> None:
        if page:
            for role in ("analyst", "member"):
                with pytest.raises(QueryError):
                    world.search.rows(for_role(role), last("24h"), page=page)


class TestFacets:
    def test_own_conditions_do_not_hide_the_other_values(self, world: World) -> None:
        query = last("24h", "country = CN and region != kinki")

        answer = world.search.facets(ANALYST, query, dimensions=["country", "region", "nature"], limit=10)

        facets = {facet.dimension: facet for facet in answer.facets}
        countries = {value.group.key: value for value in facets["country"].values}
        assert len(countries) == 5
        assert countries["CN"].state == "included"
        wider = between(world, last("24h", "region != kinki"), NOW - DAY, NOW)
        assert countries["US"].packets == sum(p["country"] == "US" for p in wider)
        assert {v.group.key: v.state for v in facets["region"].values}["kinki"] == "excluded"
        assert sum(v.packets for v in facets["nature"].values) == answer.packets


class TestSource:
    def test_the_page_holds_what_the_source_did(self, world: World) -> None:
        page = world.search.source(ANALYST, last("7d"), source="240.0.0.3")

        mine = [p for p in world.packets if p["src_addr"] == "240.0.0.3"]
        assert (page.packets, page.packets_all, page.hosts) == (len(mine), len(mine), 1)
        assert page.first_seen_at == min(p["observed_at"] for p in mine).replace(microsecond=0)
        assert {seen.sensor: seen.packets for seen in page.seen_by} == Counter(p["sensor"] for p in mine)
        assert sum(count.packets for count in page.ports) == len(mine)
        assert sum(day.packets or 0 for day in page.calendar) == len(mine)
        assert sum(day.packets for day in page.ports_by_day) == len(mine)
        assert {day.packets is None for day in page.calendar[:300]} == {True}
        assert page.tcp_syns == sum(p["protocol"] == 6 and p["tcp_flags"] == 2 for p in mine)

    def test_a_prefix_lists_its_members(self, world: World) -> None:
        page = world.search.source(ANALYST, last("7d"), source="240.0.1.77/24")

        mine = [p for p in world.packets if p["src_addr"].startswith("240.0.1.")]
        assert page.source == "240.0.1.0/24"
        assert page.packets == len(mine)
        assert page.hosts == len({p["src_addr"] for p in mine})
        assert page.members[0].packets == Counter(p["src_addr"] for p in mine).most_common(1)[0][1]

    def test_a_source_of_many_ports_keeps_its_sensors_and_its_newest_day(self, world: World) -> None:
        """What few packets have is not crowded out by the packets of 21,000 ports."""
        columns = (
            "dataset, sensor, region, batch_seq, row, ip_version, src_addr, protocol, dst_port, observed_at"
        )
        same = "4, toIPv6('203.0.113.77'), 6"
        midnight = datetime(2026, 11, 19, 15, tzinfo=timezone.utc)
        for rows, values in (
            (42_000, f"1, 'kanto', 1, number, {same}, 1000 + intDiv(number, 2), {{at}} - toIntervalHour(1)"),
            (6, f"2 + number, 'kinki', 1, number, {same}, 23, {{at}} + toIntervalMinute(number)"),
        ):
            at = f"fromUnixTimestamp64Micro({to_us(midnight)}, 'UTC')"
            world.store.command(
                f"INSERT INTO packets ({columns}) SELECT 'import:wide', {values.format(at=at)} FROM numbers({rows})"
            )

        query = Query("import:wide", midnight - DAY, midnight + timedelta(hours=1))
        page = world.search.source(ANALYST, query, source="203.0.113.77")

        assert page.packets == 42_006
        assert {seen.sensor: seen.packets for seen in page.seen_by} == {
            1: 42_000,
            **dict.fromkeys(range(2, 8), 1),
        }
        assert [(count.group.key, count.packets) for count in page.ports[:2]] == [
            ("23/tcp", 6),
            ("1000/tcp", 2),
        ]
        assert len(page.ports) == 20
        newest = [day for day in page.ports_by_day if day.group.key == "23/tcp"]
        assert [(day.day, day.packets, day.is_new) for day in newest] == [(date(2026, 11, 20), 6, True)]
        assert len(page.ports_by_day) == 15

    def test_days_of_ports_are_the_zones(self, world: World) -> None:
        """30 days end with the local day that ends at a midnight in Japan."""
        oldest = datetime(2026, 10, 21, 16, tzinfo=timezone.utc)  # the 22nd in Japan
        for at in (oldest - timedelta(hours=2), oldest):
            world.store.command(
                "INSERT INTO packets (dataset, sensor, batch_seq, row, ip_version, src_addr, protocol, dst_port, observed_at)"
                f" SELECT 'import:old', 1, 1, {at.hour}, 4, toIPv6('203.0.113.78'), 6, 80, fromUnixTimestamp64Micro({to_us(at)}, 'UTC')"
            )

        query = Query("import:old", oldest, datetime(2026, 11, 20, 15, tzinfo=timezone.utc))
        page = world.search.source(ANALYST, query, source="203.0.113.78")

        assert [(day.day, day.is_new) for day in page.ports_by_day] == [(date(2026, 10, 22), False)]

    def test_a_source_that_was_never_seen_has_an_empty_page(self, world: World) -> None:
        page = world.search.source(ANALYST, last("7d"), source="3fff::dead")

        assert (page.packets, page.first_seen_at, page.days_seen) == (0, None, 0)
        assert page.days_watched > 0


class TestSensors:
    def test_each_fault_has_its_state(self, world: World) -> None:
        answer = world.search.sensors(ANALYST, Query("live", START, NOW))

        states = {sensor.sensor - FIRST: sensor.state for sensor in answer.sensors}
        assert states == {
            1: "watching",
            2: "gapped",
            3: "dropping",
            4: "skewed",
            5: "watching",
            6: "watching",
            7: "watching",
        }
        shares = {sensor.sensor - FIRST: sensor.share for sensor in answer.sensors}
        assert shares[5] == pytest.approx(0.75)
        assert shares[6] == pytest.approx(1.0)
        late = next(sensor for sensor in answer.sensors if sensor.sensor == FIRST + 6)
        assert set(late.cells[:24]) == {None}
        assert [region.sensors_known for region in answer.regions] == [3, 2, 2]

    def test_a_tombstone_explains_a_hole(self) -> None:
        import pyarrow as pa

        from teiten.store.arrow_schemas import LOST_BATCHES

        with open_world(seed=2, per_window=0.3) as world:
            lost = pa.table(
                {
                    "dataset": ["live"], "sensor": [FIRST + 2], "epoch": [1], "first_seq": [MISSING_SEQ],
                    "last_seq": [MISSING_SEQ], "region": ["kanto"], "window_start_at": [NOW - DAY],
                    "window_end_at": [NOW - timedelta(hours=1)], "landed_at": [NOW], "block": [bytes(16)],
                },
                schema=LOST_BATCHES,
            )  # fmt: skip
            world.store.connections.insert("lost_batches", lost, token="lost")

            basis = world.search.basis(ANALYST, last("24h"))
            sensor = world.search.sensors(ANALYST, last("24h"), sensor=FIRST + 2).sensors[0]

        assert basis.late_expected == 0
        assert (sensor.missing_batches, sensor.lost_batches, sensor.state) == (0, 1, "gapped")


def test_live_shows_the_last_seconds(world: World) -> None:
    answer = world.search.live(ANALYST, last("24h"), seconds=900)

    mine = between(world, last("24h"), NOW - timedelta(seconds=899), NOW + timedelta(seconds=1))
    assert sum(answer.packets) == len(mine)
    assert len(answer.starts) == 900


def test_data_sets_are_listed_with_their_extent(world: World) -> None:
    (extent,) = world.search.datasets(ANALYST)

    assert (extent.name, extent.first_at, extent.last_at) == ("live", START, NOW)
    assert extent.packets == len(world.packets)


def test_an_import_without_known_coverage_shows_counts_and_no_rate() -> None:
    from teiten.store import writer
    from teiten.store.testing import make_coverage, make_packets

    with open_world(per_window=0.2) as world:
        at = datetime(2019, 5, 1, 12, 0, tzinfo=NOW.tzinfo)
        rows = [{"row": i, "observed_at": at + timedelta(seconds=i)} for i in range(50)]
        window = {"window_start_at": at, "window_end_at": at + timedelta(minutes=5), "rows": 50}
        unknown = {
            "watched_prefix": [],
            "watched_ip_version": [],
            "watched_prefix_length": [],
            "watched_mode": [],
            "watched_addresses": [],
        }
        writer.insert_block(
            world.store,
            writer.BlockRows(
                "00000000-0000-0000-0000-00000000000c",
                world.clock.now_us(),
                make_packets(*rows, dataset="import:old"),
                make_coverage({**window, **unknown}, dataset="import:old"),
            ),
        )
        extent = next(e for e in world.search.datasets(ANALYST) if e.name == "import:old")
        query = Query("import:old", extent.first_at, extent.last_at)

        answer = world.search.totals(ANALYST, query)

    assert (answer.packets.value, answer.rate.value) == (50, None)
    assert answer.basis.share is None
    assert answer.basis.gaps == ()


def test_a_question_beyond_the_limits_is_refused(world: World) -> None:
    search = Search(world.store, world.clock, SearchConfig(analyst_max_rows=10))

    with pytest.raises(TooExpensive, match="shorten the period"):
        search.rows(ANALYST, last("24h", "ttl = 99"))
    search.close()


def test_a_store_that_is_away_is_said_so(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    search = Search(world.store, world.clock)

    def refuse(*_: Any, **__: Any) -> None:
        raise StoreUnavailable("no route to it")

    monkeypatch.setattr(world.store, "select", refuse)

    with pytest.raises(SearchUnavailable, match="did not answer"):
        search.totals(ANALYST, last("24h"))
    search.close()


def test_many_threads_may_ask_at_once(world: World) -> None:
    def ask(number: int) -> float | None:
        return world.search.totals(ANALYST, last("24h", f"ttl >= {number}")).packets.value

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(ask, range(16)))

    assert answers == [ask(number) for number in range(16)]


@pytest.mark.parametrize(
    ("step", "rule"), [(7, "divide a day"), (90_000, "whole days"), (1, "2000 buckets"), (0, "divide a day")]
)
def test_a_senseless_step_is_refused(world: World, step: int, rule: str) -> None:
    with pytest.raises(QueryError, match=rule):
        world.search.series(ANALYST, last("7d"), step_seconds=step)
