"""Replay: capture files become batches in the order of time, or an error before anything is sent."""

from __future__ import annotations

import struct
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from teiten.protocol import batch
from teiten.protocol.header import SCHEMA_VERSION, BatchHeader, Watched
from teiten.sensor import replay
from teiten.sensor.capture_file_errors import NotACaptureError, UnsupportedCaptureError
from teiten.sensor.capture_file_links import Packets
from teiten.sensor.capture_file_order import Entries
from teiten.sensor.capture_files import open_capture
from teiten.sensor.errors import ReplayError
from teiten.sensor.examples import take_examples
from teiten.sensor.replay import DAY_US, cut_batches, replay_files
from teiten.traffic.parse import parse_packets

GOLDEN = Path(__file__).parents[1] / "golden" / "scanners"
MIDNIGHT = 20_000 * DAY_US

pytestmark = pytest.mark.requirement("R1.1", "R1.2")


def ip4(number):
    payload = struct.pack(">I", number)
    return (
        struct.pack(">BBHHHBBH", 0x45, 0, 32, number & 0xFFFF, 0, 64, 17, 0)
        + bytes.fromhex("f0000001c6336407")
        + struct.pack(">HHHH", 1000, 2000, 12, 0)
        + payload
    )


def pcap(times, *, link_type=101, first_number=0):
    out = [struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262144, link_type)]
    for number, time_us in enumerate(times, first_number):
        packet = ip4(number)
        out.append(struct.pack("<IIII", *divmod(time_us, 1_000_000), len(packet), len(packet)) + packet)
    return b"".join(out)


@pytest.fixture
def write(tmp_path):
    def write_file(content, name="file.pcap"):
        path = tmp_path / name
        path.write_bytes(content)
        return path

    return write_file


def run(paths, **kwargs):
    batches = []

    def make_batch(window, columns):
        encode(window, columns)
        batches.append((window, columns))

    report = replay_files(paths, dataset_name="test", make_batch=make_batch, **kwargs)
    return batches, report


def encode(window, columns):
    """Have the protocol judge header and columns, as sealing and the loader do."""
    rows = columns["observed_at"].size
    header = BatchHeader(
        schema_version=SCHEMA_VERSION,
        dataset=window.dataset,
        sensor=1,
        epoch=1,
        seq=1,
        window_start_us=window.window_start_us,
        window_end_us=window.window_end_us,
        rows=rows,
        watched=window.watched,
        captured=rows,
        kernel_drops=0,
        excluded=0,
        gap_us=window.gap_us,
        clock_offset_us=None,
        clock_stepped=False,
        payload_bytes=window.payload_bytes,
        boot_id="0123456789",
        software="test",
    )
    decoded = batch.decode(batch.encode(header, columns))
    assert (np.sort(decoded.columns["observed_at"]) == np.sort(columns["observed_at"])).all()


def windows_of(batches):
    return [(w.window_start_us, w.window_end_us, w.gap_us, c["observed_at"].tolist()) for w, c in batches]


def test_it_works(write):
    batches, report = run([write(pcap([MIDNIGHT + 5, MIDNIGHT + 9]))])

    assert windows_of(batches) == [(MIDNIGHT + 5, MIDNIGHT + 10, 0, [MIDNIGHT + 5, MIDNIGHT + 9])]
    assert batches[0][0].dataset == "import:test"
    assert batches[0][0].watched == ()
    assert (report.packets, report.batches, report.problems) == (2, 1, ())
    assert (report.first_us, report.last_us) == (MIDNIGHT + 5, MIDNIGHT + 9)


def test_the_rows_are_those_of_the_parser():
    path = GOLDEN / "masscan.pcap"
    (chunk,) = open_capture(path).packet_chunks()

    batches, report = run([path], payload_bytes=16)

    expected = parse_packets(
        chunk.raw,
        chunk.captured_length,
        wire_length=chunk.wire_length,
        observed_at_us=chunk.observed_at_us,
        vlan=chunk.vlan,
        payload_bytes=16,
    )
    ((window, columns),) = batches
    assert report.packets == 27
    assert window.payload_bytes == 16
    assert all(
        np.array_equal(np.asarray(columns[n]), np.asarray(expected[n]))
        for n in expected
        if n not in {"payload", "tcp_options"}
    )


def test_it_declares_what_was_watched(write):
    watched = (Watched("198.51.100.7/32", "silent"),)

    batches, _ = run([write(pcap([MIDNIGHT]))], observed=watched)

    assert batches[0][0].watched == watched
    assert batches[0][0].to_batch_draft("boot-0001").watched == watched


def test_days_begin_new_batches_whose_windows_touch(write):
    times = [MIDNIGHT - 10, MIDNIGHT - 1, MIDNIGHT, MIDNIGHT + DAY_US - 5, MIDNIGHT + DAY_US + 7]

    batches, _ = run([write(pcap(times))])

    assert windows_of(batches) == [
        (MIDNIGHT - 10, MIDNIGHT, 0, times[:2]),
        (MIDNIGHT, MIDNIGHT + DAY_US, 0, times[2:4]),
        (MIDNIGHT + DAY_US, MIDNIGHT + DAY_US + 8, 0, times[4:]),
    ]


