"""Counts that stand on enough sensors, and no finer than a member may see them.

Whoever sends marked packets to addresses that may be sensors, and then looks for the
marks, finds the sensors (Bethencourt, Franklin, Vernon 2005; Shinoda, Ikai, Itoh 2005;
``docs/adr/0010``). So whatever a member is given stands on at least *k* sensors of
other organisations, and its figures are coarse. Both happen inside the statement: what
is too small is 0, like what is not there, and no exact figure leaves the store, not even
by an order or a limit.

A statement uses :func:`count_packets`, :func:`count_hosts` or :func:`keep` for its
aggregates and :func:`having` for groups that are shown without a count.
For viewers of real data all of them give the plain aggregate.
"""

from __future__ import annotations

from teiten.search.tables import Table
from teiten.search.visibility import Visibility

#: What every guarded statement holds; :meth:`teiten.search.desk.Desk.select` looks for it.
MARK = "/* on enough sensors */"
#: What a statement over packets holds that needs no guard, since it tells nothing of single sensors.
HARMLESS = "/* of the whole data set */"
#: Steps of small figures are ten; larger figures have three significant digits.
_LEAST_POWER = 1

#: Table → column that tells its sensors, and how. A table that is not here cannot answer a member.
_SENSORS: dict[str, tuple[str, str]] = {
    "packets": ("each", "sensor"),
    "totals_1h": ("bits", "sensor_bits"),
    "ports_1h": ("bits", "sensor_bits"),
    "countries_1h": ("bits", "sensor_bits"),
    "networks_1h": ("bits", "sensor_bits"),
    "networks_regions_1d": ("bits", "sensor_bits"),
    "ports_countries_1d": ("bits", "sensor_bits"),
    "ports_regions_1d": ("bits", "sensor_bits"),
    "fingerprints_1d": ("bits", "sensor_bits"),
    "fingerprints_ports_1d": ("bits", "sensor_bits"),
    "payloads_1d": ("bits", "sensor_bits"),
    "probes_1d": ("bits", "sensor_bits"),
    "sources_1d": ("some", "some_sensors"),
    "ports_1d": ("bits", "sensor_bits"),
    "actors_1d": ("bits", "sensor_bits"),
    "kinds_1h": ("bits", "sensor_bits"),
    "kinds_1d": ("bits", "sensor_bits"),
    "countries_1d": ("bits", "sensor_bits"),
    "networks_1d": ("bits", "sensor_bits"),
    "actors_1h": ("bits", "sensor_bits"),
    "probes_1h": ("bits", "sensor_bits"),
    "fingerprints_1h": ("bits", "sensor_bits"),
}


def knows_sensors(table: Table) -> bool:
    """Tell whether ``table`` knows on how many sensors its counts stand; others cannot answer a guarded question."""
    return table.name in _SENSORS


def count_packets(visibility: Visibility, table: Table, condition: str | None = None) -> str:
    """Give the aggregate of packets, of the rows that fulfil ``condition``."""
    return keep(visibility, table, table.count_packets(condition), condition)


def count_hosts(visibility: Visibility, table: Table, condition: str | None = None) -> str:
    """Give the aggregate of distinct sources."""
    return keep(visibility, table, table.count_hosts(condition), condition)


def keep(visibility: Visibility, table: Table, aggregate: str, condition: str | None = None) -> str:
    """Give any counting aggregate: coarse, and 0 where fewer than *k* sensors stand behind it."""
    if not visibility.is_guarded:
        return aggregate
    return f"if({has_enough(visibility, table, condition)}, {coarsen(visibility, aggregate)}, toUInt64(0))"


def having(visibility: Visibility, table: Table, condition: str | None = None) -> str:
    """Give ``HAVING …`` that leaves out groups of fewer than *k* sensors; empty for real viewers."""
    return f" HAVING {has_enough(visibility, table, condition)}" if visibility.is_guarded else ""


def has_enough(visibility: Visibility, table: Table, condition: str | None = None) -> str:
    """Give the condition, over a group, that at least *k* sensors stand behind it; ``1`` for real viewers."""
    if not visibility.is_guarded:
        return "1"
    return f"({count_sensors(visibility, table, condition)} >= {visibility.least_sensors} {MARK})"


def count_sensors(visibility: Visibility, table: Table, condition: str | None = None) -> str:
    """Give the aggregate of distinct sensors that are not the viewer's own: exact below *k*.

    Own sensors do not count: with two of one's own, one hit elsewhere would already show.

    Raises:
        LookupError: for a table that does not know its sensors (see :func:`knows_sensors`).
    """
    kind, column = _SENSORS[table.name]
    own, most = _write_own(visibility), visibility.least_sensors - 1  # uniqUpTo(n) says n + 1 for "more"
    if kind == "each":
        others = f"{column} NOT IN {own}" if visibility.own_sensors else ""
        both = " AND ".join(part for part in (f"({condition})" if condition else "", others) if part)
        return f"uniqUpToIf({most})({column}, {both})" if both else f"uniqUpTo({most})({column})"
    suffix, more = ("If", f", {condition}") if condition else ("", "")
    if kind == "some":
        others = f"arrayFilter(s -> s NOT IN {own}, {column})" if visibility.own_sensors else column
        return f"uniqUpToArray{suffix}({most})({others}{more})"
    return f"bitCount(bitAnd(groupBitOr{suffix}({column}{more}), {_mask_own(visibility)}))"


def coarsen(visibility: Visibility, count: str) -> str:
    """Give a positive count rounded to tens (from 10,000 on: three digits) at a keyed threshold of each step.

    The threshold follows from the step and the recipient's key: asking again tells
    nothing new, and where one packet more falls below or above it, which is all but one
    place in ten (from 10,000 on, in a hundred), the figure stays the same. A choice by
    the count itself would show any difference of one packet in a third of all figures.
    """
    first, second = visibility.rounding_keys
    # Equal parts of a statement are evaluated once.
    n = f"toUInt64({count})"
    step = f"intExp10(greatest({_LEAST_POWER}, toInt16(floor(log10(greatest({n}, 1)))) - 2))"
    base = f"(intDiv({n}, {step}) * {step})"
    threshold = f"(sipHash64Keyed((toUInt64({first}), toUInt64({second})), {base}) % {step})"
    return f"(({n} > 0) * greatest({step}, {base} + ({n} - {base} > {threshold}) * {step}))"


def _write_own(visibility: Visibility) -> str:
    return "(" + ", ".join(str(int(sensor)) for sensor in sorted(visibility.own_sensors)) + ")"


def _mask_own(visibility: Visibility) -> str:
    """Give the bits that are not those of own sensors; others that share them do not count either."""
    own = 0
    for sensor in visibility.own_sensors:
        own |= 1 << sensor % 64
    return f"toUInt64({(1 << 64) - 1 - own})"
