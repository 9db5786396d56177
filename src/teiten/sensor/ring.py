"""Capture of whole packets from one interface through the kernel's shared ring.

An ``AF_PACKET`` socket of type ``SOCK_DGRAM`` with a ``TPACKET_V2`` receive ring:
fixed slots, seen as one numpy array, so that a thousand packets cost a few array
operations. Only ``CAP_NET_RAW`` is needed. A filter in the kernel lets through
IPv4 and IPv6 (also behind a second VLAN tag) that is addressed to this host.

Facts of the slot layout: packet(7), linux/if_packet.h (tpacket2_hdr). The kernel
never clears a slot: bytes past ``tp_snaplen`` belong to an earlier packet.

A packet that is longer than its slot can be read whole from the socket's queue, while
:meth:`Ring.copy_long_packets` is on (Documentation/networking/packet_mmap.rst,
PACKET_COPY_THRESH and TP_STATUS_COPY; docs/adr/0009). The kernel queues it and takes its
slot under one lock, so the n-th marked slot is the n-th in the queue; when the queue's
memory is full the slot is not marked, and nothing is dropped or counted for it.
"""

from __future__ import annotations

import ctypes
import errno
import mmap
import select
import socket
import struct

import numpy as np
from numpy.typing import NDArray

from teiten.sensor.errors import CaptureDeniedError, CaptureError
from teiten.sensor.staging import RawPackets, Staging

_SOL_PACKET = 263
_RX_RING, _STATISTICS, _COPY_THRESHOLD, _VERSION, _IGNORE_OUTGOING = 5, 6, 7, 10, 23
_TPACKET_V2 = 1
_SO_ATTACH_FILTER = 26
_ETH_P_ALL = 0x0003
_BLOCK_BYTES = 1 << 20

_READY, _COPIED, _VLAN_VALID = 1, 1 << 1, 1 << 4
#: Memory of the queue of whole packets as asked for; the kernel doubles it: 114 of 1,028 bytes.
_QUEUE_BYTES = 131_072
#: Read of a whole packet: every header that fits a slot, and the 1,500 bytes of an example.
_FRAME_BYTES = 2_048
#: With SOCK_DGRAM the network header always stands here in the slot.
_NETWORK_OFFSET = 80
#: Word (32 bit) and half-word (16 bit) indices in a slot.
_STATUS, _LENGTH, _SNAPLEN, _SECONDS, _NANOSECONDS = 0, 1, 2, 4, 5
_VLAN_TCI, _PROTOCOL = 12, 17
_TAG_TYPES = (0x8100, 0x88A8, 0x9100)

#: Classic BPF: operations, and the offsets that stand for facts about the frame (linux/filter.h).
_LOAD, _JUMP_EQUAL, _RETURN = 0x20, 0x15, 0x06
_PACKET_TYPE, _LINK_PROTOCOL = 0xFFFFF004, 0xFFFFF000

#: How far the status scan looks at first, and how it grows: idle costs one short look.
_FIRST_LOOK, _LOOK_GROWTH = 64, 8

_DENIED = (
    "opening a packet socket was refused: run as root, or allow it once with "
    "`setcap cap_net_raw+ep` on the Python that runs teiten-sensor (or AmbientCapabilities=CAP_NET_RAW in its unit)"
)


