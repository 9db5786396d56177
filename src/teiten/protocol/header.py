"""What a batch says about itself: the sensor's statement of what it watched.

The header is sealed with the packets. Times are microseconds since 1970-01-01
UTC; ranges are half-open, ``[start, end)``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

#: Version of header and batch columns together, as written. Version 2 adds ``examples``.
SCHEMA_VERSION = 2
#: Every version that is read.
SCHEMA_VERSIONS = (1, 2)

Mode: TypeAlias = Literal["silent", "answering"]


@dataclass(frozen=True)
class Watched:
    """One prefix that the sensor watched during the window."""

    #: CIDR text, for example ``192.0.2.7/32``.
    prefix: str
    #: Whether the host stayed silent or answered on this prefix.
    mode: Mode


@dataclass(frozen=True)
class LostBatch:
    """A tombstone: batches that the bounded spool dropped, first to last inclusive."""

    first_seq: int
    last_seq: int
    window_start_us: int
    window_end_us: int


@dataclass(frozen=True)
class PayloadExample:
    """The payload of one packet, farther than its column keeps it."""

    #: Which packet of this batch, from 0.
    row: int
    #: 1 to 1,500 bytes; they begin with what the packet's column ``payload`` has.
    payload: bytes


@dataclass(frozen=True)
class BatchHeader:
    """Everything but the packets."""

    schema_version: int
    #: ``live``, ``simulated`` or ``import:NAME``.
    dataset: str
    sensor: int
    epoch: int
    seq: int
    window_start_us: int
    window_end_us: int
    #: Packet rows in this batch.
    rows: int
    watched: tuple[Watched, ...]
    #: Packets taken from the ring in this window, also the excluded ones.
    captured: int
    #: Packets the kernel dropped because the ring was full.
    kernel_drops: int
    #: Packets left out because this host solicited them.
    excluded: int
    #: Microseconds not watched between the last sealed window and this one.
    gap_us: int
    #: Clock offset against the server, µs, server minus sensor; None when unknown.
    clock_offset_us: int | None
    #: The wall clock stepped by more than 1 s; the window was closed for it.
    clock_stepped: bool
    #: Payload bytes kept per packet.
    payload_bytes: int
    #: Random, new at each start of the sensor process.
    boot_id: str
    #: Version of the sensor program.
    software: str
    #: Tombstones that have not been receipted yet.
    lost: tuple[LostBatch, ...] = ()
    #: Payload examples, rows rising; none in schema version 1 or where ``payload_bytes`` is 0.
    examples: tuple[PayloadExample, ...] = ()
