"""Parts of the screens of issue 3 that need no server: addresses of values, groups of sensors, pictures, words."""

# ruff: noqa: E402 - Django is set up before its models are imported

from __future__ import annotations

from datetime import date, datetime, timedelta, timezone
from typing import Any, cast
from zoneinfo import ZoneInfo

import pytest
from django.http import HttpRequest, QueryDict
from hypothesis import given, settings
from hypothesis import strategies as st

from teiten.portal.testing import start_django_for_tests

start_django_for_tests()

from teiten.fleet.health import Condition
from teiten.fleet.selectors import SensorBrief
from teiten.portal.charts.calendar import draw_hours
from teiten.portal.charts.verdict_days import draw_verdict_days
from teiten.portal.charts.whiskers import WIDTH, Ratio, draw_whiskers
from teiten.portal.compare.groups import PARAMETERS, read_choice
from teiten.portal.explore.finding import find_target
from teiten.portal.naming.kinds import BY_NAME, KINDS, kind_of, read_key, write_key
from teiten.portal.presenting.news import write_growth
from teiten.portal.sensors.marking import mark_rows
from teiten.portal.sensors.presenter import as_row, mask_row
from teiten.portal.sources.verdicts import describe_tool
from teiten.search.answers import CalendarDay, Group, SourcePage, VerdictDay
from teiten.search.dimensions import DIMENSIONS, get_dimension, parse_key
from teiten.search.errors import QueryError
from teiten.search.watching import SensorCoverage
from teiten.traffic.hints import Hint
from teiten.traffic.verdicts import ToolVerdict

pytestmark = pytest.mark.requirement("R0.2", "R2.3")
NOON = datetime(2026, 11, 21, 3, 0, tzinfo=timezone.utc)
RATES = st.none() | st.floats(1e-4, 1e4)


@given(st.integers(0, 65_535), st.sampled_from(["tcp", "udp", "sctp"]))
@settings(max_examples=30)
def test_a_port_in_an_address_is_the_port_that_was_written(number: int, protocol: str) -> None:
    key = f"{number}/{protocol}"

    assert read_key(BY_NAME["port"], write_key(BY_NAME["port"], key)) == key


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_every_kind_and_every_list_of_its_page_is_a_dimension(kind: Any) -> None:
    assert kind.dimension in DIMENSIONS
    assert set(kind.lists) <= set(DIMENSIONS)
    assert kind.dimension not in kind.lists


def test_a_value_that_is_none_has_no_page() -> None:
    assert kind_of(Group("probe", "none", "none", None, "probe = none")) is None
    assert kind_of(Group("region", "kanto", "kanto", None, "region = kanto")) is None


def test_a_senseless_key_in_an_address_is_refused_by_name() -> None:
    with pytest.raises(QueryError, match="99999"):
        parse_key(get_dimension("dst_port"), "99999/tcp")


@pytest.mark.parametrize(
    ("typed", "path"),
    [
        ("AS64500", "/as/64500"),
        ("23", "/port/23"),
        ("53/UDP", "/port/53-udp"),
        ("64240:2-4-8-1-3:1460:7", "/fingerprint/64240:2-4-8-1-3:1460:7"),
        ("0123456789ABCDEF", "/payload/0123456789abcdef"),
        ("JP", "/country/JP"),
        ("192[.]0[.]2[.]1", "/sources/192.0.2.1"),
        ("dst_port = 23", "/explore/?q=dst_port+%3D+23"),
    ],
)
def test_the_search_box_leads_to_the_page_of_what_was_typed(typed: str, path: str) -> None:
    assert find_target(typed) == path


@pytest.mark.parametrize("typed", ["99999", "hello", "300.1.1.1"])
def test_what_means_nothing_is_refused_with_what_may_be_typed(typed: str) -> None:
    with pytest.raises(QueryError) as caught:
        find_target(typed)

    assert "AS64500" in caught.value.rule


