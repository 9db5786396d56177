"""What the senders of the torture send: a pure function of sensor and number, so that it can be checked later."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from teiten.protocol.header import LostBatch, Watched
from teiten.protocol.testing import make_columns
from teiten.sensor.sealing import BatchDraft, SealedBatch, SealingIdentity, seal_batch
from teiten.traffic.columns import PacketColumns

#: One window a number, one after the other.
WINDOW_US = 2_000_000
BOOT = "torture-0001"


@dataclass(frozen=True)
class Sums:
    """What a batch's rows add up to, wherever they are."""

    rows: int
    tcp_seq: int
    dst_port: int
    first_us: int
    last_us: int


def count_rows(sensor: int, seq: int) -> int:
    """Mostly few rows, often none, now and then many."""
    if seq % 50 == 0:
        return 2_500
    return (sensor * 7 + seq * 13) % 41 if seq % 5 else 0


def make_rows(sensor: int, seq: int, base_us: int) -> PacketColumns:
    return make_columns(
        count_rows(sensor, seq),
        seed=sensor * 1_000_003 + seq,
        start_us=base_us + seq * WINDOW_US,
        seconds=WINDOW_US // 1_000_000,
    )


def make_draft(seq: int, base_us: int, dataset: str) -> BatchDraft:
    start_us = base_us + seq * WINDOW_US
    return BatchDraft(
        window_start_us=start_us,
        window_end_us=start_us + WINDOW_US,
        boot_id=BOOT,
        watched=(Watched("192.0.2.7/32", "silent"),),
        dataset=dataset,
        excluded=seq % 3,
        payload_bytes=64,
    )


def make_batch(
    identity: SealingIdentity, seq: int, *, base_us: int, dataset: str, lost: tuple[LostBatch, ...] = ()
) -> SealedBatch:
    """The same bytes and the same seal at every call."""
    columns = make_rows(identity.sensor, seq, base_us)
    return seal_batch(identity, make_draft(seq, base_us, dataset), columns=columns, seq=seq, lost=lost)


def expect(sensor: int, seq: int, base_us: int) -> Sums:
    """Give what the store must hold of a batch."""
    columns = make_rows(sensor, seq, base_us)
    at = np.asarray(columns["observed_at"])
    return Sums(
        len(at),
        int(np.asarray(columns["tcp_seq"]).astype(np.uint64).sum()),
        int(np.asarray(columns["dst_port"]).astype(np.uint64).sum()),
        int(at.min()) if len(at) else 0,
        int(at.max()) if len(at) else 0,
    )
