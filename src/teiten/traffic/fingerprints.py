"""TCP fingerprints in MuonFP notation: ``window:options:MSS:scale``.

``options`` are the option kinds in wire order, joined by dashes; a part that the
packet does not have is empty. Window 65535, MSS 1460 and window scale 8 in Windows'
order read ``65535:2-1-3-1-1-4:1460:8``; a SYN without options reads ``1024:::``.

Source: MuonFP (github.com/sundruid/muonfp, README and src/fingerprint.rs), also the
MISP object ``muonfp``. As there: the end-of-options kind 0 is written and ends the
list; MSS and scale are taken as 4 and 3 bytes whatever length they state; an option
whose stated length is below 2 ends the list.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from teiten.traffic.access import get_numbers, get_strings, hold_all
from teiten.traffic.byte_strings import read_heads, read_lengths
from teiten.traffic.columns import PacketColumns
from teiten.traffic.grouping import group_rows
from teiten.traffic.marks import ParseMark
from teiten.traffic.parse_bytes import Bytes, Mask

END, NOP, MSS, SCALE = 0, 1, 2, 3
SYN = 0x002

_MAX_OPTION_BYTES = 40
#: Beginnings of option lists with a timestamp, ``..`` for any byte: as Linux, BSD and
#: macOS, older stacks, and bare ones write them. The 8 bytes that follow do not
#: show in a fingerprint, yet differ in every packet.
_BEFORE_TIMESTAMP = (
    "02 04 .. .. 04 02 08 0a",
    "02 04 .. .. 01 03 03 .. 01 01 08 0a",
    "02 04 .. .. 01 01 08 0a",
    "01 01 08 0a",
    "04 02 08 0a",
    "08 0a",
)


def tcp_fp(columns: PacketColumns) -> NDArray[np.object_]:
    """Give the fingerprint of every TCP SYN or SYN-ACK, and '' for other packets.

    A packet whose header was cut by the capture has none.
    """
    texts = np.full(get_numbers(columns, "protocol", np.uint8).size, "", np.object_)
    rows = np.flatnonzero(_has_fingerprint(columns))
    if rows.size:
        texts[rows] = fingerprint_rows(columns, rows)
    return texts


def _has_fingerprint(columns: PacketColumns) -> Mask:
    marks = get_numbers(columns, "parse_marks", np.uint16)
    bad = np.uint16(ParseMark.SHORT_TRANSPORT | ParseMark.BAD_DATA_OFFSET | ParseMark.LATER_FRAGMENT)
    is_syn = (get_numbers(columns, "protocol", np.uint8) == 6) & (
        (get_numbers(columns, "tcp_flags", np.uint16) & SYN) != 0
    )
    chosen: Mask = is_syn & ((marks & bad) == 0)
    if (marks & ParseMark.CUT).any():
        chosen &= ~_has_cut_options(columns)
    return chosen


def _has_cut_options(columns: PacketColumns) -> Mask:
    """Tell where fewer option bytes were captured than the header has.

    With IP options or extension headers the header's own length is not in the
    columns; such a packet counts as whole.
    """
    marks = get_numbers(columns, "parse_marks", np.uint16)
    plain = (marks & np.uint16(ParseMark.IP_OPTIONS | ParseMark.EXTENSION_HEADERS)) == 0
    fixed = np.where(get_numbers(columns, "ip_version", np.uint8) == 6, 60, 40).astype(np.int64)
    stated = (
        get_numbers(columns, "total_length", np.int64)
        - get_numbers(columns, "payload_length", np.int64)
        - fixed
    )
    options = get_strings(columns, "tcp_options")
    return hold_all((marks & ParseMark.CUT) != 0, plain, read_lengths(options) < stated)


def fingerprint_rows(columns: PacketColumns, rows: NDArray[np.intp]) -> NDArray[np.object_]:
    """Give the fingerprints of ``rows``, all of them TCP."""
    options = get_strings(columns, "tcp_options")
    traits = np.zeros((rows.size, _MAX_OPTION_BYTES + 8), np.uint8)
    traits[:, :_MAX_OPTION_BYTES] = read_heads(options, rows, size=_MAX_OPTION_BYTES)
    _blank_timestamps(traits)
    # A stranger's batch may hold longer strings than a TCP header can.
    sizes = np.minimum(read_lengths(options)[rows], _MAX_OPTION_BYTES)
    traits[:, _MAX_OPTION_BYTES] = sizes
    distinct, inverse = group_rows(traits)
    endings = [
        write_options(traits[row, :size].tobytes())
        for row, size in zip(distinct, sizes[distinct].tolist(), strict=True)
    ]
    return _join_windows(get_numbers(columns, "tcp_window", np.uint16)[rows], endings, inverse)


def _join_windows(
    windows: NDArray[np.uint16], endings: list[str], inverse: NDArray[np.intp]
) -> NDArray[np.object_]:
    """Write ``window:ending`` once per distinct pair: Mirai draws a window for each packet."""
    pairs, places = np.unique(inverse << 16 | windows, return_inverse=True)
    texts = np.array([f"{pair & 0xFFFF}:{endings[pair >> 16]}" for pair in pairs.tolist()], np.object_)
    chosen: NDArray[np.object_] = texts[places]
    return chosen


def _blank_timestamps(traits: Bytes) -> None:
    words = traits.view(np.uint64)
    for pattern in _BEFORE_TIMESTAMP:
        pairs = pattern.split()
        padded = pairs + [".."] * (16 - len(pairs))
        value = np.array([0 if pair == ".." else int(pair, 16) for pair in padded], np.uint8).view(np.uint64)
        mask = np.array([0 if pair == ".." else 0xFF for pair in padded], np.uint8).view(np.uint64)
        found = (words[:, 0] & mask[0]) == value[0]
        if len(pairs) > 8:
            found &= (words[:, 1] & mask[1]) == value[1]
        if found.any():
            traits[found, len(pairs) : len(pairs) + 8] = 0


def write_options(options: bytes) -> str:
    """Write the part after the window: ``kinds:MSS:scale``."""
    kinds: list[str] = []
    mss = scale = ""
    at = 0
    while at < len(options):
        kind = options[at]
        kinds.append(str(kind))
        if kind == MSS and at + 4 <= len(options):
            mss = str(int.from_bytes(options[at + 2 : at + 4], "big"))
        if kind == SCALE and at + 3 <= len(options):
            scale = str(options[at + 2])
        size = _measure_option(options, at)
        if size is None:
            break
        at += size
    return f"{'-'.join(kinds)}:{mss}:{scale}"


def _measure_option(options: bytes, at: int) -> int | None:
    """Give the bytes to the next option, or None where the list ends."""
    kind = options[at]
    if kind == END:
        return None
    fixed = {NOP: 1, MSS: 4, SCALE: 3}.get(kind)
    if fixed is not None:
        return fixed
    stated = options[at + 1] if at + 1 < len(options) else 0
    return stated if stated >= 2 else None
