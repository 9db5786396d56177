"""From frames to IP packets: the link layers that Teiten reads.

Ethernet (with 802.1Q, 802.1ad and QinQ tags, and LLC/SNAP), raw IP, Linux cooked v1 and
v2, and BSD loopback. Sources: tcpdump.org/linktypes.html; IEEE 802.1Q; RFC 1042.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from teiten.sensor.capture_file_records import Frames
from teiten.traffic.parse_bytes import Bytes, Mask, gather_windows

NULL, ETHERNET, RAW_BSD, RAW_OPENBSD, RAW, LOOP, COOKED, IPV4, IPV6, COOKED_2 = (
    0,
    1,
    12,
    14,
    101,
    108,
    113,
    228,
    229,
    276,
)
#: Names of other link types, for the message that refuses them.
OTHER_NAMES = {
    6: "IEEE 802.5 Token Ring",
    9: "PPP",
    50: "PPP in HDLC framing",
    51: "PPPoE",
    104: "Cisco HDLC",
    105: "IEEE 802.11",
    107: "Frame Relay",
    117: "OpenBSD pflog",
    119: "IEEE 802.11 with Prism header",
    127: "IEEE 802.11 with radiotap header",
    187: "Bluetooth HCI",
    189: "USB on Linux",
    192: "PPI",
    195: "IEEE 802.15.4",
    220: "USB on Linux, padded",
    239: "NFLOG",
    249: "USBPcap",
    251: "Bluetooth LE",
    253: "netlink",
}

_HEAD_BYTES = 48
_MAX_TAGS = 4
_IP_TYPES = np.zeros(1 << 16, np.bool_)
_IP_TYPES[[0x0800, 0x86DD]] = True
_TAG_TYPES = np.zeros(1 << 16, np.bool_)
_TAG_TYPES[[0x8100, 0x88A8, 0x9100, 0x9200, 0x9300]] = True
#: Protocol families of IPv4 and IPv6: BSD and Linux, macOS, FreeBSD, NetBSD.
_FAMILIES = np.array((2, 10, 24, 28, 30), np.uint32)
_SNAP = np.frombuffer(b"\xaa\xaa\x03\x00\x00\x00", np.uint8)


@dataclass(frozen=True)
class Packets:
    """IP packets in a file, in the order of ``Frames``; no bytes yet."""

    #: Byte at which each IP header begins in the file.
    at: NDArray[np.int64]
    captured: NDArray[np.int64]
    wire: NDArray[np.int64]
    time_us: NDArray[np.int64]
    #: Outer tag control information, 0 for none.
    vlan: NDArray[np.uint16]
    stacked_vlan: Mask

    def __len__(self) -> int:
        return self.at.size

    def take(self, rows: NDArray[np.intp] | slice) -> Packets:
        return Packets(*(getattr(self, field.name)[rows] for field in fields(self)))


@dataclass
class _Link:
    """Where the IP header of each frame of one link type begins."""

    #: Bytes of link header, tags included.
    size: NDArray[np.int64]
    is_ip: Mask
    vlan: NDArray[np.uint16]
    tags: NDArray[np.int32]


def is_supported(link_type: int) -> bool:
    return link_type in _LINKS


def name_link_type(link_type: int) -> str:
    """Write a link type as messages do."""
    name = OTHER_NAMES.get(link_type)
    return f"{link_type} ({name})" if name else str(link_type)


def find_packets(data: Bytes, frames: Frames) -> Packets:
    """Find the IP packet in each frame; frames with another protocol are left out.

    Args:
        data: the file.
        frames: frames of supported link types.
    """
    count = len(frames)
    merged = _Link(
        np.zeros(count, np.int64),
        np.zeros(count, np.bool_),
        np.zeros(count, np.uint16),
        np.zeros(count, np.int32),
    )
    for link_type in np.unique(frames.link_type).tolist():
        rows = np.flatnonzero(frames.link_type == link_type)
        head = _read_heads(data, frames.take(rows))
        link = _LINKS[link_type](head)
        for field in fields(_Link):
            getattr(merged, field.name)[rows] = getattr(link, field.name)
    kept = np.flatnonzero(merged.is_ip & (merged.size <= frames.captured))
    size = merged.size[kept]
    return Packets(
        at=frames.at[kept] + size,
        captured=frames.captured[kept] - size,
        wire=np.maximum(frames.wire[kept], frames.captured[kept]) - size,
        time_us=frames.time_us[kept],
        vlan=merged.vlan[kept],
        stacked_vlan=merged.tags[kept] > 1,
    )


def _read_heads(data: Bytes, frames: Frames) -> Bytes:
    """Give the first bytes of each frame, zeros after a shorter one."""
    heads = gather_windows(data.reshape(1, -1), np.zeros(len(frames), np.intp), frames.at, size=_HEAD_BYTES)
    heads *= np.arange(_HEAD_BYTES) < frames.captured[:, None]
    return heads


def _read_u16(head: Bytes, at: NDArray[np.int64]) -> NDArray[np.uint16]:
    rows = np.arange(at.size)
    high = head[rows, at].astype(np.uint16) << np.uint16(8)
    return high | head[rows, at + 1]


def _follow_tags(head: Bytes, *, type_at: int, header_bytes: int) -> _Link:
    """Step over VLAN tags: each is a tag control information and the next type."""
    count = head.shape[0]
    kind = _read_u16(head, np.full(count, type_at, np.int64))
    link = _Link(
        np.full(count, header_bytes, np.int64),
        np.zeros(count, np.bool_),
        np.zeros(count, np.uint16),
        np.zeros(count, np.int32),
    )
    for _ in range(_MAX_TAGS):
        tagged = np.flatnonzero(_TAG_TYPES[kind])
        if not tagged.size:
            break
        size = link.size[tagged]
        tag = _read_u16(head[tagged], size)
        link.vlan[tagged] = np.where(link.tags[tagged] == 0, tag, link.vlan[tagged])
        kind[tagged] = _read_u16(head[tagged], size + 2)
        link.tags[tagged] += 1
        link.size[tagged] += 4
    _step_over_snap(head, kind, link)
    link.is_ip = _IP_TYPES[kind]
    return link


def _step_over_snap(head: Bytes, kind: NDArray[np.uint16], link: _Link) -> None:
    """Read the type behind an 802.3 length and an LLC/SNAP header (RFC 1042)."""
    rows = np.flatnonzero(kind <= 1500)
    if not rows.size:
        return
    places = link.size[rows][:, None] + np.arange(6)
    rows = rows[(head[rows[:, None], places] == _SNAP).all(axis=1)]
    kind[rows] = _read_u16(head[rows], link.size[rows] + 6)
    link.size[rows] += 8


def _find_ethernet(head: Bytes) -> _Link:
    return _follow_tags(head, type_at=12, header_bytes=14)


def _find_cooked(head: Bytes) -> _Link:
    return _follow_tags(head, type_at=14, header_bytes=16)


def _find_cooked_2(head: Bytes) -> _Link:
    return _follow_tags(head, type_at=0, header_bytes=20)


def _find_plain(head: Bytes, *, size: int, is_ip: Mask) -> _Link:
    count = head.shape[0]
    return _Link(np.full(count, size, np.int64), is_ip, np.zeros(count, np.uint16), np.zeros(count, np.int32))


def _find_raw(head: Bytes) -> _Link:
    return _find_plain(head, size=0, is_ip=np.ones(head.shape[0], np.bool_))


def _find_loopback(head: Bytes) -> _Link:
    """Read the protocol family in either byte order: it is the capturing machine's."""
    little = np.isin(head[:, :4].copy().view("<u4")[:, 0], _FAMILIES)
    big = np.isin(head[:, :4].copy().view(">u4")[:, 0], _FAMILIES)
    return _find_plain(head, size=4, is_ip=little | big)


_LINKS: dict[int, Callable[[Bytes], _Link]] = {
    ETHERNET: _find_ethernet,
    COOKED: _find_cooked,
    COOKED_2: _find_cooked_2,
    NULL: _find_loopback,
    LOOP: _find_loopback,
    RAW: _find_raw,
    RAW_BSD: _find_raw,
    RAW_OPENBSD: _find_raw,
    IPV4: _find_raw,
    IPV6: _find_raw,
}
