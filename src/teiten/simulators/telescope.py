"""The telescope: unsolicited traffic for one sensor, with the truth about each packet.

What arrives at a sensor is a function of (seed, sensor, time) and of nothing else:
made in units of a day (or an hour), each with its own random numbers. So any hour
of any sensor can be made again, in any order, and comes out the same to the bit.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Network

import numpy as np
from numpy.typing import NDArray

from teiten.simulators import arrivals, ranges
from teiten.simulators.arrivals import Packets
from teiten.simulators.config import TelescopeConfig
from teiten.simulators.hashes import I64, U8, U32, salt_of
from teiten.simulators.labels import Labels
from teiten.simulators.population import HOUR_US
from teiten.simulators.streams import ALL_STREAMS
from teiten.traffic.columns import VarBytes
from teiten.traffic.parse import parse_packets


@dataclass(frozen=True)
class Outlook:
    """What one simulated sensor watches."""

    #: Name of the sensor; with the seed it decides what arrives.
    name: str
    #: Documentation prefixes: IPv4 addresses (/32, or a few of them) and IPv6 prefixes.
    prefixes: tuple[str, ...]
    #: An answering host refuses closed ports, so nobody tries again.
    answers: bool = False


@dataclass(frozen=True)
class Traffic:
    """Packets in order of time, with their labels."""

    #: Shape (n, snap_bytes); each row starts at the IP header and is zero beyond the packet.
    raw: U8
    captured_length: U32
    wire_length: U32
    observed_at_us: I64
    labels: Labels

    def __len__(self) -> int:
        return len(self.observed_at_us)

    def between(self, start_us: int, end_us: int) -> Traffic:
        """Give the packets of ``[start_us, end_us)``."""
        first, last = np.searchsorted(self.observed_at_us, (start_us, end_us), side="left")
        return self.take(slice(int(first), int(last)))

    def take(self, index: slice | NDArray[np.generic]) -> Traffic:
        return Traffic(
            self.raw[index],
            self.captured_length[index],
            self.wire_length[index],
            self.observed_at_us[index],
            self.labels.take(index),
        )

    def parse(self, payload_bytes: int = 64) -> dict[str, NDArray[np.generic] | VarBytes]:
        """Give the wire columns, through the same parser as a real sensor's."""
        return parse_packets(
            self.raw,
            self.captured_length,
            wire_length=self.wire_length,
            observed_at_us=self.observed_at_us,
            vlan=np.zeros(len(self), np.uint16),
            payload_bytes=payload_bytes,
        )


class Telescope:
    """Makes the traffic of any sensor at any time."""

    def __init__(self, config: TelescopeConfig) -> None:
        if 24 % config.unit_hours:
            raise ValueError(f"unit_hours is {config.unit_hours}; it must divide 24")
        self.config = config

    @property
    def unit_us(self) -> int:
        return self.config.unit_hours * HOUR_US

    def observe(self, outlook: Outlook, start_us: int, end_us: int) -> Traffic:
        """Give what arrives at the sensor in ``[start_us, end_us)``.

        Raises:
            ForbiddenAddressError: when the sensor watches something outside the documentation ranges.
        """
        units = [
            self.make_unit(outlook, unit_us).between(start_us, end_us)
            for unit_us in range(start_us // self.unit_us * self.unit_us, end_us, self.unit_us)
        ]
        return units[0] if len(units) == 1 else join_traffic(units, self.config.snap_bytes)

    def observe_units(self, outlook: Outlook, start_us: int, end_us: int) -> Iterator[Traffic]:
        """Give the same piece by piece, so that a year needs no more memory than a day."""
        for unit_us in range(start_us // self.unit_us * self.unit_us, end_us, self.unit_us):
            yield self.make_unit(outlook, unit_us).between(start_us, end_us)

    def make_unit(self, outlook: Outlook, unit_us: int) -> Traffic:
        """Give the whole unit that begins at ``unit_us`` (a multiple of the unit's length)."""
        generator = np.random.Generator(
            np.random.PCG64(np.random.SeedSequence([self.config.seed, salt_of(outlook.name), unit_us // HOUR_US]))
        )  # fmt: skip
        v4, v6 = _read_prefixes(outlook.prefixes)
        moment = arrivals.Moment(
            seed=self.config.seed,
            anchor_us=self.config.anchor_us,
            first_hour=unit_us // HOUR_US,
            hours=self.config.unit_hours,
            rate=self.config.rate,
        )
        target = arrivals.Target(salt=salt_of(outlook.name), v4=v4, v6_prefixes=v6, answers=outlook.answers)
        parts = list(arrivals.make_arrivals(moment, target, generator))
        return _arrange(parts, self.config.snap_bytes)


def join_traffic(parts: list[Traffic], snap_bytes: int) -> Traffic:
    """Lay pieces end to end; they must be in order of time."""
    if not parts:
        return _arrange([], snap_bytes)
    labels = Labels(
        *(np.concatenate([getattr(p.labels, name) for p in parts]) for name in vars(parts[0].labels))
    )
    return Traffic(
        np.concatenate([part.raw for part in parts]),
        np.concatenate([part.captured_length for part in parts]),
        np.concatenate([part.wire_length for part in parts]),
        np.concatenate([part.observed_at_us for part in parts]),
        labels,
    )  # fmt: skip


def _arrange(parts: list[Packets], snap_bytes: int) -> Traffic:
    """Write every stream's packets to their place in time order, once."""
    counts = [len(part.at_us) for part in parts]
    total = sum(counts)
    at_us = np.concatenate([part.at_us for part in parts]) if parts else np.empty(0, np.int64)
    order = np.argsort(at_us, kind="stable")
    place = np.empty(total, np.int64)
    place[order] = np.arange(total)
    raw = np.zeros((total, snap_bytes), np.uint8)
    wire = np.zeros(total, np.uint32)
    tool, purpose, survey, stream = (np.zeros(total, np.uint8) for _ in range(4))
    asn = np.zeros(total, np.uint32)
    first = 0
    for part, count in zip(parts, counts, strict=True):
        rows = place[first : first + count]
        width = min(snap_bytes, part.packets.shape[1])
        raw[rows, :width] = part.packets[:, :width]
        wire[rows] = part.wire_length
        declared = ALL_STREAMS[part.stream]
        tool[rows], purpose[rows], survey[rows] = declared.tool, declared.purpose, declared.is_survey
        stream[rows], asn[rows] = part.stream, part.asn
        first += count
    ranges.check_frames(raw)
    captured = np.minimum(wire, np.uint32(snap_bytes))
    return Traffic(raw, captured, wire, at_us[order], Labels(tool, purpose, survey, stream, asn))


def _read_prefixes(prefixes: tuple[str, ...]) -> tuple[U32, tuple[tuple[bytes, int], ...]]:
    """Split into single IPv4 addresses and IPv6 prefixes (first 16 bytes, length)."""
    v4: list[int] = []
    v6: list[tuple[bytes, int]] = []
    for text in prefixes:
        network = ranges.check_observed(text)
        if isinstance(network, IPv4Network):
            v4.extend(int(address) for address in network)
        else:
            v6.append((network.network_address.packed, network.prefixlen))
    return np.array(v4, np.uint32), tuple(v6)
