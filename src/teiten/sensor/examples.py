"""Payload examples: the whole payload, once, of each payload hash that is new today.

A packet's column keeps a payload's first bytes; what a probe asks often comes later. So
one packet of each hash that was not seen before on this UTC day gives its payload up
to 1,500 bytes, at most so many a window. Everything is bounded: the hashes of a day, the
examples of a window, and how often a flood of short windows may bring new ones. Half of a
window's examples at most are of one port, because some tools never send a payload twice.

The chosen bytes travel beside the wire columns in a column of their own, so that they
follow their packets through windows and cuts until sealing puts them into the header.
What was seen is not kept over a restart: a hash may then have a second example that day.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from teiten.protocol.header import PayloadExample
from teiten.protocol.header_text import MAX_EXAMPLE_BYTES
from teiten.sensor.column_sets import WireColumns, count_rows
from teiten.sensor.staging import RawPackets
from teiten.traffic.columns import PacketColumns, VarBytes

#: Payload hashes remembered a day; beyond it no more examples that day.
MAX_HASHES = 65_536
#: Windows that close sooner than this share what is allowed for one: 8 a window are then 69,120 a
#: day, about what is remembered, so that no flood ends the examples of a day early.
SHARED_SECONDS = 10.0
#: New payloads of ports that have had theirs, in one block: more is a flood, and looking through it costs more
#: than the examples of this window are worth.
_FLOOD_ROWS = 256
#: The column beside the wire columns: empty for most packets.
COLUMN = "example"

_DAY_US = 86_400_000_000
_STACKED_TAG_BYTES = 4


@dataclass
class ExampleCounts:
    """Since the start."""

    #: Examples taken.
    examples: int = 0
    #: Days on which more hashes came than are remembered.
    example_days_full: int = 0
    #: Whole packets that the kernel kept and that were not those of their slot.
    example_mismatches: int = 0


class ExampleChooser:
    """Chooses the packets whose payload becomes an example.

    Args:
        per_window: most examples of a window; 0: none at all.
        whole_only: pass over packets whose end was not captured, because a later one may be whole.
        max_hashes: remembered a day.
    """

    def __init__(self, *, per_window: int, whole_only: bool, max_hashes: int = MAX_HASHES) -> None:
        #: May be set from another thread.
        self.per_window = per_window
        self.counts = ExampleCounts()
        self._whole_only = whole_only
        self._max_hashes = max_hashes
        self._seen = np.zeros(0, np.uint64)
        self._day = -1
        self._is_full = False
        self._used = 0
        #: (protocol, destination port) as one number → examples of this window.
        self._used_by_port: dict[int, int] = {}
        self._begun_at: float | None = None

    @property
    def is_hungry(self) -> bool:
        """Tell whether another example would be taken."""
        return self._used < self.per_window and not self._is_full

    def begin_window(self, used: int, *, at: float | None = None) -> None:
        """Allow a new window its examples.

        Args:
            used: examples that it has already, because they came with packets of its time.
            at: monotonic seconds; None: windows are far apart.
        """
        if at is not None and self._begun_at is not None and at - self._begun_at < SHARED_SECONDS:
            return
        self._begun_at = at
        self._used = used
        self._used_by_port = {}

    def begin_day(self, at_us: int) -> None:
        """Forget what was seen when ``at_us``, µs since 1970-01-01 UTC, is another day."""
        day = at_us // _DAY_US
        if day != self._day:
            self._day, self._is_full = day, False
            self._seen = np.zeros(0, np.uint64)

    def choose(
        self,
        columns: PacketColumns,
        packets: RawPackets,
        *,
        kept: NDArray[np.bool_] | None = None,
        frames: Mapping[int, bytes] | None = None,
    ) -> dict[int, bytes]:
        """Give the payload, at most 1,500 bytes, of each packet that becomes an example, by its row.

        Args:
            columns: of the packets, with as much payload as is kept.
            packets: the bytes they came from.
            kept: those that are observations; None: all.
            frames: whole packets, from the IP header on, of rows that are cut in ``packets``.
        """
        chosen: dict[int, bytes] = {}
        if not self.is_hungry:
            return chosen
        ports = _list_ports(columns)
        for row in self._list_new(columns, kept, ports):
            if not self._allows(ports[row]):
                continue
            payload = self._read_payload(columns, packets, row, (frames or {}).get(row))
            if payload is None or not self._remember(np.asarray(columns["payload_hash"])[row]):
                continue
            chosen[row] = payload
            self._used += 1
            self._used_by_port[int(ports[row])] = self._used_by_port.get(int(ports[row]), 0) + 1
            self.counts.examples += 1
            if self._used >= self.per_window:
                break
        return chosen

    def _allows(self, port: np.int64) -> bool:
        return self._used_by_port.get(int(port), 0) < -(-self.per_window // 2)

    def _list_new(
        self, columns: PacketColumns, kept: NDArray[np.bool_] | None, ports: NDArray[np.int64]
    ) -> list[int]:
        """List the rows, in order, whose hash was not seen today and whose port may have an example."""
        hashes = np.asarray(columns["payload_hash"])
        rows = np.flatnonzero(hashes if kept is None else kept & (hashes != 0))
        if not rows.size:
            return []
        places = np.searchsorted(self._seen, hashes[rows])
        known = np.append(self._seen, np.uint64(0))[places] == hashes[rows]
        rows = rows[~known]
        spent = [port for port in self._used_by_port if not self._allows(np.int64(port))]
        refused = np.isin(ports[rows], spent)
        if np.count_nonzero(refused) > _FLOOD_ROWS:
            self._used = self.per_window
            return []
        return list(map(int, rows[~refused]))

    def _remember(self, payload_hash: np.uint64) -> bool:
        """Note a hash; give whether it was new and there was room."""
        place = int(np.searchsorted(self._seen, payload_hash))
        if self._is_full or (place < self._seen.size and self._seen[place] == payload_hash):
            return False
        if self._seen.size >= self._max_hashes:
            self._is_full = True
            self.counts.example_days_full += 1
            return False
        self._seen = np.insert(self._seen, place, payload_hash)
        return True

    def _read_payload(
        self, columns: PacketColumns, packets: RawPackets, row: int, frame: bytes | None
    ) -> bytes | None:
        """Give the payload of a packet; None when its end is missing and has to be there."""
        length = int(np.asarray(columns["payload_length"])[row])
        # The parser counts payload_length from where the payload begins to the end of the IP packet.
        start = int(np.asarray(columns["total_length"])[row]) - length
        wanted = min(length, MAX_EXAMPLE_BYTES)
        slot = packets.raw[row, : int(packets.captured_length[row])].tobytes()
        source = slot
        if frame is not None and len(slot) < start + wanted:
            source = frame[_STACKED_TAG_BYTES:] if packets.stacked[row] else frame
            if not source.startswith(slot):
                self.counts.example_mismatches += 1
                return None
        payload = source[start : start + wanted]
        return payload if payload and (len(payload) == wanted or not self._whole_only) else None


def _list_ports(columns: PacketColumns) -> NDArray[np.int64]:
    ports: NDArray[np.int64] = np.asarray(columns["protocol"]).astype(np.int64)
    ports <<= 16
    ports |= np.asarray(columns["dst_port"])
    return ports


def attach_examples(columns: WireColumns, chosen: Mapping[int, bytes]) -> WireColumns:
    """Lay the chosen payloads beside their packets."""
    lengths = np.zeros(count_rows(columns), np.int32)
    for row, payload in chosen.items():
        lengths[row] = len(payload)
    offsets = np.zeros(len(lengths) + 1, np.int32)
    np.cumsum(lengths, out=offsets[1:])
    data = b"".join(chosen[row] for row in sorted(chosen))
    return {**columns, COLUMN: VarBytes(offsets, np.frombuffer(data, np.uint8))}


def count_examples(chunks: list[WireColumns]) -> int:
    """Count the examples among the packets of a window."""
    found = 0
    for chunk in chunks:
        value = chunk.get(COLUMN)
        if isinstance(value, VarBytes) and value.data.size:
            found += int(np.count_nonzero(np.diff(value.offsets)))
    return found


def take_examples(columns: PacketColumns) -> tuple[PacketColumns, tuple[PayloadExample, ...]]:
    """Give the wire columns alone, and the examples that lay beside them, by rising row."""
    value = columns.get(COLUMN)
    if not isinstance(value, VarBytes):
        return columns, ()
    rows = map(int, np.flatnonzero(np.diff(value.offsets)))
    examples = (
        PayloadExample(row, value.data[value.offsets[row] : value.offsets[row + 1]].tobytes()) for row in rows
    )
    return {name: column for name, column in columns.items() if name != COLUMN}, tuple(examples)
