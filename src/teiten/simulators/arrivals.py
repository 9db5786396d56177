"""What arrives at one sensor in one unit of time, stream by stream."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from teiten.simulators import datagrams, frames, hashes, population, ranges, rhythm
from teiten.simulators.hashes import F64, I64, U8, U16, U32, U64
from teiten.simulators.labels import Origin
from teiten.simulators.population import HOUR_US, Sources
from teiten.simulators.streams import (
    ALL_STREAMS,
    PACKETS_PER_ADDRESS_DAY,
    PACKETS_PER_PREFIX_DAY,
    MenuTable,
    Stream,
    read_menu,
)
from teiten.simulators.tools import Draw

#: An attack lasts from a few minutes to half a day.
_ATTACK_SHORTEST_US = 4 * 60_000_000
_ATTACK_LONGEST_US = 10 * HOUR_US
#: Lowest part of IPv6 interface identifiers that scanners guess.
_V6_GUESSES = 256
#: Upper ends of the shares of ranges.BOGONS_V4; the rest is the last one's.
_BOGON_LADDER = np.array([0.45, 0.7, 0.85, 0.95])


@dataclass(frozen=True)
class Moment:
    """When, and in which simulated Internet."""

    seed: int
    anchor_us: int
    #: Hours since 1970-01-01 UTC.
    first_hour: int
    hours: int
    rate: float

    @property
    def start_us(self) -> int:
        return self.first_hour * HOUR_US

    @property
    def end_us(self) -> int:
        return (self.first_hour + self.hours) * HOUR_US


@dataclass(frozen=True)
class Target:
    """Where packets arrive."""

    salt: int
    v4: U32
    #: First 16 bytes and length of each prefix.
    v6_prefixes: tuple[tuple[bytes, int], ...]
    answers: bool


@dataclass(frozen=True)
class Packets:
    """Packets of one stream, whole, not yet in order of time."""

    stream: int
    #: Shape (n, width), from the IP header on.
    packets: U8
    wire_length: U32
    at_us: I64
    asn: U32


def make_arrivals(moment: Moment, target: Target, generator: np.random.Generator) -> Iterator[Packets]:
    """Give every stream's packets for the sensor, streams without any left out."""
    for index, stream in enumerate(ALL_STREAMS):
        places = len(target.v4) if stream.ip_version == 4 else len(target.v6_prefixes)
        if places == 0:
            continue
        activity = _weigh(moment, stream)
        hour_index = _draw_hours(moment, target, stream, activity, places, generator)
        if len(hour_index):
            made = _make_stream(moment, target, stream, activity, hour_index, generator)
            if len(made[2]):
                yield Packets(index, *made)


def _weigh(moment: Moment, stream: Stream) -> F64:
    return population.weigh_networks(
        stream.trade, stream.habit, moment.first_hour, moment.hours, moment.anchor_us // HOUR_US
    )


def _draw_hours(
    moment: Moment,
    target: Target,
    stream: Stream,
    activity: F64,
    places: int,
    generator: np.random.Generator,
) -> I64:
    """Decide how many connections begin in each hour; give the hour of each."""
    per_day = PACKETS_PER_ADDRESS_DAY if stream.ip_version == 4 else PACKETS_PER_PREFIX_DAY
    days = (np.arange(moment.hours) + 0.5 + moment.first_hour - moment.anchor_us / HOUR_US) / 24
    campaigns = rhythm.scale_by_campaigns(stream.campaigns, days)
    # A sensor's neighbourhood is a little louder or quieter than the mean, for each stream its own way.
    tilt = 0.88 + 0.24 * float(
        hashes.fraction(hashes.mix(np.array([target.salt], np.uint64), hashes.salt_of(stream.name)))[0]
    )
    mean_tries = 1.0 if target.answers else float(stream.tries)
    hourly = per_day / 24 * places * stream.share * moment.rate * tilt * campaigns * activity.sum(axis=1)
    counts = generator.poisson(hourly / mean_tries)
    return np.repeat(np.arange(moment.hours, dtype=np.int64), counts)


