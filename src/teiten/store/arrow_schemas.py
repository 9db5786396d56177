"""Arrow schemas of what a load block puts into the store."""

from __future__ import annotations

import pyarrow as pa

from teiten.traffic.columns import COLUMNS, Kind

_INSTANT: pa.DataType = pa.timestamp("us", "UTC")
_TYPES: dict[Kind, pa.DataType] = {
    "instant": _INSTANT,
    "address": pa.binary(16),
    "u8": pa.uint8(),
    "u16": pa.uint16(),
    "u32": pa.uint32(),
    "u64": pa.uint64(),
    "bytes": pa.binary(),
    "text": pa.string(),
    "code": pa.dictionary(pa.int32(), pa.string()),
}

#: One row a packet, columns as :mod:`teiten.traffic.columns` declares them.
PACKETS = pa.schema([(column.name, _TYPES[column.kind]) for column in COLUMNS])

#: One row a batch.
_COVERAGE: list[tuple[str, pa.DataType]] = [
    ("dataset", pa.string()),
    ("sensor", pa.uint32()),
    ("epoch", pa.uint32()),
    ("batch_seq", pa.uint64()),
    ("key_no", pa.uint32()),
    ("region", pa.string()),
    ("window_start_at", _INSTANT),
    ("window_end_at", _INSTANT),
    ("rows", pa.uint32()),
    ("captured", pa.uint64()),
    ("kernel_drops", pa.uint64()),
    ("excluded", pa.uint64()),
    ("gap_us", pa.uint64()),
    ("clock_offset_us", pa.int64()),
    ("clock_stepped", pa.uint8()),
    ("payload_bytes", pa.uint16()),
    ("boot_id", pa.string()),
    ("software", pa.string()),
    ("watched_prefix", pa.list_(pa.string())),
    ("watched_ip_version", pa.list_(pa.uint8())),
    ("watched_prefix_length", pa.list_(pa.uint8())),
    ("watched_mode", pa.list_(pa.string())),
    ("watched_addresses", pa.list_(pa.float64())),
    ("landed_at", _INSTANT),
    ("block", pa.binary(16)),
]
COVERAGE = pa.schema(_COVERAGE)

#: One row a tombstone.
_LOST_BATCHES: list[tuple[str, pa.DataType]] = [
    ("dataset", pa.string()),
    ("sensor", pa.uint32()),
    ("epoch", pa.uint32()),
    ("first_seq", pa.uint64()),
    ("last_seq", pa.uint64()),
    ("region", pa.string()),
    ("window_start_at", _INSTANT),
    ("window_end_at", _INSTANT),
    ("landed_at", _INSTANT),
    ("block", pa.binary(16)),
]
LOST_BATCHES = pa.schema(_LOST_BATCHES)

#: One row a whole example of a payload; the store adds the day.
_EXAMPLES: list[tuple[str, pa.DataType]] = [
    ("dataset", pa.string()),
    ("payload_hash", pa.uint64()),
    ("sensor", pa.uint32()),
    ("epoch", pa.uint32()),
    ("batch_seq", pa.uint64()),
    ("row", pa.uint32()),
    ("observed_at", _INSTANT),
    ("src_addr", pa.binary(16)),
    ("protocol", pa.uint8()),
    ("dst_port", pa.uint16()),
    ("payload_length", pa.uint32()),
    ("payload", pa.binary()),
    ("landed_at", _INSTANT),
]
EXAMPLES = pa.schema(_EXAMPLES)
