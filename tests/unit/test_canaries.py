"""Canaries are known by all of their marks, and by nothing less."""

from __future__ import annotations

import dataclasses
import threading
from datetime import datetime, timezone
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from teiten.fleet.canary import files, packets, prober
from teiten.foundation.clock import FixedClock
from teiten.loader import canaries, metrics
from teiten.loader.canaries import take_out
from teiten.loader.testing import make_period
from teiten.loader.verifying import Verified
from teiten.protocol import canary
from teiten.protocol.batch import Batch
from teiten.protocol.canary import TCP, UDP, Probe, Target
from teiten.protocol.header import PayloadExample
from teiten.protocol.testing import START_US, make_columns, make_header
from teiten.sensor.column_sets import select_rows
from teiten.traffic.parse import parse_packets

pytestmark = pytest.mark.requirement("R1.3", "R2.1")

KEY = bytes(range(32))
HERE4, HERE6 = "203.0.113.9", "2001:db8:9::9"
SLOT_SECONDS = 900
SLOT = START_US // (SLOT_SECONDS * 1_000_000)
AT_US = (SLOT * SLOT_SECONDS + 300) * 1_000_000
PROBER = canary.ProberKey(
    number=3,
    key=KEY,
    addresses=(canary.pack_address(HERE4), canary.pack_address(HERE6)),
    slot_seconds=SLOT_SECONDS,
)


class Door:
    def __init__(self, *probers: Any) -> None:
        self.probers = probers
        self.arrivals: list[Any] = []

    def list_probers(self) -> Any:
        return self.probers

    def note_arrivals(self, arrivals: Any) -> None:
        self.arrivals += arrivals


def write(
    port: int,
    *,
    protocol: int = TCP,
    address: str = "192.0.2.7",
    source: str = "",
    key: bytes = KEY,
    slot: int = SLOT,
) -> bytes:
    """Give the whole IP packet of a canary."""
    probe = Probe(Target(7, address), protocol, port)
    destination = canary.pack_address(address)
    marks = canary.mark_canary(key, slot=slot, destination=destination, protocol=protocol, port=port)
    if ":" not in address:
        return packets.write_ipv4(probe, marks, source=source or HERE4)
    segment = packets.write_segment(probe, marks, source=source or HERE6)
    head = bytes([0x60, 0, 0, 0]) + len(segment).to_bytes(2, "big") + bytes([protocol, 64])
    return head + canary.pack_address(source or HERE6) + destination + segment


def receive(*sent: bytes, at_us: int = AT_US, payload_bytes: int = 64, before: int = 4) -> Verified:
    """Give the batch that a sensor makes of ``before`` ordinary packets and these, in this order."""
    raw = np.zeros((len(sent), 176), np.uint8)
    for row, packet in enumerate(sent):
        raw[row, : len(packet)] = np.frombuffer(packet, np.uint8)
    lengths = np.array([len(packet) for packet in sent], np.int64)
    found = parse_packets(
        raw,
        lengths,
        wire_length=lengths,
        observed_at_us=np.full(len(sent), at_us, np.int64),
        vlan=np.zeros(len(sent), np.uint16),
        payload_bytes=payload_bytes,
        stacked_vlan=np.zeros(len(sent), np.bool_),
    )
    from teiten.loader.tables import _concatenate

    columns = _concatenate([make_columns(before, start_us=START_US, seed=1), found])
    header = dataclasses.replace(make_header(rows=before + len(sent)), dataset="live")
    member = SimpleNamespace(sensor=7)
    return Verified(member, Batch(header, columns), "kanto")  # type: ignore[arg-type]


def rows_of(one: Verified) -> int:
    return len(np.asarray(one.batch.columns["src_port"]))


@pytest.mark.parametrize("address", ["192.0.2.7", "2001:db8::7"])
@pytest.mark.parametrize("protocol", [TCP, UDP])
@pytest.mark.parametrize("payload_bytes", [0, 64])
def test_it_works(address: str, protocol: int, payload_bytes: int) -> None:
    door = Door(PROBER)
    batch = receive(
        write(23, protocol=protocol, address=address),
        write(80, address="192.0.2.7"),
        payload_bytes=payload_bytes,
    )

    (kept,) = take_out([batch], door)

    assert (rows_of(kept), kept.batch.header.rows, kept.batch.header.excluded) == (4, 4, 3 + 2)
    assert kept.batch.header.captured == batch.batch.header.captured
    first = door.arrivals[0]
    assert (first.prober, first.slot, first.sensor, first.protocol, first.port) == (3, SLOT, 7, protocol, 23)
    assert first.address == canary.pack_address(address)
    assert first.at == datetime.fromtimestamp(AT_US / 1e6, tz=timezone.utc)


