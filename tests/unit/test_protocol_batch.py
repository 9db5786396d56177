"""A batch survives the round trip, opens in any Arrow reader, and hostile bytes are only ever refused."""

from __future__ import annotations

import dataclasses
import io
import json
import struct

import numpy as np
import pytest
import zstandard
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from teiten.protocol import arrow, batch, dictionary, header_text, testing
from teiten.protocol.arrangement import arrange
from teiten.protocol.errors import BatchContentError, BatchError, BatchFormError, BatchHeaderError
from teiten.protocol.header import BatchHeader, LostBatch, Watched
from teiten.traffic.columns import WIRE_COLUMNS, PacketColumns, VarBytes

HEADER = testing.make_header(rows=24)
COLUMNS = testing.make_columns(24)
COLUMNS_300 = testing.make_columns(300)
WHOLE = batch.encode(HEADER, COLUMNS)


def assert_same(one: PacketColumns, other: PacketColumns) -> None:
    assert list(one) == list(other) == [column.name for column in WIRE_COLUMNS]
    for name, value in one.items():
        if isinstance(value, VarBytes):
            np.testing.assert_array_equal(value.offsets, other[name].offsets)
            np.testing.assert_array_equal(value.data, other[name].data)
        else:
            np.testing.assert_array_equal(value, other[name])
            assert value.dtype == other[name].dtype


def unpack(data: bytes) -> bytes:
    number = zstandard.get_frame_parameters(data).dict_id
    return zstandard.ZstdDecompressor(dict_data=dictionary.build(number)).decompress(data)


def pack(stream: bytes) -> bytes:
    return zstandard.ZstdCompressor(dict_data=dictionary.build(dictionary.SMALL_ID)).compress(stream)


def try_decode(data: bytes) -> batch.Batch | None:
    """Decode; a BatchError with a code is an answer too, anything else fails the test."""
    try:
        return batch.decode(data)
    except BatchError as error:
        if not error.code:
            raise
        return None


def reseal(change: dict[str, object], columns: PacketColumns = COLUMNS) -> bytes:
    """Make a batch whose header lies, as a hostile sensor would: past every check of ``encode``."""
    text = json.loads(header_text.write_header(HEADER)) | change
    raw = json.dumps(text, separators=(",", ":")).encode()
    stream = batch.write_stream(HEADER, columns)
    old = arrow.schema_template().render(header_text.write_header(HEADER))
    return pack(arrow.schema_template().render(raw) + stream[len(old) :])


@pytest.mark.requirement("R1.2")
@pytest.mark.parametrize("rows", [0, 1, 24, 63, 64, 2000])
def test_it_works(rows: int) -> None:
    header, columns = testing.make_header(rows=rows), testing.make_columns(rows)

    decoded = batch.decode(batch.encode(header, columns))

    assert decoded.header == header
    assert_same(decoded.columns, arrange(columns))


@given(rows=st.integers(0, 60), seed=st.integers(0, 1000))
@settings(max_examples=30)
def test_arranging_changes_the_order_and_nothing_else(rows: int, seed: int) -> None:
    def list_packets(columns: PacketColumns) -> list[tuple[object, ...]]:
        lists = []
        for value in columns.values():
            if isinstance(value, VarBytes):
                data = value.data.tobytes()
                lists.append([data[a:b] for a, b in zip(value.offsets[:-1], value.offsets[1:], strict=True)])
            else:
                lists.append([one.tobytes() for one in value])
        return sorted(zip(*lists, strict=True))

    columns = testing.make_columns(rows, seed=seed)

    arranged = arrange(columns)

    assert list_packets(arranged) == list_packets(columns)
    assert_same(arrange(arranged), arranged)


def test_a_flood_keeps_the_order_of_arrival() -> None:
    header = testing.make_header(rows=300)

    assert_same(batch.decode(batch.encode(header, COLUMNS_300, level=1)).columns, COLUMNS_300)