def test_a_silence_of_more_than_a_day_is_a_gap(write):
    batches, _ = run([write(pcap([MIDNIGHT, MIDNIGHT + 3 * DAY_US]))])

    assert windows_of(batches) == [
        (MIDNIGHT, MIDNIGHT + 1, 0, [MIDNIGHT]),
        (MIDNIGHT + 3 * DAY_US, MIDNIGHT + 3 * DAY_US + 1, 3 * DAY_US - 1, [MIDNIGHT + 3 * DAY_US]),
    ]


def test_an_unsorted_file_is_sorted(write):
    batches, report = run([write(pcap([MIDNIGHT + 5, MIDNIGHT + 2, MIDNIGHT + 9, MIDNIGHT + 2]))])

    ((_, columns),) = batches
    assert columns["observed_at"].tolist() == [MIDNIGHT + 2, MIDNIGHT + 2, MIDNIGHT + 5, MIDNIGHT + 9]
    # Packets of one time keep their order.
    assert columns["ip_id"].tolist() == [1, 3, 0, 2]
    assert (report.first_us, report.last_us) == (MIDNIGHT + 2, MIDNIGHT + 9)


def test_files_come_in_the_order_of_their_times(write):
    late = write(pcap([MIDNIGHT + 100, MIDNIGHT + 110], first_number=10), "a")
    early = write(pcap([MIDNIGHT, MIDNIGHT + 50]), "b")

    ((_, columns),) = run([late, early])[0]

    assert columns["ip_id"].tolist() == [0, 1, 10, 11]


def test_overlapping_files_are_merged(write):
    one = write(pcap([MIDNIGHT, MIDNIGHT + 50]), "a")
    other = write(pcap([MIDNIGHT + 20, MIDNIGHT + 70], first_number=10), "b")

    ((_, columns),) = run([one, other])[0]

    assert columns["ip_id"].tolist() == [0, 10, 1, 11]
    payload = columns["payload"]
    numbers = [
        int.from_bytes(payload.data[a:b].tobytes(), "big")
        for a, b in zip(payload.offsets, payload.offsets[1:], strict=False)
    ]
    assert numbers == [0, 10, 1, 11]


def test_large_files_are_cut_at_the_row_limit(write):
    times = [MIDNIGHT + 10 * n for n in range(replay.MAX_ROWS + 500)]

    batches, report = run([write(pcap(times))])

    assert [c["observed_at"].size for _, c in batches] == [replay.MAX_ROWS, 500]
    assert batches[0][0].window_end_us == batches[1][0].window_start_us == times[replay.MAX_ROWS]
    assert report.batches == 2


def test_rows_with_much_payload_make_smaller_batches(write):
    times = [MIDNIGHT + 10 * n for n in range(50_000)]

    batches, _ = run([write(pcap(times))], payload_bytes=128)

    limit = (7 << 20) // (48 + 128)
    assert [c["observed_at"].size for _, c in batches] == [limit, 50_000 - limit]


def test_more_packets_in_one_microsecond_than_fit_share_it(write):
    times = [MIDNIGHT] * 5 + [MIDNIGHT + 7] * 70_000

    batches, _ = run([write(pcap(times))])

    assert [
        (w.window_start_us - MIDNIGHT, w.window_end_us - MIDNIGHT, c["observed_at"].size) for w, c in batches
    ] == [
        (0, 7, 5),
        (7, 8, replay.MAX_ROWS),
        (7, 8, 70_000 - replay.MAX_ROWS),
    ]


def test_a_broken_file_gives_its_whole_packets_and_the_report_says_so(write):
    broken = write(pcap([MIDNIGHT, MIDNIGHT + 1, MIDNIGHT + 2])[:-3])

    batches, report = run([broken])

    assert report.packets == 2
    assert batches[0][1]["observed_at"].size == 2
    assert len(report.problems) == 1
    assert "ends within a packet" in report.problems[0]
    assert str(broken) in report.problems[0]


def test_nothing_is_sent_when_any_file_cannot_be_read(write):
    good, bad = write(pcap([MIDNIGHT]), "good"), write(b"no capture at all", "bad")
    sent = []

    with pytest.raises(NotACaptureError, match="bad"):
        replay_files([good, bad], dataset_name="x", make_batch=lambda *batch: sent.append(batch))

    assert sent == []


def test_nothing_is_sent_when_a_later_frame_is_of_a_foreign_kind(write):
    head = struct.pack("<IIIHHqI", 0x0A0D0D0A, 28, 0x1A2B3C4D, 1, 0, -1, 28)
    links = [struct.pack("<IIHHII", 1, 20, link, 0, 0, 20) for link in (101, 105)]
    body = ip4(1)
    packets = [
        struct.pack("<IIIIIII", 6, 32 + len(body), number, 0, 1000, len(body), len(body))
        + body
        + struct.pack("<I", 32 + len(body))
        for number in (0, 1)
    ]
    sent = []

    with pytest.raises(UnsupportedCaptureError, match=r"802\.11"):
        replay_files(
            [write(head + b"".join(links + packets))],
            dataset_name="x",
            make_batch=lambda *batch: sent.append(batch),
        )

    assert sent == []


