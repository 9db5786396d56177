"""Payload examples of batches: one whole payload beside the first bytes that its packet keeps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from teiten.loader.verifying import Verified
from teiten.store.arrow_schemas import EXAMPLES


def build_examples(batches: Sequence[Verified]) -> pa.Table | None:
    """Give one row an example, or None when no batch carries one."""
    rows = [_row_of(one, number) for one in batches for number in range(len(one.batch.header.examples))]
    if not rows:
        return None
    return pa.Table.from_pylist(rows, schema=EXAMPLES)


def _row_of(one: Verified, number: int) -> dict[str, Any]:
    header, columns = one.batch.header, one.batch.columns
    example = header.examples[number]

    def value(name: str) -> Any:
        return np.asarray(columns[name])[example.row]

    return {
        "dataset": header.dataset,
        "payload_hash": int(value("payload_hash")),
        "sensor": header.sensor,
        "epoch": header.epoch,
        "batch_seq": header.seq,
        "row": example.row,
        "observed_at": int(value("observed_at")),
        "src_addr": value("src_addr").tobytes(),
        "protocol": int(value("protocol")),
        "dst_port": int(value("dst_port")),
        "payload_length": int(value("payload_length")),
        "payload": example.payload,
        "landed_at": one.member.landed_at_us,
    }