@pytest.mark.parametrize("rows", [0, 24, 300])
def test_any_arrow_reader_opens_it(rows: int) -> None:
    import nanoarrow
    import nanoarrow.ipc
    import pyarrow as pa

    columns = arrange(testing.make_columns(rows))
    stream = unpack(batch.encode(testing.make_header(rows=rows), columns))

    table = pa.ipc.open_stream(stream).read_all()
    table.validate(full=True)
    assert json.loads(table.schema.metadata[b"teiten"])["rows"] == rows
    kinds = {
        "timestamp[us, UTC]": pa.timestamp("us", "UTC"),
        "fixed_size_binary[16]": pa.binary(16),
        "binary": pa.binary(),
    }
    for column in WIRE_COLUMNS:
        field = table.schema.field(column.name)
        assert field.type == kinds.get(column.arrow_type, getattr(pa, column.arrow_type, lambda: None)())
        assert not field.nullable
        values = columns[column.name]
        if isinstance(values, VarBytes):
            data = values.data.tobytes()
            expected = [data[a:b] for a, b in zip(values.offsets[:-1], values.offsets[1:], strict=True)]
        elif column.kind == "address":
            expected = [row.tobytes() for row in values]
        elif column.kind == "instant":
            assert table[column.name].cast(pa.int64()).to_pylist() == values.tolist()
            continue
        else:
            expected = values.tolist()
        assert table[column.name].to_pylist() == expected
    other = nanoarrow.ArrayStream(nanoarrow.ipc.InputStream.from_readable(io.BytesIO(stream))).read_all()
    assert len(other) == rows


def test_it_fits_the_wire_budget() -> None:
    def size(rows: int) -> float:
        sizes = []
        for seed in range(1, 6):
            header = testing.make_header(rows=rows, seq=seed)
            columns = testing.make_columns(rows, seed=seed, start_us=header.window_start_us)
            sizes.append(len(batch.encode(header, columns)))
        return sum(sizes) / len(sizes)

    assert size(0) <= 100
    assert size(24) <= 800
    assert size(2000) / 2000 <= 21


def test_compression_leaves_a_flood_its_time() -> None:
    quiet = testing.make_header(rows=2000, window_seconds=40)
    flood = testing.make_header(rows=65_536, window_seconds=1)

    assert batch.choose_level(quiet) == 15
    assert batch.choose_level(flood) == 1


texts = st.builds(
    BatchHeader,
    schema_version=st.just(1),
    dataset=st.sampled_from(["live", "simulated", "import:telescope-2019"]),
    sensor=st.integers(1, 2**32 - 1),
    epoch=st.integers(1, 2**32 - 1),
    seq=st.integers(100, 2**63 - 1),
    window_start_us=st.just(testing.START_US),
    window_end_us=st.integers(testing.START_US + 1, testing.START_US + header_text.DAY_US),
    rows=st.just(0),
    watched=st.lists(
        st.sampled_from([Watched("192.0.2.0/24", "silent"), Watched("2001:db8::/48", "answering")]),
        max_size=3,
    ).map(tuple),
    captured=st.integers(2**40, 2**63 - 1),
    kernel_drops=st.integers(0, 2**63 - 1),
    excluded=st.integers(0, 2**40),
    gap_us=st.integers(0, 10**15),
    clock_offset_us=st.none() | st.integers(-(10**15), 10**15),
    clock_stepped=st.booleans(),
    payload_bytes=st.integers(0, 128),
    boot_id=st.from_regex(r"[0-9A-Za-z_-]{8,36}", fullmatch=True),
    software=st.from_regex(r"[0-9][0-9A-Za-z.+_-]{0,20}", fullmatch=True),
    lost=st.just(()) | st.just((LostBatch(1, 3, 5, 9), LostBatch(7, 99, 9, 9))),
)


@given(header=texts)
@settings(max_examples=50)
def test_every_honest_header_survives(header: BatchHeader) -> None:
    assert batch.decode(batch.encode(header, testing.make_columns(0))).header == header


