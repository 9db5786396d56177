"""Print the entropy tables for ``protocol.dictionary``, trained on simulated small batches.

Run once a schema version, by hand; the result is frozen, because every sensor and
the base must use the same bytes. Another zstd library may print other tables.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import zstandard

from teiten.protocol import testing
from teiten.protocol.arrangement import arrange
from teiten.protocol.batch import write_stream
from teiten.simulators.config import TelescopeConfig
from teiten.simulators.telescope import Outlook, Telescope

START_US = 1_795_219_200_000_000
_FIRST_OFFSETS = bytes.fromhex("010000000400000008000000")


def main() -> None:
    telescope = Telescope(TelescopeConfig(seed=1))
    samples = [
        stream
        for number in range(8)
        for stream in make_streams(telescope, f"192.0.2.{number + 1}/32", np.random.default_rng(number))
    ]
    trained = zstandard.train_dictionary(110_000, samples, level=15, dict_id=1).as_bytes()
    end = trained.index(_FIRST_OFFSETS) + len(_FIRST_OFFSETS)
    print("\n".join(textwrap.wrap(trained[8:end].hex(), 96)))


def make_streams(telescope: Telescope, prefix: str, random: np.random.Generator) -> Iterator[bytes]:
    """Cut a day of one address into batches of 5 to 63 packets."""
    traffic = telescope.observe(Outlook(prefix, (prefix,)), START_US, START_US + 86_400_000_000)
    start = 0
    while start + 64 < len(traffic):
        rows = int(random.integers(5, 64))
        part = traffic.take(slice(start, start + rows))
        first_us, last_us = int(part.observed_at_us[0]), int(part.observed_at_us[-1])
        header = replace(
            testing.make_header(rows=rows, seq=int(random.integers(1, 100_000))),
            dataset="live",
            sensor=int(random.integers(1, 10_000)),
            window_start_us=first_us,
            window_end_us=max(last_us + 1, first_us + 300_000_000),
        )
        yield write_stream(header, arrange(part.parse(64)))
        start += rows


if __name__ == "__main__":
    main()
