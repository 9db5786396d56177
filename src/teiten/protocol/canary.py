"""Canaries: probes that a prober sends to sensors, and by what the base knows them among ordinary packets.

Sensors may record no payload, so a canary proves itself in fields that every sensor
records. HMAC-SHA256 (RFC 2104) under the prober's key over time slot, destination,
protocol and port gives the source port (14 bits) and, for TCP, sequence number and
window (48 bits), for UDP a payload of 16 bytes, which sensors record as its BLAKE2b-64;
for IPv4 also the identification (16 bits, never 0). Whoever does not hold the key
guesses 62 bits or more; whoever saw one can repeat it within its slot, towards the same
address and port, and nowhere else.

What is due in a slot follows from key, targets and slot alone, so that prober and base
agree on it without talking.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

KEY_BYTES = 32
TCP, UDP = 6, 17
FIRST_PORT = 49_152
_PORT_MASK = 0x3FFF
_DOMAIN, _CHOICE = b"teiten-canary1\n", b"teiten-canary-choice1\n"
TOKEN_BYTES = 16


@dataclass(frozen=True)
class Target:
    """One public address of a sensor."""

    sensor: int
    #: In its shortest form.
    address: str


@dataclass(frozen=True)
class Probe:
    """One canary that is due."""

    target: Target
    protocol: int
    port: int


@dataclass(frozen=True)
class Marks:
    """What a canary carries."""

    source_port: int
    #: 0 for UDP, as the next.
    sequence: int
    window: int
    #: IPv4 only.
    ip_id: int
    #: UDP only; empty for TCP.
    payload: bytes

    @property
    def payload_hash(self) -> int:
        """As sensors record it: BLAKE2b-64, little-endian; 0 without a payload."""
        if not self.payload:
            return 0
        return int.from_bytes(hashlib.blake2b(self.payload, digest_size=8).digest(), "little")


@dataclass(frozen=True)
class ProberKey:
    """A prober whose canaries are to be taken out of batches."""

    number: int
    #: 32 bytes.
    key: bytes
    #: From where it sends, 16 bytes each.
    addresses: tuple[bytes, ...]
    slot_seconds: int
    #: To which it sends now, of both protocols: what comes to them is looked at first.
    ports: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Arrival:
    """A canary that reached a sensor."""

    prober: int
    slot: int
    sensor: int
    #: 16 bytes: the public address.
    address: bytes
    protocol: int
    port: int
    at: datetime


def pack_address(address: str) -> bytes:
    """Give 16 bytes, IPv4 mapped into IPv6."""
    read = ipaddress.ip_address(address)
    return read.packed if read.version == 6 else bytes(10) + b"\xff\xff" + read.packed


def mark_canary(key: bytes, *, slot: int, destination: bytes, protocol: int, port: int) -> Marks:
    """Give what the canary of a slot to an address (16 bytes) and port carries."""
    said = _DOMAIN + struct.pack(">QBH", slot, protocol, port) + destination
    digest = hmac.digest(key, said, "sha256")
    is_tcp = protocol == TCP
    sequence, window, source, ip_id = struct.unpack(">IHHH", digest[:10])
    return Marks(
        source_port=FIRST_PORT + (source & _PORT_MASK),
        sequence=sequence if is_tcp else 0,
        window=window if is_tcp else 0,
        ip_id=ip_id or 1,
        payload=b"" if is_tcp else digest[10 : 10 + TOKEN_BYTES],
    )


def slots_around(at_us: int, *, slot_seconds: int, tolerance_seconds: int) -> range:
    """Give the slots in which a canary that arrived at ``at_us`` may have been sent."""
    length, slack = slot_seconds * 1_000_000, tolerance_seconds * 1_000_000
    return range((at_us - slack) // length, (at_us + slack) // length + 1)


def list_probes(
    key: bytes, targets: Iterable[Target], *, slot: int, tcp_ports: Sequence[int], udp_ports: Sequence[int]
) -> Iterator[Probe]:
    """Give what is due in a slot: for each address one port of each protocol, all of them in turn."""
    for target in targets:
        digest = hmac.digest(key, _CHOICE + pack_address(target.address), "sha256")
        first = int.from_bytes(digest[:8], "big")
        for protocol, ports in ((TCP, tcp_ports), (UDP, udp_ports)):
            if ports:
                # Each address begins elsewhere, so that no port is probed everywhere at once.
                yield Probe(target, protocol, ports[(first + slot) % len(ports)])
