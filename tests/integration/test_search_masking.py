"""A member gets nothing from which a sensor or its address follows, whatever they send and whatever they ask."""

from __future__ import annotations

import inspect
import io
import json
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from teiten.portal.api.encoding import to_json
from teiten.search import admission, guarding, language, pseudonyms
from teiten.search.answers_places import SensorGroup
from teiten.search.desk import check_statement
from teiten.search.dimensions import DIMENSIONS
from teiten.search.errors import NotPermitted, QueryError, TooExpensive
from teiten.search.fields import FIELDS
from teiten.search.formats import FORMATS
from teiten.search.permissions import PERMISSIONS
from teiten.search.query import Query, for_period
from teiten.search.service import Search
from teiten.search.tables import PACKETS, ROLL_UPS
from teiten.search.visibility import Visibility, for_role, for_viewer
from teiten.store.service import Store
from teiten.traffic.columns import COLUMNS

sys.path.insert(0, str(Path(__file__).parent))
from probing_fixtures import (
    BROAD,
    BROAD_PORT,
    CODER,
    MARKS,
    NOBODY,
    NOBODY_PORT,
    PAIR,
    PAIR_PORT,
    PAIRED,
    SENSORS,
    SINGLE,
    SINGLE_PORT,
    address_of,
    open_probed_world,
)
from search_fixtures import FIRST, IP_ID, NOW, PAYLOAD, PAYLOAD_HASH, TCP_ACK, TCP_SEQ, VLAN, World

pytestmark = pytest.mark.requirement("R0.1", "R3.1")

SECRET = b"s" * 32
MEMBER = for_viewer("member", organisation_id=1, secret=SECRET)
OTHER = for_viewer("member", organisation_id=2, secret=SECRET)
BLIND = for_viewer("member", organisation_id=1, secret=SECRET, member_level="aggregate")
#: Hosts sensor 3; the pair prober reaches it beside two sensors of others.
HOST = for_viewer("member", organisation_id=3, secret=SECRET, own_sensors=[SENSORS[2]])
ANALYST = for_viewer("analyst", may_see_payload=True)
MEMBERS = {"member": MEMBER, "aggregate": BLIND, "host": HOST}
ALL_COLUMNS = tuple(column.name for column in COLUMNS)
#: How each secret would look in JSON, CSV or hexadecimal.
SECRETS = {
    "sensor": [str(FIRST + number) for number in range(1, 8)],
    "destination": [*(f"192.0.2.{last}" for last in range(1, 8)), "2001:db8::", "c00002"],
    "sequence": [str(TCP_SEQ), f"{TCP_SEQ:08x}", *(str(0xC0000200 + last) for last in range(1, 8))],
    "acknowledgement": [str(TCP_ACK), f"{TCP_ACK:08x}"],
    "identification": [str(IP_ID), f"{IP_ID:04x}"],
    "vlan": [str(VLAN)],
    "payload": [PAYLOAD.hex(), PAYLOAD.hex().upper(), "secret!"],
    "payload hash": [f"{PAYLOAD_HASH:016x}", str(PAYLOAD_HASH)],
}


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with open_probed_world() as made:
        yield made


def last(text: str = "", period: str = "24h", **choices: Any) -> Query:
    return replace(for_period("live", period, now=NOW), filters=language.parse(text), **choices)


def find_leaks(text: str, *, own: str = "", is_host: bool = False) -> list[str]:
    """Name the secrets and marks in a text, digits only where they stand alone; ``own`` may stand there.

    The pair prober reached three sensors: a secret only for the host of one of them.
    """
    known = {**SECRETS, **MARKS, **(PAIRED if is_host else {})}
    return [
        what
        for what, forms in known.items()
        if any(re.search(rf"(?<![0-9]){re.escape(form)}(?![0-9])", text) for form in forms if form != own)
    ]


