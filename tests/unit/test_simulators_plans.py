"""Plans of a simulated fleet: roster, work order, planned troubles, ledger."""

from __future__ import annotations

import dataclasses
import itertools
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from teiten.simulators import ranges, roster
from teiten.simulators.__main__ import main
from teiten.simulators.behaviours import BEHAVIOURS, cut_spans, overlap_us, subtract_spans
from teiten.simulators.config import FleetSimulationConfig, SensorPlan, TelescopeConfig
from teiten.simulators.errors import FleetStateError, WorkOrderError
from teiten.simulators.ledger import Ledger, PendingBatch, Standing
from teiten.simulators.orders import read_order, write_order
from teiten.simulators.population import DAY_US, HOUR_US
from teiten.simulators.recorder import Recorder
from teiten.simulators.telescope import Telescope

ORDER = {
    "state_dir": "state",
    "gateway_url": "https://localhost:8443",
    "sensors": [{"name": "a", "region": "kanto", "prefixes": ["192.0.2.1/32"]}],
}


class TestRoster:
    def test_twenty_sensors_stand_in_several_regions(self):
        plans = roster.list_sensors()
        known = {code for code, _, _ in roster.REGIONS}

        assert len(plans) == len({plan.name for plan in plans}) == 20
        assert {plan.region for plan in plans} <= known
        assert len({plan.region for plan in plans}) >= 9
        assert sum(":" in prefix for plan in plans for prefix in plan.prefixes) == 2
        assert sum(plan.mode == "answering" for plan in plans) == 1
        assert sum(len(plan.prefixes) > 1 for plan in plans) >= 2
        assert {plan.behaviour for plan in plans} == set(BEHAVIOURS)

    @pytest.mark.parametrize("count", [1, 7, 45, 2_000])
    def test_any_number_has_names_and_reserved_prefixes(self, count):
        plans = roster.list_sensors(count)

        assert len({plan.name for plan in plans}) == len(plans) == count
        for plan in plans:
            for prefix in plan.prefixes:
                assert str(ranges.check_observed(prefix)) == prefix

    @pytest.mark.parametrize("count", [0, -1, 100_001])
    def test_an_impossible_number_is_refused(self, count):
        with pytest.raises(WorkOrderError, match=f"not {count}"):
            roster.list_sensors(count)


class TestOrders:
    def test_what_is_written_is_read(self):
        order = FleetSimulationConfig(
            state_dir=Path("x"),
            gateway_url="https://localhost:1",
            sensors=roster.list_sensors(),
            pins=("sha256/abc",),
            window_seconds=1.5,
        )

        assert read_order(write_order(order)) == order

    def test_toml_is_read_too(self):
        text = 'state_dir = "s"\ngateway_url = "https://localhost:1"\n[[sensors]]\nname = "a"\nregion = "kanto"\nprefixes = ["192.0.2.1/32"]\n'

        assert read_order(text).sensors == (SensorPlan("a", "kanto", ("192.0.2.1/32",)),)

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"color": 1}, "color is unknown; known: state_dir"),
            ({"gateway_url": None}, "gateway_url must be text, not None"),
            ({"history_days": "3"}, "history_days must be a number, not '3'"),
            ({"history_days": -3}, "history_days must not be negative"),
            ({"history_days": True}, "history_days must be a number, not True"),
            ({"sensors": []}, "sensors must name at least one sensor"),
            ({"sensors": [{"name": "a"}]}, r"sensors\[0\]: region is missing"),
            ({"sensors": "a"}, "sensors must be a list"),
            ({"sensors": ORDER["sensors"] * 2}, "given twice: a"),
            (
                {"sensors": [{**ORDER["sensors"][0], "mode": "loud"}]},
                "mode must be one of silent, answering, not 'loud'",
            ),
        ],
    )
    def test_a_wrong_field_is_named(self, change, message):
        with pytest.raises(WorkOrderError, match=message):
            read_order(json.dumps({**ORDER, **change}))

    @pytest.mark.parametrize("text", ["{", "a = ", "[1]"])
    def test_nonsense_is_refused(self, text):
        with pytest.raises(WorkOrderError):
            read_order(text)


spans = st.lists(st.tuples(st.integers(0, 400), st.integers(0, 60)), max_size=8).map(
    lambda pairs: sorted((start, start + length) for start, length in pairs)
)


