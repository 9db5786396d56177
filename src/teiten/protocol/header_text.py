"""The batch header as text: JSON in one form, and the rules every field keeps.

The window is written as its start and its length, because the length hardly ever
changes and then costs nothing in a compressed batch. ``examples`` is written only
where there are some, so that they cost nothing where there are none.
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
import re
from functools import lru_cache
from typing import Any

from teiten.protocol.errors import BatchHeaderError
from teiten.protocol.header import SCHEMA_VERSIONS, BatchHeader, LostBatch, Mode, PayloadExample, Watched
from teiten.protocol.json_fields import Fields, Thing, read_object, write_object

#: Bytes of everything but the examples; the whole of a header of version 1.
MAX_PLAIN_HEADER_BYTES = 65_536
MAX_EXAMPLES = 64
#: What an Ethernet frame carries, so that a whole datagram is one example.
MAX_EXAMPLE_BYTES = 1500
#: One example is at most 2,000 characters of base64, and its keys.
MAX_HEADER_BYTES = MAX_PLAIN_HEADER_BYTES + MAX_EXAMPLES * 2048
MAX_WATCHED = 256
MAX_LOST = 256
MAX_PAYLOAD_BYTES = 128
DAY_US = 86_400_000_000

_U32 = (1 << 32) - 1
_I63 = (1 << 63) - 1
#: Beyond any time that a sane clock shows: the year 2255.
_MAX_TIME_US = 9_000_000_000_000_000
_DATASET = re.compile(r"live|simulated|import:[a-z0-9][a-z0-9-]{0,39}")
_BOOT_ID = re.compile(r"[0-9A-Za-z_-]{8,36}")
_SOFTWARE = re.compile(r"[0-9A-Za-z][0-9A-Za-z.+_-]{0,63}")
_PREFIX = re.compile(r"[0-9a-f.:]{2,39}/[0-9]{1,3}")
_MODE = re.compile(r"silent|answering")
_BASE64 = re.compile(r"[0-9A-Za-z+/]{2,2000}={0,2}")
_THING = Thing("header", BatchHeaderError)


def write_header(header: BatchHeader) -> bytes:
    """Write the header in its one form."""
    value: dict[str, Any] = {
        "schema_version": header.schema_version,
        "dataset": header.dataset,
        "watched": [{"prefix": item.prefix, "mode": item.mode} for item in header.watched],
        "payload_bytes": header.payload_bytes,
        "software": header.software,
        "boot_id": header.boot_id,
        "sensor": header.sensor,
        "epoch": header.epoch,
        "seq": header.seq,
        "window_start_us": header.window_start_us,
        "window_us": header.window_end_us - header.window_start_us,
        "rows": header.rows,
        "captured": header.captured,
        "clock_offset_us": header.clock_offset_us,
        "clock_stepped": header.clock_stepped,
        "kernel_drops": header.kernel_drops,
        "excluded": header.excluded,
        "gap_us": header.gap_us,
        "lost": [
            {
                "first_seq": item.first_seq,
                "last_seq": item.last_seq,
                "window_start_us": item.window_start_us,
                "window_end_us": item.window_end_us,
            }
            for item in header.lost
        ],
    }
    if header.examples:
        value["examples"] = [
            {"row": item.row, "payload": base64.b64encode(item.payload).decode()} for item in header.examples
        ]
    return write_object(value)


def read_header(text: bytes) -> BatchHeader:
    """Read and check a header.

    Raises:
        BatchHeaderError: naming the field and its rule.
    """
    fields = read_object(_THING, text, max_bytes=MAX_HEADER_BYTES)
    version = fields.take_int("schema_version", SCHEMA_VERSIONS[0], SCHEMA_VERSIONS[-1])
    window_start_us = fields.take_int("window_start_us", 0, _MAX_TIME_US)
    header = BatchHeader(
        schema_version=version,
        dataset=fields.take_text("dataset", _DATASET),
        sensor=fields.take_int("sensor", 1, _U32),
        epoch=fields.take_int("epoch", 1, _U32),
        seq=fields.take_int("seq", 1, _I63),
        window_start_us=window_start_us,
        window_end_us=window_start_us + fields.take_int("window_us", 1, DAY_US),
        rows=fields.take_int("rows", 0, _U32),
        watched=fields.take_list("watched", _read_watched, max_items=MAX_WATCHED),
        captured=fields.take_int("captured", 0, _I63),
        kernel_drops=fields.take_int("kernel_drops", 0, _I63),
        excluded=fields.take_int("excluded", 0, _I63),
        gap_us=fields.take_int("gap_us", 0, _MAX_TIME_US),
        clock_offset_us=fields.take_int_or_none("clock_offset_us", -_MAX_TIME_US, _MAX_TIME_US),
        clock_stepped=fields.take_bool("clock_stepped"),
        payload_bytes=fields.take_int("payload_bytes", 0, MAX_PAYLOAD_BYTES),
        boot_id=fields.take_text("boot_id", _BOOT_ID),
        software=fields.take_text("software", _SOFTWARE),
        lost=fields.take_list("lost", _read_lost, max_items=MAX_LOST),
        examples=_take_examples(fields),
    )
    fields.finish()
    check_header(header)
    _check_plain_size(header, len(text))
    if write_header(header) != text:
        raise _THING.refuse("form", "the JSON is not in its one form (field order, spacing, escapes)")
    return header


def check_header(header: BatchHeader) -> None:
    """Check the claims of a header against each other.

    Raises:
        BatchHeaderError: naming the field and its rule.
    """
    if header.captured < header.rows + header.excluded:
        raise _THING.refuse("captured", "captured must be at least rows + excluded")
    previous = 0
    for lost in header.lost:
        if not previous < lost.first_seq <= lost.last_seq < header.seq:
            raise _THING.refuse("lost", "lost ranges must ascend, not overlap, and end before seq")
        previous = lost.last_seq
    _check_examples(header)


def _check_examples(header: BatchHeader) -> None:
    if header.examples and header.schema_version == 1:
        raise _THING.refuse("examples", "schema version 1 has no examples")
    if header.examples and header.payload_bytes == 0:
        raise _THING.refuse("examples", "a sensor that keeps no payload has no examples of it")
    previous = -1
    for example in header.examples:
        if not previous < example.row < header.rows:
            raise _THING.refuse("examples", "the rows of examples must rise and be rows of this batch")
        previous = example.row


def _check_plain_size(header: BatchHeader, size_bytes: int) -> None:
    """Check the bound of what is no example, so that examples make no room for anything else."""
    allowed = MAX_PLAIN_HEADER_BYTES + len(header.examples) * 2048
    if size_bytes > allowed:
        raise _THING.refuse("size", f"{size_bytes} bytes; at most {allowed} are allowed")


def _take_examples(fields: Fields) -> tuple[PayloadExample, ...]:
    if not fields.has("examples"):
        return ()
    return fields.take_list("examples", _read_example, max_items=MAX_EXAMPLES)


def _read_example(fields: Fields) -> PayloadExample:
    row = fields.take_int("row", 0, _U32)
    text = fields.take_text("payload", _BASE64)
    try:
        payload = base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise fields.refuse("payload", f"payload is no base64: {error}") from error
    if len(payload) > MAX_EXAMPLE_BYTES:
        raise fields.refuse("payload", f"payload must be at most {MAX_EXAMPLE_BYTES} bytes")
    return PayloadExample(row, payload)


def _read_watched(fields: Fields) -> Watched:
    prefix = fields.take_text("prefix", _PREFIX)
    if not _is_network(prefix):
        raise fields.refuse("prefix", f"prefix {prefix} is no network in its shortest form")
    mode: Mode = "silent" if fields.take_text("mode", _MODE) == "silent" else "answering"
    return Watched(prefix, mode)


@lru_cache(maxsize=65_536)
def _is_network(prefix: str) -> bool:
    try:
        return str(ipaddress.ip_network(prefix)) == prefix
    except ValueError:
        return False


def _read_lost(fields: Fields) -> LostBatch:
    lost = LostBatch(
        first_seq=fields.take_int("first_seq", 1, _I63),
        last_seq=fields.take_int("last_seq", 1, _I63),
        window_start_us=fields.take_int("window_start_us", 0, _MAX_TIME_US),
        window_end_us=fields.take_int("window_end_us", 0, _MAX_TIME_US),
    )
    if lost.window_end_us < lost.window_start_us:
        raise fields.refuse("window_end_us", "window_end_us must not be before window_start_us")
    return lost
