"""Payload examples travel in the header: they survive, follow their packets, and lies about them are named."""

from __future__ import annotations

import base64
import copy
import json
from dataclasses import replace

import numpy as np
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from teiten.protocol import arrow, batch, dictionary, header_text, testing
from teiten.protocol.errors import BatchContentError, BatchError, BatchHeaderError
from teiten.protocol.header import BatchHeader, PayloadExample
from teiten.traffic.columns import PacketColumns, VarBytes

ROWS = 24


def make_case(rows: int = ROWS, *, seed: int = 1) -> tuple[BatchHeader, PacketColumns]:
    """Make a batch with an example of each row that has payload."""
    header, columns = testing.make_header(rows=rows), testing.make_columns(rows, seed=seed)
    return replace(header, examples=testing.make_examples(columns)), columns


HEADER, COLUMNS = make_case()
WITH_PAYLOAD = tuple(example.row for example in HEADER.examples)
WITHOUT_PAYLOAD = min(set(range(ROWS)) - set(WITH_PAYLOAD))


def kept_payload(columns: PacketColumns, row: int) -> bytes:
    payload = columns["payload"]
    assert isinstance(payload, VarBytes)
    return payload.data[payload.offsets[row] : payload.offsets[row + 1]].tobytes()


def packet_of(columns: PacketColumns, row: int) -> tuple[object, ...]:
    names = ("observed_at", "src_addr", "src_port", "dst_port", "ip_id", "tcp_seq")
    return tuple(np.asarray(columns[name])[row].tobytes() for name in names)


def encode_lying(change: dict[str, object]) -> bytes:
    """Write a batch whose header was changed after every check of ``encode``."""
    stream = batch.write_stream(HEADER, COLUMNS)
    honest = header_text.write_header(HEADER)
    lying = json.dumps(json.loads(honest) | change, separators=(",", ":")).encode()
    template = arrow.schema_template()
    changed = template.render(lying) + stream[len(template.render(honest)) :]
    return zstandard.ZstdCompressor(dict_data=dictionary.build(dictionary.SMALL_ID)).compress(changed)


def entry(row: int, payload: bytes | str) -> dict[str, object]:
    return {
        "row": row,
        "payload": payload if isinstance(payload, str) else base64.b64encode(payload).decode(),
    }


@pytest.mark.requirement("R1.1")
def test_it_works() -> None:
    assert len(HEADER.examples) >= 2

    decoded = batch.decode(batch.encode(HEADER, COLUMNS, level=1))

    assert decoded.header == HEADER
    assert all(len(example.payload) == 700 for example in decoded.header.examples)


@given(seed=st.integers(0, 1000), rows=st.integers(1, 80), data=st.data())
@settings(max_examples=40, deadline=None)
def test_every_honest_example_survives_with_its_packet(seed: int, rows: int, data: st.DataObject) -> None:
    header, columns = testing.make_header(rows=rows), testing.make_columns(rows, seed=seed)
    size = data.draw(st.integers(64, header_text.MAX_EXAMPLE_BYTES))
    every = testing.make_examples(columns, size_bytes=size)
    kept = (
        data.draw(st.lists(st.sampled_from(every), unique=True, max_size=header_text.MAX_EXAMPLES))
        if every
        else []
    )
    header = replace(header, examples=tuple(sorted(kept, key=lambda example: example.row)))

    decoded = batch.decode(batch.encode(header, columns))

    assert replace(decoded.header, examples=()) == replace(header, examples=())
    sent = {(packet_of(columns, one.row), one.payload) for one in header.examples}
    assert {(packet_of(decoded.columns, one.row), one.payload) for one in decoded.header.examples} == sent
    rows_read = [one.row for one in decoded.header.examples]
    assert rows_read == sorted(set(rows_read))


@pytest.mark.requirement("R2.1")
@given(rows=st.integers(0, 70), seed=st.integers(0, 100))
@settings(max_examples=30, deadline=None)
def test_a_batch_of_version_1_is_read_as_ever(rows: int, seed: int) -> None:
    header = replace(testing.make_header(rows=rows), schema_version=1)
    columns = testing.make_columns(rows, seed=seed)

    data = batch.encode(header, columns)

    assert batch.decode(data).header == header
    assert batch.decode_header(data) == header


def test_without_examples_a_batch_hardly_grows() -> None:
    for rows in (0, 24, 240):
        header, columns = testing.make_header(rows=rows), testing.make_columns(rows)
        old, new = (len(batch.encode(replace(header, schema_version=number), columns)) for number in (1, 2))
        assert new - old <= 8


def test_as_many_and_as_long_as_allowed_fit() -> None:
    random = np.random.default_rng(1)
    columns = dict(testing.make_columns(200))
    columns["payload_length"] = np.full(200, 1500, np.uint32)
    columns["payload"] = testing.join_bytes([b""] * 200)
    examples = tuple(
        PayloadExample(3 * place, random.bytes(1500)) for place in range(header_text.MAX_EXAMPLES)
    )
    header = replace(testing.make_header(rows=200), examples=examples)

    decoded = batch.decode(batch.encode(header, columns))

    assert {example.payload for example in decoded.header.examples} == {one.payload for one in examples}


