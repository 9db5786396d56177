"""The packet columns, declared once as data.

From :data:`COLUMNS` come the Arrow schema of a batch, the ClickHouse table, the
API schema and the page ``docs/columns.md``. To add a column, add one declaration
here and follow the recipe in ``docs/internals.md``.

A column has one of three origins:

``wire``
    read from the packet by the sensor and sent in the batch;
``identity``
    the same for every packet of a batch, taken from its header and its place;
``derived``
    computed by the loader from the others, under a versioned rule.

In memory a set of packets is a mapping from column name to a numpy array of the
column's :attr:`Column.numpy_type`, all of one length ``n``; addresses are
``(n, 16)`` uint8, byte strings of variable length are :class:`VarBytes`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

Origin: TypeAlias = Literal["wire", "identity", "derived"]
Kind: TypeAlias = Literal["instant", "address", "u8", "u16", "u32", "u64", "bytes", "text", "code"]


class VarBytes(NamedTuple):
    """``n`` byte strings laid end to end, as Arrow's binary layout has them."""

    #: int32, shape (n + 1,): string ``i`` is ``data[offsets[i]:offsets[i + 1]]``.
    offsets: NDArray[np.int32]
    #: uint8, all strings without a gap.
    data: NDArray[np.uint8]


PacketColumns: TypeAlias = Mapping[str, "NDArray[np.generic] | VarBytes"]


@dataclass(frozen=True)
class Column:
    """One column of a packet."""

    name: str
    kind: Kind
    origin: Origin
    #: Unit of a number, or what the number is an index of.
    unit: str
    #: One English sentence for the documentation and the API schema.
    meaning: str
    #: RFC or other specification that defines the field.
    source: str

    @property
    def numpy_type(self) -> str:
        return _NUMPY_TYPES[self.kind]

    @property
    def arrow_type(self) -> str:
        return _ARROW_TYPES[self.kind]

    @property
    def clickhouse_type(self) -> str:
        return _CLICKHOUSE_TYPES[self.kind]


_NUMPY_TYPES: dict[Kind, str] = {
    "instant": "int64",  # microseconds since 1970-01-01 UTC
    "address": "(n, 16) uint8",
    "u8": "uint8",
    "u16": "uint16",
    "u32": "uint32",
    "u64": "uint64",
    "bytes": "VarBytes",
    "text": "object (str)",
    "code": "object (str)",
}
_ARROW_TYPES: dict[Kind, str] = {
    "instant": "timestamp[us, UTC]",
    "address": "fixed_size_binary[16]",
    "u8": "uint8",
    "u16": "uint16",
    "u32": "uint32",
    "u64": "uint64",
    "bytes": "binary",
    "text": "string",
    "code": "dictionary<string>",
}
_CLICKHOUSE_TYPES: dict[Kind, str] = {
    "instant": "DateTime64(6, 'UTC')",
    "address": "IPv6",
    "u8": "UInt8",
    "u16": "UInt16",
    "u32": "UInt32",
    "u64": "UInt64",
    "bytes": "String",
    "text": "String",
    "code": "LowCardinality(String)",
}


def _wire(name: str, kind: Kind, unit: str, meaning: str, source: str) -> Column:
    return Column(name, kind, "wire", unit, meaning, source)


def _identity(name: str, kind: Kind, unit: str, meaning: str) -> Column:
    return Column(name, kind, "identity", unit, meaning, "Teiten protocol")


def _derived(name: str, kind: Kind, unit: str, meaning: str, source: str) -> Column:
    return Column(name, kind, "derived", unit, meaning, source)


