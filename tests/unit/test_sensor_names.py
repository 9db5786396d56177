from __future__ import annotations

import socket
import threading
from pathlib import Path

import pytest

from teiten.foundation.clock import SystemClock
from teiten.sensor import interfaces
from teiten.sensor.config import SensorConfig
from teiten.sensor.names import MAX_ADDRESSES, NameKeeper, list_names, merge_addresses, read_names
from teiten.sensor.own_traffic import build_exclusion
from teiten.sensor.state import CAPTURE_STATUS, StateFolder

CLOCK = SystemClock()
GATEWAY = "gateway.example"


def make_keeper(state: StateFolder, *answers: tuple[str, ...] | OSError) -> NameKeeper:
    left = list(answers)

    def resolve(_name: str) -> tuple[str, ...]:
        answer = left.pop(0)
        if isinstance(answer, OSError):
            raise answer
        return answer

    return NameKeeper(state, (GATEWAY,), CLOCK, resolve=resolve)


def write_status(state: StateFolder, **facts: object) -> None:
    state.write_json(CAPTURE_STATUS, {"running": True, "written_at_us": CLOCK.now_us(), **facts})


def test_what_the_uploader_finds_is_what_the_recorder_leaves_out(tmp_path: Path) -> None:
    state = StateFolder(tmp_path)
    config = SensorConfig(time_servers=(GATEWAY, "203.0.113.123"))

    make_keeper(state, ("192.0.2.8", "2001:db8::8")).ask_once()

    exclusion = build_exclusion(
        config, gateway_url=f"https://{GATEWAY}:8443", names=read_names(state), resolvers_files=()
    )
    assert exclusion.declaration == (
        "192.0.2.8/32 tcp from 8443",
        "192.0.2.8/32 udp from 123",
        "2001:db8::8/128 tcp from 8443",
        "2001:db8::8/128 udp from 123",
        "203.0.113.123/32 udp from 123",
        "neighbour discovery",
    )


def test_only_names_are_asked_for() -> None:
    config = SensorConfig(time_servers=("ntp.example", "203.0.113.1"))

    assert list_names(config, gateway_url=f"https://{GATEWAY}:8443") == (GATEWAY, "ntp.example")
    assert list_names(config, gateway_url="https://192.0.2.1:8443") == ("ntp.example",)
    assert list_names(SensorConfig(exclude_own=False), gateway_url=f"https://{GATEWAY}") == ()


def test_a_further_answer_adds_and_a_failure_keeps(tmp_path: Path) -> None:
    state = StateFolder(tmp_path)
    keeper = make_keeper(state, ("192.0.2.8",), ("192.0.2.9",), OSError("no resolver"))

    for _ in range(3):
        keeper.ask_once()

    assert read_names(state) == {GATEWAY: ("192.0.2.8", "192.0.2.9")}


def test_a_start_without_a_resolver_keeps_what_was_known_last_time(tmp_path: Path) -> None:
    state = StateFolder(tmp_path)
    make_keeper(state, ("192.0.2.8",)).ask_once()

    make_keeper(state, OSError("no resolver")).ask_once()

    assert read_names(state) == {GATEWAY: ("192.0.2.8",)}


def test_a_new_start_forgets_addresses_that_are_no_longer_true(tmp_path: Path) -> None:
    state = StateFolder(tmp_path)
    make_keeper(state, ("192.0.2.8",)).ask_once()

    make_keeper(state, ("192.0.2.9",)).ask_once()

    assert read_names(state) == {GATEWAY: ("192.0.2.9",)}


def test_addresses_of_a_name_are_bounded() -> None:
    merged: tuple[str, ...] = ()
    for number in range(200):
        merged = merge_addresses(merged, (f"192.0.2.{number}",))

    assert len(merged) == MAX_ADDRESSES
    assert merged[-1] == "192.0.2.199"


@pytest.mark.parametrize(
    "content", ["", "[]", '{"names": 5}', '{"names": {"a": 5, "b": ["x", 7]}}', "\0"], ids=range(5)
)
def test_a_damaged_file_of_names_is_no_harm(tmp_path: Path, content: str) -> None:
    (tmp_path / "names.json").write_text(content)

    assert set().union(*read_names(StateFolder(tmp_path)).values()) == set()


def test_nothing_is_sent_before_the_recorder_leaves_the_answers_out(tmp_path: Path) -> None:
    state = StateFolder(tmp_path)
    write_status(state, names={})
    keeper = make_keeper(state, ("192.0.2.8",))
    keeper.start()
    timer = threading.Timer(0.5, write_status, args=(state,), kwargs={"names": {GATEWAY: ["192.0.2.8"]}})
    timer.start()
    try:
        started = CLOCK.monotonic()
        assert keeper.wait_until_declared(threading.Event())
        assert CLOCK.monotonic() - started >= 0.4
    finally:
        keeper.stop()
        timer.join()


def test_sending_waits_for_no_recorder_that_is_not_there(tmp_path: Path) -> None:
    keeper = make_keeper(StateFolder(tmp_path), ("192.0.2.8",))
    keeper.start()
    try:
        assert keeper.wait_until_declared(threading.Event())
    finally:
        keeper.stop()


def test_the_kernel_tells_of_interfaces_without_an_internet_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    real = socket.socket

    def only_others(family: int = -1, *rest: int) -> socket.socket:
        assert family not in (-1, socket.AF_INET, socket.AF_INET6), "the unit's filter refuses this"
        return real(family, *rest)

    monkeypatch.setattr(socket, "socket", only_others)

    assert interfaces.is_up("lo")
    assert interfaces.find_index("lo") == 1
    assert (interfaces.find_mtu("lo") or 0) >= 1_280
    interfaces.list_addresses("lo")
    interfaces.list_offloads("lo")
