from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path

import pytest

from teiten.foundation.clock import FixedClock
from teiten.sensor.watchdog import Watchdog, find_watchdog

START = datetime(2026, 11, 21, tzinfo=timezone.utc)


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[socket.socket]:
    """The socket that systemd would listen on."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(tmp_path / "notify"))
        sock.setblocking(False)
        yield sock


def read_all(systemd: socket.socket) -> list[str]:
    said = []
    while True:
        try:
            said.append(systemd.recv(100).decode())
        except BlockingIOError:
            return said


def test_it_says_ready_once_and_then_signs_of_life_in_time(systemd: socket.socket) -> None:
    clock = FixedClock(START)
    watchdog = Watchdog(clock, address=systemd.getsockname(), allowed_seconds=30.0)

    for _second in range(25):
        watchdog.feed()
        clock.advance(1.0)

    assert read_all(systemd) == ["READY=1", "WATCHDOG=1", "WATCHDOG=1", "WATCHDOG=1"]


def test_without_a_limit_only_readiness_is_said(systemd: socket.socket) -> None:
    watchdog = Watchdog(FixedClock(START), address=systemd.getsockname())

    for _round in range(3):
        watchdog.feed()
    watchdog.say_stopping()

    assert read_all(systemd) == ["READY=1", "WATCHDOG=1", "STOPPING=1"]


def test_without_systemd_nothing_is_said() -> None:
    Watchdog(FixedClock(START)).feed()
    Watchdog(FixedClock(START), address="/nowhere/at/all").feed()


def test_an_abstract_address_is_understood() -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(f"\0teiten-test-{os.getpid()}")
        Watchdog(FixedClock(START), address=f"@teiten-test-{os.getpid()}").feed()

        assert sock.recv(100) == b"READY=1"


@pytest.mark.parametrize(("owner", "expected"), [("", 4), ("own", 4), ("1", 2), ("x", 2)])
def test_a_limit_is_taken_only_when_it_is_for_this_process(
    systemd: socket.socket, monkeypatch: pytest.MonkeyPatch, owner: str, expected: int
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", systemd.getsockname())
    monkeypatch.setenv("WATCHDOG_USEC", "3000000")
    monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()) if owner == "own" else owner)
    clock = FixedClock(START)
    watchdog = find_watchdog(clock)

    for _second in range(3):
        watchdog.feed()
        clock.advance(1.0)

    assert len(read_all(systemd)) == expected