def _make_stream(
    moment: Moment,
    target: Target,
    stream: Stream,
    activity: F64,
    hour_index: I64,
    generator: np.random.Generator,
) -> tuple[U8, U32, I64, U32]:
    count = len(hour_index)
    bits: U64 = generator.integers(0, 1 << 64, size=(6, count), dtype=np.uint64)
    sources = population.draw_sources(
        stream.trade,
        stream.habit,
        salt=hashes.salt_of(stream.name) ^ moment.seed,
        activity=activity,
        hour_index=hour_index,
        first_hour=moment.first_hour,
        bits=bits[:2],
    )
    day = np.uint64((moment.first_hour) // 24)
    run = hashes.mix(sources.key ^ day, 21)
    at_us = (moment.first_hour + hour_index) * HOUR_US + (hashes.fraction(bits[2]) * HOUR_US).astype(np.int64)
    if stream.in_attacks and moment.hours == 24:
        at_us = _gather_attacks(moment, run, hashes.fraction(bits[2]))
    port, payload = _choose_items(stream, sources.key, bits[3])
    place = _choose_places(stream, target, sources.key, bits[4])
    dst_v4 = target.v4[place] if stream.ip_version == 4 else np.zeros(count, np.uint32)
    sources = _disguise(stream.origin, sources, dst_v4)
    draw = Draw(
        src_v4=sources.v4,
        dst_v4=dst_v4,
        service_port=port,
        payload=payload,
        key=sources.key,
        run=run,
        flow=bits[5],
        packet=hashes.mix(bits[5], 31),
        attempt=np.zeros(count, np.uint8),
        at_us=at_us,
    )
    index = np.arange(count)
    if stream.tries > 1 and not target.answers:
        draw, index = _repeat(stream, draw, moment.end_us)
    packets = _build(stream, target, draw, sources, index=index, place=place[index])
    return *packets, draw.at_us, sources.asn[index]


def _disguise(origin: Origin, sources: Sources, dst_v4: U32) -> Sources:
    """Give the sources the addresses that their packets state."""
    if origin is Origin.OWN:
        return sources
    nobody = np.zeros(len(dst_v4), np.uint32)
    v4 = dst_v4 if origin is Origin.DESTINATION else _choose_bogons(sources.key)
    return replace(sources, v4=v4, asn=nobody)


def _choose_bogons(key: U64) -> U32:
    """Choose an address of a private, shared or loopback network, always the same for a source."""
    first = np.array([int(network[0]) for network in ranges.BOGONS_V4], np.uint64)
    size = np.array([network.num_addresses - 2 for network in ranges.BOGONS_V4], np.uint64)
    chosen = np.searchsorted(_BOGON_LADDER, hashes.fraction(hashes.mix(key, 63)), side="right")
    return (first[chosen] + np.uint64(1) + hashes.mix(key, 64) % size[chosen]).astype(np.uint32)


def _gather_attacks(moment: Moment, run: U64, chance: F64) -> I64:
    """Move a victim's answers into its attack of that day."""
    span = moment.end_us - moment.start_us
    shape = hashes.fraction(hashes.mix(run, 41)) ** 3
    lasting = _ATTACK_SHORTEST_US + shape * (_ATTACK_LONGEST_US - _ATTACK_SHORTEST_US)
    begins = hashes.fraction(hashes.mix(run, 42)) * (span - lasting)
    return moment.start_us + (begins + chance * lasting).astype(np.int64)


def _choose_items(stream: Stream, key: U64, bits: U64) -> tuple[U16, I64]:
    """Choose port and payload: a source keeps to its few entries of the menu."""
    menu: MenuTable = read_menu(stream.menu)
    slot = bits % np.uint64(stream.menu.per_source)
    taste = hashes.mix(key + slot * np.uint64(0x9E3779B97F4A7C15), 51)
    entry = np.minimum(
        np.searchsorted(menu.ladder, hashes.fraction(taste), side="right"), len(menu.ladder) - 1
    )
    port, payload = menu.port[entry], menu.payload[entry]
    if stream.menu.tail:
        tail = hashes.fraction(hashes.mix(bits, 52)) < stream.menu.tail
        anywhere = (hashes.mix(bits, 53) % np.uint64(65535) + np.uint64(1)).astype(np.uint16)
        port, payload = np.where(tail, anywhere, port), np.where(tail, -1, payload)
    return port, payload


def _choose_places(stream: Stream, target: Target, key: U64, bits: U64) -> I64:
    """Choose the address; a localised source always comes to the same one."""
    places = np.uint64(len(target.v4) if stream.ip_version == 4 else len(target.v6_prefixes))
    place = bits % places
    if stream.localised:
        local = hashes.fraction(hashes.mix(key, 61)) < stream.localised
        place = np.where(local, hashes.mix(key, 62) % places, place)
    return np.asarray(place, dtype=np.int64)


def _repeat(stream: Stream, draw: Draw, end_us: int) -> tuple[Draw, I64]:
    """Try each connection again: after 1, 3, 7 … s, or soon after for a scanner's second probe."""
    count, tries = len(draw.key), stream.tries
    index = np.tile(np.arange(count), tries)
    attempt = np.repeat(np.arange(tries), count)
    again = draw.take(index)
    wait = (2.0**attempt - 1) if stream.doubling else attempt * 0.6
    jitter = hashes.fraction(hashes.mix(again.flow, 71)) * 0.02
    at_us = again.at_us + ((wait + np.where(attempt > 0, jitter, 0)) * 1e6).astype(np.int64)
    changed = {
        **vars(again),
        "attempt": attempt.astype(np.uint8),
        "at_us": at_us,
        "packet": hashes.mix(again.packet ^ attempt.astype(np.uint64), 72),
    }
    kept = np.flatnonzero(at_us < end_us)
    return Draw(**changed).take(kept), index[kept]


def _build(
    stream: Stream, target: Target, draw: Draw, sources: Sources, *, index: I64, place: I64
) -> tuple[U8, U32]:
    segments = stream.maker(draw)
    if stream.ip_version == 4:
        packets = frames.join_ipv4(segments, draw.src_v4, draw.dst_v4)
        if stream.spoilt:
            datagrams.spoil_headers(packets, draw.packet)
        return packets, segments.length.astype(np.uint32) + np.uint32(20)
    src = population.lay_v6(sources.v6_high[index], _guess_low(draw.key, _V6_GUESSES))
    dst = _guess_v6(target, place, draw)
    label = np.zeros(len(place), np.uint32)
    packets = frames.join_ipv6(segments, src, dst, label)
    return packets, segments.length.astype(np.uint32) + np.uint32(40)


def _guess_low(key: U64, count: int) -> U64:
    return hashes.mix(key, 81) % np.uint64(count) + np.uint64(1)


def _guess_v6(target: Target, place: I64, draw: Draw) -> U8:
    """Guess destinations as IPv6 scanners do: low bytes, service words, random ones (RFC 7707 §4.1)."""
    first = np.frombuffer(b"".join(prefix for prefix, _ in target.v6_prefixes), ">u8").reshape(-1, 2)
    free = np.array([64 - min(64, length) for _, length in target.v6_prefixes], np.uint64)[place]
    how = hashes.field(draw.flow, 40, 4)
    subnet = hashes.mix(draw.flow, 82) & ((np.uint64(1) << free) - np.uint64(1))
    high = first[place, 0].astype(np.uint64) | np.where(how < 8, np.uint64(0), subnet)
    low = np.where(how < 12, _guess_low(draw.flow, _V6_GUESSES), hashes.mix(draw.flow, 83))
    low = np.where((how == 9) | (how == 10), draw.service_port.astype(np.uint64), low)
    return population.lay_v6(high, low.astype(np.uint64))