#: Method of Search → how it is asked. A new method that is not here fails the test below.
CALLS: dict[str, Callable[[Search, Visibility, Query], Any]] = {
    "totals": lambda search, viewer, query: search.totals(viewer, query),
    "series": lambda search, viewer, query: [
        search.series(viewer, replace(query, metric=metric), dimension=by, limit=20)
        for by in ("region", "dst_port", "asn")
        for metric in ("packets", "hosts")
    ],
    "top": lambda search, viewer, query: [
        search.top(viewer, replace(query, metric=metric), dimension=by, limit=1_000, sparks=False)
        for by, declared in DIMENSIONS.items()
        if viewer.grants(declared.permission)
        for metric in ("packets", "hosts")[: 2 if query.filters is None else 1]
    ],
    "facets": lambda search, viewer, query: [
        search.facets(viewer, query, dimensions=list(DIMENSIONS)[start : start + 20], limit=50)
        for start in range(0, len(DIMENSIONS), 20)
    ],
    "rows": lambda search, viewer, query: [
        search.rows(viewer, query, columns=columns, limit=1_000) for columns in (None, ALL_COLUMNS, _useful())
    ],
    "source": lambda search, viewer, query: [
        search.source(viewer, query, source=source) for source in (CODER, "203.0.113.0/24", "240.0.0.0/16")
    ],
    "sensors": lambda search, viewer, query: search.sensors(viewer, query),
    "basis": lambda search, viewer, query: search.basis(viewer, query),
    "breadth": lambda search, viewer, query: search.breadth(viewer, query),
    "compare": lambda search, viewer, query: [
        search.compare(
            viewer, query, one=SensorGroup(regions=frozenset({"kanto"})), other=None, dimension=by, limit=50
        )
        for by in ("dst_port", "country", "tcp_fp")
    ],
    "news": lambda search, viewer, query: [
        search.news(viewer, query, dimension=by, days=1, limit=50)
        for by in ("fingerprint_port", "dst_port", "tcp_fp", "probe")
    ],
    "movers": lambda search, viewer, query: search.movers(viewer, query, dimension="dst_port", limit=50),
    "datasets": lambda search, viewer, _: search.datasets(viewer),
    "fields": lambda search, viewer, _: search.fields(viewer),
    "complete": lambda search, viewer, _: [
        search.complete(viewer, f"{name} {operator} ") for name in FIELDS for operator in ("=", "!=")
    ],
    "export": lambda search, viewer, query: [
        read_file(
            file_format, b"".join(search.export(viewer, query, file_format=file_format, columns=columns))
        )
        for file_format in FORMATS
        for columns in (None, _useful())
    ],
}
#: Methods that are closed to members as a whole; each must refuse.
CLOSED: dict[str, Callable[[Search, Visibility, Query], Any]] = {
    "live": lambda search, viewer, query: search.live(viewer, query),
    "packet": lambda search, viewer, _: search.packet(viewer, f"live~{FIRST + 1}-1-1-1@1795143600000000"),
    "examples": lambda search, viewer, query: search.examples(viewer, query, payload_hash="0" * 16),
}


def _useful() -> tuple[str, ...]:
    return ("observed_at", "src_addr", "protocol", "dst_port", "tcp_fp", "country", "asn", "probe")


def ask(world: World, name: str, viewer: Visibility, query: Query) -> str:
    """Give an answer (or a refusal) as text, without what it took and without sealed pages."""
    try:
        return _plain(CALLS[name](world.search, viewer, query))
    except (QueryError, TooExpensive) as refused:
        return str(refused)


def _plain(answer: Any) -> str:
    return json.dumps(_drop(json.loads(to_json(answer))), default=str)


def _drop(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _drop(part) for key, part in value.items() if key not in ("cost", "next_page")}
    if isinstance(value, list):
        return [_drop(part) for part in value]
    return round(value, 6) if isinstance(value, float) else value


def read_file(file_format: str, data: bytes) -> list[dict[str, str]]:
    if file_format == "parquet":
        rows = pq.read_table(io.BytesIO(data)).to_pylist()
    elif file_format == "arrow":
        rows = pa.ipc.open_stream(data).read_all().to_pylist()
    elif file_format == "ndjson":
        rows = [json.loads(line) for line in data.decode().splitlines()]
    else:
        import csv

        rows = list(csv.DictReader(io.StringIO(data.decode())))
    return [{name: str(value) for name, value in row.items()} for row in rows]


