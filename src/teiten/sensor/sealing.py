"""Turn what was watched and what arrived into a sealed batch. Pure but for the key.

Also the surface for simulators: with a :class:`SealingIdentity`, a
:class:`BatchDraft` and columns, :func:`seal_batch` gives exactly what a real sensor sends.
"""

from __future__ import annotations

from dataclasses import dataclass

import teiten
from teiten.protocol import batch, seal
from teiten.protocol.header import SCHEMA_VERSION, BatchHeader, LostBatch, PayloadExample, Watched
from teiten.sensor.column_sets import count_rows
from teiten.sensor.examples import take_examples
from teiten.sensor.sealed import SealedBatch, SealingIdentity
from teiten.traffic.columns import PacketColumns

__all__ = ["BatchDraft", "SealedBatch", "SealingIdentity", "seal_batch"]


@dataclass(frozen=True)
class BatchDraft:
    """What a batch says about itself, before it has a number."""

    window_start_us: int
    window_end_us: int
    #: New at each start of the sensor process, 8 to 36 of ``[0-9A-Za-z-]``.
    boot_id: str
    watched: tuple[Watched, ...] = ()
    #: ``live``, ``simulated`` or ``import:NAME``.
    dataset: str = "live"
    kernel_drops: int = 0
    excluded: int = 0
    gap_us: int = 0
    clock_offset_us: int | None = None
    clock_stepped: bool = False
    payload_bytes: int = 0
    software: str = teiten.__version__


def seal_batch(
    identity: SealingIdentity,
    draft: BatchDraft,
    *,
    columns: PacketColumns,
    seq: int,
    lost: tuple[LostBatch, ...] = (),
) -> SealedBatch:
    """Encode and seal one batch.

    Args:
        identity: whose key seals.
        draft: what was watched.
        columns: every wire column; all times within the draft's window. Examples may lie beside
            (see ``examples``).
        seq: the batch's number in the epoch, from 1 without gaps.
        lost: tombstones not receipted yet, ascending, all before ``seq``.

    Raises:
        BatchError: when header or columns break a rule of the protocol.
    """
    packets, examples = take_examples(columns)
    header = _make_header(identity, draft, rows=count_rows(packets), seq=seq, lost=lost, examples=examples)
    body = batch.encode(header, packets)
    digest = seal.digest_of(body)
    signature = seal.seal(
        identity.private_key,
        sensor=identity.sensor,
        key_no=identity.key_no,
        epoch=identity.epoch,
        seq=seq,
        digest=digest,
    )
    return SealedBatch(
        sensor=identity.sensor,
        key_no=identity.key_no,
        epoch=identity.epoch,
        seq=seq,
        digest=digest,
        seal=signature,
        window_start_us=draft.window_start_us,
        window_end_us=draft.window_end_us,
        dataset=draft.dataset,
        body=body,
    )


def _make_header(
    identity: SealingIdentity,
    draft: BatchDraft,
    *,
    rows: int,
    seq: int,
    lost: tuple[LostBatch, ...],
    examples: tuple[PayloadExample, ...],
) -> BatchHeader:
    return BatchHeader(
        schema_version=SCHEMA_VERSION,
        dataset=draft.dataset,
        sensor=identity.sensor,
        epoch=identity.epoch,
        seq=seq,
        window_start_us=draft.window_start_us,
        window_end_us=draft.window_end_us,
        rows=rows,
        watched=draft.watched,
        captured=rows + draft.excluded,
        kernel_drops=draft.kernel_drops,
        excluded=draft.excluded,
        gap_us=draft.gap_us,
        clock_offset_us=draft.clock_offset_us,
        clock_stepped=draft.clock_stepped,
        payload_bytes=draft.payload_bytes,
        boot_id=draft.boot_id,
        software=draft.software,
        lost=lost,
        examples=examples,
    )
