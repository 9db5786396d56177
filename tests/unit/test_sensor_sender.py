from __future__ import annotations

import dataclasses
import hashlib
import logging
import random
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from teiten.foundation.clock import FixedClock
from teiten.protocol.header import LostBatch
from teiten.protocol.heartbeat import Heartbeat, HeartbeatAnswer
from teiten.protocol.receipt import Receipt
from teiten.protocol.sensor_config import SensorConfig as Wanted
from teiten.sensor.config import SensorConfig
from teiten.sensor.errors import (
    BusyError,
    ClockSkewError,
    ConflictError,
    RefusedError,
    StandingError,
    UntrustedError,
    UplinkError,
)
from teiten.sensor.metrics import METRICS, render
from teiten.sensor.outbox import Outbox
from teiten.sensor.recording import Recording
from teiten.sensor.reporting import Orders, SpoolReporter, read_orders
from teiten.sensor.sealed import SealedBatch
from teiten.sensor.sender import Backoff, Sender
from teiten.sensor.spool import Spool, SpoolLimits
from teiten.sensor.state import StateFolder
from teiten.sensor.trouble import Trouble

CONFIG = SensorConfig(first_connect_seconds=0.0, heartbeat_seconds=60.0)


class ScriptedGateway:
    """Takes batches, unless the next thing planned is an error."""

    def __init__(self) -> None:
        self.clock_offset_us: int | None = None
        self.plan: list[Exception] = []
        self.beat_plan: list[Exception] = []
        self.tried: list[int] = []
        self.taken: list[int] = []
        self.beats: list[Heartbeat] = []
        self.wanted = Wanted(3, live=False, window_seconds=60)

    def send(self, sealed: SealedBatch) -> Receipt:
        self.tried.append(sealed.seq)
        if self.plan:
            raise self.plan.pop(0)
        self.taken.append(sealed.seq)
        return Receipt(7, 1, sealed.seq, sealed.digest, 5, "gw")

    def heartbeat(self, beat: Heartbeat) -> HeartbeatAnswer:
        self.beats.append(beat)
        if self.beat_plan:
            raise self.beat_plan.pop(0)
        return HeartbeatAnswer(0, self.wanted)


class Bench:
    """A sender over a real spool, with time in the test's hands."""

    def __init__(
        self, folder: Path, clock: FixedClock, config: SensorConfig = CONFIG, batches: int = 3
    ) -> None:
        self.clock = clock
        self.state = StateFolder(folder)
        self.spool = Spool(folder, epoch=1, limits=SpoolLimits(1_000_000))
        self.outbox = Outbox(folder / "spool")
        self.gateway = ScriptedGateway()
        for _ in range(batches):
            self.spool.add(self._seal)
        self.sender = Sender(
            self.outbox,
            self.gateway,
            reporter=SpoolReporter(self.state, self.outbox, clock),
            config=config,
            clock=clock,
            rng=random.Random(1),
        )

    def _seal(self, seq: int, lost: tuple[LostBatch, ...]) -> SealedBatch:
        body = b"body"
        return SealedBatch(7, 1, 1, seq, hashlib.sha256(body).digest(), b"s" * 64, 0, 1, "live", body)

    def step(self, times: int = 1) -> list[float]:
        return [self.sender.step() for _ in range(times)]


def test_it_works(tmp_path: Path, clock: FixedClock) -> None:
    bench = Bench(tmp_path, clock)

    bench.step(3)

    assert bench.gateway.taken == [1, 2, 3]
    assert bench.step() == [CONFIG.poll_seconds]
    assert bench.outbox.list_waiting() == []
    assert bench.sender.as_status()["last_receipt"] == {"epoch": 1, "seq": 3, "landed_at_us": 5}


def test_live_mode_sends_the_newest_first(tmp_path: Path, clock: FixedClock) -> None:
    bench = Bench(tmp_path, clock, dataclasses.replace(CONFIG, live=True))

    bench.step(3)

    assert bench.gateway.taken == [3, 2, 1]