@given(rows=st.integers(0, 40), data=st.data())
@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])
def test_every_honest_column_survives(rows: int, data: st.DataObject) -> None:
    random = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    columns = dict(testing.make_columns(rows))
    for column in WIRE_COLUMNS:
        if column.kind in ("u32", "u64"):
            columns[column.name] = random.integers(0, 2**32, rows).astype(column.numpy_type)
    columns["tcp_options"] = testing.join_bytes(
        [random.bytes(int(random.integers(0, 41))) for _ in range(rows)]
    )
    columns["payload"] = testing.join_bytes([random.bytes(int(random.integers(0, 65))) for _ in range(rows)])

    assert_same(batch.decode(batch.encode(testing.make_header(rows=rows), columns)).columns, arrange(columns))


@given(data=st.binary(max_size=400))
@example(data=b"")
@example(data=bytes.fromhex("28b52ffd"))
@settings(max_examples=200)
def test_any_bytes_are_refused_without_a_crash(data: bytes) -> None:
    with pytest.raises(BatchError):
        batch.decode(data)


@given(data=st.data())
@settings(max_examples=200)
def test_a_changed_frame_never_does_worse_than_an_error(data: st.DataObject) -> None:
    changed = bytearray(WHOLE)
    for _ in range(data.draw(st.integers(1, 4))):
        changed[data.draw(st.integers(0, len(changed) - 1))] = data.draw(st.integers(0, 255))
    cut = bytes(changed)[: data.draw(st.integers(0, len(changed)))]

    decoded = try_decode(cut)

    assert decoded is None or decoded.header.rows == len(decoded.columns["observed_at"])


@given(data=st.data())
@settings(max_examples=300)
def test_a_changed_stream_never_does_worse_than_an_error(data: st.DataObject) -> None:
    changed = bytearray(unpack(WHOLE))
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(changed) - 8))
        value = data.draw(
            st.sampled_from([0, 1, 255, 2**31, 2**31 - 1, 2**63 - 1, 2**64 - 1]) | st.integers(0, 2**64 - 1)
        )
        size = data.draw(st.sampled_from([1, 4, 8]))
        changed[place : place + size] = struct.pack("<Q", value)[:size]

    decoded = try_decode(pack(bytes(changed)))

    for value in decoded.columns.values() if decoded else ():
        for array in value if isinstance(value, VarBytes) else (value,):
            array.sum()


