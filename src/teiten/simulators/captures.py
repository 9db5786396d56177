"""Capture files: simulated traffic as classic pcap, for any tool that reads one.

Format: draft-ietf-opsawg-pcap. Little-endian, microseconds; link type RAW (101), or
Ethernet (1) with locally administered addresses. A packet cut by ``snap_bytes``
keeps its true length.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO, Literal

import numpy as np

from teiten.simulators import ranges
from teiten.simulators.hashes import I64, U8
from teiten.simulators.telescope import Traffic

LinkType = Literal["raw", "ethernet"]
_MAGIC = 0xA1B2C3D4
_LINK_NUMBERS: dict[LinkType, int] = {"ethernet": 1, "raw": 101}
_SNAP_LIMIT = 262_144
#: Locally administered unicast addresses (IEEE 802, second bit of the first byte).
_TO_MAC, _FROM_MAC = bytes.fromhex("02746569746e"), bytes.fromhex("0273696d0001")
_V4_TYPE, _V6_TYPE = 0x0800, 0x86DD
ETHERNET_BYTES = 14
_RECORD_BYTES = 16


def write_capture(path: Path, parts: Iterable[Traffic], link: LinkType = "raw") -> int:
    """Write the packets, which must be in order of time, and give their number."""
    count = 0
    with path.open("wb") as file:
        file.write(struct.pack("<IHHiIII", _MAGIC, 2, 4, 0, 0, _SNAP_LIMIT, _LINK_NUMBERS[link]))
        for traffic in parts:
            ranges.check_frames(traffic.raw)
            _write_records(file, traffic, link)
            count += len(traffic)
    return count


def frame_ethernet(raw: U8) -> U8:
    """Put Ethernet headers before IP packets, shape (n, 14 + width)."""
    framed = np.empty((len(raw), ETHERNET_BYTES + raw.shape[1]), np.uint8)
    framed[:, :6] = np.frombuffer(_TO_MAC, np.uint8)
    framed[:, 6:12] = np.frombuffer(_FROM_MAC, np.uint8)
    kind = np.where(raw[:, :1] >> 4 == 6, _V6_TYPE, _V4_TYPE).astype(">u2")
    framed[:, 12:14] = kind.view(np.uint8).reshape(-1, 2)
    framed[:, ETHERNET_BYTES:] = raw
    return framed


def _write_records(file: BinaryIO, traffic: Traffic, link: LinkType) -> None:
    frames = frame_ethernet(traffic.raw) if link == "ethernet" else traffic.raw
    extra = ETHERNET_BYTES if link == "ethernet" else 0
    captured: I64 = traffic.captured_length.astype(np.int64) + extra
    heads = np.empty((len(traffic), 4), "<u4")
    heads[:, 0], heads[:, 1] = traffic.observed_at_us // 1_000_000, traffic.observed_at_us % 1_000_000
    heads[:, 2], heads[:, 3] = captured, traffic.wire_length + extra
    rows = np.concatenate([heads.view(np.uint8), frames], axis=1)
    valid = np.arange(rows.shape[1])[None, :] < (_RECORD_BYTES + captured)[:, None]
    file.write(rows[valid].tobytes())
