"""What DNS queries ask for, from the first question of each (RFC 1035 §4.1)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from teiten.traffic.parse_bytes import Bytes, Ints

_HEADER_BYTES = 12
#: A name has at most 127 labels; the captured bytes end long before.
_MOST_LABELS = 64
_CLASS_CHAOS, _CLASS_ANY, _CLASS_INTERNET = 3, 255, 1
_TYPE_NAMES = {
    1: "a",
    2: "ns",
    6: "soa",
    12: "ptr",
    15: "mx",
    16: "txt",
    28: "aaaa",
    33: "srv",
    43: "ds",
    46: "rrsig",
    48: "dnskey",
    252: "axfr",
    255: "any",
}
#: A standard query of one question that asks for something else, or is cut.
_OTHER = "dns-query"
_CHAOS = "dns-chaos"
LABELS = (*(f"dns-{name}" for name in _TYPE_NAMES.values()), _OTHER, _CHAOS)
#: Questions whose answers are large: those that attacks in a victim's name ask. The
#: version question of scanners, TXT in CHAOS, is none.
AMPLIFYING = frozenset({"dns-any", "dns-txt"})

_NUMBER_OF_TYPE = np.full(1 << 16, LABELS.index(_OTHER), np.int16)
_NUMBER_OF_TYPE[list(_TYPE_NAMES)] = np.arange(len(_TYPE_NAMES))


def find_questions(heads: Bytes, lengths: Ints) -> NDArray[np.int16]:
    """Give the number in :data:`LABELS` of what each packet asks, -1 for no standard query.

    Args:
        heads: the first bytes of each message, zero beyond its captured end, shape (n, width).
        lengths: captured bytes of each, 0..width.
    """
    is_query = (lengths > _HEADER_BYTES) & (heads[:, 2] & 0xF8 == 0)
    is_query &= (heads[:, 4] == 0) & (heads[:, 5] == 1)
    numbers = np.where(is_query, np.int16(LABELS.index(_OTHER)), np.int16(-1))
    rows = np.flatnonzero(is_query)
    ends = _find_name_ends(heads, rows)
    whole = (ends >= 0) & (ends + 5 <= lengths[rows])
    rows, ends = rows[whole], ends[whole]
    kinds = heads[rows, ends + 1].astype(np.intp) << 8 | heads[rows, ends + 2]
    classes = heads[rows, ends + 3].astype(np.intp) << 8 | heads[rows, ends + 4]
    found = _NUMBER_OF_TYPE[kinds]
    found[classes == _CLASS_CHAOS] = LABELS.index(_CHAOS)
    known = np.isin(classes, (_CLASS_INTERNET, _CLASS_CHAOS, _CLASS_ANY))
    numbers[rows[known]] = found[known]
    return numbers


def _find_name_ends(heads: Bytes, rows: NDArray[np.intp]) -> NDArray[np.intp]:
    """Give where the zero byte after the question's name stands, -1 where no name ends in sight."""
    at = np.full(rows.size, _HEADER_BYTES, np.intp)
    ends = np.full(rows.size, -1, np.intp)
    going = np.arange(rows.size)
    for _ in range(_MOST_LABELS):
        size = heads[rows[going], at[going]]
        done = size == 0
        ends[going[done]] = at[going[done]]
        at[going] += size.astype(np.intp) + 1
        going = going[~done & (size < 64) & (at[going] < heads.shape[1])]
        if not going.size:
            break
    return ends
