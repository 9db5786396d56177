from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from teiten.protocol.header import Watched
from teiten.sensor.column_sets import WireColumns, count_rows, join, make_empty, select_rows, slice_rows
from teiten.sensor.windows import Instant, Window, WindowRules, Windows
from teiten.traffic.columns import VarBytes

SECOND_US = 1_000_000
START_US = 1_795_230_000_000_000
HERE = (Watched("192.0.2.7/32", "silent"),)
ELSEWHERE = (Watched("192.0.2.8/32", "silent"),)


def make_packets(times_us: list[int], first_id: int = 0) -> WireColumns:
    count = len(times_us)
    empty = make_empty()
    columns: WireColumns = {}
    for name, value in empty.items():
        if isinstance(value, VarBytes):
            columns[name] = VarBytes(np.zeros(count + 1, np.int32), np.zeros(0, np.uint8))
        else:
            columns[name] = np.zeros((count, *value.shape[1:]), value.dtype)
    columns["observed_at"] = np.array(times_us, np.int64)
    columns["tcp_seq"] = np.arange(first_id, first_id + count).astype(np.uint32)
    return columns


def at(seconds: float, *, step: float = 0.0) -> Instant:
    return Instant(START_US + round((seconds + step) * SECOND_US), 1000.0 + seconds)


def times_of(window: Window) -> list[int]:
    return [int(t) for chunk in window.chunks for t in np.asarray(chunk["observed_at"])]


def ids_of(windows: list[Window]) -> list[int]:
    return [int(i) for window in windows for chunk in window.chunks for i in np.asarray(chunk["tcp_seq"])]


def open_windows(**rules: Any) -> Windows:
    windows = Windows(WindowRules(**rules))
    assert windows.watch(HERE, at(0)) == []
    return windows


def test_it_works() -> None:
    windows = open_windows(length_us=10 * SECOND_US)

    windows.feed(make_packets([START_US + 5, START_US + 6]), at(1))
    closed = windows.advance(at(11))

    assert [(w.start_us, w.end_us, w.rows, w.gap_us) for w in closed] == [
        (START_US, START_US + 10 * SECOND_US, 2, 0)
    ]
    assert windows.current is not None
    assert windows.current.start_us == START_US + 10 * SECOND_US


def test_an_empty_window_closes_too() -> None:
    windows = open_windows(length_us=10 * SECOND_US)

    closed = windows.advance(at(25))

    assert [window.rows for window in closed] == [0, 0]


def test_windows_end_at_the_sensors_own_phase() -> None:
    rules = WindowRules(length_us=300 * SECOND_US, phase_us=17 * SECOND_US)

    boundary = rules.next_boundary_us(START_US)

    assert boundary % (300 * SECOND_US) == 17 * SECOND_US
    assert START_US < boundary <= START_US + 300 * SECOND_US
    assert rules.next_boundary_us(boundary) == boundary + 300 * SECOND_US


def test_enough_rows_close_a_window_once_it_is_a_second_old() -> None:
    windows = open_windows(early_rows=3)

    assert windows.feed(make_packets([START_US + 1, START_US + 2, START_US + 3]), at(0.5)) == []
    closed = windows.feed(make_packets([START_US + SECOND_US]), at(1.1))

    assert [(window.rows, window.end_us) for window in closed] == [(4, START_US + SECOND_US + 1)]


def test_too_many_rows_close_windows_at_once() -> None:
    windows = open_windows(max_rows=4)

    closed = windows.feed(make_packets(list(range(START_US, START_US + 10))), at(0.1))

    assert [window.rows for window in closed] == [4, 4]
    assert ids_of(closed) == list(range(8))
    assert windows.current is not None
    assert windows.current.rows == 2


def test_packets_beyond_a_boundary_go_to_the_next_window() -> None:
    windows = open_windows(length_us=10 * SECOND_US)
    boundary = START_US + 10 * SECOND_US

    closed = windows.feed(make_packets([boundary - 1, boundary, boundary + 1]), at(10.2))

    assert [times_of(window) for window in closed] == [[boundary - 1]]
    assert windows.current is not None
    assert times_of(windows.current) == [boundary, boundary + 1]
    assert closed[0].moved == 0