VIEWERS = {**MEMBERS, "other": OTHER, "analyst": ANALYST}
#: A whole local day, an hour of it, and a day beyond it: what analysts and members may see of them has one window.
MIDNIGHT = datetime(2026, 11, 20, 15, tzinfo=timezone.utc)
PERIODS = [
    (MIDNIGHT - timedelta(days=1), MIDNIGHT),
    (MIDNIGHT - timedelta(days=3), MIDNIGHT),
    (MIDNIGHT - timedelta(hours=3), MIDNIGHT + timedelta(hours=2)),
]
SHARED: dict[str, Callable[[Search, Visibility, Query], Any]] = {
    **{name: CALLS[name] for name in ("totals", "basis", "breadth", "sensors", "datasets")},
    "ports": lambda search, viewer, query: search.top(viewer, query, dimension="dst_port"),
    "hints": lambda search, viewer, query: search.top(viewer, query, dimension="hint", sparks=False),
    "facets": lambda search, viewer, query: search.facets(viewer, query, dimensions=["dst_port", "asn"]),
    "series": lambda search, viewer, query: search.series(viewer, query, dimension="country"),
    "news": lambda search, viewer, query: search.news(viewer, query, dimension="tcp_fp", days=1),
    "source": lambda search, viewer, query: search.source(viewer, query, source=BROAD),
    "values": lambda search, viewer, _: search.complete(viewer, "dst_port = "),
}


@given(
    st.lists(
        st.tuples(
            st.sampled_from(list(SHARED)),
            st.sampled_from(list(VIEWERS)),
            st.sampled_from(PERIODS),
            st.sampled_from(["", "not dst_port = 63000", f"sensor = {SENSORS[2]}"]),
            st.sampled_from(["packets", "hosts", "rate"]),
        ),
        min_size=6,
        max_size=8,
    )
)
@settings(max_examples=3, deadline=None)
def test_what_is_remembered_is_nobody_elses(world: World, asked: list[tuple[Any, ...]]) -> None:
    """Questions of viewers in turn, out of one memory that never grows old, against one that knows nothing."""
    cold = Search(world.store, world.clock)
    try:
        for name, viewer, (start, end), text, metric in asked:
            query = Query("live", start, end, filters=language.parse(text), metric=metric)
            cold._desk.memory.forget()
            warm, fresh = (
                _ask_shared(search, name, VIEWERS[viewer], query) for search in (world.search, cold)
            )
            assert warm == fresh, (name, viewer)
    finally:
        cold.close()


def _ask_shared(search: Search, name: str, viewer: Visibility, query: Query) -> str:
    try:
        return _plain(SHARED[name](search, viewer, query))
    except (NotPermitted, QueryError, TooExpensive) as refused:
        return str(refused)


def test_every_call_of_search_is_tried_here() -> None:
    calls = {
        name
        for name, member in inspect.getmembers(Search, inspect.isfunction)
        if not name.startswith("_") and "visibility" in inspect.signature(member).parameters
    }

    assert calls == {*CALLS, *CLOSED}


@pytest.mark.parametrize(
    ("name", "viewer"),
    [
        (name, viewer)
        for name in CALLS
        for viewer in MEMBERS
        # Without pseudonyms only what lists sensors differs.
        if viewer != "aggregate" or name in ("sensors", "source", "export")
    ],
)
def test_no_answer_to_a_member_holds_a_secret_or_a_mark(world: World, name: str, viewer: str) -> None:
    is_host = viewer == "host"
    own = str(SENSORS[2]) if is_host else ""
    queries = [last(), last(f"src_addr = {CODER}"), *([] if name == "compare" else [last(period="7d")])]
    for query in queries:
        assert find_leaks(ask(world, name, MEMBERS[viewer], query), own=own, is_host=is_host) == []


