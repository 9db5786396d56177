"""How the portal writes and draws: numbers, instants, sparklines, calendars, changes."""

from __future__ import annotations

import re
from datetime import date, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from teiten.portal.charts import calendar, marks
from teiten.portal.naming.countries import name_country
from teiten.portal.naming.instants import Instants
from teiten.portal.presenting import comparing, figures
from teiten.search.answers import CalendarDay, Figure

pytestmark = pytest.mark.requirement("R0.2")
TOKYO = ZoneInfo("Asia/Tokyo")
NOON = datetime(2026, 11, 21, 3, 0, tzinfo=timezone.utc)
VALUES = st.lists(st.none() | st.floats(0, 1e9), max_size=400)


@pytest.mark.parametrize(
    ("value", "language", "text", "unit"),
    [
        (642_118, "ja", "642,118", ""),
        (177_000_000, "ja", "1.77", "億"),
        (177_000_000, "en", "177", "M"),
        (1_020_000, "ja", "102", "万"),
        (0, "en", "0", ""),
        (0.5, "en", "0.50", ""),
    ],
)
def test_key_figures_are_shortened_in_the_units_of_the_language(
    value: float, language: str, text: str, unit: str
) -> None:
    assert figures.shorten(value, language) == figures.Figure(text, unit)


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (None, "—"),
        (0.958, "95.8 %"),
        (0.00003, "0.003 %"),
        (0.99999, "99.99 %"),
        (1.0, "100.0 %"),
        (0.0, "0.0 %"),
    ],
)
def test_a_share_close_to_all_or_nothing_keeps_what_matters(share: float | None, text: str) -> None:
    assert figures.format_share(share) == text


@pytest.mark.parametrize(
    ("now", "before", "tone"),
    [
        (119, 100, "flat"),
        (121, 100, "up"),
        (79, 100, "down"),
        (100.4, 100, "flat"),
        (5, 0, "none"),
        (5, None, "none"),
    ],
)
def test_a_change_is_coloured_from_a_fifth_on(now: float, before: float | None, tone: str) -> None:
    assert figures.describe_change(now, before).tone == tone


def test_times_are_the_installations_and_say_so() -> None:
    assert Instants(TOKYO, "ja").full(NOON) == "2026-11-21 12:00 JST"
    assert Instants(TOKYO, "en").full(NOON) == "21 Nov 2026 12:00 JST"


@given(st.datetimes(datetime(1990, 1, 1), datetime(2090, 1, 1), timezones=st.just(timezone.utc)))
def test_the_browser_gets_the_wall_clock_whatever_its_own_zone(at: datetime) -> None:
    shown = datetime.fromtimestamp(Instants(TOKYO, "ja").wall_ms(at) / 1000, timezone.utc)

    assert shown.replace(tzinfo=None, microsecond=0) == at.astimezone(TOKYO).replace(
        tzinfo=None, microsecond=0
    )


@given(VALUES)
def test_a_sparkline_breaks_where_nothing_was_watched(values: list[float | None]) -> None:
    line, area = marks.draw_spark(values, width=200, height=28, top=marks.highest(values))

    runs = len(re.findall(r"1+", "".join("0" if value is None else "1" for value in values)))
    assert line.count("M") == area.count("M") == runs


@given(VALUES.filter(bool), st.integers(1, 60))
def test_thinning_invents_nothing(values: list[float | None], most: int) -> None:
    thinned = marks.thin(values, most)

    known = [value for value in values if value is not None]
    assert len(thinned) <= most
    assert all(value is None or min(known) * 0.999 <= value <= max(known) * 1.001 for value in thinned)
    assert (not known) == all(value is None for value in thinned)


def test_a_calendar_tells_none_seen_from_not_watched() -> None:
    days = [
        CalendarDay(date(2026, 11, 15) + timedelta(days=n), packets, None, None)
        for n, packets in enumerate((None, 0, 1, 500))
    ]
    words = {"packets": "packets", "none": "none", "unwatched": "unwatched"}

    drawn = calendar.draw_weeks(days, months=["m"] * 12, weekdays=["d"] * 7, words=words)

    assert [square.css for square in drawn.squares] == ["hatched", "zero", "q1", "q6"]


def test_hours_are_filled_to_the_share_watched() -> None:
    starts = [NOON + timedelta(hours=n) for n in range(3)]

    drawn = calendar.draw_hours(starts, (1.0, 0.5, None), zone=TOKYO, words={"unwatched": "unwatched"})

    filled = [square for square in drawn.squares if square.css == "cell-c"]
    assert len(filled) == 2
    assert filled[1].height == pytest.approx(filled[0].height / 2, abs=0.1)
    assert sum(square.css == "hatched" for square in drawn.squares) == 3


@pytest.mark.parametrize(
    ("code", "language", "name"),
    [("JP", "ja", "日本"), ("HK", "ja", "香港"), ("SG", "en", "Singapore"), ("A1", "en", "A1")],
)
def test_countries_have_their_short_names(code: str, language: str, name: str) -> None:
    assert name_country(code, language) == name


def test_a_count_is_not_compared_with_a_time_without_sensors() -> None:
    figure = Figure(100.0, 20.0, 4.0)
    watched, mostly_not = (1.0,) * 10, (None,) * 8 + (1.0, 1.0)

    assert comparing.is_comparable(watched, watched)
    assert not comparing.is_comparable(watched, mostly_not)
    assert comparing.compare_fairly(figure, "packets", comparable=False).previous is None
    assert comparing.compare_fairly(figure, "rate", comparable=False) == figure
