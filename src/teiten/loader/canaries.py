"""Take canaries out of batches: they prove reachability, and are no observation.

A batch without a packet from a prober's address is not touched. A canary is one only if
all of its marks are right for the public address that it reached, in its time slot;
anything else from such an address is an ordinary packet. What is taken out counts as
excluded, so that the batch's own figures stay true.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from teiten.foundation.clock import from_us
from teiten.loader import destinations, metrics
from teiten.loader.doors import CanaryDoor
from teiten.loader.verifying import Verified
from teiten.protocol import canary
from teiten.protocol.canary import TCP, UDP, Arrival, ProberKey
from teiten.protocol.header import PayloadExample
from teiten.traffic.columns import VarBytes
from teiten.traffic.parse_bytes import Mask

#: A sensor's clock, and the way.
TOLERANCE_SECONDS = 30
#: Packets from probers' addresses that are examined in a batch: a flood with their address costs no more.
MOST_EXAMINED = 2_000
_SYN = 0x02
_FLAGS = 0x1FF


def take_out(batches: Sequence[Verified], door: CanaryDoor | None) -> list[Verified]:
    """Give the batches without canaries, and tell of those; raises what the door raises."""
    probers = door.list_probers() if door is not None else ()
    if door is None or not probers or not batches:
        return list(batches)
    suspects = _find_suspects(batches, probers)
    if not suspects:
        return list(batches)
    kept = list(batches)
    arrivals: list[Arrival] = []
    for place in suspects:
        kept[place], found = _examine(batches[place], probers)
        arrivals += found
    if arrivals:
        door.note_arrivals(arrivals)
        metrics.CANARIES.labels("arrived").inc(len(arrivals))
    return kept


def _find_suspects(batches: Sequence[Verified], probers: Sequence[ProberKey]) -> list[int]:
    """Give the places of batches with a packet from any prober's address, looked at all at once."""
    sources = np.concatenate([np.asarray(one.batch.columns["src_addr"], np.uint8) for one in batches])
    rows = np.flatnonzero(_is_from(sources, [raw for one in probers for raw in one.addresses]))
    if not rows.size:
        return []
    ends = np.cumsum([one.batch.header.rows for one in batches])
    places = np.unique(np.searchsorted(ends, rows, side="right")).tolist()
    return [place for place in places if not batches[place].batch.header.dataset.startswith("import:")]


def _is_from(sources: NDArray[np.uint8], addresses: Sequence[bytes]) -> Mask:
    words = np.ascontiguousarray(sources).view(np.uint64)
    found: Mask = np.zeros(words.shape[0], np.bool_)
    for raw in addresses:
        high, low = np.frombuffer(raw, np.uint64)
        found |= (words[:, 1] == low) & (words[:, 0] == high)
    return found


def _examine(one: Verified, probers: Sequence[ProberKey]) -> tuple[Verified, list[Arrival]]:
    columns: Any = one.batch.columns
    counts = np.array([one.batch.header.rows], np.int64)
    public, is_known = destinations.find_destinations(
        columns, [one], counts=counts, is_simulated=destinations.find_simulated([one], counts)
    )
    arrivals: dict[int, Arrival] = {}
    seen: set[tuple[Any, ...]] = set()
    for prober in probers:
        mine = _is_from(np.asarray(columns["src_addr"], np.uint8), prober.addresses) & is_known
        for row in islice(np.flatnonzero(mine & _may_be_canary(columns)).tolist(), MOST_EXAMINED):
            arrival = _recognise(one, row, public[row].tobytes(), prober)
            if arrival is None:
                metrics.CANARIES.labels("ordinary").inc()
                continue
            # The second of its kind was repeated by somebody: it is traffic like any other.
            name = (arrival.prober, arrival.slot, arrival.address, arrival.protocol, arrival.port)
            if name not in seen:
                seen.add(name)
                arrivals[row] = arrival
    if not arrivals:
        return one, []
    keep: Mask = np.ones(one.batch.header.rows, np.bool_)
    keep[list(arrivals)] = False
    return _without(one, keep), list(arrivals.values())


def _may_be_canary(columns: Any) -> Mask:
    """Sort out what cannot be one, before anything is computed for a row."""
    protocol, flags = np.asarray(columns["protocol"]), np.asarray(columns["tcp_flags"])
    is_form = ((protocol == TCP) & ((flags & _FLAGS) == _SYN)) | (
        (protocol == UDP) & (np.asarray(columns["payload_length"]) == canary.TOKEN_BYTES)
    )
    found: Mask = is_form & (np.asarray(columns["src_port"]) >= canary.FIRST_PORT)
    return found


def _recognise(one: Verified, row: int, public: bytes, prober: ProberKey) -> Arrival | None:
    columns: Any = one.batch.columns

    def value(name: str) -> int:
        return int(columns[name][row])

    at_us, protocol, port = value("observed_at"), value("protocol"), value("dst_port")
    slots = canary.slots_around(at_us, slot_seconds=prober.slot_seconds, tolerance_seconds=TOLERANCE_SECONDS)
    said = (value("src_port"), value("tcp_seq"), value("tcp_window"), value("payload_hash"))
    for slot in slots:
        marks = canary.mark_canary(prober.key, slot=slot, destination=public, protocol=protocol, port=port)
        wanted = (marks.source_port, marks.sequence, marks.window, marks.payload_hash)
        if said == wanted and (value("ip_version") == 6 or value("ip_id") == marks.ip_id):
            sensor = one.batch.header.sensor
            return Arrival(prober.number, slot, sensor, public, protocol, port, from_us(at_us))
    return None


def _without(one: Verified, keep: Mask) -> Verified:
    header = one.batch.header
    places = np.cumsum(keep) - 1
    examples = tuple(
        PayloadExample(int(places[example.row]), example.payload)
        for example in header.examples
        if keep[example.row]
    )
    gone = int(header.rows - keep.sum())
    header = dataclasses.replace(
        header, rows=header.rows - gone, excluded=header.excluded + gone, examples=examples
    )
    columns = {name: _select(value, keep) for name, value in one.batch.columns.items()}
    return dataclasses.replace(one, batch=dataclasses.replace(one.batch, header=header, columns=columns))


def _select(values: Any, keep: Mask) -> Any:
    if not isinstance(values, VarBytes):
        return values[keep]
    offsets = values.offsets
    sizes = np.diff(offsets)
    kept = np.zeros(int(keep.sum()) + 1, np.int32)
    np.cumsum(sizes[keep], out=kept[1:])
    first, last = int(offsets[0]), int(offsets[-1])
    return VarBytes(kept, values.data[first:last][np.repeat(keep, sizes)])