@pytest.mark.parametrize("name", CALLS)
def test_a_probe_that_hit_looks_like_one_that_did_not(world: World, name: str) -> None:
    """Whoever asks for a probe of their own gets the same answer as for one that reached no sensor."""
    hits = [
        (f"src_addr = {SINGLE}", f"src_addr = {NOBODY}"),
        (f"dst_port = {SINGLE_PORT}/tcp", f"dst_port = {NOBODY_PORT}/tcp"),
        ('tcp_fp = "31337:2-4-8-1-3:1337:9"', 'tcp_fp = "31338:2-4-8-1-3:1337:9"'),
        (f"src_addr = {CODER} and dst_port = 62001", f"src_addr = {CODER} and dst_port = 62009"),
        ("country = ZZ", "country = YY"),
        ("asn = 65533", "asn = 65532"),
        ("probe = marked-probe", "probe = marked-never"),
        ("src_addr = 192.0.2.2", "src_addr = 192.0.2.99"),
    ]
    paired = [
        (f"src_addr = {PAIR}", f"src_addr = {NOBODY}"),
        (f"dst_port = {PAIR_PORT}", f"dst_port = {NOBODY_PORT}"),
    ]
    for viewer, pairs in ((MEMBER, hits), (HOST, paired)):
        for hit, miss in pairs:
            if name in ("top", "facets") and hit.startswith(("asn", "country", "tcp_fp", "probe")):
                continue  # the slowest calls, with the conditions that a sender chooses most easily
            found, absent = (ask(world, name, viewer, last(text)) for text in (hit, miss))
            assert _without(found, hit) == _without(absent, miss), hit


def _without(text: str, condition: str) -> str:
    """Take the question's own values out of an answer that repeats them."""
    for value in re.findall(r"= (\S+)", condition):
        text = text.replace(value.strip('"'), "VALUE")
    return text


@pytest.mark.parametrize("name", CALLS)
def test_the_test_would_see_a_leak(world: World, name: str) -> None:
    """The same questions tell an analyst; otherwise the tests above would prove nothing."""
    if name in ("totals", "sensors", "basis", "datasets", "fields", "breadth", "movers", "series"):
        assert ask(world, "totals", ANALYST, last(f"src_addr = {SINGLE}")) != ask(
            world, "totals", ANALYST, last(f"src_addr = {NOBODY}")
        )
        return
    # News are of whole days: these hold the planted hours for an analyst too.
    text = ask(world, name, ANALYST, last().within(NOW - timedelta(hours=30), NOW))
    assert len(find_leaks(text)) >= (1 if name in ("source", "compare", "complete") else 3), name


def test_what_is_shared_stays_useful(world: World) -> None:
    rows = world.search.rows(MEMBER, last(f"src_addr = {BROAD}"), columns=_useful())

    assert [row[1:4] for row in rows.rows] == [(BROAD, 6, BROAD_PORT)]
    assert (rows.packets, rows.references, rows.next_page) == ((10,), (), None)
    assert rows.rows[0][0].minute == 0
    page = world.search.source(MEMBER, last(), source=BROAD)
    assert (page.packets, page.ports[0].group.key, page.ttls) == (10, f"{BROAD_PORT}/tcp", ())
    assert [count.group.key for count in page.hints] == ["mirai"]
    assert "mirai" in [value.group.key for value in world.search.top(MEMBER, last(), dimension="hint").rows]


@pytest.mark.parametrize("viewer", MEMBERS)
@pytest.mark.parametrize("name", CLOSED)
def test_single_packets_are_closed_to_members(world: World, name: str, viewer: str) -> None:
    with pytest.raises((NotPermitted, QueryError)) as refused:
        CLOSED[name](world.search, MEMBERS[viewer], last())

    assert find_leaks(str(refused.value)) == []


def test_every_column_is_closed_unless_it_is_listed() -> None:
    assert set(PERMISSIONS) == set(ALL_COLUMNS)
    assert {name for name in ALL_COLUMNS if MEMBER.grants(PERMISSIONS[name])} == {
        "dataset", "region", "answering", "observed_at", "ip_version", "src_addr", "protocol", "dst_port",
        "nature", "validity", "probe", "hints", "tcp_fp", "country", "asn", "survey", "actor",
    }  # fmt: skip
    assert all(field.permission == PERMISSIONS[field.column] for name, field in FIELDS.items())
    assert all(for_role("analyst").grants(permission) for permission in PERMISSIONS.values())


def test_every_table_of_packets_knows_its_sensors() -> None:
    assert [table.name for table in (PACKETS, *ROLL_UPS) if not guarding.knows_sensors(table)] == []


CLOSED_FIELDS = [name for name, field in FIELDS.items() if not MEMBER.grants(field.permission)]


