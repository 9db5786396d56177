"""The sensor's audit chain: whole after a crash, and telling when something was taken out."""

from __future__ import annotations

import datetime as dt
import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from teiten.foundation.clock import FixedClock
from teiten.sensor.chain import Chain, read_chain, verify_chain
from teiten.sensor.errors import StateError

pytestmark = pytest.mark.requirement("R1.3")


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock(dt.datetime(2026, 11, 21, tzinfo=dt.timezone.utc))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "audit.chain"


def fill(path: Path, clock: FixedClock, count: int = 5) -> Chain:
    chain = Chain(path, clock)
    for number in range(count):
        chain.append("command.accepted", {"verb": "status", "n": number})
    return chain


def test_it_works(path: Path, clock: FixedClock) -> None:
    chain = fill(path, clock)
    records = list(read_chain(path))

    assert [record.number for record in records] == [1, 2, 3, 4, 5]
    assert records[2].facts == {"verb": "status", "n": 2}
    assert verify_chain(path) == chain.head
    assert Chain(path, clock).head == chain.head
    assert path.stat().st_mode & 0o777 == 0o600


def test_before_the_first_record_there_is_a_head_too(path: Path, clock: FixedClock) -> None:
    assert Chain(path, clock).head == verify_chain(path)
    assert verify_chain(path.with_name("absent")).count == 0


def test_two_processes_add_in_turn(path: Path, clock: FixedClock) -> None:
    one, other = Chain(path, clock), Chain(path, clock)
    one.append("a", {})
    other.append("b", {})
    one.append("c", {})

    assert [record.kind for record in read_chain(path)] == ["a", "b", "c"]


@pytest.mark.parametrize("torn", [b"{", b'{"number":6', b"\0" * 500, b"x" * 5000])
def test_an_unfinished_record_is_taken_back(path: Path, clock: FixedClock, torn: bytes) -> None:
    head = fill(path, clock).head
    with path.open("ab") as file:
        file.write(torn)

    chain = Chain(path, clock)

    assert chain.head == head
    assert chain.append("after", {}).count == 6
    assert verify_chain(path) == chain.head


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_it_can_be_cut_anywhere_and_goes_on(path: Path, clock: FixedClock, data: st.DataObject) -> None:
    path.unlink(missing_ok=True)
    fill(path, clock, 4)
    os.truncate(path, data.draw(st.integers(0, path.stat().st_size)))

    whole = verify_chain(path)
    chain = Chain(path, clock)

    assert chain.head == whole
    assert chain.append("after", {}).count == whole.count + 1
    assert verify_chain(path) == chain.head


@pytest.mark.parametrize("number", [0, 1, 3])
def test_a_record_that_is_taken_out_is_missed(path: Path, clock: FixedClock, number: int) -> None:
    fill(path, clock)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:number] + lines[number + 1 :]))

    with pytest.raises(StateError, match=f"broken at record {number + 1}"):
        verify_chain(path)


@pytest.mark.parametrize("change", [{"facts": {"verb": "wipe"}}, {"at_us": 0}, {"number": 9}, {"kind": "z"}])
def test_a_changed_record_is_found(path: Path, clock: FixedClock, change: dict[str, Any]) -> None:
    fill(path, clock)
    lines = path.read_bytes().splitlines(keepends=True)
    changed = {**json.loads(lines[1]), **change}
    lines[1] = json.dumps(changed, sort_keys=True, separators=(",", ":")).encode() + b"\n"
    path.write_bytes(b"".join(lines))

    with pytest.raises(StateError, match="broken at record"):
        verify_chain(path)


def test_the_end_that_is_cut_off_shows_in_the_head(path: Path, clock: FixedClock) -> None:
    told = fill(path, clock).head
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:-1]))

    now = Chain(path, clock).append("pretend", {})

    assert now.count == told.count
    assert now.head != told.head


def test_a_chain_with_a_damaged_end_is_kept_and_a_new_one_says_so(path: Path, clock: FixedClock) -> None:
    fill(path, clock)
    with path.open("ab") as file:
        file.write(b"no record\n")

    with pytest.raises(StateError, match="one form"):
        Chain(path, clock)
    chain = Chain.open(path, clock)

    assert chain.head.count == 1
    (record,) = read_chain(path)
    assert record.kind == "chain.restarted"
    assert (path.parent / record.facts["moved_to"]).read_bytes().endswith(b"no record\n")


def test_a_full_disk_leaves_the_chain_whole(
    path: Path, clock: FixedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    chain = fill(path, clock)
    head = chain.head
    real = os.write
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", lambda file, data: real(file, data[:7]))
        with pytest.raises(StateError, match="no space"):
            chain.append("lost", {})

    assert chain.head == head
    assert chain.append("kept", {}).count == head.count + 1
    assert verify_chain(path) == chain.head


def test_a_record_is_bounded(path: Path, clock: FixedClock) -> None:
    with pytest.raises(StateError, match="too long"):
        Chain(path, clock).append("big", {"text": "x" * 20_000})


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path, clock: FixedClock) -> None:
    with pytest.raises(StateError, match="cannot be used"):
        Chain(tmp_path / "absent" / "audit.chain", clock)
    with pytest.raises(StateError, match="cannot be used"):
        Chain.open(tmp_path / "absent" / "audit.chain", clock)
