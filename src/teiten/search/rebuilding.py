"""A packet's header rebuilt from its columns, byte by byte, with what is masked left out.

Only what was recorded can be rebuilt: IPv4 options, IPv6 extension headers and the
rest of an ICMP header are not. Checksums are computed over the bytes shown; where
that needs bytes that are masked or were not kept, the checksum is ``unknown``. A
masked field is zeros here, and so its checksum does not give it away.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from teiten.search.answers import HeaderPart

Layer = Literal["ip", "transport", "options", "payload"]
State = Literal["plain", "masked", "recomputed", "unknown"]
_TCP, _UDP = 6, 17
_ICMPS = (1, 58)
#: Kind → name of the TCP options that are fixed or common (IANA tcp-parameters).
_OPTION_NAMES = {
    1: "NOP",
    2: "MSS",
    3: "WS",
    4: "SACK",
    5: "SACK blocks",
    8: "TS",
    19: "MD5",
    28: "UTO",
    29: "AO",
    34: "TFO",
}


@dataclass
class _Writer:
    """Collects bytes and what each run of them is."""

    masked: frozenset[str]
    data: bytearray = field(default_factory=bytearray)
    parts: list[HeaderPart] = field(default_factory=list)

    def put(
        self, layer: Layer, name: str, value: bytes, *, column: str | None = None, state: State = "plain"
    ) -> None:
        """Add one field; zeros when its column is masked."""
        start = len(self.data)
        if column in self.masked:
            value, state = bytes(len(value)), "masked"
        self.data += value
        self.parts.append(HeaderPart(start, start + len(value), layer, state, name))

    def put_number(
        self, layer: Layer, name: str, value: int, length: int, *, column: str | None = None
    ) -> None:
        self.put(layer, name, value.to_bytes(length, "big"), column=column)


def rebuild_header(row: Mapping[str, Any], masked: Sequence[str]) -> tuple[bytes, tuple[HeaderPart, ...]]:
    """Rebuild the header of one packet.

    Args:
        row: column → value; addresses and options as bytes; masked columns may be None.
        masked: columns that must not show.
    """
    writer = _Writer(frozenset(masked))
    if row["ip_version"] == 4:
        _write_ipv4(writer, row)
    elif row["ip_version"] == 6:
        _write_ipv6(writer, row)
    else:
        return b"", ()
    if not row["fragment_offset"]:
        _write_transport(writer, row)
    return bytes(writer.data), tuple(writer.parts)


def read_options(options: bytes) -> tuple[str, ...]:
    """Put TCP options into words; bytes that are no option end the list with ``…``."""
    words: list[str] = []
    place = 0
    while place < len(options) and options[place] != 0:
        kind = options[place]
        if kind == 1:
            words.append("NOP")
            place += 1
            continue
        length = options[place + 1] if place + 1 < len(options) else 0
        if length < 2 or place + length > len(options):
            return (*words, "…")
        words.append(_name_option(kind, options[place + 2 : place + length]))
        place += length
    return tuple(words)


def compute_checksum(data: bytes) -> int:
    """Give the Internet checksum (RFC 1071)."""
    padded = data + b"\0" if len(data) % 2 else data
    total = sum(int.from_bytes(padded[i : i + 2], "big") for i in range(0, len(padded), 2))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def _name_option(kind: int, value: bytes) -> str:
    name = _OPTION_NAMES.get(kind, f"option {kind}")
    if kind in (2, 3):
        return f"{name} {int.from_bytes(value, 'big')}"
    return name


def _write_ipv4(writer: _Writer, row: Mapping[str, Any]) -> None:
    flags = row["ip_df"] << 14 | row["ip_mf"] << 13 | row["fragment_offset"]
    writer.put("ip", "version, header length", b"\x45")
    writer.put_number("ip", "tos", row["tos"], 1)
    writer.put_number("ip", "total_length", row["total_length"] & 0xFFFF, 2)
    writer.put_number("ip", "ip_id", (row["ip_id"] or 0) & 0xFFFF, 2, column="ip_id")
    writer.put_number("ip", "flags, fragment_offset", flags, 2)
    writer.put_number("ip", "ttl", row["ttl"], 1)
    writer.put_number("ip", "protocol", row["protocol"], 1)
    checksum = len(writer.data)
    writer.put("ip", "header checksum", bytes(2), state="recomputed")
    writer.put("ip", "src_addr", row["src_addr"][12:])
    writer.put("ip", "dst_addr", (row["dst_addr"] or bytes(16))[12:], column="dst_addr")
    writer.data[checksum : checksum + 2] = compute_checksum(bytes(writer.data)).to_bytes(2, "big")


def _write_ipv6(writer: _Writer, row: Mapping[str, Any]) -> None:
    writer.put("ip", "version, traffic class", (0x60000000 | row["tos"] << 20).to_bytes(4, "big")[:2])
    writer.put("ip", "flow label", bytes(2), state="unknown")
    writer.put_number("ip", "payload length", max(0, row["total_length"] - 40) & 0xFFFF, 2)
    writer.put_number("ip", "protocol", row["protocol"], 1)
    writer.put_number("ip", "ttl", row["ttl"], 1)
    writer.put("ip", "src_addr", row["src_addr"])
    writer.put("ip", "dst_addr", row["dst_addr"] or bytes(16), column="dst_addr")


def _write_transport(writer: _Writer, row: Mapping[str, Any]) -> None:
    if row["protocol"] == _TCP:
        _write_tcp(writer, row)
    elif row["protocol"] == _UDP:
        _write_ports(writer, row)
        writer.put_number("transport", "length", (row["payload_length"] + 8) & 0xFFFF, 2)
        writer.put("transport", "checksum", bytes(2), state="unknown")
    elif row["protocol"] in _ICMPS:
        writer.put_number("transport", "icmp_type", row["icmp_type"], 1)
        writer.put_number("transport", "icmp_code", row["icmp_code"], 1)
        writer.put("transport", "checksum, rest of header", bytes(6), state="unknown")


def _write_ports(writer: _Writer, row: Mapping[str, Any]) -> None:
    writer.put_number("transport", "src_port", row["src_port"], 2)
    writer.put_number("transport", "dst_port", row["dst_port"], 2)


def _write_tcp(writer: _Writer, row: Mapping[str, Any]) -> None:
    options = row["tcp_options"] or b""
    start = len(writer.data)
    _write_ports(writer, row)
    writer.put_number("transport", "tcp_seq", row["tcp_seq"] or 0, 4, column="tcp_seq")
    writer.put_number("transport", "tcp_ack", row["tcp_ack"] or 0, 4, column="tcp_ack")
    offset = (20 + len(options) + 3) // 4
    writer.put_number("transport", "data offset, tcp_flags", offset << 12 | row["tcp_flags"] & 0xFFF, 2)
    writer.put_number("transport", "tcp_window", row["tcp_window"], 2)
    checksum = len(writer.data)
    is_whole = not row["payload_length"]
    writer.put("transport", "checksum", bytes(2), state="recomputed" if is_whole else "unknown")
    writer.put("transport", "urgent pointer", bytes(2), state="unknown")
    if options:
        writer.put("options", "tcp_options", options + bytes(-len(options) % 4))
    if is_whole:
        sealed = _pseudo_header(writer, row, len(writer.data) - start) + bytes(writer.data[start:])
        writer.data[checksum : checksum + 2] = compute_checksum(sealed).to_bytes(2, "big")


def _pseudo_header(writer: _Writer, row: Mapping[str, Any], length: int) -> bytes:
    """Give the pseudo header (RFC 9293 §3.1, RFC 8200 §8.1) of what is shown."""
    addresses = writer.data[12:20] if row["ip_version"] == 4 else writer.data[8:40]
    if row["ip_version"] == 4:
        return bytes(addresses) + bytes([0, row["protocol"]]) + length.to_bytes(2, "big")
    return bytes(addresses) + length.to_bytes(4, "big") + bytes([0, 0, 0, row["protocol"]])
