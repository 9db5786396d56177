from __future__ import annotations

import io
import json
import logging
from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from teiten.foundation import clock as clocks
from teiten.foundation import logs, metrics
from teiten.foundation.clock import FixedClock, SystemClock


@given(
    st.datetimes(
        min_value=datetime(1970, 1, 2), max_value=datetime(2200, 1, 1), timezones=st.just(timezone.utc)
    )
)
def test_an_instant_survives_the_way_to_microseconds_and_back(instant: datetime) -> None:
    assert clocks.from_us(clocks.to_us(instant)) == instant


def test_an_instant_without_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="no time zone"):
        clocks.to_us(datetime(2026, 1, 1))


def test_the_system_clock_agrees_with_itself() -> None:
    clock = SystemClock()

    assert abs(clocks.to_us(clock.now()) - clock.now_us()) < 5_000_000
    assert clock.monotonic() <= clock.monotonic()


def test_a_step_moves_the_wall_clock_only(clock: FixedClock) -> None:
    before = clock.now()

    clock.advance(2)
    clock.step(-3600)

    assert clock.now() == before + timedelta(seconds=2 - 3600)
    assert clock.monotonic() == 2


@pytest.fixture
def log_stream() -> io.StringIO:
    return io.StringIO()


def test_a_log_line_is_one_json_object_with_its_facts(log_stream: io.StringIO) -> None:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    try:
        logs.set_up(stream=log_stream)
        logging.getLogger("teiten.gateway").warning("batch refused", extra={"sensor": 7, "code": "bad_seal"})
        try:
            int("boom")
        except ValueError:
            logging.getLogger("teiten.loader").exception("block failed")
    finally:
        root.handlers[:], root.level = handlers, level

    first, second = (json.loads(line) for line in log_stream.getvalue().splitlines())

    assert first["message"] == "batch refused"
    assert (first["sensor"], first["code"], first["level"]) == (7, "bad_seal", "WARNING")
    assert "ValueError: invalid literal" in second["traceback"]


def test_people_at_a_terminal_read_plain_lines(log_stream: io.StringIO) -> None:
    record = logging.makeLogRecord({"name": "teiten.x", "levelname": "INFO", "msg": "ready", "port": 8000})

    assert logs.PlainFormatter().format(record).endswith("INFO    teiten.x: ready  port=8000")


def test_a_flood_of_one_error_is_one_line_a_period() -> None:
    limiter = logs.OncePer(10)

    assert [limiter.is_due("a", at) for at in (0.0, 1.0, 9.9, 10.0, 10.1)] == [
        True,
        False,
        False,
        True,
        False,
    ]
    assert limiter.is_due("b", 10.1)


def test_metrics_are_rendered_as_prometheus_text() -> None:
    metrics.Counter("teiten_test_things", "Things seen.").inc()

    assert b"teiten_test_things_total 1.0" in metrics.render()
