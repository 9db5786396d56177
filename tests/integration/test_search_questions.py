"""The questions of issue 3 against what plain Python counts in the same made telescope."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from teiten.foundation.clock import to_us
from teiten.search import breadth, language, lines, planner
from teiten.search.dimensions import get_dimension
from teiten.search.doors import MaintenancePeriod, SensorFacts
from teiten.search.errors import NotPermitted, QueryError, TooExpensive
from teiten.search.lines import ALL
from teiten.search.query import Query, for_period
from teiten.search.service import Search
from teiten.search.tables import PACKETS, ROLL_UPS, Table
from teiten.search.visibility import for_role
from teiten.store import writer
from teiten.store.testing import make_coverage, make_packets

sys.path.insert(0, str(Path(__file__).parent))
from search_fixtures import (
    ANSWERING,
    CHANGING,
    FIRST,
    NOW,
    PREFIX_SENSOR,
    REGIONS,
    SILENCE,
    START,
    World,
    fold,
    holds,
    open_world,
)

pytestmark = pytest.mark.requirement("R2.3")

ANALYST = for_role("analyst")
DAY = timedelta(days=1)


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with open_world() as made:
        yield made


@pytest.fixture(scope="module")
def answering_world() -> Iterator[World]:
    with open_world(seed=11, with_answering=True) as made:
        yield made


def covered_days(world: World, start: datetime, end: datetime, *, mode: str) -> float:
    seconds = 0.0
    for window in world.windows:
        if (window["watched_ip_version"], window["watched_mode"]) == ([4], [mode]):
            overlap = min(end, window["window_end_at"]) - max(start, window["window_start_at"])
            seconds += max(0.0, overlap.total_seconds())
    return seconds / 86_400


def last(period: str, text: str = "", **choices: object) -> Query:
    return replace(for_period("live", period, now=NOW), filters=language.parse(text), **choices)  # type: ignore[arg-type]


@pytest.mark.parametrize("table", ROLL_UPS, ids=lambda table: table.name)
def test_every_roll_up_adds_up_to_the_packets(world: World, table: Table) -> None:
    """Each table, forced, against single packets over the same whole days, split by each of its columns."""
    text = language.print_filters(table.only[0]) if table.only else ""
    query = last("7d", text)
    names = [name for name in sorted(table.columns) if name in PACKETS.columns]
    splits = [
        split
        for name in ("dst_port", "hint", *names)
        if (split := _find_split(name)) is not None and set(split.columns) <= table.columns
    ]
    assert splits
    desk = world.search._desk
    for split in splits:
        by_table, by_packets = (
            lines.count_lines(
                desk,
                ANALYST,
                query,
                planner.plan(query, dimension=split, step_seconds=86_400, zone="Asia/Tokyo", only=chosen),
                dimension=split,
                hosts=table.hosts is not None,
            )[ALL]
            for chosen in (table, PACKETS)
        )
        assert by_table.packets == by_packets.packets, split.name
        assert sum(by_table.packets) > 0
        if table.hosts is not None:
            assert by_table.hosts == by_packets.hosts


def _find_split(name: str):  # type: ignore[no-untyped-def]
    from teiten.search.dimensions import DIMENSIONS

    return get_dimension(name) if name in DIMENSIONS else None


@pytest.mark.parametrize(
    ("text", "dimension", "table"),
    [
        ("", "actor", "actors_1d"),
        ("survey = yes", "nature", "kinds_1h"),
        ("", "probe", "probes_1d"),
        ("probe = dns-version", "dst_port", "probes_1d"),
        ("dst_port = 23/tcp", "tcp_fp", "fingerprints_ports_1d"),
        ("tcp_fp != none", "dst_port", "fingerprints_ports_1d"),
        ("", "payload_hash", "payloads_1d"),
        ("", "validity", "totals_1h"),
        ("validity = bogon", "src_addr", "sources_1d"),
        ("tcp_fp = none", "dst_port", "packets"),
        ("probe = none", "dst_port", "packets"),
    ],
)
def test_labels_are_answered_from_their_roll_ups(world: World, text: str, dimension: str, table: str) -> None:
    answer = world.search.top(ANALYST, last("7d", text), dimension=dimension)

    assert answer.cost.table == table
    assert answer.rows


def test_long_rankings_read_days(world: World) -> None:
    month = world.search.top(ANALYST, last("30d"), dimension="dst_port")
    week = world.search.top(ANALYST, last("7d"), dimension="dst_port")

    assert (month.cost.table, week.cost.table) == ("ports_1d", "ports_1h")
    assert month.total.value == week.total.value == len(world.packets)


class TestSource:
    def test_verdicts_are_those_of_its_counts(self, world: World) -> None:
        source = "240.0.1.100"
        page = world.search.source(ANALYST, last("7d"), source=source)

        mine = world.matching(lambda packet: packet["src_addr"] == source)
        by_tool = {verdict.tool: verdict for verdict in page.verdicts}
        mirai = by_tool["Mirai-like"]
        syns = [p for p in mine if p["protocol"] == 6 and p["tcp_flags"] & 23 == 2]
        assert mirai.matching == sum(packet["hints"] & 1 for packet in mine)
        assert mirai.matching + mirai.contradicting >= len(syns)
        assert sum(day.packets for day in page.verdict_days) == len(mine) == page.packets
        assert [day.day for day in page.verdict_days] == sorted({local_day(p) for p in mine})
        assert page.ignored == ()

    def test_axes_and_breadth_are_counted(self, world: World) -> None:
        source = "240.0.2.20"
        page = world.search.source(ANALYST, last("7d", "dst_port = 23", survey="without"), source=source)

        mine = world.matching(lambda packet: packet["src_addr"] == source)
        assert {count.group.key: count.packets for count in page.validities} == {"spoof_suspect": len(mine)}
        assert sum(count.packets for count in page.probes) == len(mine)
        assert [(each.actor, each.reason, each.packets) for each in page.actors] == [
            ("Example Research", "list", len(mine))
        ]
        assert page.sensors_seen == len({packet["sensor"] for packet in mine})
        assert (page.sensors_covered, page.breadth) == (6, page.sensors_seen / 6)
        assert page.ignored == ("q", "survey")

    def test_behaviour_names_nobody(self, world: World) -> None:
        page = world.search.source(ANALYST, last("7d", metric="rate", mode="silent"), source="240.0.0.15")

        assert [(each.actor, each.reason) for each in page.actors] == [("", "behaviour")]
        assert page.ignored == ("mode", "metric")


def local_day(packet: dict[str, Any]) -> date:
    return packet["observed_at"].astimezone(ZoneInfo("Asia/Tokyo")).date()


class TestBreadth:
    def test_a_port_is_as_broad_as_its_sensors(self, world: World) -> None:
        answer = world.search.breadth(ANALYST, last("7d", "dst_port = 8728/tcp"))

        mine = world.matching(lambda packet: packet["dst_port"] == 8728)
        assert answer.cost.table == "ports_1d"
        assert answer.sensors_seen == len({packet["sensor"] for packet in mine})
        assert answer.sensors_covered == 7
        assert sum(region.covered for region in answer.regions) == answer.sensors_covered
        assert sum(region.seen for region in answer.regions) == answer.sensors_seen

    def test_a_source_is_counted_in_packets(self, world: World) -> None:
        query = Query("live", NOW - timedelta(hours=6), NOW, filters=language.parse("src_addr = 3fff::/20"))

        answer = world.search.breadth(ANALYST, query)

        assert answer.cost.table == "packets"
        assert (answer.sensors_seen, answer.only_here) == (1, "kyushu")

    def test_what_no_roll_up_knows_is_refused_over_days(self, world: World) -> None:
        with pytest.raises(TooExpensive, match="at most 48 hours"):
            world.search.breadth(ANALYST, last("7d", "ttl > 100"))

    @given(
        st.integers(0, 50),
        st.integers(1, 50),
        st.sets(st.sampled_from("abc")),
        st.sets(st.sampled_from("abc")),
    )
    @settings(max_examples=50, deadline=None)
    def test_a_member_learns_no_exact_share(
        self, seen: int, covered: int, seen_in: set[str], covered_in: set[str]
    ) -> None:
        told = breadth.tell_seen(
            for_role("member"), seen=seen, covered=covered, seen_in=seen_in, covered_in=covered_in
        )

        assert told.sensors is None
        assert told.only_here is None
        # In steps that stand for at least as many sensors as a member's figures do.
        step = max(0.05, for_role("member").least_sensors / covered)
        assert told.share in (None, 1.0) or told.share / step == pytest.approx(round(told.share / step))


@given(
    st.sampled_from(["1h", "24h", "7d"]),
    st.sampled_from(
        ["", "dst_port = 23/tcp", "validity = bogon", "country = CN", "probe != none", "ttl > 99"]
    ),
)
@settings(max_examples=12, deadline=None)
def test_without_and_only_are_all(world: World, period: str, text: str) -> None:
    counts = {
        survey: world.search.totals(ANALYST, last(period, text, survey=survey)).packets.value or 0
        for survey in ("all", "without", "only")
    }

    assert counts["all"] == counts["without"] + counts["only"]


class TestModes:
    def test_the_switch_parts_the_whole(self, answering_world: World) -> None:
        world = answering_world
        counts = {
            mode: world.search.totals(ANALYST, last("24h", mode=mode)).packets.value
            for mode in ("all", "silent", "answering", "auto")
        }

        assert counts["all"] == counts["silent"] + counts["answering"]
        assert counts["auto"] == counts["silent"]
        assert counts["answering"] == len(
            world.matching(lambda p: p["answering"] == 1 and p["observed_at"] >= NOW - DAY)
        )

    @pytest.mark.parametrize("mode", ["silent", "answering"])
    def test_numerator_and_denominator_are_of_one_mode(self, answering_world: World, mode: str) -> None:
        world = answering_world
        answer = world.search.totals(ANALYST, last("24h", mode=mode))

        mine = world.matching(
            lambda p: (
                p["answering"] == (mode == "answering")
                and p["ip_version"] == 4
                and p["observed_at"] >= NOW - DAY
            )
        )
        days = covered_days(world, NOW - DAY, NOW, mode=mode)
        assert answer.rate.value == pytest.approx(len(mine) / days)
        basis = answer.basis
        assert basis.covered_address_days == pytest.approx(days)
        assert basis.modes_apart[mode] == pytest.approx(days)
        assert (basis.mode, basis.no_rate) == (mode, "")

    def test_mixed_modes_have_counts_and_no_rate(self, answering_world: World) -> None:
        query = last("24h", mode="all", metric="rate")
        answer = answering_world.search.totals(ANALYST, query)
        top = answering_world.search.top(ANALYST, query, dimension="dst_port")
        series = answering_world.search.series(ANALYST, query)

        assert answer.rate.value is None
        assert answer.packets.value
        assert answer.basis.no_rate == "modes_mixed"
        assert {row.figure.value for row in top.rows} == {None}
        assert set(series.total.values) == {None}

    def test_a_filter_settles_the_mode(self, answering_world: World) -> None:
        answer = answering_world.search.totals(ANALYST, last("24h", "answering = yes"))

        everything = answering_world.search.totals(ANALYST, last("24h", "answering = yes", mode="all"))

        assert answer.basis.mode == everything.basis.mode == "answering"
        assert everything.rate.value is not None
        with pytest.raises(QueryError, match="leave mode out"):
            answering_world.search.totals(ANALYST, last("24h", "answering = yes", mode="silent"))

    def test_only_answering_watched_means_answering(self, answering_world: World) -> None:
        region = REGIONS[ANSWERING[0]]
        others = [s for s, r in REGIONS.items() if r == region and s not in ANSWERING]
        text = f"sensor in ({', '.join(map(str, ANSWERING))})"

        answer = answering_world.search.totals(ANALYST, last("24h", text))

        assert others
        assert answer.basis.mode == "answering"
        assert answer.packets.value

    def test_prefixes_of_two_lengths_have_no_rate(self, answering_world: World) -> None:
        answer = answering_world.search.totals(ANALYST, last("24h", "ip_version = 6"))
        narrowed = answering_world.search.totals(
            ANALYST, last("24h", f"ip_version = 6 and sensor = {PREFIX_SENSOR}")
        )

        assert (answer.rate.value, answer.basis.no_rate) == (None, "prefixes_mixed")
        assert answer.basis.prefix_lengths == (56, 64)
        assert narrowed.rate.value is not None
        assert narrowed.basis.prefix_lengths == (64,)

    def test_a_sensor_that_changes_its_mode_leaves_no_gap(self, answering_world: World) -> None:
        text = f"sensor = {CHANGING}"
        for mode in ("silent", "answering"):
            basis = answering_world.search.basis(ANALYST, last("7d", text, mode=mode))

            assert basis.missing_address_days == pytest.approx(0, abs=0.01)
            assert basis.covered_address_days == pytest.approx(2, abs=0.01)


class TestMaintenance:
    @given(
        st.lists(
            st.tuples(st.sampled_from(list(REGIONS)), st.integers(0, 90), st.integers(1, 40)), max_size=4
        )
    )
    @settings(max_examples=12, deadline=None)
    def test_covered_planned_and_missing_are_what_was_expected(
        self, world: World, periods: list[tuple[int, int, int]]
    ) -> None:
        fleet = Fleet(
            [
                MaintenancePeriod(
                    sensor, to_us(START + timedelta(hours=at)), to_us(START + timedelta(hours=at + length))
                )
                for sensor, at, length in periods
            ]
        )
        search = Search(world.store, world.clock, fleet=fleet)

        for text, period in (("", "7d"), ("region = kinki", "24h"), ("ip_version = 6", "7d")):
            basis = search.basis(ANALYST, last(period, text))
            parts = basis.covered_address_days + basis.planned_address_days + basis.missing_address_days
            assert parts == pytest.approx(basis.expected_address_days)
            assert min(basis.planned_address_days, basis.missing_address_days) >= 0
        search.close()

    def test_a_planned_silence_is_no_missing_one(self, world: World) -> None:
        sensor = FIRST + 5
        fleet = Fleet([MaintenancePeriod(sensor, to_us(SILENCE[0]), to_us(SILENCE[1]))])
        search = Search(world.store, world.clock, fleet=fleet)

        plain = world.search.basis(ANALYST, last("7d"))
        basis = search.basis(ANALYST, last("7d"))
        search.close()

        assert basis.planned_address_days == pytest.approx(1.0, abs=0.01)
        assert basis.missing_address_days == pytest.approx(plain.missing_address_days - 1.0, abs=0.01)
        assert basis.covered_address_days == plain.covered_address_days
        assert basis.share == plain.share
        planned = [gap for gap in basis.gaps if gap.kind == "planned"]
        assert [(gap.region, gap.sensors) for gap in planned] == [("kinki", 1)]
        assert "planned" not in {gap.kind for gap in plain.gaps}


@dataclass
class Fleet:
    """A register that knows maintenance and places."""

    maintenance: list[MaintenancePeriod]
    sensors: tuple[SensorFacts, ...] = ()

    def list_sensors(self) -> tuple[SensorFacts, ...]:
        return self.sensors

    def list_maintenance(self, start_us: int, end_us: int) -> list[MaintenancePeriod]:
        return [each for each in self.maintenance if each.start_us < end_us and each.end_us > start_us]

    def list_unreached(self, protocol: int, port: int, start_us: int, end_us: int) -> tuple[()]:
        del protocol, port, start_us, end_us
        return ()


class TestNews:
    @pytest.mark.parametrize("dimension", ["dst_port", "fingerprint_port", "tcp_fp", "payload_hash", "probe"])
    def test_only_what_the_days_before_did_not_have(self, news_world: World, dimension: Any) -> None:
        answer = news_world.search.news(ANALYST, last("24h"), dimension=dimension, days=2)

        keys = {
            "dst_port": lambda p: (p["dst_port"], p["protocol"]),
            "fingerprint_port": lambda p: p["tcp_fp"] and (fold(p["tcp_fp"]), p["dst_port"], p["protocol"]),
            "tcp_fp": lambda p: fold(p["tcp_fp"]),
            "payload_hash": lambda p: p["payload_hash"],
            "probe": lambda p: p["probe"],
        }[dimension]
        # Of whole days: yesterday's midnight in Tokyo.
        first = datetime(2026, 11, 20, tzinfo=ZoneInfo("Asia/Tokyo"))
        now = {keys(p) for p in news_world.packets if p["observed_at"] >= first}
        past = {keys(p) for p in news_world.packets if first - 2 * DAY <= p["observed_at"] < first}
        new = {key for key in now - past if key}
        # What one source alone sent is counted, and not listed; a fingerprint's sources are those of all its ports,
        # those of any window without options those of the port.
        field = {"fingerprint_port": "tcp_fp", "tcp_fp": "tcp_fp", "payload_hash": "payload_hash"}.get(
            dimension
        )
        sources: dict[Any, set[Any]] = {}
        for p in news_world.packets:
            if field and p["observed_at"] >= first:
                sources.setdefault(p[field], set()).add(p["src_addr"])
                sources.setdefault(keys(p), set()).add(p["src_addr"])
        told = {key: key if "*:::" in key else key[0] for key in new if isinstance(key, tuple)}
        lone = {key for key in new if field and len(sources[told.get(key, key)]) == 1}
        expected = new - lone
        assert answer.from_one_source == len(lone)
        assert answer.distinct == len(answer.items) == len(expected)
        assert new
        assert answer.days_watched == 2
        for item in answer.items:
            narrowed = language.parse(" and ".join(group.condition for group in item.groups))
            mine = [p for p in news_world.packets if p["observed_at"] >= first and holds(narrowed, p)]
            assert item.packets == len(mine)
            assert item.sensors_at_least == len({p["sensor"] % 64 for p in mine})
            earliest = min(p["observed_at"] for p in mine)
            assert timedelta(0) <= earliest - item.first_seen_at < DAY
            if item.hosts is not None:
                assert item.hosts == len({p["src_addr"] for p in mine})

    def test_any_window_without_options_is_one_value(self, news_world: World) -> None:
        query = last("24h")
        answer = news_world.search.news(ANALYST, query, dimension="fingerprint_port", days=2)

        found = {tuple(group.key for group in item.groups): item for item in answer.items}
        plain = {key for key in found if key[0].endswith(":::")}
        assert plain == {("*:::", "9530/tcp"), ("65535:::", "23/tcp")}
        item = found["*:::", "9530/tcp"]
        narrowed = language.parse(" and ".join(group.condition for group in item.groups))
        rows = news_world.search.rows(ANALYST, replace(query, filters=narrowed), columns=["tcp_fp"])
        assert sorted(row[0] for row in rows.rows) == ["5003:::", "5004:::"]
        others = language.parse('tcp_fp in ("*:::", "65535:::") and not tcp_fp = "*:::"')
        alone = news_world.search.rows(ANALYST, replace(query, filters=others), columns=["tcp_fp"])
        assert {row[0] for row in alone.rows} == {"65535:::"}

    def test_without_a_past_nothing_is_new(self, news_world: World) -> None:
        query = Query("live", START, START + DAY)

        answer = news_world.search.news(ANALYST, query, dimension="dst_port", days=2)

        assert (answer.items, answer.days_watched) == ((), 0)

    def test_a_filter_beyond_the_roll_up_is_refused(self, news_world: World) -> None:
        with pytest.raises(QueryError, match="not by ttl"):
            news_world.search.news(ANALYST, last("24h", "ttl > 3"), dimension="dst_port")
        with pytest.raises(QueryError, match="there are no news of it"):
            news_world.search.news(ANALYST, last("24h"), dimension="asn")  # type: ignore[arg-type]


class TestExamples:
    def test_whole_payloads_come_newest_first(self, news_world: World) -> None:
        answer = news_world.search.examples(ANALYST, last("7d"), payload_hash="FEDCBA9876543210", limit=2)

        assert [each.payload for each in answer.examples] == [b"example 2", b"example 1"]
        assert [each.port.key for each in answer.examples] == ["53/udp", "53/udp"]
        assert news_world.search.packet(ANALYST, answer.examples[0].reference).fields["dst_port"] == 53

    def test_a_member_is_refused(self, news_world: World) -> None:
        with pytest.raises(NotPermitted):
            news_world.search.examples(for_role("member"), last("7d"), payload_hash="fedcba9876543210")

    def test_no_hash_is_refused(self, news_world: World) -> None:
        with pytest.raises(QueryError, match="16 hexadecimal"):
            news_world.search.examples(ANALYST, last("7d"), payload_hash="xyz")


@pytest.fixture(scope="module")
def news_world() -> Iterator[World]:
    """A world in which a port, a fingerprint, a payload and a probe come up on the last day."""
    with open_world(seed=5) as world:
        fresh = {
            "dst_port": 9_527, "tcp_fp": "29200:2-4-8-1-3:1460:9", "payload_hash": 0xABCDEF, "probe": "redis-info",
            "payload": b"INFO", "protocol": 6,
        }  # fmt: skip
        recent = [p for p in world.packets if p["observed_at"] >= NOW - timedelta(hours=5)]
        new = [{**packet, **fresh, "row": 1_000 + number} for number, packet in enumerate(recent)]
        new += list_plain_syns(world.packets)
        old = next(p for p in world.packets if p["payload_hash"] and p["dst_port"] == 53)
        examples = [
            {
                **{name: old[name] for name in ("sensor", "batch_seq", "src_addr", "protocol", "dst_port")},
                "dataset": "live", "day": local_day(old), "payload_hash": old["payload_hash"], "epoch": 1,
                "row": old["row"], "observed_at": old["observed_at"] + timedelta(seconds=number),
                "payload_length": 9, "payload": f"example {number + 1}".encode(), "landed_at": NOW,
            }
            for number in range(2)
        ]  # fmt: skip
        examples[1]["observed_at"], examples[0]["observed_at"] = (
            examples[0]["observed_at"], examples[0]["observed_at"] - timedelta(seconds=1),
        )  # fmt: skip
        examples[0]["row"] += 500
        block = writer.BlockRows(
            block="00000000-0000-0000-0000-00000000000b",
            composed_at_us=to_us(NOW),
            packets=make_packets(*new),
            coverage=make_coverage(),
        )
        writer.insert_block(world.store, block)
        insert_examples(world, examples)
        world.packets.extend(new)
        yield world


def list_plain_syns(packets: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Give SYNs without options: windows of bots, and a scanner's own, to ports that had any before or not."""
    before = [p for p in packets if NOW - 2 * DAY <= p["observed_at"] < NOW - DAY][:2]
    recent = [p for p in packets if p["observed_at"] >= NOW - timedelta(hours=5)][:2]
    sent = [
        (before, "4001:::", 23), (recent, "5001:::", 23), (recent[:1], "5002:::", 23), (recent, "65535:::", 23),
        (recent[:1], "5003:::", 9_530), (recent[1:], "5004:::", 9_530), (recent[:1], "5005:::", 9_531),
        (recent[:1], "5006:::", 9_532), (recent[:1], "5007:::", 9_532),
    ]  # fmt: skip
    same = {"protocol": 6, "payload": b"", "payload_hash": 0, "probe": ""}
    return [
        {**packet, **same, "tcp_fp": fingerprint, "dst_port": port, "row": 2_000 + 10 * place + number}
        for place, (some, fingerprint, port) in enumerate(sent)
        for number, packet in enumerate(some)
    ]


def insert_examples(world: World, examples: list[dict[str, Any]]) -> None:
    for each in examples:
        world.store.command(
            "INSERT INTO payload_examples VALUES ("
            f"'live', '{each['day']}', {each['payload_hash']}, {each['sensor']}, 1, {each['batch_seq']}, {each['row']},"
            f" fromUnixTimestamp64Micro({to_us(each['observed_at'])}, 'UTC'), toIPv6('{each['src_addr']}'),"
            f" {each['protocol']}, {each['dst_port']}, 9, '{each['payload'].decode()}',"
            f" fromUnixTimestamp64Micro({to_us(NOW)}, 'UTC'))"
        )
