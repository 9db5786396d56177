"""Sealing for thousands of windows at once: the same batches, compressed with less effort.

A sensor may spend half a percent of a window on compressing it, which for an hour is
far more than a history of thousands of hours can wait for. Short windows are sealed
by the sensor's own code.
"""

from __future__ import annotations

import dataclasses

from teiten.protocol import batch, seal
from teiten.protocol.header import SCHEMA_VERSION, BatchHeader, LostBatch, PayloadExample
from teiten.sensor import sealing
from teiten.sensor.column_sets import WireColumns, count_rows
from teiten.sensor.examples import take_examples
from teiten.sensor.sealed import SealedBatch, SealingIdentity
from teiten.sensor.sealing import BatchDraft

#: The choice hangs on the window alone: a batch that is made again must be the same to the bit.
_LONG_WINDOW_US = 15 * 60 * 1_000_000
_FAST_LEVEL = 3


def seal_window(
    identity: SealingIdentity,
    draft: BatchDraft,
    columns: WireColumns,
    *,
    seq: int,
    lost: tuple[LostBatch, ...],
) -> SealedBatch:
    """Encode and seal one window.

    Raises:
        BatchError: when header or columns break a rule of the protocol.
    """
    if draft.window_end_us - draft.window_start_us < _LONG_WINDOW_US:
        return sealing.seal_batch(identity, draft, columns=columns, seq=seq, lost=lost)
    packets, examples = take_examples(columns)
    header = _make_header(identity, draft, rows=count_rows(packets), seq=seq, lost=lost, examples=examples)
    body = batch.encode(header, packets, level=_FAST_LEVEL)
    name = {"sensor": identity.sensor, "key_no": identity.key_no, "epoch": identity.epoch, "seq": seq}
    digest = seal.digest_of(body)
    return SealedBatch(
        **name,
        digest=digest,
        seal=seal.seal(identity.private_key, **name, digest=digest),
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
    facts = {field.name: getattr(draft, field.name) for field in dataclasses.fields(draft)}
    return BatchHeader(
        **facts,
        schema_version=SCHEMA_VERSION,
        sensor=identity.sensor,
        epoch=identity.epoch,
        seq=seq,
        rows=rows,
        captured=rows + draft.excluded,
        lost=lost,
        examples=examples,
    )