def try_decode(data: bytes) -> batch.Batch | None:
    """Decode; a BatchError with a code is an answer too, anything else fails the test."""
    try:
        return batch.decode(data)
    except BatchError as error:
        if not error.code:
            raise
        return None


FIRST = HEADER.examples[0]


@pytest.mark.requirement("R2.1")
@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"examples": [entry(ROWS, b"x")]}, "header.examples"),
        ({"examples": [entry(2**32 - 1, b"x")]}, "header.examples"),
        ({"examples": [entry(2**32, b"x")]}, "header.examples.row"),
        ({"examples": [entry(-1, b"x")]}, "header.examples.row"),
        ({"examples": [{"row": True, "payload": "eA=="}]}, "header.examples.row"),
        ({"examples": [entry(one.row, one.payload) for one in reversed(HEADER.examples)]}, "header.examples"),
        ({"examples": [entry(FIRST.row, FIRST.payload)] * 2}, "header.examples"),
        ({"examples": [entry(FIRST.row, FIRST.payload)] * 65}, "header.examples"),
        ({"examples": [entry(FIRST.row, b"y" + FIRST.payload[1:])]}, "examples.payload"),
        ({"examples": [entry(FIRST.row, FIRST.payload[:5])]}, "examples.payload"),
        ({"examples": [entry(FIRST.row, FIRST.payload + b"y")]}, "examples.length"),
        ({"examples": [entry(WITHOUT_PAYLOAD, b"x")]}, "examples.length"),
        ({"examples": [entry(FIRST.row, bytes(1501))]}, "header.examples.payload"),
        ({"examples": [entry(FIRST.row, bytes(1600))]}, "header.examples.payload"),
        ({"examples": [entry(FIRST.row, "eA")]}, "header.examples.payload"),
        ({"examples": [entry(FIRST.row, "eA===")]}, "header.examples.payload"),
        ({"examples": [entry(FIRST.row, "e A=")]}, "header.examples.payload"),
        ({"examples": [entry(FIRST.row, "e-_=")]}, "header.examples.payload"),
        ({"examples": [entry(FIRST.row, "eB==")]}, "header.form"),
        ({"examples": [entry(FIRST.row, "")]}, "header.examples.payload"),
        ({"examples": [{"row": FIRST.row}]}, "header.examples.payload"),
        ({"examples": [{**entry(FIRST.row, b"x"), "more": 1}]}, "header.examples.unknown"),
        ({"examples": [7]}, "header.examples.object"),
        ({"examples": {}}, "header.examples"),
        ({"examples": None}, "header.examples"),
        ({"examples": []}, "header.form"),
        ({"schema_version": 1}, "header.examples"),
        ({"payload_bytes": 0}, "header.examples"),
    ],
)  # fmt: skip
def test_a_lie_about_examples_is_named(change: dict[str, object], code: str) -> None:
    with pytest.raises(BatchError) as caught:
        batch.decode(encode_lying(change))

    assert caught.value.code == code


def test_a_header_without_examples_keeps_its_old_bound() -> None:
    text = header_text.write_header(replace(HEADER, examples=()))

    with pytest.raises(BatchHeaderError, match="at most 65536") as caught:
        header_text.read_header(text[:-1] + b" " * 66_000 + b"}")

    assert caught.value.code == "header.size"


@pytest.mark.parametrize(
    ("examples", "error", "code"),
    [
        ((PayloadExample(ROWS, b"x"),), BatchHeaderError, "header.examples"),
        ((PayloadExample(-1, b"x"),), BatchHeaderError, "header.examples"),
        ((PayloadExample(FIRST.row, b"not what came"),), BatchContentError, "examples.payload"),
    ],
)
def test_a_writer_refuses_what_a_reader_would(
    examples: tuple[PayloadExample, ...], error: type[BatchError], code: str
) -> None:
    with pytest.raises(error) as caught:
        batch.encode(replace(HEADER, examples=examples), COLUMNS)

    assert caught.value.code == code


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=5,
)


@pytest.mark.requirement("R2.1")
@given(data=st.data())
@settings(max_examples=150, deadline=None)
def test_a_changed_header_never_does_worse_than_an_error(data: st.DataObject) -> None:
    """Put any JSON anywhere into an honest header: a BatchError with a code, or an honest batch."""
    value = json.loads(header_text.write_header(HEADER))
    for _ in range(data.draw(st.integers(1, 3))):
        mutate(value, data)
    change = {name: value.get(name) for name in value}

    decoded = try_decode(encode_lying(change))

    for example in decoded.header.examples if decoded else ():
        assert example.payload.startswith(kept_payload(decoded.columns, example.row))


def mutate(value: dict[str, object], data: st.DataObject) -> None:
    """Replace one value of the header, or of an entry of one of its lists."""
    name = data.draw(st.sampled_from(sorted(value)))
    inner = value[name]
    if isinstance(inner, list) and inner and isinstance(inner[0], dict) and data.draw(st.booleans()):
        one = copy.deepcopy(data.draw(st.sampled_from(inner)))
        one[data.draw(st.sampled_from(sorted(one)))] = data.draw(json_values)
        value[name] = [*inner, one][-data.draw(st.integers(1, len(inner) + 1)) :]
    else:
        value[name] = data.draw(json_values)
