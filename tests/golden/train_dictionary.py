"""Print the entropy tables for ``protocol.dictionary``, trained on made-up small batches.

Run once a schema version, by hand; the result is frozen, because every sensor and
the base must use the same bytes. Another zstd library may print other tables.
"""

from __future__ import annotations

import textwrap

import numpy as np
import zstandard

from teiten.protocol import testing
from teiten.protocol.batch import write_stream

_FIRST_OFFSETS = bytes.fromhex("010000000400000008000000")


def main() -> None:
    random = np.random.default_rng(5)
    samples = [make_stream(int(rows), 1000 + seed) for seed, rows in enumerate(random.integers(5, 64, 400))]
    trained = zstandard.train_dictionary(110_000, samples, level=19, dict_id=1).as_bytes()
    end = trained.index(_FIRST_OFFSETS) + len(_FIRST_OFFSETS)
    print("\n".join(textwrap.wrap(trained[8:end].hex(), 96)))


def make_stream(rows: int, seed: int) -> bytes:
    header = testing.make_header(rows=rows, seq=seed)
    columns = testing.make_columns(rows, seed=seed, start_us=header.window_start_us)
    return write_stream(header, columns)


if __name__ == "__main__":
    main()
