from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from teiten.foundation.clock import SystemClock
from teiten.sensor import interfaces, names
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


@pytest.fixture
def asking(tmp_path: Path) -> Iterator[Callable[..., NameKeeper]]:
    """Makes keepers that run; a status says at once that what they find is left out."""
    started: list[NameKeeper] = []

    def start(*answers: tuple[str, ...] | OSError) -> NameKeeper:
        keeper = make_keeper(StateFolder(tmp_path), *answers)
        started.append(keeper)
        keeper.start()
        return keeper

    yield start
    for keeper in started:
        keeper.stop()


def test_who_connects_is_told_what_the_resolver_says_now(
    asking: Callable[..., NameKeeper], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(names, "_FRESH_SECONDS", 0.0)
    keeper = asking(("192.0.2.8",), ("192.0.2.9",), ("192.0.2.9",), OSError("gone"), OSError("gone"))
    keeper._asked.wait(5)

    assert [keeper.find(GATEWAY) for _ in range(4)] == [("192.0.2.9",)] * 4
    assert keeper._found == {GATEWAY: ("192.0.2.8", "192.0.2.9")}


def test_a_fresh_answer_is_good_for_another_connection(asking: Callable[..., NameKeeper]) -> None:
    keeper = asking(("192.0.2.8",))
    keeper._asked.wait(5)

    assert [keeper.find(GATEWAY) for _ in range(3)] == [("192.0.2.8",)] * 3


def test_a_resolver_that_is_gone_leaves_what_was_known_last_time(
    tmp_path: Path, asking: Callable[..., NameKeeper], caplog: pytest.LogCaptureFixture
) -> None:
    make_keeper(StateFolder(tmp_path), ("192.0.2.8",)).ask_once()
    keeper = asking(*[OSError("SERVFAIL")] * 9)

    assert keeper.find(GATEWAY) == ("192.0.2.8",)
    keeper.ask_once()
    assert len([record for record in caplog.records if "does not resolve" in record.message]) == 1


def test_a_resolver_that_does_not_answer_holds_nobody_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(names, "_ANSWER_SECONDS", 0.05)
    state, released = StateFolder(tmp_path), threading.Event()
    make_keeper(state, ("192.0.2.8",)).ask_once()

    def resolve(_name: str) -> tuple[str, ...]:
        released.wait(10)
        raise OSError("no answer")

    keeper = NameKeeper(state, (GATEWAY,), CLOCK, resolve=resolve)
    keeper.start()
    began = time.monotonic()
    try:
        assert keeper.find(GATEWAY) == ("192.0.2.8",)
        assert time.monotonic() - began < 2
    finally:
        released.set()
        keeper.stop()


def test_a_name_that_never_had_an_address_is_said_so(asking: Callable[..., NameKeeper]) -> None:
    keeper = asking(*[socket.gaierror(socket.EAI_NONAME, "Name or service not known")] * 9)

    with pytest.raises(socket.gaierror, match="no resolver has named one yet"):
        keeper.find(GATEWAY)


def test_nobody_talks_to_an_address_that_is_not_left_out_yet(
    tmp_path: Path, asking: Callable[..., NameKeeper]
) -> None:
    state = StateFolder(tmp_path)
    write_status(state, names={})
    keeper = asking(("192.0.2.8",))
    declaring = threading.Timer(0.5, lambda: write_status(state, names={GATEWAY: ["192.0.2.8"]}))
    declaring.start()
    began = time.monotonic()

    assert keeper.find(GATEWAY) == ("192.0.2.8",)
    assert time.monotonic() - began >= 0.4
    declaring.join()
