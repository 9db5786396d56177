"""UDP requests that make a service answer with far more than it was asked.

One packet cannot tell a search for such services from an attack that uses them: both
send these bytes. A match means "would trigger a reflector".

Sources: US-CERT TA14-017A (UDP-based amplification attacks); ZMap
``examples/udp-probes``; the services' own specifications, named per entry. A pattern
is the beginning of the payload in hex, ``..`` standing for any byte.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from teiten.traffic.byte_strings import read_heads, read_lengths, take_one
from teiten.traffic.columns import VarBytes
from teiten.traffic.parse_bytes import Bytes, Mask

DNS_PORT = 53


@dataclass(frozen=True)
class AmplificationProbe:
    """Bytes that trigger one kind of reflector."""

    name: str
    port: int
    pattern: str
    source: str

    @property
    def value(self) -> bytes:
        return bytes(0 if pair == ".." else int(pair, 16) for pair in self.pattern.split())

    @property
    def mask(self) -> bytes:
        return bytes(0 if pair == ".." else 0xFF for pair in self.pattern.split())


def _hex(text: str) -> str:
    return " ".join(f"{byte:02x}" for byte in text.encode("ascii"))


PROBES: tuple[AmplificationProbe, ...] = (
    AmplificationProbe("NTP monlist", 123, "17 .. 03 2a", "ntp_request.h, mode 7 request 42"),
    AmplificationProbe("NTP readvar", 123, "16 02 .. .. 00 00 00 00", "RFC 9327, mode 6 opcode 2"),
    AmplificationProbe("SSDP M-SEARCH", 1900, _hex("M-SEARCH * HTTP/1.1"), "UPnP Device Architecture 1.3.2"),
    AmplificationProbe(
        "memcached stats", 11211, ".. .. .. .. .. .. .. .. 73 74 61 74 73", "memcached doc/protocol.txt"
    ),
    AmplificationProbe(
        "memcached get", 11211, ".. .. .. .. .. .. .. .. 67 65 74", "memcached doc/protocol.txt"
    ),
    AmplificationProbe("CLDAP search", 389, "30 .. 02 01 .. 63", "RFC 4511 §4.5.1"),
    AmplificationProbe("CLDAP search, long form", 389, "30 84 00 00 00 .. 02 01 .. 63", "RFC 4511 §4.5.1"),
    AmplificationProbe(
        "SNMP GetBulk public", 161, "30 .. 02 01 01 04 06 70 75 62 6c 69 63 a5", "RFC 3416 §4.2.3"
    ),
    AmplificationProbe(
        "portmap dump",
        111,
        ".. .. .. .. 00 00 00 00 00 00 00 02 00 01 86 a0 00 00 00 .. 00 00 00 04",
        "RFC 1833 §3",
    ),
    AmplificationProbe("RIPv1 request", 520, "01 01 00 00", "RFC 1058 §3.4"),
    AmplificationProbe(
        "NetBIOS node status",
        137,
        ".. .. 00 .. 00 01 00 00 00 00 00 00 20 43 4b 41 41 41 41",
        "RFC 1002 §4.2.17",
    ),
    AmplificationProbe("MS SQL browser", 1434, "02", "MC-SQLR §2.2.1"),
    AmplificationProbe("MS SQL browser, one host", 1434, "03", "MC-SQLR §2.2.2"),
    AmplificationProbe(
        "Valve A2S_INFO",
        27015,
        "ff ff ff ff 54 " + _hex("Source Engine Query"),
        "Valve developer wiki, Server queries",
    ),
    AmplificationProbe("Quake getstatus", 27960, "ff ff ff ff " + _hex("getstatus"), "ioquake3 sv_main.c"),
    AmplificationProbe("CoAP discovery", 5683, "40 01 .. .. bb " + _hex(".well-known"), "RFC 7252 §7.2"),
    AmplificationProbe("ARD", 3283, "00 14 00 00", "ZMap examples/udp-probes/ard_3283.pkt"),
    AmplificationProbe(
        "Ubiquiti discovery", 10001, "01 00 00 00", "ZMap examples/udp-probes/ubiquiti_10001.pkt"
    ),
    AmplificationProbe("WS-Discovery", 3702, "3c", "OASIS WS-Discovery 1.1 §5.2 (an XML document)"),
    AmplificationProbe("Sentinel", 5093, "7a 00 00 00 00 00", "ZMap examples/udp-probes/sentinel_5093.pkt"),
    AmplificationProbe("Citrix browser", 1604, "1e 00 01 30 02 fd a8 e3", "Nmap nselib/citrix"),
    AmplificationProbe("XDMCP query", 177, "00 01 00 02 00 01 00", "X.Org XDMCP §4"),
    AmplificationProbe("TFTP read", 69, "00 01", "RFC 1350 §5"),
    AmplificationProbe("DB2 discovery", 523, _hex("DB2GETADDR"), "ZMap examples/udp-probes/db2_523.pkt"),
)
#: Services that answer anything: RFC 864 (chargen), RFC 865 (quote of the day).
ANSWERS_ANYTHING = (17, 19)
#: Ports on which a reflector listens: where their answers come from.
REFLECTOR_PORTS = frozenset({probe.port for probe in PROBES} | {DNS_PORT, 5353, *ANSWERS_ANYTHING})

_HEAD_BYTES = 24
#: Type and class of the questions that amplify: ANY or TXT, in IN or ANY. The version
#: question of scanners, TXT in CHAOS, is none.
_AMPLIFYING = tuple(bytes.fromhex(text) for text in ("00ff0001", "00ff00ff", "00100001", "001000ff"))


def find_triggers(payload: VarBytes, rows: NDArray[np.intp], dst_port: NDArray[np.uint16]) -> Mask:
    """Tell which UDP packets would trigger a reflector.

    Args:
        payload: the payload column; without kept payload only the two services that
            answer anything are found.
        rows: row numbers of UDP packets.
        dst_port: their destination ports, in the same order.
    """
    found: Mask = np.isin(dst_port, ANSWERS_ANYTHING)
    lengths = read_lengths(payload)[rows]
    for port in np.unique(dst_port[lengths > 0]).tolist():
        if port not in REFLECTOR_PORTS:
            continue
        chosen = np.flatnonzero((dst_port == port) & (lengths > 0))
        if port == DNS_PORT:
            found[chosen] = [is_amplifying_dns(take_one(payload, row)) for row in rows[chosen].tolist()]
        else:
            heads = read_heads(payload, rows[chosen], size=_HEAD_BYTES)
            found[chosen] |= _match_patterns(heads, lengths[chosen], port=port)
    return found


def _match_patterns(heads: Bytes, lengths: NDArray[np.int32], *, port: int) -> Mask:
    found: Mask = np.zeros(lengths.size, np.bool_)
    for probe in PROBES:
        if probe.port != port:
            continue
        value, mask = (np.frombuffer(part, np.uint8) for part in (probe.value, probe.mask))
        alike = ((heads[:, : value.size] & mask) == value).all(axis=1)
        found |= alike & (lengths >= value.size)
    return found


def is_amplifying_dns(payload: bytes) -> bool:
    """Tell whether a DNS message asks one question of type ANY or TXT (RFC 1035 §4.1)."""
    if len(payload) < 17 or payload[2] & 0xF8 or payload[4:6] != b"\x00\x01":
        return False
    at = 12
    while at < len(payload) and 0 < payload[at] < 64:
        at += payload[at] + 1
    return payload[at : at + 1] == b"\x00" and payload[at + 1 : at + 5] in _AMPLIFYING
