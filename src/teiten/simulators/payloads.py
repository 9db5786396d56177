"""Payloads, byte for byte as the tools send them, written from the protocols.

Sources: RFC 1035 (DNS), RFC 5905 and ntpdc's mode 7 (NTP), RFC 1157/3416 (SNMP),
UPnP Device Architecture 1.1 §1.3.2 (SSDP), memcached protocol.txt, RFC 4511/MS-ADTS
§6.3.3 (CLDAP), RFC 3261 (SIP), RFC 7252 (CoAP), RFC 1002 (NetBIOS), RFC 5531
(portmap), WS-Discovery 1.0, RFC 9000 §6 (QUIC), and the list of services in zmap's
``examples/udp-probes``.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

_CRLF = b"\r\n"


@dataclass(frozen=True)
class Payload:
    """One datagram body; ``[vary_at, vary_at + vary_bytes)`` differs from packet to packet."""

    name: str
    port: int
    body: bytes
    vary_at: int = 0
    vary_bytes: int = 0


def dns_query(name: str, kind: int, *, recursion: bool = True, edns_bytes: int = 0) -> bytes:
    """Give a DNS query of class IN with identification 0; ``edns_bytes`` adds an OPT record."""
    labels = b"".join(bytes([len(part)]) + part.encode() for part in name.split(".") if part) + b"\0"
    head = struct.pack(">HHHHHH", 0, 0x0100 if recursion else 0, 1, 0, 0, 1 if edns_bytes else 0)
    option = b"\0" + struct.pack(">HHIH", 41, edns_bytes, 0, 0) if edns_bytes else b""
    return head + labels + struct.pack(">HH", kind, 1) + option


def snmp_get(community: bytes, version: int, *, bulk: bool = False) -> bytes:
    """Give an SNMP request for sysDescr.0, or GetBulk of the whole tree, with a 4-byte request id."""
    oid = b"\x06\x01\x2b" if bulk else b"\x06\x08\x2b\x06\x01\x02\x01\x01\x01\x00"
    bindings = _tlv(0x30, _tlv(0x30, oid + b"\x05\x00"))
    numbers = b"\x02\x04\0\0\0\0" + (b"\x02\x01\x00\x02\x02\x08\xfc" if bulk else b"\x02\x01\x00\x02\x01\x00")
    pdu = _tlv(0xA5 if bulk else 0xA0, numbers + bindings)
    return _tlv(0x30, bytes([2, 1, version]) + _tlv(0x04, community) + pdu)


def _tlv(tag: int, body: bytes) -> bytes:
    return bytes([tag, len(body)]) + body


def _netbios_status() -> bytes:
    name = b"\x20" + b"CK" + b"A" * 30 + b"\0"
    return struct.pack(">HHHHHH", 0, 0x0010, 1, 0, 0, 0) + name + struct.pack(">HH", 0x21, 1)


def _portmap_dump() -> bytes:
    return struct.pack(">10I", 0, 0, 2, 100_000, 2, 4, 0, 0, 0, 0)


def _cldap_root() -> bytes:
    search = (
        b"\x04\x00\x0a\x01\x00\x0a\x01\x00\x02\x01\x00\x02\x01\x00\x01\x01\x00\x87\x0bobjectclass\x30\x00"
    )
    return _tlv(0x30, b"\x02\x01\x01" + _tlv(0x63, search))


def _ntp_client() -> bytes:
    return struct.pack(">BBBbIII", 0xE3, 0, 4, -6, 0x00010000, 0x00010000, 0) + bytes(32)


def _sip_options() -> bytes:
    lines = (
        "OPTIONS sip:100@192.0.2.1 SIP/2.0",
        "Via: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK-0000000000;rport",
        "Max-Forwards: 70",
        'From: "scan"<sip:100@192.0.2.1>;tag=0000000000',
        'To: "scan"<sip:100@192.0.2.1>',
        "Call-ID: 0000000000",
        "CSeq: 1 OPTIONS",
        "Contact: <sip:100@192.0.2.1:5060>",
        "Accept: application/sdp",
        "Content-Length: 0",
    )
    return b"".join(line.encode() + _CRLF for line in lines) + _CRLF


def _search_upnp(target: str) -> bytes:
    lines = (
        "M-SEARCH * HTTP/1.1",
        "HOST: 239.255.255.250:1900",
        'MAN: "ssdp:discover"',
        "MX: 1",
        f"ST: {target}",
    )
    return b"".join(line.encode() + _CRLF for line in lines) + _CRLF


def _wsd_probe() -> bytes:
    soap, discovery = (
        "http://www.w3.org/2003/05/soap-envelope",
        "http://schemas.xmlsoap.org/ws/2005/04/discovery",
    )
    addressing = "http://schemas.xmlsoap.org/ws/2004/08/addressing"
    return (
        '<?xml version="1.0" encoding="utf-8"?>'
        f'<s:Envelope xmlns:s="{soap}" xmlns:a="{addressing}" xmlns:d="{discovery}"><s:Header>'
        "<a:To>urn:schemas-xmlsoap-org:ws:2005:04:discovery</a:To>"
        f"<a:Action>{discovery}/Probe</a:Action>"
        "<a:MessageID>urn:uuid:00000000-0000-4000-8000-000000000000</a:MessageID>"
        "</s:Header><s:Body><d:Probe/></s:Body></s:Envelope>"
    ).encode()


def _quic_initial() -> bytes:
    """Give a long header with a reserved version, padded to 1,200 bytes, which asks for Version Negotiation."""
    head = b"\xc0\xba\xba\xba\xba\x08" + bytes(8) + b"\x08" + bytes(8)
    return head + bytes(1200 - len(head))


def _dtls_hello() -> bytes:
    suites = struct.pack(">H4H", 8, 0xC02B, 0xC02F, 0x009C, 0x002F)
    hello = b"\xfe\xfd" + bytes(32) + b"\0\0" + suites + b"\x01\0"
    handshake = (
        b"\x01" + len(hello).to_bytes(3, "big") + b"\0\0\0\0\0" + len(hello).to_bytes(3, "big") + hello
    )
    return b"\x16\xfe\xff" + bytes(8) + struct.pack(">H", len(handshake)) + handshake


def _tls_hello() -> bytes:
    """Give a TLS 1.2 ClientHello with four cipher suites (RFC 5246 §7.4.1.2)."""
    suites = struct.pack(">H4H", 8, 0xC02B, 0xC02F, 0x009C, 0x002F)
    hello = b"\x03\x03" + bytes(32) + b"\0" + suites + b"\x01\0"
    handshake = b"\x01" + len(hello).to_bytes(3, "big") + hello
    return b"\x16\x03\x01" + struct.pack(">H", len(handshake)) + handshake


def _rdp_request() -> bytes:
    """Give an X.224 connection request with a routing cookie (MS-RDPBCGR §2.2.1.1)."""
    cookie = b"Cookie: mstshash=example\r\n" + bytes.fromhex("0100080003000000")
    return struct.pack(">BBHBBHHB", 3, 0, 11 + len(cookie), 6 + len(cookie), 0xE0, 0, 0, 0) + cookie


PAYLOADS: tuple[Payload, ...] = (
    Payload("dns-any", 53, dns_query("example.com", 255, edns_bytes=4096), 0, 2),
    Payload("dns-a", 53, dns_query("www.example.com", 1), 0, 2),
    Payload("dns-version", 53, dns_query("version.bind", 16)[:-2] + b"\0\x03", 0, 2),
    Payload("ntp-monlist", 123, b"\x17\x00\x03\x2a" + bytes(4)),
    Payload("ntp-client", 123, _ntp_client(), 40, 8),
    Payload("snmp-get", 161, snmp_get(b"public", 1), 17, 4),
    Payload("snmp-get-v1", 161, snmp_get(b"public", 0), 17, 4),
    Payload("snmp-bulk", 161, snmp_get(b"public", 1, bulk=True), 17, 4),
    Payload("ssdp-all", 1900, _search_upnp("ssdp:all")),
    Payload("ssdp-root", 1900, _search_upnp("upnp:rootdevice")),
    Payload("memcached-stats", 11211, b"\0\0\0\0\0\x01\0\0stats\r\n", 0, 2),
    Payload("memcached-version", 11211, b"\0\x01\0\0\0\x01\0\0version\r\n"),
    Payload("cldap-root", 389, _cldap_root()),
    Payload("sip-options", 5060, _sip_options()),
    Payload("coap-core", 5683, b"\x40\x01\0\0\xbb.well-known\x04core", 2, 2),
    Payload("netbios-status", 137, _netbios_status(), 0, 2),
    Payload("portmap-dump", 111, _portmap_dump(), 0, 4),
    Payload("wsd-probe", 3702, _wsd_probe()),
    Payload("ard-info", 3283, b"\x00\x14\x00\x00"),
    Payload("mdns-services", 5353, dns_query("_services._dns-sd._udp.local", 12, recursion=False)),
    Payload("chargen", 19, b"\x01"),
    Payload("qotd", 17, _CRLF),
    Payload("tftp-read", 69, b"\x00\x01a\0netascii\0"),
    Payload("ipmi-channel", 623, bytes.fromhex("0600ff07000000000000000000092018c88100388e04b5")),
    Payload("rip-v1", 520, b"\x01\x01" + bytes(20) + struct.pack(">H", 16)),
    Payload("mssql-browse", 1434, b"\x02"),
    Payload("openvpn-reset", 1194, b"\x38" + bytes(8) + b"\0" + bytes(4), 1, 8),
    Payload("natpmp-address", 5351, b"\0\0"),
    Payload("ubiquiti-discover", 10001, b"\x01\0\0\0"),
    Payload("bacnet-read", 47808, bytes.fromhex("810a001101040005010c0c023fffff194b")),
    Payload("valve-info", 27015, b"\xff\xff\xff\xffTSource Engine Query\0"),
    Payload("xdmcp-query", 177, b"\0\x01\0\x02\0\x01\0"),
    Payload("netis-backdoor", 53413, bytes(8) + b"netcore"),
    Payload("quic-version", 443, _quic_initial(), 6, 8),
    Payload("dtls-hello", 443, _dtls_hello(), 27, 8),
    # Over TCP, in SYNs: scanners that wait for no handshake.
    Payload("http-get", 80, b"GET / HTTP/1.1\r\nHost: 192.0.2.1\r\nUser-Agent: example-scanner/1.0\r\nAccept: */*\r\n\r\n"),
    Payload("tls-hello", 443, _tls_hello(), 11, 8),
    Payload("redis-info", 6379, b"*1\r\n$4\r\nINFO\r\n"),
    Payload("rdp-cookie", 3389, _rdp_request()),
)  # fmt: skip

BY_NAME: dict[str, Payload] = {payload.name: payload for payload in PAYLOADS}