@given(st.lists(st.tuples(RATES, RATES, RATES), max_size=20))
@settings(max_examples=50)
def test_whiskers_stay_in_the_picture_in_order_and_beside_their_dot(rows: list[tuple[Any, Any, Any]]) -> None:
    ratios = [Ratio(*_in_order(low, middle, high)) for low, middle, high in rows]

    picture = draw_whiskers(ratios)

    for ratio, whisker in zip(ratios, picture.rows, strict=True):
        assert 0 <= whisker.left <= WIDTH
        assert 0 <= whisker.right <= WIDTH
        assert (whisker.dot is None) == (ratio.ratio is None)
        if whisker.has_interval and whisker.dot is not None:
            assert whisker.left <= whisker.dot <= whisker.right
        assert whisker.is_sure == (whisker.has_interval and not _holds_one(ratio))


def _in_order(low: float | None, middle: float | None, high: float | None) -> tuple[Any, Any, Any]:
    if low is None or middle is None or high is None:
        return middle, None, None
    low, middle, high = sorted((low, middle, high))
    return middle, low, high


def _holds_one(ratio: Ratio) -> bool:
    return ratio.low is not None and ratio.high is not None and ratio.low <= 1 <= ratio.high


def _ask(query: str) -> HttpRequest:
    request = HttpRequest()
    request.GET = QueryDict(query)
    return request


def test_groups_of_sensors_are_read_from_the_address() -> None:
    choice = read_choice(
        _ask("one_region=kanto&one_region=kinki&one_asn=AS64500,64501&other_kind=cloud&same=yes")
    )

    assert choice.one.regions == ("kanto", "kinki")
    assert choice.one.asns == (64500, 64501)
    assert choice.other is not None
    assert choice.other.kinds == ("cloud",)
    assert choice.same_sensors


def test_a_group_may_be_compared_with_itself_before() -> None:
    assert read_choice(_ask("one_region=kanto&against=before")).other is None


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("one_sensor=one", "one_sensor"),
        ("split=colour", "split"),
        ("against=nobody", "against"),
        ("same=1", "same"),
    ],
)
def test_a_senseless_group_is_refused_by_its_parameter(query: str, field: str) -> None:
    with pytest.raises(QueryError) as caught:
        read_choice(_ask(query))

    assert caught.value.field == field
    assert field in PARAMETERS


@pytest.mark.parametrize(("change", "text"), [(2.4, "+240 %"), (0.118, "+12 %"), (119.0, "×120")])  # noqa: RUF001 - the sign people read
def test_growth_is_written_in_percent_and_in_times_when_it_is_huge(change: float, text: str) -> None:
    assert write_growth(change) == text


def _verdict(state: str, confidence: float = 0.99, hint: Hint = Hint.MIRAI) -> ToolVerdict:
    return ToolVerdict(
        "Mirai-like", hint, cast("Any", state), 98, 0, 3, confidence, 2, "98 of 98 SYNs match, rule v2"
    )


STATES = {"yes": "vd-yes", "no": "zero", "not computable": "hatched", "too few": "vd-few"}
WORDS = {state: state for state in (*STATES, "unseen", "unwatched")}


def test_every_state_of_a_verdict_looks_different_and_none_like_a_day_that_was_not_watched() -> None:
    days = [
        VerdictDay(date(2026, 11, 1) + timedelta(days=n), 5, (_verdict(state),))
        for n, state in enumerate(STATES)
    ]
    calendar = [CalendarDay(date(2026, 11, 1) + timedelta(days=n), 5, None, 1.0) for n in range(4)]
    # A day on which nothing was watched, and one on which nothing came, between days with packets.
    calendar += [
        CalendarDay(date(2026, 11, 5), None, None, 0.0),
        CalendarDay(date(2026, 11, 6), 0, None, 1.0),
        CalendarDay(date(2026, 11, 7), 5, None, 1.0),
    ]
    days.append(VerdictDay(date(2026, 11, 7), 5, (_verdict("yes"),)))

    strip = draw_verdict_days(days, calendar, names={Hint.MIRAI: "Mirai-like"}, words=WORDS)

    assert strip is not None
    assert [cell.css for cell in strip.cells] == [*STATES.values(), "unwatched", "unseen", "vd-yes"]