class TestSpans:
    @given(
        whole=st.tuples(st.integers(0, 300), st.integers(0, 200)).map(lambda p: (p[0], p[0] + p[1])),
        holes=spans,
    )
    def test_what_is_left_and_what_is_taken_make_the_whole(self, whole, holes):
        left = list(subtract_spans(whole, holes))

        inside = {at for at in range(*whole) if not any(low <= at < high for low, high in holes)}
        assert {at for low, high in left for at in range(low, high)} == inside
        assert all(low < high for low, high in left)

    @given(start=st.integers(-40 * 24, 40 * 24), length=st.integers(1, 400))
    def test_weekly_spans_come_again(self, start, length):
        hours = ((-5.5, 7.0), (-62.0, -57.5))
        low, high = start * HOUR_US, (start + length) * HOUR_US

        here = cut_spans(hours, anchor_us=0, start_us=low, end_us=high)
        later = cut_spans(hours, anchor_us=0, start_us=low + 7 * DAY_US, end_us=high + 7 * DAY_US)
        assert [(a + 7 * DAY_US, b + 7 * DAY_US) for a, b in here] == later
        assert overlap_us(here, low, high) == sum(b - a for a, b in here)

    @given(
        start=st.integers(0, 40_000),
        length=st.integers(1, 4_000),
        behaviour=st.sampled_from(sorted(BEHAVIOURS)),
    )
    def test_windows_tile_all_that_is_not_silent(self, start, length, behaviour):
        anchor = 400 * DAY_US
        plan = SensorPlan("a", "kanto", ("192.0.2.1/32",), behaviour=behaviour)
        recorder = Recorder(
            plan, Telescope(TelescopeConfig()), anchor_us=anchor, payload_bytes=0, boot_id="x" * 8
        )
        low = anchor - 14 * DAY_US + start * 60_000_000
        high = low + length * 60_000_000

        windows = list(recorder.plan_windows(low, high, HOUR_US))
        silent = cut_spans(BEHAVIOURS[behaviour].silent_hours, anchor_us=anchor, start_us=low, end_us=high)
        assert sum(w.end_us - w.start_us for w in windows) == high - low - overlap_us(silent, low, high)
        assert all(0 < w.end_us - w.start_us <= HOUR_US for w in windows)
        assert all(a.end_us <= b.start_us for a, b in itertools.pairwise(windows))
        if behaviour != "lossy":
            assert not any(window.is_lost for window in windows)


class TestLedger:
    @pytest.fixture
    def ledger(self, tmp_path):
        opened = Ledger(tmp_path / "l.sqlite")
        opened.add_sensor("a", Standing(3, 1, 1, "gw=x"))
        yield opened
        opened.close()

    def test_windows_merge_in_any_order(self, ledger):
        for seq, (start, end) in enumerate([(20, 30), (0, 10), (40, 50), (10, 20), (30, 40)], 1):
            batch = PendingBatch(seq, start, end, "{}")
            ledger.begin("a", batch)
            assert (start, end) in ledger.list_covered("a")
            ledger.finish("a", batch)

        assert ledger.list_covered("a") == [(0, 50)]
        assert ledger.list_pending("a") == []
        assert ledger.last_seq("a") == 5

    def test_what_has_no_receipt_is_remembered(self, tmp_path, ledger):
        ledger.begin("a", PendingBatch(1, 0, 10, '{"x": 1}'))
        ledger.close()
        again = Ledger(tmp_path / "l.sqlite")

        assert again.list_pending("a") == [PendingBatch(1, 0, 10, '{"x": 1}')]
        assert again.last_seq("a") == 1
        assert again.find_standing("a") == Standing(3, 1, 1, "gw=x")
        assert again.find_standing("b") is None
        again.close()

    def test_a_tombstone_goes_when_a_later_batch_is_receipted(self, ledger):
        ledger.lose("a", 1, 0, 10)
        assert [lost.first_seq for lost in ledger.list_tombstones("a")] == [1]
        batch = PendingBatch(2, 10, 20, "{}")
        ledger.begin("a", batch)
        assert len(ledger.list_tombstones("a")) == 1
        ledger.finish("a", batch)

        assert ledger.list_tombstones("a") == ()
        assert ledger.list_covered("a") == [(0, 20)]

    def test_a_value_is_kept_once(self, ledger):
        assert ledger.keep("anchor_us", 7) == 7
        assert ledger.keep("anchor_us", 9) == 7

    def test_beats_never_repeat(self, ledger):
        assert [ledger.next_beat("a") for _ in range(3)] == [1, 2, 3]

    def test_a_broken_file_is_named(self, tmp_path):
        (tmp_path / "bad.sqlite").write_bytes(b"no database at all, but long enough to be read as one" * 20)

        with pytest.raises(FleetStateError, match=r"ledger .*bad\.sqlite cannot be used"):
            Ledger(tmp_path / "bad.sqlite")


def test_by_hand(tmp_path, capsys):
    assert main(["capture", str(tmp_path / "a.pcap"), "--packets", "500", "--seed", "4"]) == 0
    assert main(["capture", str(tmp_path / "b.pcap"), "--packets", "500", "--seed", "4"]) == 0
    assert main(["places", str(tmp_path / "world"), "--anchor", "2026-11-21"]) == 0
    assert main(["capture", str(tmp_path / "c.pcap"), "--observed", "198.18.0.1/32"]) == 1

    assert (tmp_path / "a.pcap").read_bytes() == (tmp_path / "b.pcap").read_bytes()
    assert {path.name for path in (tmp_path / "world").iterdir()} == {"simulated.mmdb", "survey_list.csv"}
    told = capsys.readouterr()
    assert "500 packets written" in told.out
    assert "198.18.0.1/32 is not of a documentation range" in told.err


def test_every_plan_field_is_documented_in_the_order():
    assert {field.name for field in dataclasses.fields(SensorPlan)} >= set(ORDER["sensors"][0])