def test_a_late_packet_is_moved_inside_and_counted() -> None:
    windows = open_windows(length_us=10 * SECOND_US)
    windows.advance(at(10.1))

    windows.feed(make_packets([START_US + 9 * SECOND_US]), at(10.2))
    closed = windows.advance(at(20))

    assert times_of(closed[0]) == [START_US + 10 * SECOND_US]
    assert closed[0].moved == 1


@pytest.mark.parametrize("step", [5.0, -5.0])
def test_a_clock_step_closes_the_window_and_says_so(step: float) -> None:
    windows = open_windows()
    windows.feed(make_packets([START_US + 1]), at(1))

    closed = windows.advance(at(20, step=step))

    assert [(w.clock_stepped, w.end_us - w.start_us) for w in closed] == [(True, 20 * SECOND_US)]
    assert windows.current is not None
    assert windows.current.start_us == START_US + round((20 + step) * SECOND_US)
    assert not windows.current.clock_stepped


def test_a_slewed_clock_is_no_step() -> None:
    windows = open_windows()

    assert windows.advance(at(20, step=0.9)) == []


def test_a_change_of_what_is_watched_closes_the_window_without_gap() -> None:
    windows = open_windows()

    closed = windows.watch(ELSEWHERE, at(7))
    later = windows.stop(at(9))

    assert [(w.watched, w.end_us, w.gap_us) for w in closed + later] == [
        (HERE, START_US + 7 * SECOND_US, 0),
        (ELSEWHERE, START_US + 9 * SECOND_US, 0),
    ]


def test_a_blind_time_is_a_gap_whatever_the_wall_clock_does() -> None:
    windows = open_windows()
    windows.watch((), at(7))

    windows.watch(HERE, at(10, step=3600))
    closed = windows.stop(at(11, step=3600))

    assert closed[0].gap_us == 3 * SECOND_US


def test_a_restart_states_the_gap() -> None:
    windows = Windows(WindowRules(), previous_end_us=START_US - 42)

    windows.watch(HERE, at(0))

    assert windows.current is not None
    assert windows.current.gap_us == 42
    assert not windows.current.clock_stepped


def test_a_restart_before_the_last_window_ended_says_that_the_clock_stepped() -> None:
    windows = Windows(WindowRules(), previous_end_us=START_US + 42)

    windows.watch(HERE, at(0))

    assert windows.current is not None
    assert (windows.current.gap_us, windows.current.clock_stepped) == (0, True)


def test_what_came_while_nothing_was_watched_is_counted_in_the_next_window() -> None:
    windows = open_windows()
    windows.watch((), at(1))

    windows.feed(make_packets([START_US, START_US]), at(2))
    windows.count(kernel_drops=3)
    windows.watch(HERE, at(3))
    closed = windows.stop(at(4))

    assert (closed[0].rows, closed[0].excluded, closed[0].kernel_drops, closed[0].captured) == (0, 2, 3, 2)


def test_live_mode_shortens_the_open_window() -> None:
    windows = open_windows(length_us=300 * SECOND_US)

    windows.set_length(SECOND_US, at(5.5))

    assert [w.end_us for w in windows.advance(at(6))] == [START_US + 6 * SECOND_US]
    assert windows.advance(at(6.9)) == []


def test_stopping_gives_the_last_window() -> None:
    windows = open_windows()
    windows.feed(make_packets([START_US + 1]), at(1))

    closed = windows.stop(at(2))

    assert [(w.rows, w.end_us) for w in closed] == [(1, START_US + 2 * SECOND_US)]
    assert windows.current is None
    assert windows.stop(at(3)) == []


