"""What the sensor counts for its launcher, passes on from it, and believes of its gateway."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from teiten.foundation.clock import SystemClock
from teiten.protocol.heartbeat import UpdateState
from teiten.sensor import health
from teiten.sensor.chain import FILE_NAME, Chain, read_chain
from teiten.sensor.config import SensorConfig
from teiten.sensor.signed_gateway import SignedGateway, read_signed_gateway
from teiten.sensor.state import GatewaySettings, StateFolder, choose_gateway, choose_gateway_keys

pytestmark = pytest.mark.requirement("R1.3")
KEY = "A" * 43
PIN = "sha256/" + "B" * 43 + "="
GOOD = {"v": 1, "url": "https://new.example:8443", "pins": [PIN], "gateway_keys": {"gw.new": KEY}}


@pytest.fixture
def state(tmp_path: Path) -> StateFolder:
    return StateFolder(tmp_path / "state")


def test_a_receipt_counts_as_ones_own_from_the_first_batch_of_this_capture_on(state: StateFolder) -> None:
    state.write_json("capture.json", {"release": 2, "rounds": 9, "pid": 4, "epoch": 1, "first_seq": 7})

    def is_own(**receipt: int) -> bool:
        sending = {"last_receipt": receipt or None, "beats": 1, "receipted": 3}
        health.write_health(state, sending, beat_at_us=None, waiting=0)
        return state.read_json("health.json")["sending"]["own_receipt"]

    assert [is_own(epoch=1, seq=seq) for seq in (6, 7, 8)] == [False, True, True]
    assert not is_own(epoch=2, seq=9)
    assert not is_own()


def test_the_last_heartbeat_is_remembered_over_restarts(state: StateFolder) -> None:
    health.write_health(state, {}, beat_at_us=5, waiting=0)
    health.write_health(state, {}, beat_at_us=None, waiting=0)
    assert state.read_json("health.json")["heartbeat_at_us"] == 5


def test_a_base_that_says_nothing_allows_nothing(state: StateFolder) -> None:
    for told, kept in ((7, 7), (None, 0)):
        health.write_hint(state, told)
        assert state.read_json("release-hint.json") == {"release": kept}


@pytest.mark.parametrize(
    ("report", "update"),
    [
        (None, None),
        ("{", None),
        ({"release": 3, "state": "steady", "detail": ""}, UpdateState(3, "steady")),
        (
            {"release": 3, "state": "rolled_back", "detail": "release 4: x\ny"},
            UpdateState(3, "rolled_back", "release 4: x y"),
        ),
        ({"release": -1, "state": "odd", "detail": 7}, UpdateState(0, "steady", "7")),
        ({"release": 1 << 40, "state": "blocked", "detail": "x" * 999}, UpdateState(0, "blocked", "x" * 200)),
    ],
)
def test_the_launchers_report_is_passed_on_as_far_as_it_makes_sense(
    tmp_path: Path, report: Any, update: UpdateState | None
) -> None:
    path = tmp_path / "state.json"
    if report is not None:
        path.write_text(report if isinstance(report, str) else json.dumps(report))
    assert health.read_update(path) == update


def test_a_change_of_release_is_in_the_chain_once(
    state: StateFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    chain = Chain.open(state.path / FILE_NAME, SystemClock())
    monkeypatch.setattr(health, "read_release", lambda: 3)
    for _ in range(2):
        health.note_release(state, chain)
        health.write_health(state, {}, beat_at_us=None, waiting=0)
    chain.close()
    assert [(one.kind, one.facts["release"]) for one in read_chain(state.path / FILE_NAME)] == [("update", 3)]


def test_what_is_signed_stands_above_settings_and_enrolment(tmp_path: Path) -> None:
    path = tmp_path / "gateway.json"
    config = SensorConfig(gateway_url="https://old.example", pins=("old",), gateway_file=path)
    enrolled = GatewaySettings("https://older.example", "older", ("older",), "")
    keys = {"gw.old": b"o" * 32}
    assert choose_gateway(config, enrolled).url == "https://old.example"
    assert choose_gateway_keys(config, keys) == keys
    path.write_text(json.dumps(GOOD))
    chosen = choose_gateway(config, enrolled)
    assert (chosen.url, chosen.pins, chosen.authority) == ("https://new.example:8443", (PIN,), "older")
    assert list(choose_gateway_keys(config, keys)) == ["gw.new"]


@pytest.mark.parametrize(
    "change",
    [
        {"url": "http://new.example"},
        {"url": "https://new.example/path?x"},
        {"url": 7},
        {"pins": ["short"]},
        {"pins": "x"},
        {"pins": [7]},
        {"gateway_keys": {"gw.new": "short"}},
        {"gateway_keys": []},
        {"authority": "a b"},
    ],
)
def test_a_slip_in_what_is_signed_stops_nothing(tmp_path: Path, change: dict[str, Any]) -> None:
    path = tmp_path / "gateway.json"
    path.write_text(json.dumps({**GOOD, **change}))
    assert read_signed_gateway(path) == SignedGateway()
    for content in ("", "[]", "\x00", '"x"'):
        path.write_text(content)
        assert read_signed_gateway(path) == SignedGateway()