def test_the_first_connection_is_spread(tmp_path: Path, clock: FixedClock) -> None:
    bench = Bench(tmp_path, clock, dataclasses.replace(CONFIG, first_connect_seconds=120.0))

    (wait,) = bench.step()

    assert 0 < wait <= 120
    assert (bench.gateway.tried, bench.gateway.beats) == ([], [])
    clock.advance(wait)
    bench.step()
    assert bench.gateway.taken == [1]


def test_a_failure_keeps_the_batch_and_waits_longer_each_time(tmp_path: Path, clock: FixedClock) -> None:
    bench = Bench(tmp_path, clock)
    bench.gateway.plan = [UplinkError("down")] * 8

    for failures in range(1, 9):
        bench.step()
        assert len(bench.gateway.tried) == failures
        wait = bench.sender.as_status()["retry_seconds"]
        assert 0 <= wait <= 2.0**failures
        clock.advance(wait + 0.1)

    bench.step()
    assert bench.gateway.taken == [1]
    assert bench.sender.failures == 0
    assert bench.sender.last_error == ""


def test_a_busy_gateway_is_left_alone_as_long_as_it_says(tmp_path: Path, clock: FixedClock) -> None:
    bench = Bench(tmp_path, clock)
    bench.gateway.plan = [BusyError("503", retry_after_seconds=40.0)]

    bench.step()

    assert 40 <= bench.sender.as_status()["retry_seconds"] <= 50.1


def test_no_pause_at_all_is_believed_of_nobody(tmp_path: Path, clock: FixedClock) -> None:
    bench = Bench(tmp_path, clock)
    bench.gateway.plan = [BusyError("503", retry_after_seconds=0.0)] * 9

    bench.step(9)

    assert len(bench.gateway.tried) == 1
    assert bench.sender.as_status()["retry_seconds"] >= CONFIG.backoff_min_seconds


@pytest.mark.parametrize(
    ("error", "soon"),
    [
        (UplinkError("no route"), True),
        (UntrustedError("a captive portal"), True),
        (BusyError("503", retry_after_seconds=1_000.0), False),
        (StandingError("suspended", code="suspended"), False),
    ],
)
def test_a_heartbeat_that_gets_through_brings_batches_back(
    tmp_path: Path, clock: FixedClock, error: UplinkError, soon: bool
) -> None:
    config = dataclasses.replace(CONFIG, backoff_min_seconds=200.0, backoff_max_seconds=400.0)
    bench = Bench(tmp_path, clock, config)
    bench.gateway.plan = [error]
    bench.step()
    assert bench.sender.as_status()["retry_seconds"] > 150

    clock.advance(60)
    bench.step()

    assert len(bench.gateway.beats) == 2
    assert (bench.sender.as_status()["retry_seconds"] <= CONFIG.heartbeat_seconds) is soon


def test_a_clock_that_was_set_costs_no_heartbeat(tmp_path: Path, clock: FixedClock) -> None:
    bench = Bench(tmp_path, clock, batches=0)
    bench.gateway.clock_offset_us = 0
    bench.gateway.beat_plan = [ClockSkewError("set", offset_us=-441_500_000_000_000)]

    bench.step()
    clock.advance(CONFIG.backoff_min_seconds)
    bench.step()

    assert bench.sender.counts.beats == 1
    assert bench.gateway.clock_offset_us == -441_500_000_000_000


def test_a_gateway_that_never_takes_our_time_is_not_asked_without_end(
    tmp_path: Path, clock: FixedClock
) -> None:
    bench = Bench(tmp_path, clock, batches=0)
    bench.gateway.beat_plan = [ClockSkewError("skew", offset_us=5)] * 100

    for _second in range(60):
        bench.step()
        clock.advance(1)

    assert len(bench.gateway.beats) <= 3


