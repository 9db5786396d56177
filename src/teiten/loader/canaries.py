"""Take canaries out of batches: they prove reachability, and are no observation.

A batch without a packet from a prober's address is not touched. A canary is one only if
all of its marks are right for the public address that it reached, in its time slot;
anything else from such an address is an ordinary packet. What is taken out counts as
excluded, so that the batch's own figures stay true.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
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
#: Addresses and ports to which packets from a prober's addresses are examined in a batch: a flood costs no more, and
#: cannot hide what comes to the ports that the prober sends to.
MOST_EXAMINED = 2_000
#: Of those that are none, so many are looked at for a prober whose clock is off by so many slots.
_MOST_STRAYS, _STRAY_SLOTS = 8, 8
#: Slots that the rows of one batch to one port may lie in: a window is of minutes, and of some hours at most.
_MOST_SLOTS = 16
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
    for prober in probers:
        mine = _is_from(np.asarray(columns["src_addr"], np.uint8), prober.addresses) & is_known
        rows = np.flatnonzero(mine & _may_be_canary(columns))
        if rows.size:
            arrivals |= _recognise(one, rows, public, prober)
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


def _recognise(
    one: Verified, rows: NDArray[np.intp], public: NDArray[np.uint8], prober: ProberKey
) -> dict[int, Arrival]:
    """Find the canaries among rows, by their place; the second of a kind was repeated by somebody, and is traffic."""
    columns: Any = one.batch.columns
    found: dict[int, Arrival] = {}
    strays = 0
    for mine in _part_targets(columns, rows, public, prober):
        first = int(mine[0])
        address, protocol = public[first].tobytes(), int(columns["protocol"][first])
        port = int(columns["dst_port"][first])
        at_us = np.asarray(columns["observed_at"])[mine].astype(np.int64)
        slots = _list_slots(at_us, prober)
        arrived = {
            slot: place
            for slot in slots
            for place in _find_marked(columns, mine, at_us, _Mark(prober, slot, address, protocol, port))[:1]
        }
        for slot, place in arrived.items():
            at = from_us(int(columns["observed_at"][place]))
            found[place] = Arrival(prober.number, slot, one.batch.header.sensor, address, protocol, port, at)
        if not arrived and strays < _MOST_STRAYS:
            strays += 1
            _count_strays(columns, mine, slots, _Mark(prober, 0, address, protocol, port))
    metrics.CANARIES.labels("ordinary").inc(len(rows) - len(found))
    return found


@dataclasses.dataclass(frozen=True)
class _Mark:
    """What a canary is the MAC of."""

    prober: ProberKey
    slot: int
    destination: bytes
    protocol: int
    port: int

    @property
    def marks(self) -> canary.Marks:
        return canary.mark_canary(
            self.prober.key,
            slot=self.slot,
            destination=self.destination,
            protocol=self.protocol,
            port=self.port,
        )


def _part_targets(
    columns: Any, rows: NDArray[np.intp], public: NDArray[np.uint8], prober: ProberKey
) -> list[NDArray[np.intp]]:
    """Give the rows of each address and port, those that the prober sends to first; no more than are examined."""
    ports = np.asarray(columns["dst_port"])[rows].astype(np.int64)
    numbers = np.stack([np.asarray(columns["protocol"])[rows].astype(np.int64), ports], axis=1)
    keys = np.concatenate([np.ascontiguousarray(numbers).view(np.uint8), public[rows]], axis=1)
    names = np.ascontiguousarray(keys).view(np.dtype((np.void, keys.shape[1]))).ravel()
    _, firsts, places = np.unique(names, return_index=True, return_inverse=True)
    is_other = ~np.isin(ports[firsts], list(prober.ports))
    wanted = np.lexsort((firsts, is_other))[:MOST_EXAMINED]
    order = np.argsort(places, kind="stable")
    parts = np.split(rows[order], np.cumsum(np.bincount(places))[:-1])
    return [parts[target] for target in wanted.tolist()]


def _list_slots(at_us: NDArray[np.int64], prober: ProberKey) -> list[int]:
    """Give the slots in which any of the rows may have been sent."""
    length, slack_us = prober.slot_seconds * 1_000_000, TOLERANCE_SECONDS * 1_000_000
    either = np.concatenate([(at_us - slack_us) // length, (at_us + slack_us) // length])
    found: list[int] = np.unique(either).tolist()
    return found[-_MOST_SLOTS:]


def _find_marked(
    columns: Any, rows: NDArray[np.intp], at_us: NDArray[np.int64], mark: _Mark, *, in_time: bool = True
) -> list[int]:
    """Give the rows that bear all marks of a slot, and came within it."""
    marks, length = mark.marks, mark.prober.slot_seconds * 1_000_000
    wanted = {
        "src_port": marks.source_port,
        "tcp_seq": marks.sequence,
        "tcp_window": marks.window,
        "payload_hash": marks.payload_hash,
    }
    is_one = (np.asarray(columns["ip_version"])[rows] == 6) | (
        np.asarray(columns["ip_id"])[rows] == marks.ip_id
    )
    for name, value in wanted.items():
        is_one &= np.asarray(columns[name])[rows] == value
    if in_time:
        start_us, slack_us = mark.slot * length, TOLERANCE_SECONDS * 1_000_000
        is_one &= (at_us >= start_us - slack_us) & (at_us < start_us + length + slack_us)
    return [int(row) for row in rows[is_one].tolist()]


def _count_strays(columns: Any, rows: NDArray[np.intp], slots: list[int], mark: _Mark) -> None:
    """Count what bears the marks of another slot: the prober's clock is off, or somebody repeats what it sent."""
    at_us = np.zeros(len(rows), np.int64)
    first, last = slots[0], slots[-1]
    near = (*range(first - _STRAY_SLOTS, first), *range(last + 1, last + 1 + _STRAY_SLOTS))
    for slot in near:
        aside = dataclasses.replace(mark, slot=slot)
        if _find_marked(columns, rows, at_us, aside, in_time=False):
            metrics.CANARIES.labels("misdated").inc()
            return


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