@st.composite
def lives(draw: st.DrawFn) -> list[tuple[str, float, Any]]:
    """Steps of a sensor's life: (what, seconds since the last step, argument)."""
    waits = st.sampled_from([0.0, 0.001, 0.4, 1.0, 2.5, 7.0, 33.0])
    feeds = st.tuples(st.just("feed"), waits, st.lists(st.integers(-3_000_000, 100_000), max_size=12))
    watches = st.tuples(st.just("watch"), waits, st.sampled_from([HERE, ELSEWHERE, ()]))
    ticks = st.tuples(st.just("advance"), waits, st.none())
    lengths = st.tuples(st.just("length"), waits, st.sampled_from([1, 5, 10]))
    payloads = st.tuples(st.just("payload"), waits, st.sampled_from([0, 64]))
    return draw(st.lists(st.one_of(feeds, watches, ticks, lengths, payloads), max_size=30))


@settings(max_examples=150, deadline=None)
@given(life=lives(), phase_us=st.integers(0, 9_999_999))
@example(life=[("feed", 0.0, [0] * 7), ("feed", 0.001, [0, -1, -1, -1])], phase_us=1000)
def test_windows_never_overlap_and_never_lose_a_packet(
    life: list[tuple[str, float, Any]], phase_us: int
) -> None:
    windows = Windows(WindowRules(length_us=10 * SECOND_US, phase_us=phase_us, early_rows=6, max_rows=9))
    closed: list[Window] = []
    seconds, fed, unwatched = 0.0, 0, 0
    windows.watch(HERE, at(0))
    for what, wait, argument in life:
        seconds += wait
        now = at(seconds)
        if what == "feed":
            times = sorted(now.wall_us + delay for delay in argument)
            unwatched += len(times) if windows.current is None else 0
            closed += windows.feed(make_packets(times, fed), now)
            fed += len(times)
        elif what == "watch":
            closed += windows.watch(argument, now)
        elif what == "length":
            windows.set_length(argument * SECOND_US, now)
        elif what == "payload":
            closed += windows.set_payload(argument, now)
        else:
            closed += windows.advance(now)
    closed += windows.stop(at(seconds))

    assert len(set(ids_of(closed))) == sum(window.rows for window in closed) == fed - unwatched
    # What came after the last window waits for the next one.
    assert sum(window.excluded for window in closed) + windows._uncounted.excluded == unwatched
    for window in closed:
        assert window.start_us < window.end_us <= window.start_us + 20 * SECOND_US
        assert all(window.start_us <= t < window.end_us for t in times_of(window))
        assert window.rows == sum(count_rows(chunk) for chunk in window.chunks) <= 9
    for first, second in pairwise(closed):
        assert second.start_us >= first.end_us
        # Up to the µs that a cut by rows borrows, start and gap account for all time.
        assert abs(second.start_us - second.gap_us - first.end_us) <= SECOND_US


@st.composite
def column_sets(draw: st.DrawFn) -> WireColumns:
    lengths = draw(st.lists(st.integers(0, 5), max_size=12))
    columns = make_packets(list(range(len(lengths))))
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    columns["payload"] = VarBytes(offsets, np.arange(offsets[-1], dtype=np.uint8))
    return columns


def payloads(columns: WireColumns) -> list[bytes]:
    value = columns["payload"]
    assert isinstance(value, VarBytes)
    return [
        value.data[start:stop].tobytes()
        for start, stop in zip(value.offsets, value.offsets[1:], strict=False)
    ]


@settings(max_examples=60, deadline=None)
@given(columns=column_sets(), data=st.data())
def test_cutting_and_joining_is_the_identity(columns: WireColumns, data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, count_rows(columns)))

    joined = join([slice_rows(columns, 0, cut), slice_rows(columns, cut, count_rows(columns))])

    assert payloads(joined) == payloads(columns)
    assert joined["tcp_seq"].tolist() == columns["tcp_seq"].tolist()  # type: ignore[union-attr]


@settings(max_examples=60, deadline=None)
@given(columns=column_sets(), data=st.data())
def test_selected_rows_keep_their_bytes(columns: WireColumns, data: st.DataObject) -> None:
    rows = count_rows(columns)
    kept = np.array(data.draw(st.lists(st.booleans(), min_size=rows, max_size=rows)), np.bool_)

    chosen = select_rows(columns, kept)

    assert payloads(chosen) == [text for text, keep in zip(payloads(columns), kept, strict=True) if keep]
    assert join([]).keys() == chosen.keys()
