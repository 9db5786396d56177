"""A simulated fleet against a real gateway: joins, makes up its past, watches, is stopped and goes on."""

from __future__ import annotations

import dataclasses
import itertools
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from teiten.foundation.clock import SystemClock
from teiten.protocol.sensor_config import SensorConfig
from teiten.simulators import orders, roster
from teiten.simulators.behaviours import BEHAVIOURS, cut_spans, subtract_spans
from teiten.simulators.config import FleetSimulationConfig, SensorPlan, TelescopeConfig
from teiten.simulators.errors import FleetStateError, WorkOrderError
from teiten.simulators.fleet import FleetEvent, run_fleet
from teiten.simulators.ledger import Ledger
from teiten.simulators.population import DAY_US, HOUR_US
from teiten.simulators.telescope import Outlook, Telescope

sys.path.insert(0, str(Path(__file__).parent))
from simulators_fixtures import open_gateway

STEADY = SensorPlan("sim-a", "kanto", ("192.0.2.10/32",))
WIDE = SensorPlan("sim-b", "europe", ("203.0.113.9/32", "2001:db8:77::/48"), mode="answering")


@pytest.fixture
def gateway(tmp_path):
    with open_gateway(tmp_path / "gateway") as opened:
        yield opened


def make_order(gateway, tmp_path, *plans: SensorPlan, **settings) -> FleetSimulationConfig:
    sensors = tuple(
        dataclasses.replace(plan, token=gateway.memory.make_token(number))
        for number, plan in enumerate(plans, 1)
    )
    base = {"history_days": 1, "window_seconds": 60.0, "heartbeat_seconds": 60.0, "rate": 0.2}
    return FleetSimulationConfig(
        state_dir=tmp_path / "state",
        gateway_url=gateway.url,
        sensors=sensors,
        pins=(gateway.pin,),
        **(base | settings),
    )


def run(
    order,
    *,
    until=lambda event: event.event == "watching",
    and_until=lambda: True,
    seconds: float = 40.0,
    provide_token=None,
) -> list[FleetEvent]:
    """Run the fleet until an event, and then until something holds or time is up; give all events."""
    stop, events = threading.Event(), []

    def stop_later():
        deadline = time.monotonic() + seconds
        while not and_until() and time.monotonic() < deadline:
            time.sleep(0.05)
        stop.set()

    def report(event):
        events.append(event)
        if until(event):
            threading.Thread(target=stop_later).start()

    run_fleet(order, clock=SystemClock(), stop=stop, report=report, provide_token=provide_token)
    return events


def spans_of(memory, sensor):
    """Give (start, end) of every batch of a sensor by its sequence number, true time."""
    return {name[2]: batch.header for name, batch in memory.decode_all().items() if name[0] == sensor}


def assert_tiles(headers, start_us, end_us, *, but=()):
    """No moment is missing and none is there twice."""
    spans = sorted((header.window_start_us, header.window_end_us) for header in headers.values())
    assert all(a[1] <= b[0] for a, b in itertools.pairwise(spans))
    holes = list(subtract_spans((start_us, end_us), sorted([*spans, *but])))
    assert holes == []


@pytest.mark.requirement("R1.2", "R2.1")
def test_history_arrives_whole_through_the_real_path(gateway, tmp_path):
    order = make_order(gateway, tmp_path, STEADY, WIDE)
    events = run(order)
    now_us = SystemClock().now_us()

    joined = next(event.facts for event in events if event.event == "joined")
    assert (joined["sensors"], joined["enrolled"], joined["resent"]) == (2, 2, 0)
    batches = gateway.memory.decode_all()
    assert sorted(name[2] for name in batches if name[0] == 1) == list(
        range(1, 1 + sum(name[0] == 1 for name in batches))
    )
    assert {batch.header.dataset for batch in batches.values()} == {"simulated"}
    assert {batch.header.software.endswith("+simulated") for batch in batches.values()} == {True}
    for number, plan in ((1, STEADY), (2, WIDE)):
        headers = spans_of(gateway.memory, number)
        first = min(header.window_start_us for header in headers.values())
        last = max(header.window_end_us for header in headers.values())
        assert last - first == pytest.approx(DAY_US, abs=30_000_000)
        assert now_us - last < 30_000_000
        assert_tiles(headers, first, last)
        assert {(w.prefix, w.mode) for h in headers.values() for w in h.watched} == {
            (p, plan.mode) for p in plan.prefixes
        }
        telescope = Telescope(
            TelescopeConfig(
                seed=order.seed, anchor_us=joined["anchor_us"] // DAY_US * DAY_US, rate=order.rate
            )
        )
        wanted = telescope.observe(
            Outlook(plan.name, plan.prefixes, answers=plan.mode == "answering"), first, last
        )
        parts = sorted(
            (b for n, b in batches.items() if n[0] == number), key=lambda b: b.header.window_start_us
        )
        # A batch arranges its packets for compression; put them back in the order of their times.
        in_time = np.argsort(np.concatenate([part.columns["observed_at"] for part in parts]), kind="stable")
        for name in ("observed_at", "src_addr", "dst_addr", "dst_port", "tcp_seq", "payload_hash"):
            sent = np.concatenate([np.asarray(part.columns[name]) for part in parts])[in_time]
            assert np.array_equal(sent, np.asarray(wanted.parse()[name])), name