class Ring:
    """The receive ring of one interface.

    Args:
        interface: its name.
        slots: how many packets the kernel may hold; rounded up to whole blocks.
        slot_bytes: 256, or 512 to keep long payloads; a power of two.
    """

    def __init__(self, interface: str, *, slots: int = 65_536, slot_bytes: int = 256) -> None:
        self.interface = interface
        self.width = slot_bytes - _NETWORK_OFFSET
        self._slot_bytes = slot_bytes
        per_block = _BLOCK_BYTES // slot_bytes
        self._blocks = max(1, -(-slots // per_block))
        self._count = self._blocks * per_block
        self._position = 0
        self._index = 0
        self._fullest = 0
        self._copies = False
        self._has_copied = False
        self._frame = bytearray(_FRAME_BYTES)
        self._scrap = bytearray(1)
        self._socket = _open_socket(interface)
        try:
            self._attach()
        except OSError as error:
            self._socket.close()
            raise _explained(error, interface) from error

    @property
    def slots(self) -> int:
        return self._count

    @property
    def index(self) -> int:
        """The kernel's number of the interface that the socket is bound to."""
        return self._index

    def fileno(self) -> int:
        return self._socket.fileno()

    def take(self, staging: Staging) -> int:
        """Move as many waiting packets as fit into ``staging``; give how many."""
        taken = 0
        self._fullest = max(self._fullest, self._measure_fill())
        while staging.room:
            ready = self._count_ready(min(staging.room, self._count - self._position))
            if not ready:
                break
            first = staging.count
            self._copy(staging.next_rows(ready), self._position, ready)
            if self._has_copied:
                self._take_frames(staging, first, ready)
            self._status[self._position : self._position + ready] = 0
            self._position = (self._position + ready) % self._count
            taken += ready
        return taken

    def copy_long_packets(self, wanted: bool) -> None:  # noqa: FBT001  # a switch
        """Have the kernel keep packets that are longer than a slot, or stop it."""
        if wanted == self._copies:
            return
        self._socket.setsockopt(_SOL_PACKET, _COPY_THRESHOLD, int(wanted))
        self._copies = wanted
        self._has_copied = True

    def read_drops(self) -> int:
        """Give the packets that found the ring full since the last call (reading resets it)."""
        raw = self._socket.getsockopt(_SOL_PACKET, _STATISTICS, 8)
        _packets, drops = struct.unpack("II", raw)
        return int(drops)

    def read_fullest_permille(self) -> int:
        """Give how full the ring was at most when it was emptied since the last call, in thousandths."""
        fullest, self._fullest = self._fullest, 0
        return fullest * 1_000 // self._count

    def read_error(self) -> int:
        """Give and clear the socket's pending error (``errno``), 0 when there is none."""
        return self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)

    def holds(self, count: int) -> bool:
        """Tell whether at least ``count`` packets wait."""
        return bool(self._status[(self._position + count - 1) % self._count] & _READY)

    def close(self) -> None:
        """Give the memory and the socket back; the ring cannot be used afterwards."""
        del self._status, self._words, self._halves, self._packets
        self._map.close()
        self._socket.close()

    def _attach(self) -> None:
        sock = self._socket
        # First, because the ring's memory is not worth taking for a name that does not exist.
        self._index = socket.if_nametoindex(self.interface)
        sock.setsockopt(_SOL_PACKET, _VERSION, _TPACKET_V2)
        sock.setsockopt(_SOL_PACKET, _IGNORE_OUTGOING, 1)
        _attach_filter(sock)
        request = struct.pack("IIII", _BLOCK_BYTES, self._blocks, self._slot_bytes, self._count)
        sock.setsockopt(_SOL_PACKET, _RX_RING, request)
        self._map = mmap.mmap(sock.fileno(), self._blocks * _BLOCK_BYTES)
        slots = np.frombuffer(self._map, np.uint8).reshape(self._count, self._slot_bytes)
        self._words = slots.view(np.uint32)
        self._halves = slots.view(np.uint16)
        self._status = self._words[:, _STATUS]
        self._packets = slots[:, _NETWORK_OFFSET:]
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _QUEUE_BYTES)
        sock.bind((self.interface, _ETH_P_ALL))

    def _measure_fill(self) -> int:
        """Count the packets that wait: filled slots follow one another, so halving finds the last."""
        if not self.holds(1):
            return 0
        low, high = 1, self._count
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (middle, high) if self.holds(middle) else (low, middle - 1)
        return low

    def _count_ready(self, limit: int) -> int:
        found, look = 0, _FIRST_LOOK
        while found < limit:
            upto = min(limit, found + look)
            status = self._status[self._position + found : self._position + upto]
            waiting = (status & _READY) == 0
            if waiting.any():
                return found + int(waiting.argmax())
            found, look = upto, look * _LOOK_GROWTH
        return found

    def _take_frames(self, staging: Staging, first: int, count: int) -> None:
        """Read the queue as far as the marked slots go; keep what there is room for."""
        status = self._status[self._position : self._position + count]
        for place in np.flatnonzero(status & _COPIED).tolist():
            frame = self._read_frame(self._frame if staging.has_frame_room else self._scrap)
            if frame is not None and staging.has_frame_room:
                staging.frames[first + place] = frame

    def _read_frame(self, room: bytearray) -> bytes | None:
        """Take one packet off the queue; bytes that do not fit ``room`` are lost."""
        # Never recvfrom(2): before Linux 5.17 the sender's address of such a packet is not set.
        for _attempt in range(2):
            try:
                size = self._socket.recv_into(room, 0, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return None
            except OSError:
                # The link's error was pending; reading has cleared it.
                continue
            return bytes(room[:size])
        return None

    def _copy(self, rows: RawPackets, start: int, count: int) -> None:
        slots = slice(start, start + count)
        words, halves = self._words[slots], self._halves[slots]
        width = min(self.width, rows.raw.shape[1])
        rows.raw[:, :width] = self._packets[slots, :width]
        np.minimum(words[:, _SNAPLEN], width, out=rows.captured_length)
        rows.wire_length[:] = words[:, _LENGTH]
        rows.observed_at_us[:] = words[:, _SECONDS]
        rows.observed_at_us[:] *= 1_000_000
        rows.observed_at_us[:] += words[:, _NANOSECONDS] // 1_000
        tagged = (words[:, _STATUS] & _VLAN_VALID) != 0
        rows.stacked[:] = False
        rows.vlan[:] = 0
        if tagged.any():
            rows.vlan[:] = np.where(tagged, halves[:, _VLAN_TCI], 0)
            _unwrap_stacked(rows, np.flatnonzero(tagged), halves[:, _PROTOCOL].byteswap())


def _unwrap_stacked(rows: RawPackets, tagged: NDArray[np.intp], protocol: NDArray[np.uint16]) -> None:
    """Take off a second VLAN tag, which the kernel leaves before the IP header.

    Older kernels name the tag as the link protocol; since 6.10 they name what lies behind
    it, and only the bytes tell: tag control information, then that same protocol.
    """
    behind = rows.raw[tagged, 2].astype(np.uint16) << 8 | rows.raw[tagged, 3]
    suspects = tagged[np.isin(protocol[tagged], _TAG_TYPES) | (behind == protocol[tagged])]
    for row in suspects:
        if _is_whole_ip(rows, int(row)):
            continue
        rows.stacked[row] = True
        rows.raw[row, :-4] = rows.raw[row, 4:].copy()
        rows.captured_length[row] = max(0, int(rows.captured_length[row]) - 4)
        rows.wire_length[row] = max(0, int(rows.wire_length[row]) - 4)


def _is_whole_ip(rows: RawPackets, row: int) -> bool:
    """Tell whether an IP header stands here whose length fits the frame: then it is no tag."""
    head = rows.raw[row]
    version, wire = head[0] >> 4, int(rows.wire_length[row])
    if version == 4:
        return int.from_bytes(head[2:4].tobytes(), "big") <= wire
    return bool(version == 6) and 40 + int.from_bytes(head[4:6].tobytes(), "big") <= wire


class Waiter:
    """Waits until one of several rings has a packet or an error."""

    def __init__(self) -> None:
        self._poll = select.poll()

    def add(self, ring: Ring) -> None:
        self._poll.register(ring.fileno(), select.POLLIN | select.POLLERR)

    def remove(self, ring: Ring) -> None:
        self._poll.unregister(ring.fileno())

    def wait(self, timeout_seconds: float) -> list[tuple[int, bool]]:
        """Give (file descriptor, whether it reports an error) of each ring that has something."""
        events = self._poll.poll(max(0, round(timeout_seconds * 1_000)))
        return [(fd, bool(event & select.POLLERR)) for fd, event in events]


def _open_socket(interface: str) -> socket.socket:
    try:
        return socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, 0)
    except OSError as error:
        raise _explained(error, interface) from error