FORGED = {
    "another key": write(23, key=bytes(32)),
    "another slot": write(23, slot=SLOT - 1),
    "a slot to come": write(23, slot=SLOT + 1),
    "another source": write(23, source="203.0.113.10"),
    "another destination": write(23)[:16] + bytes([192, 0, 2, 8]) + write(23)[20:],
    "another port": write(23)[:22] + (80).to_bytes(2, "big") + write(23)[24:],
    "another sequence": write(23)[:24] + b"\0\0\0\1" + write(23)[28:],
    "another window": write(23)[:34] + b"\1\2" + write(23)[36:],
    "another identification": write(23)[:4] + b"\0\7" + write(23)[6:],
    "another payload": write(53, protocol=UDP)[:-1] + b"!",
    "no payload": write(53, protocol=UDP)[:28],
}


@pytest.mark.parametrize("name", FORGED)
def test_a_forged_canary_is_an_ordinary_packet(name: str) -> None:
    door = Door(PROBER)
    batch = receive(FORGED[name])

    assert take_out([batch], door) == [batch]
    assert not door.arrivals


def test_whoever_repeats_one_makes_ordinary_packets() -> None:
    door = Door(PROBER)

    (kept,) = take_out([receive(*[write(23)] * 5)], door)

    assert (kept.batch.header.rows, len(door.arrivals)) == (4 + 4, 1)


def test_a_canary_is_known_behind_translation_and_a_little_late() -> None:
    door = Door(PROBER)
    packet = write(23, address="198.51.100.7")
    inside = packet[:16] + bytes([10, 0, 0, 7]) + packet[20:]
    end_us = (SLOT + 1) * SLOT_SECONDS * 1_000_000
    mapped = dataclasses.replace(
        receive(inside, at_us=end_us + 20_000_000), periods=(make_period("10.0.0.7/32", "198.51.100.7/32"),)
    )

    assert take_out([receive(inside)], door)[0].batch.header.rows == 5, "where it was aimed is not known"
    header = dataclasses.replace(mapped.batch.header, window_end_us=end_us + 60_000_000)
    mapped = dataclasses.replace(mapped, batch=dataclasses.replace(mapped.batch, header=header))
    assert take_out([mapped], door)[0].batch.header.rows == 4
    assert door.arrivals[0].address == canary.pack_address("198.51.100.7")
    assert door.arrivals[0].slot == SLOT


def test_batches_without_a_prober_are_not_touched() -> None:
    door = Door(PROBER)
    plain, mixed = receive(write(23, source="203.0.113.77")), receive(write(23))

    kept = take_out([plain, mixed, plain], door)

    assert kept[0] is plain
    assert kept[2] is plain
    assert kept[1].batch.header.rows == 4
    assert take_out([mixed], None)[0] is mixed
    assert take_out([mixed], Door())[0] is mixed
    imported = dataclasses.replace(mixed.batch.header, dataset="import:x")
    other = dataclasses.replace(mixed, batch=dataclasses.replace(mixed.batch, header=imported))
    assert take_out([other], door)[0] is other
    assert take_out([], door) == []


def test_examples_follow_their_packets() -> None:
    one = receive(write(53, protocol=UDP), write(53, protocol=UDP, key=bytes(32)))
    examples = (PayloadExample(2, b"ordinary"), PayloadExample(4, b"canary"), PayloadExample(5, b"forged"))
    header = dataclasses.replace(one.batch.header, examples=examples)
    one = dataclasses.replace(one, batch=dataclasses.replace(one.batch, header=header))

    (kept,) = take_out([one], Door(PROBER))

    assert kept.batch.header.examples == (PayloadExample(2, b"ordinary"), PayloadExample(4, b"forged"))


@settings(max_examples=25, deadline=None)
@given(
    kinds=st.lists(st.sampled_from(["tcp", "udp", "forged"]), min_size=1, max_size=12),
    payload_bytes=st.sampled_from([0, 8, 64]),
)
def test_what_is_left_is_what_would_have_come_without_canaries(kinds: list[str], payload_bytes: int) -> None:
    sent = [
        write(1000 + n, protocol=UDP if kind == "udp" else TCP, key=bytes(32) if kind == "forged" else KEY)
        for n, kind in enumerate(kinds)
    ]
    batch = receive(*sent, payload_bytes=payload_bytes)
    door = Door(PROBER)

    (kept,) = take_out([batch], door)

    is_ordinary = np.array([True] * 4 + [kind == "forged" for kind in kinds])
    wanted = select_rows(batch.batch.columns, is_ordinary)  # type: ignore[arg-type]
    for name, column in wanted.items():
        left: Any = kept.batch.columns[name]
        if hasattr(column, "offsets"):
            assert np.array_equal(left.offsets, column.offsets)
            assert np.array_equal(left.data, column.data)
        else:
            assert np.array_equal(left, column)
    assert len(door.arrivals) == len(kinds) - kinds.count("forged")


