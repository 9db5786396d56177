"""What the loader believes, and the code of each rule that a batch can break."""

from __future__ import annotations

import dataclasses
import hashlib

import numpy as np
import pytest
import zstandard

from teiten.landing.blocks import Member
from teiten.loader import verifying
from teiten.loader.config import LoaderConfig
from teiten.loader.errors import Unbelievable
from teiten.loader.testing import StandingPlacement
from teiten.protocol import batch, dictionary, keys, seal
from teiten.protocol.header import BatchHeader, PayloadExample, Watched
from teiten.protocol.testing import join_bytes, make_columns, make_header

pytestmark = pytest.mark.requirement("R2.1")
KEY = keys.generate_key()
DAY_US = 86_400_000_000


AT_HOME = StandingPlacement(7, "kanto", "simulated", may_import=False, keys={1: keys.public_bytes(KEY)})


def write(header: BatchHeader) -> bytes:
    return batch.encode(header, make_columns(header.rows, seed=1, start_us=header.window_start_us))


def make_member(body: bytes, header: BatchHeader, **changes: int) -> Member:
    """Seal and name a batch as it would have landed a minute after its window."""
    named = {"sensor": header.sensor, "epoch": header.epoch, "seq": header.seq, "key_no": 1}
    named |= {name: value for name, value in changes.items() if name in named}
    digest = seal.digest_of(body)
    sealed = seal.seal(KEY, **named, digest=digest)
    landed = changes.get("landed_at_us", header.window_end_us + 60_000_000)
    return Member(
        **named, digest=digest, seal=sealed, landed_at_us=landed, size_bytes=len(body), segment="", offset=0
    )


def code_of(header: BatchHeader, placed: StandingPlacement | None = AT_HOME, **changes: int) -> str:
    body = write(header)
    with pytest.raises(Unbelievable) as refused:
        verifying.verify(make_member(body, header, **changes), body, placed, config=LoaderConfig())
    assert str(refused.value)
    return refused.value.code


def test_it_works() -> None:
    header = make_header(rows=24)
    body = write(header)

    verified = verifying.verify(make_member(body, header), body, AT_HOME, config=LoaderConfig())

    assert verified.batch.header == header
    assert verified.region == "kanto"


def test_an_unknown_sensor_or_key_is_refused() -> None:
    assert code_of(make_header(), None) == "sensor.unknown"
    assert code_of(make_header(), dataclasses.replace(AT_HOME, keys={2: b"x" * 32})) == "sensor.key"


def test_another_sensors_key_is_refused() -> None:
    other = dataclasses.replace(AT_HOME, keys={1: keys.public_bytes(keys.generate_key())})

    assert code_of(make_header(), other) == "seal.invalid"


def test_a_key_that_is_none_is_refused() -> None:
    assert code_of(make_header(), dataclasses.replace(AT_HOME, keys={1: b"short"})) == "public_key.form"


@pytest.mark.parametrize("name", ["sensor", "epoch", "seq"])
def test_a_header_that_names_another_batch_is_refused(name: str) -> None:
    header = make_header(seq=5)

    assert code_of(header, **{name: getattr(header, name) + 1}) == f"claims.{name}"


def test_a_foreign_data_set_is_refused() -> None:
    assert code_of(dataclasses.replace(make_header(), dataset="live")) == "dataset.other"
    assert code_of(dataclasses.replace(make_header(), dataset="import:lab")) == "dataset.import"


def test_an_import_needs_leave() -> None:
    header = dataclasses.replace(make_header(), dataset="import:lab")
    body = write(header)
    allowed = dataclasses.replace(AT_HOME, may_import=True)

    verified = verifying.verify(make_member(body, header), body, allowed, config=LoaderConfig())

    assert verified.batch.header.dataset == "import:lab"


def test_a_window_in_the_future_is_refused() -> None:
    header = make_header()

    assert code_of(header, landed_at_us=header.window_end_us - 301_000_000) == "window.future"


def test_a_window_long_ago_is_refused_unless_it_is_an_import() -> None:
    header = make_header()
    late = header.window_start_us + 401 * DAY_US
    assert code_of(header, landed_at_us=late) == "window.old"

    replayed = dataclasses.replace(header, dataset="import:lab")
    body = write(replayed)
    allowed = dataclasses.replace(AT_HOME, may_import=True)

    assert verifying.verify(
        make_member(body, replayed, landed_at_us=late), body, allowed, config=LoaderConfig()
    )


@pytest.mark.parametrize(
    ("prefixes", "code"),
    [
        (("192.0.2.0/24", "192.0.2.7/32"), "watched.overlap"),
        (("192.0.2.7/32", "192.0.2.7/32"), "watched.overlap"),
        (("2001:db8::/48", "2001:db8::/64"), "watched.overlap"),
        (("0.0.0.0/0",), "watched.breadth"),
    ],
)
def test_impossible_prefixes_are_refused(prefixes: tuple[str, ...], code: str) -> None:
    watched = tuple(Watched(prefix, "silent") for prefix in prefixes)

    assert code_of(dataclasses.replace(make_header(), watched=watched)) == code


