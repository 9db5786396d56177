"""Queries as URL parameters: round trip, and every senseless one refused."""

from __future__ import annotations

import importlib.util
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from teiten.search import url
from teiten.search.conditions import where
from teiten.search.errors import QueryError
from teiten.search.query import METRICS, MODES, PERIODS, SURVEYS, Query, for_period

_spec = importlib.util.spec_from_file_location(
    "search_language_strategies", Path(__file__).with_name("test_search_language.py")
)
assert _spec is not None
assert _spec.loader is not None
strategies = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(strategies)

pytestmark = pytest.mark.requirement("R2.3", "R2.4")

NOW = datetime(2026, 11, 21, 3, 0, tzinfo=timezone.utc)

_instants = st.datetimes(
    datetime(1971, 1, 1), datetime(2100, 1, 1), timezones=st.just(timezone(timedelta(hours=9)))
)
_datasets = st.sampled_from(["live", "simulated", "import:a-1"])


@st.composite
def queries(draw: st.DrawFn) -> Query:
    filters = draw(st.one_of(st.none(), strategies.expressions()))
    survey, metric = draw(st.sampled_from(SURVEYS)), draw(st.sampled_from(METRICS))
    dataset = draw(_datasets)
    if draw(st.booleans()):
        base = for_period(dataset, draw(st.sampled_from(list(PERIODS))), now=NOW)
    else:
        start = draw(_instants)
        base = Query(
            dataset, start, start + draw(st.timedeltas(timedelta(microseconds=1), timedelta(days=900)))
        )
    mode = draw(st.sampled_from(MODES))
    return Query(dataset, base.start, base.end, filters, survey, metric, base.period, mode)


@settings(max_examples=150, deadline=None)
@given(queries())
def test_decoding_is_the_inverse_of_encoding(query: Query) -> None:
    assert url.decode(url.encode_string(query), now=NOW) == query
    assert url.decode(url.encode(query), now=NOW) == query


def test_nothing_given_means_the_last_day_of_live() -> None:
    query = url.decode("", now=NOW)

    assert (query.dataset, query.length, query.metric, query.survey) == (
        "live",
        timedelta(hours=24),
        "packets",
        "all",
    )
    assert url.encode(query) == {"v": "1", "period": "24h"}


def test_a_relative_period_follows_the_clock() -> None:
    text = url.encode_string(for_period("live", "7d", now=NOW))

    later = url.decode(text, now=NOW + timedelta(days=2))

    assert later.end == NOW + timedelta(days=2)


def test_a_callers_own_parameters_are_left_alone() -> None:
    assert url.decode("period=7d&by=country", now=NOW, extra=("by",)).period == "7d"


@pytest.mark.parametrize(
    ("text", "field", "words"),
    [
        ("v=2", "v", "open the screen anew"),
        ("perod=7d", "perod", "did you mean period"),
        ("period=8d", "period", "use one of 1h"),
        ("period=custom", "start", "missing"),
        ("period=custom&start=2026-11-21T00:00:00Z", "end", "missing"),
        ("period=7d&start=2026-11-21T00:00:00Z", "start", "period=custom"),
        ("period=custom&start=2026-11-21&end=2026-11-22T00:00:00Z", "start", "no zone"),
        ("period=custom&start=yesterday&end=2026-11-22T00:00:00Z", "start", "no instant"),
        ("period=custom&start=2026-11-22T00:00:00Z&end=2026-11-21T00:00:00Z", "end", "start before end"),
        ("period=custom&start=0001-01-01T00:00:00%2B09:00&end=2026-11-21T00:00:00Z", "start", "calendar"),
        ("dataset=production", "dataset", "import:NAME"),
        ("dataset=import:UPPER", "dataset", "import:NAME"),
        ("survey=some", "survey", "all, without, only"),
        ("metric=bytes", "metric", "hosts, packets, rate"),
        ("q=dst_port+%3D+70000", "dst_port", "0–65535"),  # noqa: RUF001
        ("period=7d&period=30d", "period", "once"),
        ("q=ttl%3D1&q=ttl%3D2", "q", "once"),
        ("&".join(f"a{i}=1" for i in range(200)), "q", "100"),
    ],
)
@pytest.mark.requirement("R2.4")
def test_a_senseless_parameter_is_refused_by_name(text: str, field: str, words: str) -> None:
    with pytest.raises(QueryError) as caught:
        url.decode(text, now=NOW)

    assert caught.value.field == field
    assert words in str(caught.value)
    assert caught.value.rule


class TestPivots:
    def test_including_narrows_once(self) -> None:
        query = for_period("live", "24h", now=NOW)

        narrowed = query.include("country", "CN").include("country", "CN")

        assert narrowed.conditions == (where("country", "=", "CN"),)
        assert narrowed.widen(0) == query

    def test_excluding_negates(self) -> None:
        query = for_period("live", "24h", now=NOW).exclude(where("country", "=", "CN"))

        assert query.conditions == (where("country", "!=", "CN"),)

    def test_the_period_before_touches_this_one(self) -> None:
        query = for_period("live", "24h", now=NOW)

        assert query.before().end == query.start
        assert query.before().length == query.length


def test_the_mode_is_part_of_the_address() -> None:
    query = url.decode("v=1&period=7d&mode=answering", now=NOW)

    assert query.mode == "answering"
    assert url.encode(query)["mode"] == "answering"
    assert url.decode("v=1&period=7d", now=NOW).mode == "auto"
    with pytest.raises(QueryError, match="mode must be one of auto, silent, answering, all"):
        url.decode("mode=loud", now=NOW)


def test_the_newest_packets_are_in_a_relative_period() -> None:
    now = NOW.replace(second=17, microsecond=5)

    assert for_period("live", "1h", now=now).end == NOW.replace(second=0, microsecond=0) + timedelta(
        minutes=1
    )
    assert for_period("live", "1h", now=NOW.replace(second=0, microsecond=0)).end == NOW.replace(
        second=0, microsecond=0
    )