COLUMNS: tuple[Column, ...] = (
    _identity("dataset", "code", "name", "Data set: live, simulated, or the name of an import."),
    _identity("sensor", "u32", "sensor number", "Sensor that recorded the packet."),
    _identity("epoch", "u32", "count", "Life of the sensor's key material; batch numbers restart with it."),
    _identity("batch_seq", "u64", "count", "Batch within the epoch, from 1 without gaps."),
    _identity("row", "u32", "count", "Place of the packet in its batch, from 0."),
    _identity("region", "code", "name", "Region in which the sensor stood when the packet arrived."),
    _identity("answering", "u8", "0 or 1", "The sensor answered on this address; 0: it stayed silent."),
    _wire(
        "observed_at", "instant", "µs UTC", "When the packet arrived at the sensor's interface.", "packet(7)"
    ),
    _wire(
        "ip_version",
        "u8",
        "4 or 6",
        "Version of the Internet Protocol; 0 when the packet shows neither.",
        "RFC 791, RFC 8200",
    ),
    _wire(
        "src_addr",
        "address",
        "IPv6, IPv4 mapped",
        "Source address as the packet states it.",
        "RFC 791, RFC 4291 §2.5.5.2",
    ),
    _wire(
        "dst_addr",
        "address",
        "IPv6, IPv4 mapped",
        "Destination address as the packet states it.",
        "RFC 791, RFC 4291 §2.5.5.2",
    ),
    _wire(
        "protocol",
        "u8",
        "IANA protocol number",
        "Upper-layer protocol, after any IPv6 extension headers.",
        "IANA protocol-numbers",
    ),
    _wire(
        "src_port",
        "u16",
        "port",
        "Source port of TCP, UDP, SCTP or DCCP; 0 when there is none.",
        "RFC 9293, RFC 768",
    ),
    _wire(
        "dst_port",
        "u16",
        "port",
        "Destination port of TCP, UDP, SCTP or DCCP; 0 when there is none.",
        "RFC 9293, RFC 768",
    ),
    _wire(
        "icmp_type", "u8", "ICMP type", "Type of an ICMP or ICMPv6 message; 0 otherwise.", "RFC 792, RFC 4443"
    ),
    _wire(
        "icmp_code", "u8", "ICMP code", "Code of an ICMP or ICMPv6 message; 0 otherwise.", "RFC 792, RFC 4443"
    ),
    _wire(
        "tcp_flags",
        "u16",
        "bits",
        "The 12 bits after the data offset: 4 reserved, CWR ECE URG ACK PSH RST SYN FIN.",
        "RFC 9293 §3.1",
    ),
    _wire("tcp_seq", "u32", "sequence number", "Sequence number.", "RFC 9293 §3.1"),
    _wire("tcp_ack", "u32", "sequence number", "Acknowledgement number.", "RFC 9293 §3.1"),
    _wire("tcp_window", "u16", "bytes, unscaled", "Window field.", "RFC 9293 §3.1"),
    _wire("tcp_options", "bytes", "bytes", "Option bytes as captured, at most 40.", "RFC 9293 §3.1"),
    _wire("ttl", "u8", "hops", "Time to live, or hop limit.", "RFC 791, RFC 8200"),
    _wire(
        "ip_id",
        "u32",
        "identification",
        "Identification: 16 bits in IPv4; the fragment header's 32 bits in IPv6, else 0.",
        "RFC 791, RFC 8200 §4.5",
    ),
    _wire("ip_df", "u8", "0 or 1", "Don't-fragment bit; 0 in IPv6.", "RFC 791"),
    _wire("ip_mf", "u8", "0 or 1", "More-fragments bit.", "RFC 791, RFC 8200 §4.5"),
    _wire(
        "fragment_offset",
        "u16",
        "8 bytes",
        "Fragment offset; above 0 the packet has no ports.",
        "RFC 791, RFC 8200 §4.5",
    ),
    _wire("tos", "u8", "bits", "Type of service, or traffic class.", "RFC 2474, RFC 3168"),
    _wire(
        "total_length",
        "u32",
        "bytes",
        "Length of the IP packet as its header states it.",
        "RFC 791, RFC 8200",
    ),
    _wire("vlan", "u16", "tag control information", "Outer VLAN tag; 0 when there is none.", "IEEE 802.1Q"),
    _wire(
        "payload_length",
        "u32",
        "bytes",
        "Bytes after the transport header, as the IP header states.",
        "RFC 9293, RFC 768",
    ),
    _wire(
        "payload_hash",
        "u64",
        "hash",
        "BLAKE2b-64 of the captured payload bytes, little-endian; 0 when there are none.",
        "RFC 7693",
    ),
    _wire(
        "payload",
        "bytes",
        "bytes",
        "First bytes of the payload, as many as the sensor is set to keep.",
        "Teiten",
    ),
    _wire("parse_marks", "u16", "bits", "What was unusual about the header; see traffic.marks.", "Teiten"),
    _derived(
        "nature",
        "u8",
        "traffic.nature.Nature",
        "Scan, backscatter, UDP probe, reflection, residual or malformed.",
        "traffic.nature",
    ),
    _derived(
        "validity",
        "u8",
        "traffic.validity.SourceValidity",
        "Whether the source address can be what it says: ordinary, bogon, suspected to be spoofed.",
        "traffic.validity",
    ),
    _derived(
        "probe",
        "code",
        "label",
        "What the payload asks for, by byte-exact probes and prefixes; empty when nothing is known.",
        "traffic.probes",
    ),
    _derived("hints", "u32", "bits of traffic.hints", "Rules that this packet matches.", "traffic.hints"),
    _derived(
        "rule_version",
        "u16",
        "version",
        "Version of the rules behind nature, hints and survey.",
        "traffic.rules",
    ),
    _derived(
        "tcp_fp",
        "code",
        "MuonFP text",
        "window:options:MSS:scale of a TCP SYN or SYN-ACK.",
        "traffic.fingerprints",
    ),
    _derived(
        "country",
        "code",
        "ISO 3166-1 alpha-2",
        "Country of the source address; empty when unknown.",
        "MaxMind DB file",
    ),
    _derived(
        "asn", "u32", "AS number", "Origin AS of the source address; 0 when unknown.", "MaxMind DB file"
    ),
    _derived(
        "survey",
        "u8",
        "traffic.survey.SurveyKind",
        "The source is a survey scanner at that time: 0 no, 1 by a list, 2 by its behaviour.",
        "survey list",
    ),
    _derived(
        "actor", "code", "name", "Who scans, as the survey list names it; empty when unknown.", "survey list"
    ),
    _derived(
        "landed_at",
        "instant",
        "µs UTC",
        "When the gateway receipted the batch; retention counts from here.",
        "Teiten protocol",
    ),
)

BY_NAME: dict[str, Column] = {column.name: column for column in COLUMNS}
WIRE_COLUMNS: tuple[Column, ...] = tuple(c for c in COLUMNS if c.origin == "wire")
