"""Build a block's rows: the columns of all its batches end to end, judged and placed at once.

Work is per block, not per batch: rules, places and surveys see one long column.
"""

from __future__ import annotations

import ipaddress
import uuid
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from teiten.loader import destinations, modes
from teiten.loader.reference import ReferenceData
from teiten.loader.verifying import Verified
from teiten.protocol.header import BatchHeader
from teiten.store.arrow_schemas import PACKETS
from teiten.traffic import rules
from teiten.traffic.columns import COLUMNS, WIRE_COLUMNS, PacketColumns, VarBytes

_ADDRESS_BYTES = 16
_INSTANT = pa.timestamp("us", "UTC")
#: Packets know their arrival to the minute, which costs a byte instead of five; the coverage has it exactly.
_ARRIVAL_US = 60_000_000
#: An IPv6 prefix counts as one address in the stratum of its length.
_IPV4_BITS = 32


def build_packets(batches: Sequence[Verified], reference: ReferenceData) -> pa.Table:
    """Give the rows of the packets table, in the order of the batches."""
    if not batches:
        return PACKETS.empty_table()
    wire = _concatenate([one.batch.columns for one in batches])
    counts = np.array([one.batch.header.rows for one in batches], np.int64)
    sources = np.asarray(wire["src_addr"], dtype=np.uint8)
    context = _make_context(wire, batches, counts=counts, reference=reference)
    countries, asns = reference.place(sources)
    survey, actors = reference.find_survey(sources, context.times_us)
    columns: dict[str, Any] = {
        **wire,
        **rules.derive_columns(wire, context),
        **_identity(batches, counts),
        "answering": modes.find_answering(wire, batches, counts),
        "country": countries,
        "asn": asns,
        "survey": survey,
        "actor": actors,
    }
    return pa.table({column.name: _to_arrow(columns[column.name]) for column in COLUMNS})


def _make_context(
    wire: dict[str, Any],
    batches: Sequence[Verified],
    *,
    counts: NDArray[np.int64],
    reference: ReferenceData,
) -> rules.Context:
    """Say what the rules must know beside the packets."""
    is_simulated = destinations.find_simulated(batches, counts)
    public, is_known = destinations.find_destinations(wire, batches, counts=counts, is_simulated=is_simulated)
    return rules.Context(
        destinations=public,
        is_known=is_known,
        is_exempt=is_simulated,
        times_us=np.asarray(wire["observed_at"], dtype=np.int64),
        bogons=reference.bogons,
        probes=reference.probes,
    )


def build_coverage(batches: Sequence[Verified], *, block: str) -> pa.Table:
    """Give one row per batch: what was watched, and how completely."""
    headers = [one.batch.header for one in batches]

    def each(value: Callable[[BatchHeader], Any], kind: Any) -> pa.Array[Any]:
        column: pa.Array[Any] = pa.array([value(header) for header in headers], kind)
        return column

    def watched(value: Callable[[str, str], Any], kind: Any) -> pa.Array[Any]:
        return each(lambda header: [value(item.prefix, item.mode) for item in header.watched], pa.list_(kind))

    return pa.table(
        {
            "dataset": each(lambda header: header.dataset, pa.string()),
            "sensor": each(lambda header: header.sensor, pa.uint32()),
            "epoch": each(lambda header: header.epoch, pa.uint32()),
            "batch_seq": each(lambda header: header.seq, pa.uint64()),
            "key_no": pa.array([one.member.key_no for one in batches], pa.uint32()),
            "region": pa.array([one.region for one in batches], pa.string()),
            "window_start_at": each(lambda header: header.window_start_us, _INSTANT),
            "window_end_at": each(lambda header: header.window_end_us, _INSTANT),
            "rows": each(lambda header: header.rows, pa.uint32()),
            "captured": each(lambda header: header.captured, pa.uint64()),
            "kernel_drops": each(lambda header: header.kernel_drops, pa.uint64()),
            "excluded": each(lambda header: header.excluded, pa.uint64()),
            "gap_us": each(lambda header: header.gap_us, pa.uint64()),
            "clock_offset_us": each(lambda header: header.clock_offset_us, pa.int64()),
            "clock_stepped": each(lambda header: int(header.clock_stepped), pa.uint8()),
            "payload_bytes": each(lambda header: header.payload_bytes, pa.uint16()),
            "boot_id": each(lambda header: header.boot_id, pa.string()),
            "software": each(lambda header: header.software, pa.string()),
            "watched_prefix": watched(lambda prefix, _: prefix, pa.string()),
            "watched_ip_version": watched(lambda prefix, _: _measure(prefix)[0], pa.uint8()),
            "watched_prefix_length": watched(lambda prefix, _: _measure(prefix)[1], pa.uint8()),
            "watched_mode": watched(lambda _, mode: mode, pa.string()),
            "watched_addresses": watched(lambda prefix, _: _measure(prefix)[2], pa.float64()),
            "landed_at": pa.array([one.member.landed_at_us for one in batches], _INSTANT),
            "block": _repeat_block(block, len(batches)),
        }
    )