@pytest.mark.parametrize("name", ["", "Name", "-x", "a" * 41, "a/b", "a b", "import:x"])
def test_impossible_names_are_refused(write, name):
    with pytest.raises(ReplayError, match="import name"):
        replay_files([write(pcap([MIDNIGHT]))], dataset_name=name, make_batch=lambda *_: None)


def test_a_file_given_twice_is_refused(write, tmp_path):
    path = write(pcap([MIDNIGHT]))
    link = tmp_path / "link"
    link.symlink_to(path)

    with pytest.raises(ReplayError, match="given twice"):
        run([path, link])
    with pytest.raises(ReplayError, match="no capture file"):
        run([])


def test_an_empty_capture_makes_no_batch(write):
    batches, report = run([write(pcap([]))])

    assert batches == []
    assert (report.packets, report.first_us, report.last_us) == (0, None, None)


def test_progress_ends_at_the_whole(write):
    told = []

    run(
        [write(pcap([MIDNIGHT + n for n in range(10)]))],
        progress=lambda done, total, packets: told.append((done, total, packets)),
    )

    assert told[-1][0] == told[-1][1]
    assert told[-1][2] == 10
    assert [t[0] for t in told] == sorted(t[0] for t in told)
    assert len({t[1] for t in told}) == 1


def line_of(times):
    array = np.array(times, np.int64)
    zeros = np.zeros(array.size, np.int64)
    packets = Packets(zeros, zeros, zeros, array, zeros.astype(np.uint16), zeros.astype(np.bool_))
    return Entries(packets, zeros.astype(np.int32))


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.integers(0, 12).map(lambda n: n * DAY_US // 4) | st.integers(0, 50), max_size=40),
    st.integers(1, 7),
    st.integers(1, 10),
)
def test_batches_keep_every_packet_within_day_limit_and_window(times, max_rows, chunk):
    times = sorted(times)
    line = [line_of(times[start : start + chunk]) for start in range(0, len(times), chunk)]

    batches = [b.packets.time_us.tolist() for b in cut_batches(iter(line), max_rows=max_rows)]

    assert [time for b in batches for time in b] == times
    assert all(1 <= len(b) <= max_rows and b[0] // DAY_US == b[-1] // DAY_US for b in batches)
    for before, after in pairwise(batches):
        end, start = replay.close_window(before[-1], after[0])
        assert before[-1] < end
        assert start <= after[0]
        assert start // DAY_US == after[0] // DAY_US
        # Only a single time that overfills a batch is shared.
        assert start >= end or (before[0] == before[-1] == after[0] and len(before) == max_rows)


def udp4(payload, port=2000):
    head = struct.pack(">BBHHHBBH", 0x45, 0, 28 + len(payload), 1, 0, 64, 17, 0)
    return (
        head
        + bytes.fromhex("f0000001c6336407")
        + struct.pack(">HHHH", 1000, port, 8 + len(payload), 0)
        + payload
    )


def pcap_of(packets, *, snap_bytes=65_535):
    """Write (time, packet) pairs, cut as ``tcpdump -s`` would."""
    out = [struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262144, 101)]
    for time_us, packet in packets:
        kept = packet[:snap_bytes]
        out.append(struct.pack("<IIII", *divmod(time_us, 1_000_000), len(kept), len(packet)) + kept)
    return b"".join(out)


def examples_of(batches):
    return [[one.payload for one in take_examples(columns)[1]] for _window, columns in batches]


def test_an_import_has_examples_of_each_day(write):
    probe, other = b"probe " * 200, b"other " * 20
    packets = [
        (MIDNIGHT + at, udp4(payload))
        for at, payload in ((1, probe), (2, other), (3, probe), (DAY_US + 1, probe), (DAY_US + 2, b""))
    ]

    batches, _report = run([write(pcap_of(packets))])

    assert examples_of(batches) == [[probe, other], [probe]]


def test_an_import_has_as_many_examples_as_are_allowed(write):
    packets = [(MIDNIGHT + number, udp4(bytes([number]) * 90, port=number)) for number in range(20)]
    path = write(pcap_of(packets))

    assert [len(found) for found in examples_of(run([path])[0])] == [8]
    assert [len(found) for found in examples_of(run([path], examples_per_window=3)[0])] == [3]
    assert examples_of(run([path], payload_bytes=0)[0]) == [[]]


def test_an_import_of_cut_packets_gives_what_was_captured(write):
    path = write(pcap_of([(MIDNIGHT, udp4(b"x" * 500))], snap_bytes=128))

    assert examples_of(run([path])[0]) == [[b"x" * 100]]
