"""Payload examples: whole, once a hash and day, within every bound, and never of another packet."""

from __future__ import annotations

import itertools
import struct

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from teiten.protocol import batch
from teiten.protocol.header import Watched
from teiten.sensor.column_sets import WireColumns, join, select_rows, slice_rows
from teiten.sensor.examples import (
    COLUMN,
    SHARED_SECONDS,
    ExampleChooser,
    attach_examples,
    count_examples,
    take_examples,
)
from teiten.sensor.sealed import SealingIdentity
from teiten.sensor.sealing import BatchDraft, seal_batch
from teiten.sensor.staging import RawPackets
from teiten.traffic.parse import parse_packets

pytestmark = pytest.mark.requirement("R1.1")

WIDTH = 176
START_US = 1_795_230_000_000_000
DAY_US = 86_400_000_000
_ports = itertools.cycle(range(1, 65_536))


def make_udp(payload: bytes, *, version: int = 4, port: int | None = None) -> bytes:
    udp = struct.pack(">HHHH", 40_000, next(_ports) if port is None else port, 8 + len(payload), 0) + payload
    if version == 6:
        return struct.pack(">IHBB16s16s", 6 << 28, len(udp), 17, 60, bytes(16), bytes(16)) + udp
    return struct.pack(">BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), 8, 0, 60, 17, 0, bytes(4), bytes(4)) + udp


def make_tcp(payload: bytes) -> bytes:
    tcp = struct.pack(">HHIIBBHHH", 1, 80, 7, 9, 0x60, 0x18, 1024, 0, 0) + b"\x02\x04\x05\xb4" + payload
    return struct.pack(">BBHHHBBH4s4s", 0x45, 0, 20 + len(tcp), 8, 0, 60, 6, 0, bytes(4), bytes(4)) + tcp


def stage(packets: list[bytes], *, width: int = WIDTH) -> RawPackets:
    """Lay packets as the ring does, cut at ``width``."""
    raw = np.full((len(packets), width), 0xEE, np.uint8)
    for row, packet in enumerate(packets):
        raw[row, : min(width, len(packet))] = np.frombuffer(packet[:width], np.uint8)
    lengths = np.array([len(packet) for packet in packets], np.uint32)
    return RawPackets(
        raw=raw,
        captured_length=np.minimum(lengths, width).astype(np.uint32),
        wire_length=lengths,
        observed_at_us=START_US + np.arange(len(packets), dtype=np.int64),
        vlan=np.zeros(len(packets), np.uint16),
        stacked=np.zeros(len(packets), np.bool_),
    )


def parse(packets: RawPackets, payload_bytes: int = 64) -> WireColumns:
    return parse_packets(
        packets.raw,
        packets.captured_length,
        wire_length=packets.wire_length,
        observed_at_us=packets.observed_at_us,
        vlan=packets.vlan,
        payload_bytes=payload_bytes,
        stacked_vlan=packets.stacked,
    )


def choose(
    chooser: ExampleChooser, packets: list[bytes], *, frames: dict[int, bytes] | None = None
) -> dict[int, bytes]:
    staged = stage(packets)
    whole = {row: packet for row, packet in enumerate(packets) if len(packet) > WIDTH}
    return chooser.choose(parse(staged), staged, frames=whole if frames is None else frames)


def live(per_window: int = 8, **bounds: int) -> ExampleChooser:
    chooser = ExampleChooser(per_window=per_window, whole_only=True, **bounds)
    chooser.begin_day(START_US)
    return chooser


def test_it_works() -> None:
    long = bytes(range(256)) * 5
    packets = [
        make_udp(b"short"),
        make_udp(long),
        make_tcp(b"GET / " + long),
        make_udp(long, version=6),
        make_udp(b""),
    ]

    assert choose(live(), packets) == {0: b"short", 1: long, 2: b"GET / " + long, 3: long}


def test_a_hash_has_one_example_a_day() -> None:
    chooser = live()
    packets = [make_udp(b"a"), make_udp(b"b"), make_udp(b"a")]

    assert choose(chooser, packets) == {0: b"a", 1: b"b"}
    assert choose(chooser, packets) == {}
    chooser.begin_day(START_US + 1)
    assert choose(chooser, packets) == {}
    chooser.begin_day(START_US + DAY_US)
    assert choose(chooser, packets) == {0: b"a", 1: b"b"}


def test_an_example_ends_at_1500_bytes() -> None:
    payload = np.random.default_rng(1).bytes(2000)

    assert choose(live(), [make_udp(payload)]) == {0: payload[:1500]}


def test_a_cut_packet_waits_for_a_whole_one() -> None:
    chooser = live()
    packet = make_udp(bytes(1000))

    assert choose(chooser, [packet], frames={}) == {}
    assert choose(chooser, [packet]) == {0: bytes(1000)}


def test_a_cut_packet_of_a_file_gives_what_there_is() -> None:
    chooser = ExampleChooser(per_window=8, whole_only=False)
    chooser.begin_day(START_US)

    assert choose(chooser, [make_udp(bytes(1000))], frames={}) == {0: bytes(WIDTH - 28)}


def test_a_frame_of_another_packet_is_never_believed() -> None:
    chooser = live()
    mine, other = make_udp(b"mine" * 100), make_udp(b"other" * 100)

    assert choose(chooser, [mine], frames={0: other}) == {}
    assert choose(chooser, [mine], frames={0: mine[:100]}) == {}
    assert chooser.counts.example_mismatches == 2
    assert choose(chooser, [mine]) == {0: b"mine" * 100}


def test_a_frame_that_is_cut_itself_is_no_example() -> None:
    assert choose(live(), [packet := make_udp(b"x" * 400)], frames={0: packet[:300]}) == {}


def test_the_tag_of_a_stacked_packet_is_taken_off() -> None:
    packet = make_udp(b"tagged" * 90)
    staged = stage([packet])
    staged.stacked[:] = True
    staged.captured_length[:] -= 4

    assert live().choose(parse(staged), staged, frames={0: b"\0\5\x08\0" + packet}) == {0: b"tagged" * 90}


def test_what_is_no_observation_is_no_example() -> None:
    staged = stage([make_udp(b"ours"), make_udp(b"observed")])

    chosen = live().choose(parse(staged), staged, kept=np.array([False, True]))

    assert chosen == {1: b"observed"}


def test_a_window_has_at_most_so_many() -> None:
    chooser = live(per_window=3)
    packets = [make_udp(bytes([number])) for number in range(10)]

    assert list(choose(chooser, packets)) == [0, 1, 2]
    assert not chooser.is_hungry
    assert choose(chooser, packets) == {}
    chooser.begin_window(1)
    assert list(choose(chooser, packets)) == [3, 4]


def test_windows_of_a_flood_share_what_is_allowed_for_one() -> None:
    chooser = live(per_window=2)
    found = 0
    for tenth in range(50):
        chooser.begin_window(0, at=tenth / 10)
        found += len(choose(chooser, [make_udp(struct.pack(">II", tenth, n)) for n in range(5)]))

    assert found == 2
    chooser.begin_window(0, at=SHARED_SECONDS)
    assert len(choose(chooser, [make_udp(b"x"), make_udp(b"y"), make_udp(b"z")])) == 2


def test_one_port_has_half_of_a_window() -> None:
    chooser = live(per_window=5)
    flood = [make_udp(struct.pack(">I", number), port=53) for number in range(100)]
    rare = [make_udp(b"rare one", port=7), make_udp(b"rare two", port=8), make_udp(b"rare three", port=9)]

    assert list(choose(chooser, flood)) == [0, 1, 2]
    assert choose(chooser, flood[50:]) == {}
    assert choose(chooser, rare) == {0: b"rare one", 1: b"rare two"}
    chooser.begin_window(0)
    assert list(choose(chooser, flood[3:])) == [0, 1, 2]


def test_a_flood_from_one_port_ends_the_search_for_this_window() -> None:
    chooser = live(per_window=8)
    flood = [make_udp(struct.pack(">I", number), port=53) for number in range(300)]

    assert len(choose(chooser, flood)) == 4
    assert chooser.is_hungry
    assert choose(chooser, [*flood, make_udp(b"rare", port=7)]) == {}
    assert not chooser.is_hungry
    chooser.begin_window(0)
    assert choose(chooser, [make_udp(b"rare", port=7)]) == {0: b"rare"}


def test_a_full_day_takes_no_more_and_says_so_once() -> None:
    chooser = live(per_window=64, max_hashes=5)
    packets = [make_udp(bytes([number])) for number in range(10)]

    assert len(choose(chooser, packets)) == 5
    assert choose(chooser, packets) == {}
    assert (chooser.counts.example_days_full, chooser.is_hungry) == (1, False)
    chooser.begin_day(START_US + DAY_US)
    assert chooser.is_hungry
    chooser.begin_window(0)
    assert len(choose(chooser, packets)) == 5


def test_none_are_taken_when_none_are_allowed() -> None:
    chooser = live(per_window=0)

    assert not chooser.is_hungry
    assert choose(chooser, [make_udp(b"x")]) == {}


@given(sizes=st.lists(st.integers(0, 1700), min_size=1, max_size=12), seed=st.integers(0, 99), data=st.data())
@settings(max_examples=40, deadline=None)
def test_examples_follow_their_packets_through_cuts_into_the_batch(
    sizes: list[int], seed: int, data: st.DataObject
) -> None:
    random = np.random.default_rng(seed)
    payloads = [random.bytes(size) for size in sizes]
    packets = [make_udp(payload, version=4 if n % 2 else 6) for n, payload in enumerate(payloads)]
    staged = stage(packets)
    chosen = live(per_window=64).choose(parse(staged), staged, frames=dict(enumerate(packets)))
    columns = attach_examples(parse(staged), chosen)
    kept = np.array(data.draw(st.lists(st.booleans(), min_size=len(sizes), max_size=len(sizes))))
    cut = data.draw(st.integers(0, int(kept.sum())))
    left = select_rows(columns, kept)

    whole = join([slice_rows(left, 0, cut), slice_rows(left, cut, int(kept.sum()))])
    examples_there = count_examples([whole])
    body = seal(whole)

    expected = sorted(payloads[row][:1500] for row in np.flatnonzero(kept) if payloads[row])
    decoded = batch.decode(body)
    assert sorted(example.payload for example in decoded.header.examples) == expected
    assert examples_there == len(expected)


def seal(columns: WireColumns) -> bytes:
    identity = SealingIdentity(7, 1, 1, Ed25519PrivateKey.generate())
    draft = BatchDraft(
        START_US, START_US + 300_000_000, "boot-id-1", (Watched("192.0.2.7/32", "silent"),), payload_bytes=64
    )
    return seal_batch(identity, draft, columns=columns, seq=1).body


def test_columns_without_examples_are_sealed_as_ever() -> None:
    staged = stage([make_udp(b"x")])

    assert batch.decode(seal(parse(staged))).header.examples == ()
    assert take_examples(parse(staged))[1] == ()
    assert COLUMN not in take_examples(attach_examples(parse(staged), {0: b"x"}))[0]


blocks = st.lists(st.tuples(st.integers(0, 20), st.integers(1, 3)), min_size=1, max_size=12)


@given(
    life=st.lists(st.tuples(st.sampled_from(["block", "window", "day"]), blocks), max_size=12),
    per_window=st.integers(0, 6),
    max_hashes=st.integers(1, 12),
)
@settings(max_examples=60, deadline=None)
def test_no_order_of_packets_breaks_a_bound(
    life: list[tuple[str, list[tuple[int, int]]]], per_window: int, max_hashes: int
) -> None:
    chooser = live(per_window=per_window, max_hashes=max_hashes)
    today: list[bytes] = []
    window: list[int] = []
    day = 0
    for what, contents in life:
        if what == "window":
            chooser.begin_window(0)
            window = []
        elif what == "day":
            day += 1
            chooser.begin_day(START_US + day * DAY_US)
            today = []
        packets = [make_udp(b"payload %d" % number, port=port) for number, port in contents]

        chosen = choose(chooser, packets)

        today += chosen.values()
        window += [contents[row][1] for row in chosen]
        assert all(chosen[row] == b"payload %d" % contents[row][0] for row in chosen)
        assert len(today) == len(set(today)) <= max_hashes
        assert len(window) <= per_window
        assert all(window.count(port) <= -(-per_window // 2) for port in window)