def test_a_flood_with_a_probers_address_is_examined_no_further(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(canaries, "MOST_EXAMINED", 3)
    door = Door(PROBER)

    (kept,) = take_out([receive(*[write(n, key=bytes(32)) for n in range(5)], write(23))], door)

    assert (kept.batch.header.rows, door.arrivals) == (4 + 6, [])


def test_a_flood_hides_nothing_that_comes_to_the_probers_ports(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(canaries, "MOST_EXAMINED", 3)
    door = Door(dataclasses.replace(PROBER, ports=frozenset({23})))
    flood = [write(n, key=bytes(32)) for n in range(1, 20)]

    (kept,) = take_out([receive(*flood, *[write(23, key=bytes(32))] * 9, write(23))], door)

    assert kept.batch.header.rows == 4 + 19 + 9
    assert [one.port for one in door.arrivals] == [23]


def count_misdated() -> float:
    return metrics.CANARIES.labels("misdated")._value.get()  # type: ignore[no-any-return]


def test_a_prober_whose_clock_is_off_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    door, before = Door(PROBER), count_misdated()
    sent = [write(port, slot=SLOT + 5) for port in (22, 23)]

    assert rows_of(take_out([receive(*sent, write(80, key=bytes(32)))], door)[0]) == 4 + 3
    assert (count_misdated() - before, door.arrivals) == (2, [])


def test_canaries_of_several_slots_in_one_batch_are_told_apart() -> None:
    door = Door(PROBER)
    one = receive(write(23), write(23, slot=SLOT + 1), write(23, slot=SLOT + 2))
    at_us = np.asarray(one.batch.columns["observed_at"]).copy()
    at_us[-2:] += np.array([1, 2], np.int64) * SLOT_SECONDS * 1_000_000
    columns = {**one.batch.columns, "observed_at": at_us}
    one = dataclasses.replace(one, batch=dataclasses.replace(one.batch, columns=columns))

    (kept,) = take_out([one], door)

    assert kept.batch.header.rows == 4
    assert [one.slot for one in door.arrivals] == [SLOT, SLOT + 1, SLOT + 2]


def test_every_port_has_its_turn() -> None:
    targets = [Target(n, f"192.0.2.{n}") for n in range(1, 30)]
    due = [
        probe
        for slot in range(5)
        for probe in canary.list_probes(KEY, targets, slot=slot, tcp_ports=(1, 2, 3, 4, 5), udp_ports=(53,))
    ]

    assert len(due) == 5 * 29 * 2
    assert {(one.target.sensor, one.port) for one in due if one.protocol == TCP} == {
        (n, port) for n in range(1, 30) for port in range(1, 6)
    }
    assert len({one.port for one in due[:58] if one.protocol == TCP}) > 1, "not all at once"


def send_slots(
    folder: Path, monkeypatch: pytest.MonkeyPatch, *, now_s: int, made_s: int, per_second: float = 1e6
) -> int:
    """Run a prober over one slot, without a network."""
    held = files.KeyFile("lab", KEY, (HERE4,), SLOT_SECONDS)
    targets = tuple(Target(n, f"192.0.2.{n}") for n in range(1, 4))
    files.write_plan(folder / "plan.json", files.Plan("lab", targets, (23,), (53,), made_s))
    sender = SimpleNamespace(send=lambda *_: True, close=lambda: None)
    monkeypatch.setattr(prober, "Sender", lambda _: sender)
    clock = FixedClock(datetime.fromtimestamp(now_s, tz=timezone.utc))
    return prober.run_prober(
        held,
        folder / "plan.json",
        folder,
        per_second=per_second,
        clock=clock,
        stop=threading.Event(),
        slots=1,
    )


def test_a_prober_sends_nothing_while_its_clock_is_before_its_plan(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made_s = SLOT * SLOT_SECONDS
    assert send_slots(tmp_path, monkeypatch, now_s=made_s - 7_200, made_s=made_s) == 0
    assert files.list_logs(tmp_path) == []
    assert send_slots(tmp_path, monkeypatch, now_s=made_s, made_s=made_s) == 6
    assert files.list_logs(tmp_path) == [files.log_path(tmp_path, "lab", SLOT)]


def test_a_prober_removes_its_own_old_logs_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old, young, other, odd = (
        tmp_path / name
        for name in (
            f"canary-lab-{SLOT - 300}.json",
            f"canary-lab-{SLOT - 100}.json",
            f"canary-lab2-{SLOT - 300}.json",
            "canary-lab-notes.json",
        )
    )
    for path in (old, young, other, odd):
        path.write_text("{}")
    assert send_slots(tmp_path, monkeypatch, now_s=SLOT * SLOT_SECONDS, made_s=0) == 6
    assert not old.exists()
    assert all(path.exists() for path in (young, other, odd))
