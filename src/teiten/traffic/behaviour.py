"""Survey scanners by what they do: many ports, many packets, on many sensors, in one day.

NICT counts a source as a survey scanner that in one day sends 300,000 packets or more
(TCP SYN and UDP) to 30 destination ports or more, on about 290,000 watched addresses
(NICTER observation reports, note on scans for investigation). The reports themselves were
not at hand when this was written: compare both numbers with the current report before
quoting them. Han et al., "Towards Long-Term Continuous Tracing of Internet-Wide Scanning
Campaigns" (ICISSP 2023, §1), say that such rules mark about 60 percent of all packets on
some 300,000 addresses. Everyone may set other numbers (:class:`BehaviourRule`).

Here the number of packets is scaled to the address-days that were covered. The number of
ports is not: a smaller fleet sees fewer of them, so it knows fewer surveys and never more.
One condition is added, because one person's scan of one host would pass the scaled rule
in a small fleet: the source must have been seen by a share of the covered sensors. At
NICT's rate of 1.03 packets per address an even scan reaches 64 percent of them.

The rule knows IPv4 only; nothing like it is published for IPv6.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

_IPV4 = 4


@dataclass(frozen=True)
class BehaviourRule:
    """The numbers of the definition."""

    version: int = 1
    #: Packets a day on :attr:`watched_addresses` addresses.
    packets: int = 300_000
    watched_addresses: int = 290_000
    ports: int = 30
    #: Share of the covered sensors that must have seen the source, 0..1.
    share_of_sensors: float = 0.3
    least_sensors: int = 3


#: The definition in use.
RULE = BehaviourRule()


@dataclass(frozen=True)
class SourceDay:
    """What one source sent on one day."""

    #: TCP SYN and UDP.
    packets: int
    #: Distinct destination ports, TCP and UDP counted apart.
    ports: int
    #: Distinct sensors that saw it.
    sensors_seen: int
    ip_version: int


@dataclass(frozen=True)
class FleetDay:
    """What was watched on that day, in IPv4."""

    covered_address_days: float
    covered_sensors: int


@dataclass(frozen=True)
class Thresholds:
    """The definition scaled to a fleet's day: the least numbers of each."""

    packets: int
    ports: int
    sensors: int


@dataclass(frozen=True)
class BehaviourVerdict:
    """Whether a source's day is a survey's, and why."""

    is_survey: bool
    #: One English sentence with the numbers and the thresholds.
    reason: str
    thresholds: Thresholds
    rule_version: int


def scale_thresholds(fleet: FleetDay, rule: BehaviourRule = RULE) -> Thresholds:
    """Give the least packets, ports and sensors of a survey on what was watched."""
    packets = math.ceil(rule.packets / rule.watched_addresses * fleet.covered_address_days)
    sensors = math.ceil(rule.share_of_sensors * fleet.covered_sensors)
    return Thresholds(max(packets, rule.ports), rule.ports, max(sensors, rule.least_sensors))


def is_survey(source: SourceDay, fleet: FleetDay, rule: BehaviourRule = RULE) -> BehaviourVerdict:
    """Judge a source's day."""
    needed = scale_thresholds(fleet, rule)
    pairs = (
        (source.packets, needed.packets, "packets"),
        (source.ports, needed.ports, "ports"),
        (source.sensors_seen, needed.sensors, "sensors"),
    )
    holds = source.ip_version == _IPV4 and all(seen >= least for seen, least, _ in pairs)
    reason = ", ".join(f"{seen:,} {name} (survey: from {least:,})" for seen, least, name in pairs)
    reason += (
        f" on {fleet.covered_address_days:,.1f} covered address-days, after NICT's {rule.packets:,} packets "
        f"to {rule.ports} ports on {rule.watched_addresses:,} addresses"
    )
    if source.ip_version != _IPV4:
        reason = "No behaviour of a survey is defined for IPv6"
    return BehaviourVerdict(holds, reason, needed, rule.version)