def test_a_source_of_which_every_tool_is_no_has_no_strip() -> None:
    days = [VerdictDay(date(2026, 11, 1), 5, (_verdict("no", 0.0),))]

    assert draw_verdict_days(days, [], names={}, words=WORDS) is None


@pytest.mark.parametrize(
    ("state", "confidence"), [("yes", 0.99), ("no", 0.0), ("not computable", None), ("too few", 0.99)]
)
def test_a_verdict_that_is_not_computable_is_no_zero(state: str, confidence: float | None) -> None:
    page = cast("SourcePage", _Page(verdicts=(_verdict(state),)))

    shown = describe_tool(page)

    assert shown.confidence == confidence
    assert "98" in shown.grounds
    assert "v2" in shown.grounds


class _Page:
    packets, sensors_seen, sensors_covered = 98, 37, 9_871

    def __init__(self, *, verdicts: tuple[ToolVerdict, ...]) -> None:
        self.verdicts = verdicts


ROW = SensorBrief(
    id=None, name="P-AAAAAAAA", is_masked=True, region="kanto", organisation="", software="0.1.0",
    conditions=(Condition.SKEWED, Condition.DROPPING), heard_us=1_795_230_000_000_000, missing_batches=7,
    clock_offset_us=2_000_000, drop_share=0.4,
)  # fmt: skip
WATCHED = SensorCoverage(
    sensor=None, region="", addresses=0.0, last_window_at=None, last_landed_at=None, last_epoch=0, last_seq=0,
    clock_offset_seconds=None, share=0.5, cells=(), captured_packets=0, kernel_drops=0, missing_batches=0, lost_batches=0,
    software="", state="watching", pseudonym="P-AAAAAAAA",
)  # fmt: skip


@pytest.mark.requirement("R0.1")
def test_of_somebody_elses_sensor_the_screen_tells_no_more_than_the_search() -> None:
    masked = mask_row(ROW, {"P-AAAAAAAA": WATCHED})

    assert masked == SensorBrief(
        id=None, name="P-AAAAAAAA", is_masked=True, region="", organisation="", software="",
        conditions=(Condition.WATCHING,), heard_us=None, missing_batches=0, clock_offset_us=None, drop_share=0.0,
    )  # fmt: skip
    told = as_row(masked)
    assert (told.name, told.condition, told.heartbeat_at, told.software) == (
        "P-AAAAAAAA",
        Condition.WATCHING,
        None,
        "",
    )


def test_the_legend_has_the_order_of_the_states_not_of_the_sensors() -> None:
    rows = [
        ROW._replace(conditions=(condition,))
        for condition in (Condition.QUARANTINED, Condition.SILENT, Condition.WATCHING, Condition.SILENT)
    ]

    marks, legend = mark_rows(rows, "state", {})

    assert [mark.css for mark in marks] == ["st-q", "st-s", "st-w", "st-s"]
    assert [mark.css for mark in legend] == ["st-w", "st-s", "st-q"]


def test_planned_maintenance_is_no_gap_in_a_sensors_calendar() -> None:
    starts = [NOON + timedelta(hours=n) for n in range(3)]
    words = {"unwatched": "not watched", "planned": "planned"}

    calendar = draw_hours(
        starts, [0.0, None, 1.0], zone=ZoneInfo("Asia/Tokyo"), words=words, planned=[(starts[0], starts[1])]
    )

    assert [square.css for square in calendar.squares] == ["planned", "hatched", "hatched", "cell-c"]
    assert calendar.squares[0].title.endswith("planned")