@pytest.mark.requirement("R2.1")
@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"rows": 23}, "record_batch.rows"),
        ({"rows": 25, "captured": 30}, "record_batch.rows"),
        ({"rows": 70_000, "captured": 80_000}, "header.rows"),
        ({"rows": -1}, "header.rows"),
        ({"rows": 24.0}, "header.rows"),
        ({"rows": True}, "header.rows"),
        ({"captured": 3}, "header.captured"),
        ({"schema_version": 3}, "header.schema_version"),
        ({"dataset": "import:../etc"}, "header.dataset"),
        ({"dataset": "else"}, "header.dataset"),
        ({"sensor": 0}, "header.sensor"),
        ({"sensor": 2**32}, "header.sensor"),
        ({"epoch": 0}, "header.epoch"),
        ({"seq": 2**63}, "header.seq"),
        ({"window_us": 0}, "header.window_us"),
        ({"window_us": header_text.DAY_US + 1}, "header.window_us"),
        ({"window_us": 1000}, "observed_at.window"),
        ({"window_start_us": testing.START_US + 3_600_000_000}, "observed_at.window"),
        ({"window_start_us": -1}, "header.window_start_us"),
        ({"window_start_us": 10**17}, "header.window_start_us"),
        ({"watched": [{"prefix": "192.0.2.7/24", "mode": "silent"}]}, "header.watched.prefix"),
        ({"watched": [{"prefix": "192.0.2.7/33", "mode": "silent"}]}, "header.watched.prefix"),
        ({"watched": [{"prefix": "2001:db8::0/64", "mode": "silent"}]}, "header.watched.prefix"),
        ({"watched": [{"prefix": "192.0.2.0/24", "mode": "loud"}]}, "header.watched.mode"),
        ({"watched": [{"prefix": "192.0.2.0/24"}]}, "header.watched.mode"),
        ({"watched": [7]}, "header.watched.object"),
        ({"watched": [{"prefix": "192.0.2.0/24", "mode": "silent"}] * 257}, "header.watched"),
        ({"payload_bytes": 129}, "header.payload_bytes"),
        ({"payload_bytes": 1}, "payload.size"),
        ({"boot_id": "a b"}, "header.boot_id"),
        ({"software": ""}, "header.software"),
        ({"software": "x\n"}, "header.software"),
        ({"clock_stepped": 0}, "header.clock_stepped"),
        ({"clock_offset_us": "1"}, "header.clock_offset_us"),
        (
            {"lost": [{"first_seq": 1, "last_seq": 1, "window_start_us": 0, "window_end_us": 0}]},
            "header.lost",
        ),
        ({"extra": 1}, "header.unknown"),
    ],
)
def test_a_lying_header_is_named(change: dict[str, object], code: str) -> None:
    with pytest.raises(BatchError) as caught:
        batch.decode(reseal(change))

    assert caught.value.code == code


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (b"", "header.json"),
        (b"[]", "header.object"),
        (b"{}", "header.schema_version"),
        (b"[" * 60_000, "header.json"),
        (b'{"a":' + b"9" * 5000 + b"}", "header.json"),
        (b'{"a":NaN}', "header.json"),
        (b'{"a":1,"a":1}', "header.json"),
        (b"\xff\xfe", "header.json"),
        (header_text.write_header(HEADER).replace(b":", b": "), "header.form"),
        (b" " * 200_000, "header.size"),
    ],
)
def test_a_header_that_is_no_header_is_named(text: bytes, code: str) -> None:
    stream = arrow.schema_template().render(text)

    with pytest.raises(BatchError) as caught:
        batch.decode(pack(stream))

    assert caught.value.code == code


def spoil(name: str, row: int, value: object) -> dict[str, object]:
    column = COLUMNS[name].copy()
    column[row] = value
    return {**COLUMNS, name: column}


@pytest.mark.parametrize(
    ("columns", "code"),
    [
        (spoil("observed_at", 3, HEADER.window_end_us), "observed_at.window"),
        (spoil("observed_at", 3, HEADER.window_start_us - 1), "observed_at.window"),
        (spoil("observed_at", 3, -(2**63)), "observed_at.window"),
        (spoil("ip_version", 0, 7), "ip_version.range"),
        (spoil("tcp_flags", 0, 4096), "tcp_flags.range"),
        (spoil("ip_df", 0, 2), "ip_df.range"),
        (spoil("ip_mf", 0, 2), "ip_mf.range"),
        (spoil("fragment_offset", 0, 8192), "fragment_offset.range"),
        ({**COLUMNS, "tcp_options": testing.join_bytes([b"x" * 41] + [b""] * 23)}, "tcp_options.size"),
        ({**COLUMNS, "payload": testing.join_bytes([b"x" * 65] + [b""] * 23)}, "payload.size"),
        ({**COLUMNS, "ttl": COLUMNS["ttl"][:5]}, "ttl.type"),
        ({**COLUMNS, "ttl": COLUMNS["ttl"].astype("int64")}, "ttl.type"),
        ({**COLUMNS, "payload": COLUMNS["ttl"]}, "payload.type"),
        ({name: value for name, value in COLUMNS.items() if name != "vlan"}, "vlan.type"),
    ],
)
def test_a_writer_refuses_what_a_reader_would(columns: PacketColumns, code: str) -> None:
    with pytest.raises(BatchContentError) as caught:
        batch.encode(HEADER, columns)

    assert caught.value.code == code