def test_an_outage_is_few_lines_and_its_end_is_one(
    tmp_path: Path, clock: FixedClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    bench = Bench(tmp_path, clock)
    bench.gateway.plan = [UplinkError("no route")] * 100_000
    bench.gateway.beat_plan = [UplinkError("no route")] * 100_000

    for _quarter in range(24 * 4 * 10):
        bench.step(2)
        clock.advance(90)
    told = [record for record in caplog.records if record.message.startswith("Sending failed")]
    assert 24 <= len(told) <= 2 * 25
    assert {record.what for record in told} == {"batch", "heartbeat"}  # type: ignore[attr-defined]
    caplog.clear()

    bench.gateway.plan, bench.gateway.beat_plan = [], []
    clock.advance(600)
    bench.step(9)

    over = [record for record in caplog.records if record.message == "Sending works again"]
    assert sorted(record.what for record in over) == ["batch", "heartbeat"]  # type: ignore[attr-defined]
    assert all(record.seconds >= 86_000 for record in over)  # type: ignore[attr-defined]


def test_a_line_that_comes_and_goes_does_not_flood_the_log(
    clock: FixedClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    trouble = Trouble("batch", clock)

    for _minute in range(60):
        trouble.tell(UplinkError("lost"))
        trouble.end()
        clock.advance(60)
    trouble.tell(UntrustedError("something else is told at once"))

    assert len(caplog.records) == 2 * 6 + 1


@pytest.mark.parametrize("error", [StandingError("suspended", code="suspended"), UntrustedError("pin")])
def test_what_only_a_person_can_mend_is_retried_slowly(
    tmp_path: Path, clock: FixedClock, error: UplinkError
) -> None:
    bench = Bench(tmp_path, clock)
    bench.gateway.plan = [error]

    bench.step()

    assert bench.sender.as_status()["retry_seconds"] >= 150
    assert bench.sender.last_error == str(error)
    assert len(bench.outbox.list_waiting()) == 3


def test_a_clock_skew_is_taken_over_and_tried_at_once(tmp_path: Path, clock: FixedClock) -> None:
    bench = Bench(tmp_path, clock)
    bench.gateway.plan = [ClockSkewError("skew", offset_us=77)]

    bench.step(2)

    assert bench.gateway.clock_offset_us == 77
    assert bench.gateway.taken == [1]


def test_an_endless_clock_skew_does_not_become_a_storm(tmp_path: Path, clock: FixedClock) -> None:
    bench = Bench(tmp_path, clock)
    bench.gateway.plan = [ClockSkewError("skew", offset_us=number) for number in range(50)]

    bench.step(50)

    assert len(bench.gateway.tried) <= 5


@pytest.mark.parametrize(
    ("error", "count", "lost"),
    [
        (ConflictError("409"), "conflicts", 0),
        (RefusedError("413", code="too_large", status=413), "refused", 1),
    ],
)
def test_a_hopeless_batch_goes_aside_and_the_next_is_sent(
    tmp_path: Path, clock: FixedClock, error: UplinkError, count: str, lost: int
) -> None:
    bench = Bench(tmp_path, clock)
    bench.gateway.plan = [error]

    bench.step(3)
    bench.spool.sweep()

    assert bench.gateway.taken == [2, 3]
    assert getattr(bench.sender.counts, count) == getattr(bench.spool.counts, count) == 1
    assert bench.spool.lost_batches == lost


def test_a_corrupt_file_does_not_stop_the_others(tmp_path: Path, clock: FixedClock) -> None:
    bench = Bench(tmp_path, clock)
    name = bench.outbox.list_waiting()[0]
    (tmp_path / "spool" / "ready" / name).write_bytes(b"damage")

    bench.step(3)
    bench.spool.sweep()

    assert bench.gateway.taken == [2, 3]
    assert bench.spool.lost_batches == bench.sender.counts.corrupt == 1


def test_a_batch_that_the_bound_took_meanwhile_is_passed_over(tmp_path: Path, clock: FixedClock) -> None:
    bench = Bench(tmp_path, clock)
    bench.step()
    for path in (tmp_path / "spool" / "ready").iterdir():
        path.unlink()

    bench.step(3)

    assert bench.gateway.taken == [1]


def test_heartbeats_go_on_while_batches_fail(tmp_path: Path, clock: FixedClock) -> None:
    bench = Bench(tmp_path, clock)
    bench.gateway.plan = [UplinkError("down")] * 500

    for _ in range(10):
        bench.step()
        clock.advance(60)

    counters = [beat.counter for beat in bench.gateway.beats]
    assert counters == sorted(set(counters))
    assert len(counters) == 10
    assert bench.gateway.beats[-1].last_error == "down"
    assert bench.gateway.beats[-1].spool_batches == 3


def test_a_heartbeat_that_fails_is_not_repeated_at_once(tmp_path: Path, clock: FixedClock) -> None:
    bench = Bench(tmp_path, clock)
    bench.gateway.beat_plan = [UplinkError("down"), ClockSkewError("skew", offset_us=5)]

    bench.step(3)
    assert len(bench.gateway.beats) == 1
    clock.advance(60)
    bench.step()
    assert bench.gateway.clock_offset_us == 5


def test_the_heartbeat_counter_goes_on_after_a_restart(tmp_path: Path, clock: FixedClock) -> None:
    first = Bench(tmp_path, clock)
    first.step()
    clock.step(-3600)
    again = Bench(tmp_path, clock)

    again.step()

    assert again.gateway.beats[0].counter == first.gateway.beats[0].counter + 1


def test_a_lost_counter_starts_above_what_was_used_before(tmp_path: Path, clock: FixedClock) -> None:
    first = Bench(tmp_path, clock)
    first.step()
    (tmp_path / "sending-state.bin").unlink()
    clock.advance(60)
    again = Bench(tmp_path, clock)

    again.step()

    assert again.gateway.beats[0].counter > first.gateway.beats[0].counter


def test_what_the_gateway_wants_becomes_orders(tmp_path: Path, clock: FixedClock) -> None:
    bench = Bench(tmp_path, clock)
    bench.gateway.wanted = Wanted(9, live=True, window_seconds=30)
    bench.gateway.clock_offset_us = -12

    bench.step()

    orders = read_orders(bench.state)
    assert (orders.config_version, orders.live, orders.window_seconds, orders.clock_offset_us) == (
        9,
        True,
        30,
        -12,
    )
    assert bench.sender.is_live


def test_a_heartbeat_tells_what_the_recording_process_says(tmp_path: Path, clock: FixedClock) -> None:
    bench = Bench(tmp_path, clock)
    bench.state.write_json(
        "capture.json",
        {
            "boot_id": "0123456789abcdef",
            "started_at_us": clock.now_us() - 5_000_000,
            "packets": {"captured": 10, "kernel_drops": 1, "solicited": 2, "other_destination": 3},
            "interfaces": [{"name": "v1", "state": "down", "addresses": ["192.0.2.2/32"]}],
            "last_error": "interface v1 is down\n",
            "last_window_end_us": 99,
        },
    )

    bench.step()

    (beat,) = bench.gateway.beats
    assert (beat.captured, beat.kernel_drops, beat.excluded, beat.uptime_s) == (10, 1, 5, 5)
    assert beat.last_error == "interface v1 is down "
    assert beat.interfaces[0].addresses == ("192.0.2.2",)
    assert beat.last_window_end_us == 99


@given(seed=st.integers(0, 10_000), failures=st.integers(0, 2_000))
def test_a_back_off_stays_within_its_limits(seed: int, failures: int) -> None:
    backoff = Backoff(shortest_seconds=1.0, longest_seconds=300.0, rng=random.Random(seed))
    backoff.failures = failures

    assert 1.0 <= backoff.next_wait() <= min(300.0, max(1.0, 2.0 ** min(failures, 10)))
    assert 150.0 <= backoff.slow_wait() <= 300.0


def test_the_metrics_file_names_every_metric_once() -> None:
    names = [metric.name for metric in METRICS]
    capture = {"packets": {"captured": 4}, "spool": {"waiting": 0}}

    text = render(capture, {"clock_offset_us": None, "receipted": 2})

    assert len(names) == len(set(names))
    assert "teiten_sensor_captured_packets_total 4\n" in text
    assert "teiten_sensor_receipted_batches_total 2\n" in text
    assert "clock_offset" not in text


def test_a_clock_offset_measured_anew_is_no_news(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    recording: Any = SimpleNamespace(_orders=Orders(window_seconds=60), _apply=lambda _orders: None)

    for offset_us in (7, 8):
        Recording._obey(recording, Orders(window_seconds=60, clock_offset_us=offset_us))
    assert (caplog.records, recording._orders.clock_offset_us) == ([], 8)
    Recording._obey(recording, Orders(window_seconds=30, clock_offset_us=9))

    assert [record.message for record in caplog.records] == ["The gateway has set the sensor"]