@pytest.mark.parametrize("name", CLOSED_FIELDS)
def test_what_is_masked_is_neither_filtered_nor_split_by(world: World, name: str) -> None:
    value = {"address": "192.0.2.1", "hash": "0" * 16, "yesno": "yes", "bits": "syn", "marks": "none"}.get(
        FIELDS[name].kind, "1"
    )
    narrowed = last(f"country = CN or not ({name} = {value} or asn = 3)")
    for call, make in CALLS.items():
        if call not in ("datasets", "fields", "complete"):
            with pytest.raises(NotPermitted, match=name):
                make(world.search, MEMBER, narrowed)
    if FIELDS[name].is_dimension:
        for split in (
            lambda: world.search.series(MEMBER, last(), dimension=name),
            lambda: world.search.top(MEMBER, last(), dimension=name),
            lambda: world.search.compare(
                MEMBER, last(), one=SensorGroup(), other=None, dimension=name, limit=5
            ),
        ):
            with pytest.raises(NotPermitted, match=name):
                split()
        assert name in world.search.facets(MEMBER, last(), dimensions=[name]).masked


def test_lines_are_ordered_and_paged_by_what_they_show(world: World) -> None:
    columns, query = ("observed_at", "protocol", "dst_port", "country"), last(period="7d")
    whole = world.search.rows(MEMBER, query, columns=columns, limit=1_000)
    seen: list[Any] = []
    page = None
    for _ in range(200):
        answer = world.search.rows(MEMBER, query, columns=columns, limit=7, page=page)
        seen += answer.rows
        page = answer.next_page
        if page is None:
            break

    assert seen == list(whole.rows)
    assert seen == sorted(seen, key=lambda row: (-row[0].timestamp(), row[1:]))
    assert len(set(seen)) == len(seen) > 20


def test_pages_belong_to_one_organisation_and_one_list(world: World) -> None:
    columns = ("observed_at", "protocol", "dst_port", "country")
    page = world.search.rows(MEMBER, last(period="7d"), columns=columns, limit=2).next_page

    assert page is not None
    assert find_leaks(page) == []
    for viewer, asked in ((OTHER, columns), (ANALYST, columns), (MEMBER, columns[:3])):
        with pytest.raises(QueryError, match="page"):
            world.search.rows(viewer, last(period="7d"), columns=asked, limit=2, page=page)


def test_a_host_sees_the_own_sensors_as_they_are(world: World) -> None:
    mine = last(f"sensor = {SENSORS[2]}")
    rows = world.search.rows(HOST, mine, columns=ALL_COLUMNS, limit=1_000)

    assert {row[ALL_COLUMNS.index("dst_addr")] for row in rows.rows} == {address_of(SENSORS[2])}
    assert "payload" in rows.masked, "payload needs a permission and a reason besides"
    assert world.search.packet(HOST, rows.references[0]).fields["dst_addr"] == address_of(SENSORS[2])
    assert world.search.top(HOST, mine, dimension="dst_addr").distinct == 1
    assert world.search.facets(HOST, mine, dimensions=["sensor"]).facets[0].distinct == 1


@pytest.mark.parametrize(
    "text",
    [
        f"sensor = {SENSORS[0]}",
        f"sensor in ({SENSORS[2]}, {SENSORS[0]})",
        f"sensor != {SENSORS[2]}",
        f"sensor = {SENSORS[2]} or country = CN",
        f"not (sensor = {SENSORS[0]})",
    ],
)
def test_a_host_gets_no_other_sensor_by_any_filter(world: World, text: str) -> None:
    for call in ("rows", "totals", "facets", "export"):
        with pytest.raises(NotPermitted, match="sensor"):
            CALLS[call](world.search, HOST, last(text))


def test_own_sensors_do_not_make_up_the_number(world: World) -> None:
    """With two of others and one's own, the pair would be three: the own one must not count."""
    assert world.search.rows(HOST, last(f"src_addr = {PAIR}"), columns=_useful()).rows == ()
    assert world.search.totals(HOST, last(f"src_addr = {PAIR}")).packets.value == 0
    assert len(world.search.rows(MEMBER, last(f"src_addr = {PAIR}"), columns=_useful()).rows) == 1


def test_a_source_page_is_real_for_nobody_by_a_filter(world: World) -> None:
    with pytest.raises(NotPermitted, match="sensor"):
        world.search.source(HOST, last(f"sensor = {SENSORS[2]}"), source="203.0.113.0/24")


