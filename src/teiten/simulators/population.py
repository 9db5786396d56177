"""Who sends: pools of sources spread over the networks of the simulated world.

A source is a number within a network; its address and its habits are hashes of
that number. Some sources send much and most send little (a power law), the set of
infected devices moves on day by day, and devices sleep at their own night.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np

from teiten.simulators import hashes, world
from teiten.simulators.hashes import F64, I64, U8, U32, U64
from teiten.simulators.world import AutonomousSystem, Trade

HOUR_US = 3_600_000_000
DAY_US = 24 * HOUR_US
#: 1970-01-01 was a Thursday; Saturday and Sunday are days 2 and 3 from there, modulo 7.
_WEEKEND = (2, 3)


@dataclass(frozen=True)
class Habit:
    """How the sources of a stream behave over time."""

    #: Sources that are active at one time.
    active_sources: int
    #: Exponent of the power law; 1 makes all sources equal.
    concentration: float = 2.0
    #: Share of the sources that is replaced each day.
    churn_per_day: float = 0.1
    #: Height of the daily wave, 0..1; sources are busiest at 20 h local time.
    daily_wave: float = 0.0
    #: Factor on Saturdays and Sundays, local time.
    weekend_factor: float = 1.0


@dataclass(frozen=True)
class Pool:
    """The networks that sources stand in, as arrays of one length."""

    weight: F64
    utc_offset_hours: F64
    asn: U32
    v4_first: U32
    v4_size: U32
    #: Upper 64 bits of the IPv6 /32.
    v6_high: U64
    #: Day relative to the anchor from which the network sends.
    since_days: F64


@dataclass(frozen=True)
class Sources:
    """The sources of ``n`` packets."""

    #: Identity of the source; all its habits follow from it.
    key: U64
    asn: U32
    v4: U32
    v6_high: U64


@functools.lru_cache(maxsize=8)
def gather_pool(trade: Trade) -> Pool:
    networks = world.networks_of(trade)
    owners = {owner.organization: owner for owner in world.SURVEY_OWNERS}
    since = [
        float(owners[network.organization].since_days) if network.organization in owners else -1e6
        for network in networks
    ]
    return Pool(
        weight=np.array([network.weight for network in networks]),
        utc_offset_hours=np.array([network.utc_offset_hours for network in networks]),
        asn=np.array([network.number for network in networks], np.uint32),
        v4_first=np.array([network.v4_first for network in networks], np.uint32),
        v4_size=np.array([_usable(network) for network in networks], np.uint32),
        v6_high=np.array([network.v6_first >> 64 for network in networks], np.uint64),
        since_days=np.array(since),
    )


@functools.lru_cache(maxsize=512)
def weigh_networks(trade: Trade, habit: Habit, first_hour: int, hours: int, anchor_hour: int) -> F64:
    """Give each network's activity by hour, shape (hours, networks); the long mean of all is 1.

    Args:
        trade: which pool.
        habit: waves over day and week.
        first_hour: hours since 1970-01-01 UTC.
        hours: how many rows.
        anchor_hour: the hour from which ``since_days`` counts.
    """
    pool = gather_pool(trade)
    hour = np.arange(first_hour, first_hour + hours, dtype=np.float64)[:, None]
    local = hour + pool.utc_offset_hours[None, :]
    wave = 1.0 + habit.daily_wave * np.cos((local - 20.0) * (2 * np.pi / 24))
    weekend = np.isin((local // 24).astype(np.int64) % 7, _WEEKEND)
    week = np.where(weekend, habit.weekend_factor, 1.0) / (5 + 2 * habit.weekend_factor) * 7
    begun = hour >= anchor_hour + pool.since_days[None, :] * 24
    return np.asarray(pool.weight[None, :] * wave * week * begun, dtype=np.float64)


def draw_sources(
    trade: Trade, habit: Habit, *, salt: int, activity: F64, hour_index: I64, first_hour: int, bits: U64
) -> Sources:
    """Draw one source per packet.

    Args:
        trade: which pool.
        habit: how many sources, how uneven, how fast they change.
        salt: of the stream: streams do not share sources.
        activity: as :func:`weigh_networks` gives it.
        hour_index: row of ``activity`` for each packet.
        first_hour: hour of row 0, for churn.
        bits: random, shape (2, n).
    """
    pool = gather_pool(trade)
    place = _draw_networks(activity, hour_index, hashes.fraction(bits[0]))
    active = np.maximum(1.0, habit.active_sources * pool.weight)[place]
    rank = np.floor(active * hashes.fraction(bits[1]) ** habit.concentration)
    day = (first_hour + hour_index) // 24
    moved = np.floor(active * habit.churn_per_day * day)
    number = (rank + moved).astype(np.uint64)
    key = hashes.mix(number ^ (place.astype(np.uint64) << np.uint64(40)), salt)
    return Sources(
        key=key,
        asn=pool.asn[place],
        v4=_place_v4(key, pool.v4_first[place], pool.v4_size[place]),
        v6_high=_place_v6(key, pool.v6_high[place]),
    )


def lay_v6(high: U64, low: U64) -> U8:
    """Join two halves into addresses, shape (n, 16)."""
    halves = np.empty((len(high), 2), ">u8")
    halves[:, 0], halves[:, 1] = high, low
    return halves.view(np.uint8).reshape(len(high), 16)


def _draw_networks(activity: F64, hour_index: I64, chance: F64) -> I64:
    """Choose by weight within each packet's own hour: all hours' ladders are laid end to end."""
    ladder = np.cumsum(activity, axis=1)
    ladder /= ladder[:, -1:]
    ladder += np.arange(len(activity))[:, None]
    found = np.searchsorted(ladder.ravel(), hour_index + chance, side="right")
    networks = activity.shape[1]
    return np.asarray(np.clip(found - hour_index * networks, 0, networks - 1), dtype=np.int64)


def _place_v4(key: U64, first: U32, size: U32) -> U32:
    """Spread sources over the prefix; nobody sits on .0 or .255."""
    address = first + (hashes.mix(key, 1) % size.astype(np.uint64)).astype(np.uint32)
    last = address & np.uint32(0xFF)
    return np.asarray(
        address + np.where(last == 0, np.uint32(1), 0) - np.where(last == 255, np.uint32(1), 0),
        dtype=np.uint32,
    )


def _place_v6(key: U64, high: U64) -> U64:
    """Give each source a /64 of its own within the network's /32, a few of them sharing a /48."""
    site = hashes.field(hashes.mix(key, 2), 0, 12) << np.uint64(16)
    return high | site | hashes.field(hashes.mix(key, 2), 20, 4)


def _usable(network: AutonomousSystem) -> int:
    return 1 << (32 - network.v4_length)