def _explained(error: OSError, interface: str) -> CaptureError:
    if error.errno in (errno.EPERM, errno.EACCES):
        return CaptureDeniedError(_DENIED)
    # if_nametoindex(3) raises without a number.
    if error.errno in (None, errno.ENODEV, errno.ENXIO):
        return CaptureError(f"interface {interface} does not exist; name one that `ip link` shows")
    if error.errno in (errno.ENOMEM, errno.ENOBUFS):
        return CaptureError(f"the kernel has no memory for the ring of {interface}; lower sensor.ring_slots")
    return CaptureError(f"interface {interface} cannot be captured: {error.strerror or error}")


def _attach_filter(sock: socket.socket) -> None:
    """Let through frames for this host that carry IPv4, IPv6 or a further VLAN tag (classic BPF)."""
    accepted = (0x0800, 0x86DD, *_TAG_TYPES)
    count = len(accepted)
    program = [(_LOAD, 0, 0, _PACKET_TYPE), (_JUMP_EQUAL, 0, count + 1, 0), (_LOAD, 0, 0, _LINK_PROTOCOL)]
    program += [(_JUMP_EQUAL, count - place, 0, protocol) for place, protocol in enumerate(accepted)]
    program += [(_RETURN, 0, 0, 0), (_RETURN, 0, 0, 0x40000)]
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in program))
    pointer = struct.pack("HL", len(program), ctypes.addressof(code))
    sock.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, pointer)