class TestPseudonyms:
    def test_are_stable_for_one_and_unlinkable_between_two(self, world: World) -> None:
        names = [
            {each.pseudonym for each in world.search.sensors(viewer, last()).sensors}
            for viewer in (MEMBER, MEMBER, OTHER)
        ]

        assert names[0] == names[1]
        assert len(names[0]) == 7
        assert names[0] & names[2] == set()
        assert all(pseudonyms.is_pseudonym(name) for name in names[0])

    def test_an_own_sensor_keeps_its_number_and_aggregate_has_none(self, world: World) -> None:
        shown = world.search.sensors(HOST, last()).sensors

        assert [each.sensor for each in shown if each.sensor is not None] == [SENSORS[2]]
        assert world.search.sensors(BLIND, last()).sensors == ()
        order = [each.pseudonym for each in shown if each.sensor is None]
        assert order == sorted(order), "not in the order of the sensors' numbers"

    def test_tell_nothing_that_a_flood_would_change(self, world: World) -> None:
        for each in world.search.sensors(MEMBER, last()).sensors:
            assert (each.captured_packets, each.kernel_drops, each.cells) == (0, 0, ())
            assert each.last_window_at is None

    def test_given_back_as_a_filter_are_refused_by_name(self, world: World) -> None:
        name = world.search.sensors(MEMBER, last()).sensors[0].pseudonym

        with pytest.raises(QueryError, match=name):
            language.parse(f"sensor = {name}")
        with pytest.raises(QueryError, match="no filter"):
            language.parse(f"country = CN and sensor in ({name.lower()}, 1)")

    @given(st.integers(0, 0xFFFFFFFF), st.integers(0, 0xFFFFFFFF))
    @settings(max_examples=25)
    def test_two_sensors_are_never_one(self, one: int, two: int) -> None:
        names = {pseudonyms.name_sensor(MEMBER, one), pseudonyms.name_sensor(MEMBER, two)}

        assert len(names) == len({one, two})


class TestTimes:
    def test_a_members_period_is_whole_hours_that_end_before_now(self, world: World) -> None:
        basis = world.search.totals(MEMBER, last(period="1h")).basis

        assert (basis.start_at, basis.end_at) == (NOW - timedelta(hours=2), NOW - timedelta(hours=1))
        assert basis.least_sensors == 3
        assert world.search.totals(ANALYST, last()).basis.least_sensors == 1

    @given(
        st.datetimes(datetime(2026, 1, 1), datetime(2026, 11, 20)),
        st.timedeltas(timedelta(seconds=1), timedelta(days=40)),
        st.booleans(),
    )
    @settings(max_examples=50)
    def test_snapped_periods_are_whole_and_never_newer_than_allowed(
        self, start: datetime, length: timedelta, keep: bool
    ) -> None:
        latest = NOW - timedelta(hours=1)
        zone, by_days = "Asia/Tokyo", length >= timedelta(days=3)
        begun, ended = admission.snap(
            start.replace(tzinfo=timezone.utc),
            start.replace(tzinfo=timezone.utc) + length,
            latest=latest,
            zone=zone,
            by_days=by_days,
            keep_length=keep,
        )
        hours = (begun + timedelta(hours=9)).hour, (ended + timedelta(hours=9)).hour

        assert begun < ended <= latest
        assert begun.minute == ended.minute == begun.second == ended.microsecond == 0
        assert not by_days or hours == (0, 0)

    @pytest.mark.parametrize("step", [1, 60, 900, 7_200, 7 * 86_400])
    def test_buckets_finer_than_an_hour_or_beyond_the_end_are_refused(self, world: World, step: int) -> None:
        with pytest.raises(QueryError, match="not for members"):
            world.search.totals(MEMBER, last(), step_seconds=step)

    def test_what_is_too_new_is_in_no_answer(self, world: World) -> None:
        newest = {
            row[0] for row in world.search.rows(MEMBER, last(), columns=("observed_at",), limit=500).rows
        }

        assert max(newest) == NOW - timedelta(hours=2)