def build_lost(batches: Sequence[Verified], *, block: str) -> pa.Table | None:
    """Give one row per tombstone, or None when no batch carries one."""
    found = [(one, lost) for one in batches for lost in one.batch.header.lost]
    if not found:
        return None
    return pa.table(
        {
            "dataset": pa.array([one.batch.header.dataset for one, _ in found], pa.string()),
            "sensor": pa.array([one.member.sensor for one, _ in found], pa.uint32()),
            "epoch": pa.array([one.member.epoch for one, _ in found], pa.uint32()),
            "first_seq": pa.array([lost.first_seq for _, lost in found], pa.uint64()),
            "last_seq": pa.array([lost.last_seq for _, lost in found], pa.uint64()),
            "region": pa.array([one.region for one, _ in found], pa.string()),
            "window_start_at": pa.array([lost.window_start_us for _, lost in found], _INSTANT),
            "window_end_at": pa.array([lost.window_end_us for _, lost in found], _INSTANT),
            "landed_at": pa.array([one.member.landed_at_us for one, _ in found], _INSTANT),
            "block": _repeat_block(block, len(found)),
        }
    )


def _repeat_block(block: str, count: int) -> pa.Array[Any]:
    return pa.array([uuid.UUID(block).bytes] * count, pa.binary(_ADDRESS_BYTES))


@lru_cache(maxsize=65_536)
def _measure(prefix: str) -> tuple[int, int, float]:
    """Give IP version, prefix length and the number of addresses that count."""
    network = ipaddress.ip_network(prefix)
    is_v4 = network.version == 4
    return network.version, network.prefixlen, float(1 << (_IPV4_BITS - network.prefixlen)) if is_v4 else 1.0


def _identity(batches: Sequence[Verified], counts: NDArray[np.int64]) -> dict[str, Any]:
    """Give the columns that are the same for all packets of a batch."""
    headers = [one.batch.header for one in batches]

    def spread(values: list[Any], kind: Any) -> NDArray[Any]:
        return np.repeat(np.array(values, dtype=kind), counts)

    starts = np.cumsum(counts) - counts
    return {
        "dataset": spread([header.dataset for header in headers], object),
        "sensor": spread([header.sensor for header in headers], np.uint32),
        "epoch": spread([header.epoch for header in headers], np.uint32),
        "batch_seq": spread([header.seq for header in headers], np.uint64),
        "row": (np.arange(counts.sum()) - np.repeat(starts, counts)).astype(np.uint32),
        "region": spread([one.region for one in batches], object),
        "landed_at": spread(
            [one.member.landed_at_us // _ARRIVAL_US * _ARRIVAL_US for one in batches], np.int64
        ),
    }


def _concatenate(parts: Sequence[PacketColumns]) -> dict[str, Any]:
    """Lay the wire columns of all batches, at least one, end to end."""
    return {column.name: _join([part[column.name] for part in parts]) for column in WIRE_COLUMNS}


def _join(parts: list[Any]) -> Any:
    if not isinstance(parts[0], VarBytes):
        return np.concatenate(parts)
    sizes = np.concatenate([np.diff(part.offsets) for part in parts])
    offsets = np.zeros(sizes.size + 1, np.int32)
    np.cumsum(sizes, out=offsets[1:])
    data = np.concatenate([part.data[part.offsets[0] : part.offsets[-1]] for part in parts])
    return VarBytes(offsets, data)


def _to_arrow(values: Any) -> pa.Array[Any]:
    if isinstance(values, VarBytes):
        buffers = [None, pa.py_buffer(values.offsets.data), pa.py_buffer(values.data.data)]
        return pa.Array.from_buffers(pa.binary(), values.offsets.size - 1, buffers)
    if values.ndim == 2:  # addresses
        flat = pa.py_buffer(np.ascontiguousarray(values).data)
        return pa.Array.from_buffers(pa.binary(_ADDRESS_BYTES), values.shape[0], [None, flat])
    if values.dtype == object:
        return pa.array(values, pa.string()).dictionary_encode()
    if values.dtype == np.int64:  # the only 64-bit signed columns are instants
        return pa.array(values, _INSTANT)
    column: pa.Array[Any] = pa.array(values)
    return column