@pytest.mark.parametrize(
    ("offsets", "code"),
    [
        ([0, 5, 3] + [8] * 22, "tcp_options.offsets"),
        ([1] + [8] * 24, "tcp_options.offsets"),
        ([0] * 24 + [7], "tcp_options.offsets"),
        ([0, -(2**31)] + [8] * 23, "tcp_options.offsets"),
        ([0] + [2**31 - 1] * 23 + [8], "tcp_options.offsets"),
    ],
)
def test_hostile_offsets_are_refused(offsets: list[int], code: str) -> None:
    columns = {**COLUMNS, "tcp_options": testing.join_bytes([b"12345678"] + [b""] * 23)}
    stream = bytearray(batch.write_stream(HEADER, columns))
    honest = np.array([0] + [8] * 24, dtype="<i4").tobytes()
    assert stream.count(honest) == 1
    start = stream.index(honest)
    stream[start : start + len(honest)] = np.array(offsets, dtype="<i4").tobytes()

    with pytest.raises(BatchContentError) as caught:
        batch.decode(pack(bytes(stream)))

    assert caught.value.code == code


@pytest.mark.requirement("R2.1")
def test_a_bomb_is_refused_before_it_goes_off() -> None:
    bomb = pack(bytes(33 * 1024 * 1024))
    assert len(bomb) < 8192

    with pytest.raises(BatchFormError) as caught:
        batch.decode(bomb)

    assert caught.value.code == "frame.content_size"


def test_a_bomb_that_understates_itself_is_refused() -> None:
    honest = pack(bytes(1_000_000))
    size_at = honest.index(struct.pack("<I", 1_000_000))
    lying = honest[:size_at] + struct.pack("<I", 4096) + honest[size_at + 4 :]
    assert zstandard.get_frame_parameters(lying).content_size == 4096

    with pytest.raises(BatchFormError, match="does not unpack"):
        batch.decode(lying)


def test_a_frame_that_overstates_itself_is_refused() -> None:
    honest = pack(bytes(1_000_000))
    size_at = honest.index(struct.pack("<I", 1_000_000))
    lying = honest[:size_at] + struct.pack("<I", 1_000_001) + honest[size_at + 4 :]

    with pytest.raises(BatchFormError):
        batch.decode(lying)


def compress(stream: bytes, **options: object) -> bytes:
    return zstandard.ZstdCompressor(**options).compress(stream)


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (compress(unpack(WHOLE)), "frame.dictionary"),
        (
            compress(unpack(WHOLE), dict_data=dictionary.build(1), write_content_size=False),
            "frame.content_size",
        ),
        (WHOLE + b"x", "frame.content"),
        (WHOLE + WHOLE, "frame.content"),
        (WHOLE[:-1], "frame.content"),
        (pack(unpack(WHOLE) + bytes(8)), "record_batch.end"),
        (pack(unpack(WHOLE)[:-8]), "record_batch.end"),
        (pack(unpack(WHOLE)[:3000]), "record_batch.size"),
        (pack(b""), "schema.size"),
        (pack(unpack(WHOLE).replace(b"tcp_seq", b"tcp_sex")), "schema.equality"),
    ],
)
def test_a_form_that_is_not_the_one_is_named(data: bytes, code: str) -> None:
    with pytest.raises(BatchFormError) as caught:
        batch.decode(data)

    assert caught.value.code == code


def test_another_arrow_writer_is_refused_by_name() -> None:
    import pyarrow as pa

    table = pa.ipc.open_stream(unpack(WHOLE)).read_all().drop_columns(["vlan"])
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)

    with pytest.raises(BatchFormError) as caught:
        batch.decode(pack(sink.getvalue()))

    assert caught.value.code in ("schema.equality", "schema.size")


def test_an_encoder_refuses_a_header_that_json_would_change() -> None:
    with pytest.raises(BatchHeaderError):
        batch.encode(dataclasses.replace(HEADER, gap_us=0.5), COLUMNS)


def test_the_header_alone_can_be_read() -> None:
    assert batch.decode_header(WHOLE) == HEADER
