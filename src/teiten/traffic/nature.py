"""The axis *nature*: what a packet is doing here, judged from its own fields.

Rules, in order; the first that holds decides:

1. **Malformed**: no IP, or headers that contradict each other (a length below its
   minimum or beyond the packet, a broken extension chain). A header that only the
   capture cut is not malformed.
2. **Backscatter**, an answer to what somebody else sent with this address as source:
   TCP with RST, or SYN and ACK; ICMP echo reply, unreachable, quench, redirect, time
   exceeded, parameter problem, timestamp, information and mask reply (types 0, 3, 4,
   5, 11, 12, 14, 16, 18) and ICMPv6 errors, echo and node-information reply (1 to 4,
   129, 140); SCTP INIT-ACK and ABORT; UDP that is the answer of a service.
3. **Scan**: TCP SYN without ACK or RST, and the flag sets that only scanners send
   (none, FIN, FIN PSH URG); ICMP requests (8, 13, 15, 17; ICMPv6 128, 139); SCTP INIT.
4. **Reflection**: UDP that would trigger a reflector (``traffic.reflection``).
5. **UDP probe**: any other UDP with ports.
6. **Residual**: all the rest, such as later fragments, lone ACKs, other protocols.

A UDP packet counts as an answer when it comes from a reflector's port to a port above
1023 that is none; DNS and NTP are judged by their own answer bit where payload was
kept, SIP and SSDP by their status line.

Sources: Corsaro's backscatter and Merit's event types as in ``field.md`` "Traffic
classes"; RFC 9293 §3.10.7.2 for the flag sets.
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from teiten.traffic.access import get_numbers, get_strings, hold_all
from teiten.traffic.byte_strings import read_heads, read_lengths
from teiten.traffic.columns import PacketColumns, VarBytes
from teiten.traffic.marks import ParseMark
from teiten.traffic.parse_bytes import Bytes, Mask
from teiten.traffic.reflection import mark_reflector_ports


class Nature(IntEnum):
    """Values of the column ``nature``; 0 is never written."""

    SCAN = 1
    BACKSCATTER = 2
    UDP_PROBE = 3
    REFLECTION = 4
    RESIDUAL = 5
    MALFORMED = 6


ICMP, TCP, UDP, ICMPV6, SCTP = 1, 6, 17, 58, 132
FIN, SYN, RST, PSH, ACK, URG = 0x01, 0x02, 0x04, 0x08, 0x10, 0x20

ICMP_ANSWERS = (0, 3, 4, 5, 11, 12, 14, 16, 18)
ICMP_REQUESTS = (8, 13, 15, 17)
ICMPV6_ANSWERS = (1, 2, 3, 4, 129, 140)
ICMPV6_REQUESTS = (128, 139)
SCTP_INIT, SCTP_INIT_ACK, SCTP_ABORT = 1, 2, 6

_CONTRADICTION = np.uint16(
    ParseMark.NO_IP
    | ParseMark.BAD_IP_HEADER
    | ParseMark.BAD_TOTAL_LENGTH
    | ParseMark.BAD_EXTENSION_CHAIN
    | ParseMark.BAD_DATA_OFFSET
    | ParseMark.BAD_UDP_LENGTH
)
#: Marks that the capture alone can cause.
_INCOMPLETE = np.uint16(ParseMark.SHORT_TRANSPORT | ParseMark.BAD_EXTENSION_CHAIN | ParseMark.NO_IP)


def _table(scans: tuple[int, ...], answers: tuple[int, ...]) -> NDArray[np.uint8]:
    table = np.full(256, Nature.RESIDUAL, np.uint8)
    table[list(scans)] = Nature.SCAN
    table[list(answers)] = Nature.BACKSCATTER
    return table


def _tcp_table() -> NDArray[np.uint8]:
    """Judge each set of the lower eight flags."""
    flags = np.arange(256)
    lower = flags & (FIN | SYN | RST | PSH | ACK | URG)
    table = np.full(256, Nature.RESIDUAL, np.uint8)
    table[np.isin(lower, (0, FIN, FIN | PSH | URG)) | ((flags & (SYN | ACK)) == SYN)] = Nature.SCAN
    table[((flags & (SYN | ACK)) == SYN | ACK) | ((flags & RST) != 0)] = Nature.BACKSCATTER
    return table


_TCP_NATURE = _tcp_table()
_ICMP_NATURE = _table(ICMP_REQUESTS, ICMP_ANSWERS)
_ICMPV6_NATURE = _table(ICMPV6_REQUESTS, ICMPV6_ANSWERS)
_SCTP_NATURE = _table((SCTP_INIT,), (SCTP_INIT_ACK, SCTP_ABORT))


def classify(columns: PacketColumns, is_trigger: Mask) -> NDArray[np.uint8]:
    """Give every packet's nature, a value of :class:`Nature`.

    Args:
        columns: the packets.
        is_trigger: which of them would trigger a reflector (``traffic.reflection``).
    """
    marks = get_numbers(columns, "parse_marks", np.uint16)
    protocol = get_numbers(columns, "protocol", np.uint8)
    natures = np.full(protocol.size, Nature.RESIDUAL, np.uint8)
    unread = np.uint16(ParseMark.LATER_FRAGMENT | ParseMark.SHORT_TRANSPORT | ParseMark.BAD_EXTENSION_CHAIN)
    readable = (marks & unread) == 0
    present = np.flatnonzero(np.bincount(protocol, minlength=256)).tolist()
    for number, judge in _JUDGES.items():
        if number in present:
            rows = np.flatnonzero(readable & (protocol == number))
            natures[rows] = judge(columns, rows)
    triggers = is_trigger & (natures == Nature.UDP_PROBE)
    natures[triggers] = Nature.REFLECTION
    natures[_is_malformed(marks)] = Nature.MALFORMED
    return natures


def _is_malformed(marks: NDArray[np.uint16]) -> Mask:
    is_cut = (marks & ParseMark.CUT) != 0
    bad: Mask = (marks & (_CONTRADICTION | np.uint16(ParseMark.SHORT_TRANSPORT))) != 0
    is_contradictory = (marks & (_CONTRADICTION & ~_INCOMPLETE)) != 0
    return hold_all(bad, ~is_cut | is_contradictory)


def _judge_tcp(columns: PacketColumns, rows: NDArray[np.intp]) -> NDArray[np.uint8]:
    lower_flags = get_numbers(columns, "tcp_flags", np.uint16)[rows].astype(np.uint8)
    return _TCP_NATURE[lower_flags]


def _judge_icmp(columns: PacketColumns, rows: NDArray[np.intp]) -> NDArray[np.uint8]:
    return _ICMP_NATURE[get_numbers(columns, "icmp_type", np.uint8)[rows]]


def _judge_icmpv6(columns: PacketColumns, rows: NDArray[np.intp]) -> NDArray[np.uint8]:
    return _ICMPV6_NATURE[get_numbers(columns, "icmp_type", np.uint8)[rows]]


def _judge_sctp(columns: PacketColumns, rows: NDArray[np.intp]) -> NDArray[np.uint8]:
    return _SCTP_NATURE[read_heads(get_strings(columns, "payload"), rows, size=1)[:, 0]]


def _judge_udp(columns: PacketColumns, rows: NDArray[np.intp]) -> NDArray[np.uint8]:
    payload = get_strings(columns, "payload")
    src_port = get_numbers(columns, "src_port", np.uint16)[rows]
    dst_port = get_numbers(columns, "dst_port", np.uint16)[rows]
    natures = np.full(rows.size, Nature.UDP_PROBE, np.uint8)
    natures[_is_udp_answer(payload, rows, src_port, dst_port=dst_port)] = Nature.BACKSCATTER
    return natures


_JUDGES = {TCP: _judge_tcp, UDP: _judge_udp, ICMP: _judge_icmp, ICMPV6: _judge_icmpv6, SCTP: _judge_sctp}


def _is_udp_answer(
    payload: VarBytes, rows: NDArray[np.intp], src_port: NDArray[np.uint16], *, dst_port: NDArray[np.uint16]
) -> Mask:
    is_reflector = mark_reflector_ports()
    from_service = is_reflector[src_port]
    answer: Mask = from_service & ~is_reflector[dst_port] & (dst_port > 1023)
    suspects = np.flatnonzero((from_service | (src_port == 5060)) & (read_lengths(payload)[rows] > 0))
    if suspects.size:
        heads = read_heads(payload, rows[suspects], size=8)
        lengths = read_lengths(payload)[rows[suspects]]
        answer[suspects] = _judge_answer(heads, lengths, src_port[suspects], by_port=answer[suspects])
    return answer


def _judge_answer(
    heads: Bytes, lengths: NDArray[np.int32], src_port: NDArray[np.uint16], *, by_port: Mask
) -> Mask:
    """Let the protocol's own answer bit overrule the ports."""
    is_dns = ((src_port == 53) | (src_port == 5353)) & (lengths >= 3)
    is_ntp = src_port == 123
    mode = heads[:, 0] & 7
    # Modes 4 and 5 are server and broadcast; 6 (RFC 9327) and 7 have bits of their own.
    ntp_answer = (mode == 4) | (mode == 5) | ((mode == 6) & (heads[:, 1] >= 0x80))
    ntp_answer |= (mode == 7) & (heads[:, 0] >= 0x80)
    answer = np.where(is_dns, heads[:, 2] >= 0x80, np.where(is_ntp, ntp_answer, by_port))
    starts_sip = (heads[:, :8] == np.frombuffer(b"SIP/2.0 ", np.uint8)).all(axis=1)
    starts_http = (heads[:, :5] == np.frombuffer(b"HTTP/", np.uint8)).all(axis=1)
    decided: Mask = answer | starts_sip | starts_http
    return decided