def test_prefixes_of_both_families_do_not_overlap() -> None:
    watched = (
        Watched("192.0.2.7/32", "silent"),
        Watched("2001:db8::/32", "silent"),
        Watched("192.0.2.8/32", "silent"),
    )

    assert verifying.find_watched_problem(watched) is None


def test_a_refusal_after_unpacking_knows_the_header() -> None:
    header = dataclasses.replace(make_header(), dataset="live")
    body = write(header)

    with pytest.raises(Unbelievable) as refused:
        verifying.verify(make_member(body, header), body, AT_HOME, config=LoaderConfig())

    assert refused.value.header == header


def test_a_decompression_bomb_is_refused_unpacked() -> None:
    bomb = zstandard.ZstdCompressor(level=19, write_content_size=True).compress(bytes(64 * 1024 * 1024))
    header = make_header()

    with pytest.raises(Unbelievable, match="unpacks to more"):
        verifying.verify(make_member(bomb, header), bomb, AT_HOME, config=LoaderConfig())


def test_bytes_that_are_no_batch_are_refused() -> None:
    header = make_header()
    for body in (b"", b"hello", write(header)[:-9]):
        with pytest.raises(Unbelievable) as refused:
            verifying.verify(make_member(body, header), body, AT_HOME, config=LoaderConfig())
        assert refused.value.code.startswith("frame.")


def test_a_lying_row_count_is_refused() -> None:
    header = make_header(rows=24)
    stream = batch.write_stream(header, make_columns(24, seed=1, start_us=header.window_start_us))
    lying = stream.replace(b'"rows":24', b'"rows":25', 1)
    body = batch._codecs.compressor(dictionary.number_for(24), 3).compress(lying)

    with pytest.raises(Unbelievable) as refused:
        verifying.verify(make_member(body, header), body, AT_HOME, config=LoaderConfig())

    assert refused.value.code in ("header.captured", "record_batch.rows")


def add_payload(header: BatchHeader, payload: bytes, *, example: bytes = b"") -> bytes:
    """Write a batch whose first packet has ``payload`` as a sensor captures it: 64 bytes kept, 148 hashed."""
    columns = dict(make_columns(header.rows, seed=1, start_us=header.window_start_us))
    sizes = columns["payload_length"].copy()
    hashes = columns["payload_hash"].copy()
    digest = hashlib.blake2b(payload[:148], digest_size=8).digest()
    sizes[:], hashes[:] = 0, 0
    sizes[0], hashes[0] = len(payload), int.from_bytes(digest, "little")
    columns |= {
        "payload_length": sizes,
        "payload_hash": hashes,
        "payload": join_bytes([payload[:64]] + [b""] * (header.rows - 1)),
    }
    examples = (PayloadExample(0, example or payload),)
    return batch.encode(dataclasses.replace(header, examples=examples), columns)


@pytest.mark.parametrize("size", [1, 64, 65, 148, 149, 700, 1500])
def test_an_example_of_any_length_is_believed(size: int) -> None:
    header = make_header(rows=24)
    body = add_payload(header, (bytes(range(250)) * 6)[:size])

    verified = verifying.verify(make_member(body, header), body, AT_HOME, config=LoaderConfig())

    assert [len(one.payload) for one in verified.batch.header.examples] == [size]


def test_a_short_example_of_another_hash_is_refused() -> None:
    header = make_header(rows=24)
    columns = dict(make_columns(header.rows, seed=1, start_us=header.window_start_us))
    row = int(np.flatnonzero(np.diff(columns["payload"].offsets))[0])
    kept = columns["payload"]
    payload = kept.data[kept.offsets[row] : kept.offsets[row + 1]].tobytes()
    columns["payload_length"] = columns["payload_length"].copy()
    columns["payload_length"][row] = len(payload)
    columns["payload_hash"] = columns["payload_hash"].copy()
    columns["payload_hash"][row] = 7
    body = batch.encode(dataclasses.replace(header, examples=(PayloadExample(row, payload),)), columns)

    with pytest.raises(Unbelievable) as refused:
        verifying.verify(make_member(body, header), body, AT_HOME, config=LoaderConfig())

    assert refused.value.code == "examples.hash"


def test_a_long_example_of_another_payload_is_refused() -> None:
    header = make_header(rows=24)
    payload = (bytes(range(250)) * 6)[:700]
    body = add_payload(header, payload, example=payload[:64] + bytes(636))

    with pytest.raises(Unbelievable) as refused:
        verifying.verify(make_member(body, header), body, AT_HOME, config=LoaderConfig())

    assert refused.value.code == "examples.hash"