class TestFigures:
    def test_are_coarse_and_not_far_off(self, world: World) -> None:
        for count in (1, 3, 9, 10, 11, 99, 100, 1_234, 9_999, 10_000, 123_456, 10**12 - 1):
            step = max(10, 10 ** (len(str(count)) - 3))
            coarse = _coarsen(world.store, count)

            assert coarse % step == 0
            assert coarse > 0
            assert abs(coarse - count) <= step

    def test_a_difference_of_two_figures_does_not_tell_one_packet(self, world: World) -> None:
        """With and without one probe: the same figure but at one secret place of each step."""
        coarse = [_coarsen(world.store, count) for count in range(20, 140)]
        steps = [after - before for before, after in pairwise(coarse)]

        assert set(steps) == {0, 10}
        assert steps.count(0) >= 0.85 * len(steps)
        edges = [place % 10 for place, step in enumerate(steps) if step]
        assert len(set(edges)) > 3, "each step has a threshold of its own"

    def test_two_organisations_see_other_roundings(self, world: World) -> None:
        def figures(viewer: Visibility) -> list[Any]:
            return [row.figure.value for row in world.search.top(viewer, last(), dimension="asn").rows]

        assert figures(MEMBER) == figures(MEMBER)
        assert sorted(figures(MEMBER)) != sorted(figures(OTHER))

    def test_orders_follow_what_is_shown(self, world: World) -> None:
        for by in ("country", "dst_port", "asn", "src_addr"):
            rows = world.search.top(MEMBER, last(), dimension=by, limit=50).rows
            figures = [row.figure.value for row in rows]
            assert figures == sorted(figures, reverse=True)


def _coarsen(store: Store, count: int) -> int:
    """Ask the store's own arithmetic."""
    statement = f"SELECT {guarding.coarsen(MEMBER, str(count))} AS coarse"
    return int(store.select(statement, {}).column("coarse")[0].as_py())


@pytest.mark.parametrize("file_format", list(FORMATS))
def test_files_are_masked_too(world: World, file_format: Any) -> None:
    for columns in (None, ALL_COLUMNS, _useful()):
        made = world.search.export(MEMBER, last(period="7d"), file_format=file_format, columns=columns)
        rows = read_file(file_format, b"".join(made))

        assert len(rows) == made.start.rows
        assert find_leaks(json.dumps(rows)) == []
        assert made.start.columns[-1] == "packets"
        assert made.start.metadata["teiten.disclosure"] == "pseudonym"
        assert made.start.metadata["teiten.tlp"] == "AMBER"
    analyst = world.search.export(ANALYST, last(), file_format=file_format, columns=ALL_COLUMNS)
    assert "destination" in find_leaks(json.dumps(read_file(file_format, b"".join(analyst))))


def test_a_file_and_a_list_hold_the_same_lines(world: World) -> None:
    columns = ("observed_at", "protocol", "dst_port", "country")
    made = world.search.export(MEMBER, last(period="7d"), file_format="ndjson", columns=columns)
    listed = world.search.rows(MEMBER, last(period="7d"), columns=columns, limit=1_000)

    in_file = read_file("ndjson", b"".join(made))
    assert len(in_file) == len(listed.rows)
    assert sorted(int(row["packets"]) for row in in_file) == sorted(listed.packets)


def test_a_statement_that_nobody_guarded_is_refused() -> None:
    bare = "SELECT count() FROM packets WHERE dataset = {p0:String}"

    with pytest.raises(TypeError, match="not guarded"):
        check_statement(MEMBER, bare)
    with pytest.raises(TypeError, match="own sensors"):
        check_statement(HOST.for_own_sensors(), bare)
    check_statement(ANALYST, bare)
    check_statement(MEMBER, "SELECT count() FROM coverage_1h WHERE dataset = {p0:String}")
    check_statement(HOST.for_own_sensors(), bare + " AND sensor = {p1:UInt32}")


def test_completion_is_remembered_by_level(world: World) -> None:
    """What an analyst was offered a moment ago must not be offered to a member."""
    analyst = world.search.complete(ANALYST, "country = ")
    member = world.search.complete(MEMBER, "country = ")

    assert "ZZ" in {item.text for item in analyst}
    assert "ZZ" not in {item.text for item in member}
    assert world.search.complete(MEMBER, "sensor = ") == ()


def test_an_unknown_role_sees_nothing() -> None:
    with pytest.raises(NotPermitted, match="known roles"):
        for_viewer("guest")


def test_payload_needs_a_grant() -> None:
    assert not for_viewer("analyst").grants("payload")
    assert not for_viewer("member", may_see_payload=True).grants("payload")
    assert for_viewer("operator", may_see_payload=True).grants("payload")
