"""Per-packet hints at the tool that made a packet: one bit per rule.

A hint is not a verdict: it says that this packet looks as the tool's own formula
makes it, and labels read "Mirai-like". Each rule asks for everything the tool fixes
in one packet, so that a coincidence in 16 bits is not enough; the sources are in the
rules' docstrings. IPv4 only: none of the formulas is defined for IPv6.

Rules that need the destination take the public address: behind 1:1 NAT the packet
shows the local one. Where the public address is unknown such a rule cannot be asked,
and a SYN is marked :attr:`Hint.NOT_COMPUTABLE`; that is never a "no".
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntFlag
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from teiten.traffic import fingerprints
from teiten.traffic.access import get_numbers, get_strings, hold_all
from teiten.traffic.byte_strings import find_equal, read_lengths
from teiten.traffic.columns import PacketColumns
from teiten.traffic.marks import ParseMark
from teiten.traffic.parse_bytes import Bytes, Mask

SYN, SYN_ACK = 0x002, 0x012
ICMP, TCP, UDP = 1, 6, 17

MSS_1460 = bytes.fromhex("020405b4")
#: Options of ZMap >= 4.1 by default: MSS 1460, NOP, scale 8, NOP, NOP, SACK permitted.
ZMAP_WINDOWS_OPTIONS = bytes.fromhex("020405b40103030801010402")
#: What ``--probe-args=linux`` and ``bsd`` look like; their timestamps differ by packet.
ZMAP_TIMESTAMP_FINGERPRINTS = ("65535:2-4-8-1-3:1460:7", "65535:2-1-3-1-1-8-4-0:1460:6")
ZMAP_ID = 54321
#: A TTL that began at 255 and passed at most 55 routers.
_FROM_255 = 200


class Hint(IntFlag):
    """Bits of the column ``hints``."""

    MIRAI = 1 << 0
    #: ZMap up to 4.0.
    ZMAP_OLD = 1 << 1
    #: ZMap from 4.1.
    ZMAP_NEW = 1 << 2
    #: Masscan without TCP options: releases up to 1.3.2.
    MASSCAN_OLD = 1 << 3
    #: Masscan with an MSS option: sources from 2023-11-07.
    MASSCAN_NEW = 1 << 4
    NMAP_SYN = 1 << 5
    #: A rule that needs the destination could not be asked.
    NOT_COMPUTABLE = 1 << 31


class Fields:
    """The columns that the rules ask about, of the IPv4 packets with a whole header."""

    def __init__(
        self, columns: PacketColumns, rows: NDArray[np.intp], *, destinations: Bytes, is_known: Mask
    ) -> None:
        """Take the packets; the other arguments have one entry per packet of ``rows``.

        Args:
            columns: all packets.
            rows: row number of each packet that is asked about.
            destinations: public addresses, shape (n, 16).
            is_known: where ``destinations`` holds.
        """
        self.columns = columns
        self.rows = rows
        self.is_known = is_known
        self._destinations = destinations
        self._numbers: dict[str, NDArray[np.uint32]] = {}
        self._tcp: dict[int, Mask] = {}
        self._options: dict[bytes, Mask] = {}

    def get(self, name: str) -> NDArray[np.uint32]:
        """Give a column of at most 32 bits."""
        if name not in self._numbers:
            self._numbers[name] = get_numbers(self.columns, name, np.uint32)[self.rows]
        return self._numbers[name]

    def is_tcp(self, flags: int) -> Mask:
        """Tell which are unfragmented TCP with exactly ``flags`` and no payload."""
        if flags not in self._tcp:
            self._tcp[flags] = hold_all(
                self.get("protocol") == TCP,
                self.get("tcp_flags") == flags,
                self.get("payload_length") == 0,
                self.get("ip_mf") == 0,
            )
        return self._tcp[flags]

    @cached_property
    def is_raw_sender(self) -> Mask:
        """Tell which were sent as ZMap and Masscan do: TTL from 255, fragmenting allowed.

        Both send ToS 0, which is not asked: networks on the way rewrite it (RFC 2474 §2).
        """
        return hold_all(self.get("ttl") >= _FROM_255, self.get("ip_df") == 0)

    def has_no_options(self) -> Mask:
        empty: Mask = read_lengths(get_strings(self.columns, "tcp_options"))[self.rows] == 0
        return empty

    def has_options(self, value: bytes) -> Mask:
        if value not in self._options:
            options = get_strings(self.columns, "tcp_options")
            self._options[value] = find_equal(options, self.rows, value=value)
        return self._options[value]

    @cached_property
    def low_destination(self) -> NDArray[np.uint32]:
        """Give the public destination as a number in host order; any number where it is unknown."""
        words = np.ascontiguousarray(self._destinations).view(">u4")
        return words[:, 3].astype(np.uint32)


def match(columns: PacketColumns, destinations: Bytes, *, is_known: Mask) -> NDArray[np.uint32]:
    """Give the hints of every packet.

    Args:
        columns: the packets.
        destinations: the public address that each was sent to, shape (n, 16).
        is_known: where that address is known.
    """
    hints = np.zeros(get_numbers(columns, "protocol", np.uint8).size, np.uint32)
    marks = get_numbers(columns, "parse_marks", np.uint16)
    unfit = np.uint16(ParseMark.SHORT_TRANSPORT | ParseMark.BAD_DATA_OFFSET | ParseMark.LATER_FRAGMENT)
    whole = (get_numbers(columns, "ip_version", np.uint8) == 4) & ((marks & unfit) == 0)
    rows = np.flatnonzero(whole)
    fields = Fields(columns, rows, destinations=destinations[rows], is_known=is_known[rows])
    if not fields.is_known.all():
        hints[rows[~fields.is_known & fields.is_tcp(SYN)]] = np.uint32(Hint.NOT_COMPUTABLE)
    for rule in RULES:
        found = rule.match(fields)
        if found.any():
            hints[fields.rows[found]] |= np.uint32(rule.hint)
    return hints


def match_mirai(fields: Fields) -> Mask:
    """Match a SYN whose sequence number is the destination address, all 32 bits.

    Source: Mirai's ``bot/scanner.c`` (``tcph->seq = iph->daddr``); same test in Merit's
    annotate.go and CAIDA's tagpackets.go. Variants differ in ports, TTL and options.
    """
    return hold_all(fields.get("tcp_seq") == fields.low_destination, fields.is_tcp(SYN), fields.is_known)


def match_zmap_old(fields: Fields) -> Mask:
    """Match IP id 54321 with TTL from 255; TCP with window 65535, UDP, or an ICMP echo request.

    Source: ZMap ``src/probe_modules/packet.c`` (make_ip_header, make_tcp_header,
    set_mss_option since 3.0).
    """
    suspects = hold_all(fields.get("ip_id") == ZMAP_ID, fields.is_raw_sender)
    if not suspects.any():
        return suspects
    tcp = hold_all(
        fields.is_tcp(SYN) | fields.is_tcp(SYN_ACK),
        fields.get("tcp_window") == 65535,
        fields.has_no_options() | fields.has_options(MSS_1460),
    )
    echo = (fields.get("protocol") == ICMP) & (fields.get("icmp_type") == 8)
    return hold_all(suspects, tcp | echo | (fields.get("protocol") == UDP))


def match_zmap_new(fields: Fields) -> Mask:
    """Match ZMap's own option sets with window 65535, TTL from 255 and DF clear.

    The IP id is random since commit b0190cc (2024-03-04); Windows-style options are the
    default since c88db29 (2024-04-25). A real Windows sends DF and TTL 128, a real Linux
    window 64240. Source: ZMap ``src/probe_modules/packet.c``, ``module_tcp_synscan.c``.
    """
    suspects = hold_all(
        fields.is_tcp(SYN),
        fields.is_raw_sender,
        fields.get("tcp_window") == 65535,
        fields.get("tcp_ack") == 0,
    )
    if not suspects.any():
        return suspects
    # With the old id, the MSS alone is the mark of an older ZMap.
    smallest = fields.has_options(MSS_1460) & (fields.get("ip_id") != ZMAP_ID)
    known = fields.has_options(ZMAP_WINDOWS_OPTIONS) | smallest
    return hold_all(suspects, known | _has_timestamp_fingerprint(fields, suspects & ~known))


def _has_timestamp_fingerprint(fields: Fields, where: Mask) -> Mask:
    found: Mask = np.zeros(where.size, np.bool_)
    lengths = read_lengths(get_strings(fields.columns, "tcp_options"))[fields.rows]
    where = where & ((lengths == 20) | (lengths == 24))
    if where.any():
        texts = fingerprints.fingerprint_rows(fields.columns, fields.rows[where])
        found[where] = [text in ZMAP_TIMESTAMP_FINGERPRINTS for text in texts]
    return found


def _is_masscan(fields: Fields) -> Mask:
    mixed = fields.low_destination ^ fields.get("tcp_seq") ^ fields.get("dst_port")
    return hold_all(
        fields.get("ip_id") == (mixed & 0xFFFF),
        fields.is_tcp(SYN),
        fields.is_raw_sender,
        fields.get("tcp_window") == 1024,
        fields.get("tcp_ack") == 0,
        fields.is_known,
    )


def match_masscan_old(fields: Fields) -> Mask:
    """Match IP id = low 16 bits of destination ^ port ^ sequence, window 1024, no options.

    Source: Masscan ``src/templ-pkt.c`` (TTL 255, DF clear, window 1024 since 2014-01-22).
    """
    return hold_all(_is_masscan(fields), fields.has_no_options())


def match_masscan_new(fields: Fields) -> Mask:
    """Match Masscan's IP id with an MSS of 1460 as the only option.

    Source: Masscan commit 4f89257 (2023-11-07), ``src/templ-pkt.c``.
    """
    return hold_all(_is_masscan(fields), fields.has_options(MSS_1460))


def match_nmap_syn(fields: Fields) -> Mask:
    """Match a SYN with a window of 1 to 4 KiB, MSS 1460 as the only option, TTL at most 59.

    Nmap draws the TTL from 37 to 59 (``libnetutil/netutil.cc``), sends DF clear and the
    options ``TCP_SYN_PROBE_OPTIONS`` (``nmap.h``); window 1024, in older releases
    1024 * (TTL % 4 + 1). The tie between two probes' sequence numbers needs pairs.
    """
    return hold_all(
        fields.is_tcp(SYN),
        np.isin(fields.get("tcp_window"), (1024, 2048, 3072, 4096)),
        fields.get("ttl") <= 59,
        fields.get("ip_df") == 0,
        fields.get("tcp_ack") == 0,
        fields.get("ip_id") != 0,
        fields.has_options(MSS_1460),
    )


@dataclass(frozen=True)
class Rule:
    """A rule as the rules page shows it, and what verdicts must know of it."""

    hint: Hint
    #: The tool, as a label reads.
    name: str
    #: First RULE_VERSION in which the rule read as it does now.
    since_version: int
    source: str
    #: What a match means, and what it does not.
    meaning: str
    match: Callable[[Fields], Mask]
    #: Probability that a packet of another program matches by chance. Only fields that such a
    #: program would draw at random count; how many bits it shares on purpose is not known.
    chance: float
    #: Share of the sources without the tool that are expected to write such packets on purpose.
    lookalikes: float
    needs_destination: bool = False
    #: Only TCP SYNs are asked about; else UDP and ICMP echo requests too.
    is_of_syn_only: bool = True
    #: First RULE_VERSION that had the rule in any form.
    introduced_in: int = 1


RULES: tuple[Rule, ...] = (
    Rule(
        Hint.MIRAI,
        "Mirai-like",
        2,
        "Mirai bot/scanner.c; Merit annotate.go; CAIDA tagpackets.go",
        "TCP SYN whose sequence number equals the destination address. By chance once in 4 thousand million.",
        match_mirai,
        chance=2.0**-32,
        lookalikes=1e-6,
        needs_destination=True,
    ),
    Rule(
        Hint.ZMAP_OLD,
        "ZMap up to 4.0",
        2,
        "ZMap src/probe_modules/packet.c",
        "IP id 54321, TTL from 255, DF clear; TCP with window 65535 and no option but MSS 1460, "
        "any UDP, or an ICMP echo request.",
        match_zmap_old,
        chance=2.0**-16,
        lookalikes=1e-5,
        is_of_syn_only=False,
    ),
    Rule(
        Hint.ZMAP_NEW,
        "ZMap from 4.1",
        2,
        "ZMap commits b0190cc and c88db29, src/probe_modules/module_tcp_synscan.c and its unit test of JA4T",
        "Window 65535, TTL from 255, DF clear and one of ZMap's option sets (windows, "
        "smallest-probes, linux, bsd). Other raw senders may look alike; its UDP and ICMP probes bear no mark.",
        match_zmap_new,
        chance=2.0**-10,
        lookalikes=5e-4,
    ),
    Rule(
        Hint.MASSCAN_OLD,
        "Masscan up to 1.3.2",
        2,
        "Masscan src/templ-pkt.c",
        "IP id = (destination ^ port ^ sequence) & 0xffff, TTL from 255, DF clear, window 1024, no options.",
        match_masscan_old,
        chance=2.0**-16,
        lookalikes=1e-6,
        needs_destination=True,
    ),
    Rule(
        Hint.MASSCAN_NEW,
        "Masscan from 2023-11",
        2,
        "Masscan commit 4f89257, src/templ-pkt.c",
        "The IP id of Masscan with MSS 1460 as the only option.",
        match_masscan_new,
        chance=2.0**-16,
        lookalikes=1e-6,
        needs_destination=True,
    ),
    Rule(
        Hint.NMAP_SYN,
        "Nmap SYN scan",
        2,
        "Nmap libnetutil/netutil.cc, nmap.h, scan_engine_raw.cc",
        "Window 1024, 2048, 3072 or 4096, MSS 1460 as the only option, TTL at most 59, DF clear, "
        "IP id not 0. Weaker than the others: no field is keyed by the destination.",
        match_nmap_syn,
        # A verdict argues by pairs of packets instead (traffic.verdicts).
        chance=2.0**-10,
        lookalikes=1e-4,
    ),
)
