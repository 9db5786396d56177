"""Bits of the column ``parse_marks``: what was unusual about a packet's headers."""

from __future__ import annotations

from enum import IntFlag


class ParseMark(IntFlag):
    """One bit per fact; 0 is an ordinary, wholly captured header."""

    #: Neither IPv4 nor IPv6, or shorter than the fixed IP header.
    NO_IP = 1 << 0
    #: IPv4 header length below 20 bytes or beyond the packet.
    BAD_IP_HEADER = 1 << 1
    #: Stated IP total length below the header or beyond what was on the wire.
    BAD_TOTAL_LENGTH = 1 << 2
    #: The reserved ("evil") bit of IPv4 is set.
    RESERVED_BIT = 1 << 3
    #: IPv4 options are present.
    IP_OPTIONS = 1 << 4
    #: IPv6 extension headers are present.
    EXTENSION_HEADERS = 1 << 5
    #: The extension chain runs past the captured bytes or is impossible.
    BAD_EXTENSION_CHAIN = 1 << 6
    #: A later fragment: no transport header here.
    LATER_FRAGMENT = 1 << 7
    #: The transport header is not wholly there.
    SHORT_TRANSPORT = 1 << 8
    #: TCP data offset below 20 bytes or beyond the packet.
    BAD_DATA_OFFSET = 1 << 9
    #: UDP length below 8 or beyond the IP packet.
    BAD_UDP_LENGTH = 1 << 10
    #: The capture cut bytes that a column needed (options or payload).
    CUT = 1 << 11
    #: The ports columns hold real ports.
    HAS_PORTS = 1 << 12
    #: More than one VLAN tag.
    STACKED_VLAN = 1 << 13
