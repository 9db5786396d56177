"""Whether the sensor answered on the address that a packet came to: what its batch says of its prefixes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from teiten.loader.verifying import Verified
from teiten.protocol.header import Watched
from teiten.traffic.addresses import RangeTable, parse_prefix

_ANSWERING = "answering"
_BY_PREFIX = 2


def find_answering(
    wire: Mapping[str, Any], batches: Sequence[Verified], counts: NDArray[np.int64]
) -> NDArray[np.uint8]:
    """Give 1 where the sensor answered, 0 where it was silent; packets to no watched prefix count as silent."""
    modes = np.array([_mode_of(one.batch.header.watched) for one in batches], np.uint8)
    answering = np.repeat(modes, counts)
    starts = np.cumsum(counts) - counts
    for place in np.flatnonzero(modes == _BY_PREFIX).tolist():
        rows = slice(int(starts[place]), int(starts[place] + counts[place]))
        ranges, answers = _prefixes_of(batches[place].batch.header.watched)
        answering[rows] = answers[ranges.lookup(np.asarray(wire["dst_addr"], np.uint8)[rows])]
    return answering


@lru_cache(maxsize=65_536)
def _mode_of(watched: tuple[Watched, ...]) -> int:
    answers = {item.mode == _ANSWERING for item in watched}
    return _BY_PREFIX if len(answers) == 2 else int(answers == {True})


@lru_cache(maxsize=1024)
def _prefixes_of(watched: tuple[Watched, ...]) -> tuple[RangeTable, NDArray[np.uint8]]:
    """Give the prefixes, and whether each answers; the last entry is for addresses in none."""
    edges = [parse_prefix(item.prefix) for item in watched]
    firsts, lasts = (
        np.frombuffer(b"".join(edge[at] for edge in edges), np.uint8).reshape(-1, 16) for at in (0, 1)
    )
    answers = [item.mode == _ANSWERING for item in watched]
    return RangeTable(firsts, lasts), np.array([*answers, False], np.uint8)
