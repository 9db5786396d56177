"""The batch header as text: JSON in one form, and the rules every field keeps.

The window is written as its start and its length, because the length hardly ever
changes and then costs nothing in a compressed batch.
"""

from __future__ import annotations

import ipaddress
import re
from functools import lru_cache
from typing import Any

from teiten.protocol.errors import BatchHeaderError
from teiten.protocol.header import SCHEMA_VERSION, BatchHeader, LostBatch, Mode, Watched
from teiten.protocol.json_fields import Fields, Thing, read_object, write_object

MAX_HEADER_BYTES = 65_536
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
    return write_object(value)


def read_header(text: bytes) -> BatchHeader:
    """Read and check a header.

    Raises:
        BatchHeaderError: naming the field and its rule.
    """
    fields = read_object(_THING, text, max_bytes=MAX_HEADER_BYTES)
    fields.take_int("schema_version", SCHEMA_VERSION, SCHEMA_VERSION)
    window_start_us = fields.take_int("window_start_us", 0, _MAX_TIME_US)
    header = BatchHeader(
        schema_version=SCHEMA_VERSION,
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
    )
    fields.finish()
    check_header(header)
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