def test_newest_day_comes_first(gateway, tmp_path):
    events = run(make_order(gateway, tmp_path, STEADY, history_days=4, history_workers=1))

    headers = spans_of(gateway.memory, 1)
    days = [headers[seq].window_start_us // DAY_US for seq in sorted(headers)]
    assert days == sorted(days, reverse=True)
    progress = [event.facts for event in events if event.event == "history"]
    assert progress[-1]["done"] == progress[-1]["total"] == len(headers)
    assert progress[-1]["packets"] == sum(header.rows for header in headers.values())


class TestGoingOn:
    def test_a_stop_in_the_middle_loses_and_repeats_nothing(self, gateway, tmp_path):
        order = make_order(gateway, tmp_path, STEADY, WIDE, history_days=6)
        run(order, until=lambda event: event.event == "history" and event.facts["done"] > 60)
        half = len(gateway.memory.bodies)
        events = run(order)

        joined = next(event.facts for event in events if event.event == "joined")
        assert joined["enrolled"] == 0
        assert 60 < half < len(gateway.memory.bodies)
        assert gateway.memory.conflicts == 0
        for number in (1, 2):
            headers = spans_of(gateway.memory, number)
            assert sorted(headers) == list(range(1, len(headers) + 1))
            first = min(header.window_start_us for header in headers.values())
            last = max(header.window_end_us for header in headers.values())
            assert last - first == pytest.approx(6 * DAY_US, abs=60_000_000)
            assert_tiles(headers, first, last)

    def test_a_second_start_sends_only_what_is_new(self, gateway, tmp_path):
        order = make_order(gateway, tmp_path, STEADY)
        run(order)
        known = len(gateway.memory.bodies)
        run(order)

        assert known < len(gateway.memory.bodies) <= known + 3
        assert gateway.memory.repeats == 0

    @pytest.mark.requirement("R1.2")
    def test_a_batch_whose_receipt_was_lost_is_sent_again_to_the_bit(self, gateway, tmp_path):
        gateway.memory.lost_answers = 3
        run(make_order(gateway, tmp_path, STEADY, history_workers=1))

        assert gateway.memory.repeats == 3
        assert gateway.memory.conflicts == 0

    def test_killed_at_any_moment_it_resends_the_same_bytes(self, gateway, tmp_path):
        order_file = tmp_path / "order.json"
        order = make_order(gateway, tmp_path, STEADY, WIDE, history_days=20)
        order_file.write_text(orders.write_order(order))
        for wait in (0.0, 0.35, 0.8):
            process = start(order_file)
            read_until(process, "history" if wait else "joined")
            time.sleep(wait)
            process.kill()
            process.communicate()
        run(order)

        assert gateway.memory.conflicts == 0
        for number in (1, 2):
            headers = spans_of(gateway.memory, number)
            assert sorted(headers) == list(range(1, len(headers) + 1))
            assert_tiles(
                headers,
                min(header.window_start_us for header in headers.values()),
                max(header.window_end_us for header in headers.values()),
            )

    def test_it_waits_while_the_gateway_is_full(self, gateway, tmp_path):
        gateway.memory.full = 2
        run(make_order(gateway, tmp_path, STEADY, history_days=0, window_seconds=0.5))
        order = make_order(gateway, tmp_path, STEADY, history_days=1)
        run(order)

        assert gateway.memory.full == 0
        assert len(gateway.memory.bodies) >= 24


class TestPlannedTroubles:
    def run_two_days(self, gateway, tmp_path, behaviour, *, and_until=lambda: True, **settings):
        plan = dataclasses.replace(STEADY, behaviour=behaviour)
        order = make_order(gateway, tmp_path, plan, history_days=3, **settings)
        events = run(order, and_until=and_until)
        anchor = next(event.facts["anchor_us"] for event in events if event.event == "joined")
        return anchor, spans_of(gateway.memory, 1)

    def test_a_silent_sensor_says_how_long_it_was(self, gateway, tmp_path):
        anchor, headers = self.run_two_days(gateway, tmp_path, "silent")
        silent = cut_spans(
            BEHAVIOURS["silent"].silent_hours,
            anchor_us=anchor,
            start_us=anchor - 3 * DAY_US,
            end_us=anchor + HOUR_US,
        )

        assert [end - start for start, end in silent] == [round(4.5 * HOUR_US), round(6.5 * HOUR_US)]
        gaps = {header.window_start_us: header.gap_us for header in headers.values() if header.gap_us}
        assert gaps == {silent[0][1]: round(4.5 * HOUR_US)}
        for header in headers.values():
            assert all(header.window_end_us <= a or header.window_start_us >= b for a, b in silent)
        assert gateway.memory.beats == {}

    def test_lost_batches_leave_tombstones(self, gateway, tmp_path):
        def list_told():
            headers = spans_of(gateway.memory, 1).values()
            return {lost.first_seq: lost for header in headers for lost in header.lost}

        # The past is sent by several threads, and what is lost last is told by the next window of the present:
        # a short one here.
        _, headers = self.run_two_days(
            gateway, tmp_path, "lossy", window_seconds=1.0, and_until=lambda: len(list_told()) == 5
        )

        told = list_told()
        assert set(told) == set(range(1, max(headers) + 1)) - set(headers)
        assert sum(lost.window_end_us - lost.window_start_us for lost in told.values()) == 5 * HOUR_US
        assert_tiles(
            headers,
            min(header.window_start_us for header in headers.values()),
            max(header.window_end_us for header in headers.values()),
            but=[(lost.window_start_us, lost.window_end_us) for lost in told.values()],
        )
        assert Ledger(tmp_path / "state" / "fleet.sqlite").list_tombstones("sim-a") == ()

    def test_kernel_drops_are_stated(self, gateway, tmp_path):
        _, headers = self.run_two_days(gateway, tmp_path, "dropping")

        dropping = [header for header in headers.values() if header.kernel_drops]
        assert 15 <= len(dropping) <= 40
        assert all(header.kernel_drops <= 0.06 * header.rows + 1 for header in dropping)

    def test_a_wrong_clock_is_declared(self, gateway, tmp_path):
        _, headers = self.run_two_days(gateway, tmp_path, "skewed")

        for header in headers.values():
            assert header.clock_offset_us == pytest.approx(-4_100_000, abs=20_000)
        newest = max(header.window_end_us for header in headers.values())
        assert newest > SystemClock().now_us() - 20_000_000 + 4_100_000


class TestLive:
    @pytest.mark.requirement("R1.3")
    def test_windows_and_heartbeats_come_in_time(self, gateway, tmp_path):
        silent = dataclasses.replace(WIDE, name="sim-s", behaviour="silent")
        order = make_order(
            gateway,
            tmp_path,
            STEADY,
            silent,
            history_days=0,
            window_seconds=0.5,
            heartbeat_seconds=0.4,
            rate=60.0,
        )
        memory = gateway.memory
        run(order, and_until=lambda: len(memory.bodies) >= 8 and len(memory.beats.get(1, ())) >= 6)

        headers = spans_of(memory, 1)
        spans = sorted((header.window_start_us, header.window_end_us) for header in headers.values())
        assert all(end % 500_000 == spans[0][1] % 500_000 for _, end in spans)
        assert all(a[1] == b[0] for a, b in itertools.pairwise(spans))
        assert sum(header.rows for header in headers.values()) > 0
        assert len(gateway.memory.beats[1]) >= 5
        counters = [beat.counter for beat in gateway.memory.beats[1]]
        assert counters == list(range(1, len(counters) + 1))
        assert gateway.memory.beats[1][-1].captured > 0
        assert gateway.memory.beats[1][-1].interfaces[0].addresses == ("192.0.2.10",)
        assert 2 not in gateway.memory.beats
        assert spans_of(gateway.memory, 2) == {}

    def test_live_mode_is_obeyed(self, gateway, tmp_path):
        gateway.memory.config = SensorConfig(version=9, live=True)
        order = make_order(
            gateway,
            tmp_path,
            STEADY,
            history_days=0,
            window_seconds=600.0,
            live_window_seconds=0.5,
            heartbeat_seconds=0.5,
        )
        run(
            order,
            and_until=lambda: (
                len(gateway.memory.bodies) >= 5 and gateway.memory.beats[1][-1].config_version == 9
            ),
        )

        lengths = [h.window_end_us - h.window_start_us for h in spans_of(gateway.memory, 1).values()]
        assert sum(length <= 2_000_000 for length in lengths[1:]) >= 3
        assert gateway.memory.beats[1][-1].config_version == 9

    def test_counters_go_on_over_restarts(self, gateway, tmp_path):
        order = make_order(gateway, tmp_path, STEADY, history_days=0, heartbeat_seconds=0.3)
        beats = gateway.memory.beats
        run(order, and_until=lambda: len(beats.get(1, ())) >= 3)
        run(order, and_until=lambda: len({beat.boot_id for beat in beats[1]}) == 2)

        counters = [beat.counter for beat in gateway.memory.beats[1]]
        assert counters == sorted(set(counters))
        assert len({beat.boot_id for beat in gateway.memory.beats[1]}) == 2


class TestRefusals:
    def test_a_sensor_without_token_is_named(self, gateway, tmp_path):
        order = make_order(gateway, tmp_path, STEADY)
        order = dataclasses.replace(order, sensors=(dataclasses.replace(STEADY, token=""),))

        with pytest.raises(WorkOrderError, match="sensor sim-a is not enrolled yet and has no token"):
            run(order)
        events = run(order, provide_token=lambda name: gateway.memory.make_token(1))
        assert events[0].facts["enrolled"] == 1

    def test_a_lost_key_is_not_made_anew(self, gateway, tmp_path):
        order = make_order(gateway, tmp_path, STEADY, history_days=0)
        run(order)
        (tmp_path / "state" / "sim-a.pem").unlink()

        with pytest.raises(
            FleetStateError, match=r"key file .*sim-a\.pem of the enrolled sensor sim-a is missing"
        ):
            run(order)

    def test_two_fleets_do_not_share_a_folder(self, gateway, tmp_path):
        order = make_order(gateway, tmp_path, STEADY, history_days=0)
        order_file = tmp_path / "order.json"
        order_file.write_text(orders.write_order(order))
        process = start(order_file)
        read_until(process, "watching")

        with pytest.raises(FleetStateError, match="is another simulated fleet running on it"):
            run(order)
        process.terminate()
        process.communicate()

    def test_an_unknown_behaviour_is_named(self, gateway, tmp_path):
        plan = dataclasses.replace(STEADY, behaviour="sleepy")

        with pytest.raises(
            WorkOrderError, match="sensor sim-a: behaviour 'sleepy' is unknown; known: steady, silent"
        ):
            run(make_order(gateway, tmp_path, plan))


def start(order_file: Path, *options: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "teiten.simulators.fleet", "--order", str(order_file), *options]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def read_until(process, event: str) -> dict:
    for line in process.stdout:
        told = json.loads(line)
        if told["event"] == event:
            return told
    raise AssertionError(f"no event {event}: {process.stderr.read()}")


class TestProcess:
    def test_it_runs_from_a_work_order_and_stops_on_a_signal(self, gateway, tmp_path):
        order_file = tmp_path / "order.json"
        order_file.write_text(orders.write_order(make_order(gateway, tmp_path, STEADY)))
        process = start(order_file)
        told = read_until(process, "watching")
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=20)

        assert told["batches"] >= 24
        assert json.loads(out.splitlines()[-1]) == {"event": "stopped"}
        assert (process.returncode, err) == (0, "")

    def test_it_ends_with_its_parent(self, gateway, tmp_path):
        order_file = tmp_path / "order.json"
        order_file.write_text(orders.write_order(make_order(gateway, tmp_path, STEADY)))
        inner = [sys.executable, "-m", "teiten.simulators.fleet", "--order", str(order_file)]
        script = f"import subprocess, time; print(subprocess.Popen({inner!r}, stdout=subprocess.DEVNULL).pid, flush=True); time.sleep(60)"
        parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
        child = int(parent.stdout.readline())
        time.sleep(1.5)
        parent.kill()
        parent.communicate()

        deadline = time.monotonic() + 15
        while time.monotonic() < deadline and is_running(child):
            time.sleep(0.1)
        assert not is_running(child)

    def test_a_wrong_order_is_one_clear_line(self, tmp_path):
        order_file = tmp_path / "order.json"
        order_file.write_text(
            '{"state_dir": "x", "sensors": [], "gateway_url": "https://localhost:1", "color": 3}'
        )
        process = start(order_file)
        out, _ = process.communicate(timeout=20)

        assert process.returncode == 1
        assert "color is unknown" in json.loads(out)["message"]


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"


def test_the_default_fleet_joins_with_all_its_peculiarities(gateway, tmp_path):
    plans = roster.list_sensors()
    run(
        make_order(gateway, tmp_path, *plans, history_days=1),
        and_until=lambda: len(gateway.memory.beats) == 19,
    )

    numbers = {name[0] for name in gateway.memory.bodies}
    assert numbers == set(range(1, 21))
    assert len(gateway.memory.beats) == 19
    versions = {
        v for b in gateway.memory.decode_all().values() for v in np.unique(b.columns["ip_version"]).tolist()
    }
    assert versions == {4, 6}
