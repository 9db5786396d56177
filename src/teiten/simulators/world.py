"""The simulated Internet: countries, autonomous systems, and the reserved prefixes they hold.

Nothing here is random: the same world in every installation, so that a country
file made once fits packets made elsewhere. Organisations are invented and bear
names that say so; AS numbers are private (RFC 6996).
"""

from __future__ import annotations

import csv
import functools
import importlib.resources
from dataclasses import dataclass
from enum import Enum

from teiten.simulators import ranges
from teiten.simulators.hashes import salt_of


class Trade(Enum):
    """What an autonomous system lives from; it decides who scans from it."""

    ACCESS = "access"
    HOSTING = "hosting"
    SURVEY = "survey"


@dataclass(frozen=True)
class AutonomousSystem:
    """One network with its prefixes."""

    number: int
    organization: str
    #: ISO 3166-1 alpha-2.
    country: str
    #: Hours that local time is ahead of UTC.
    utc_offset_hours: float
    trade: Trade
    #: Share of its trade's sources; all of one trade add up to 1.
    weight: float
    #: First address and prefix length of its IPv4 prefix.
    v4_first: int
    v4_length: int
    #: First address of its IPv6 /32.
    v6_first: int

    @property
    def v4_prefix(self) -> str:
        return f"{_dotted(self.v4_first)}/{self.v4_length}"

    @property
    def v6_prefix(self) -> str:
        return f"{self.v6_first >> 112:x}:{(self.v6_first >> 96) & 0xFFFF:x}::/32"


@dataclass(frozen=True)
class SurveyOwner:
    """An invented organisation that surveys the Internet and says so."""

    organization: str
    country: str
    #: Share of all survey packets.
    weight: float
    #: Days after the telescope's anchor on which it began; far in the past for most.
    since_days: int = -900


#: Percent of infected devices by country, after the shape of public infection counts; the rest is shared evenly.
ACCESS_PERCENT = (
    "CN:15.5 IN:12 US:8 BR:7.5 VN:4.6 RU:4.8 ID:4 TW:3.2 KR:3.4 TR:2.8 IR:3 TH:2.3 MX:2 EG:2.2 PK:2.4 BD:1.6 "
    "AR:1.5 UA:1.3 JP:1.9 IT:1.5 ES:1 MY:1.1 PH:1 CO:1 ZA:0.8 DE:1 FR:0.8 GB:0.9 PL:0.7 RO:0.8 BG:0.5 GR:0.6 "
    "HK:0.8 VE:0.6 DZ:0.7 MA:0.5 NG:0.5 KE:0.4 TN:0.3 SA:0.5 AE:0.3 KZ:0.5 CL:0.4 PE:0.4 EC:0.4 NL:0.3 SG:0.3"
)
#: Percent of scanning servers by country.
HOSTING_PERCENT = (
    "US:29 NL:12.5 DE:8 CN:8 RU:6 GB:5 SG:4.5 BG:4 FR:3.2 HK:3 JP:2.2 IN:2.2 RO:2 CA:1.8 UA:1.3 VN:1.3 SE:1 "
    "PL:0.9 LT:0.8 BR:0.9 KR:0.9 FI:0.7 MD:0.6 TR:0.6 CH:0.6 PA:0.4 SC:0.4 LV:0.4 IR:0.3 ID:0.4 AU:0.5 TW:0.4"
)
#: A country gets one network for this many percent of its trade, up to twelve.
_PERCENT_PER_NETWORK = 1.3
_MOST_NETWORKS = 12
_FIRST_WORDS = ("Example", "Sample", "Specimen", "Placeholder", "Fictional", "Demo")
_ACCESS_WORDS = ("Fiber", "Telecom", "Broadband", "Mobile", "Cable", "Networks", "Wireless")
_HOSTING_WORDS = ("Cloud", "Hosting", "Servers", "IDC", "VPS", "Compute")

SURVEY_OWNERS = (
    SurveyOwner("Example Internet Census", "US", 0.21),
    SurveyOwner("Sample Attack Surface Index", "US", 0.16),
    SurveyOwner("Fictional Exposure Watch", "US", 0.11),
    SurveyOwner("Demo Shadow Survey Foundation", "US", 0.09),
    SurveyOwner("Specimen Threat Sonar", "DE", 0.06),
    SurveyOwner("Placeholder Search Engine for Devices", "NL", 0.06),
    SurveyOwner("Example Cyber Observatory", "GB", 0.05),
    SurveyOwner("Sample Open Port Atlas", "FR", 0.045),
    SurveyOwner("Fictional National Scan Service", "GB", 0.03),
    SurveyOwner("Demo Vulnerability Radar", "CN", 0.045),
    SurveyOwner("Example Network Space Mapping", "CN", 0.04),
    SurveyOwner("Specimen University Measurement Group", "US", 0.02),
    SurveyOwner("Sample University of Technology Scanning", "DE", 0.015),
    SurveyOwner("Fictional Academic Telescope", "JP", 0.015),
    SurveyOwner("Demo Device Safety Inquiry", "JP", 0.02),
    SurveyOwner("Example Certificate Observatory", "SG", 0.015),
    SurveyOwner("Placeholder Ratings for Security", "US", 0.015),
    SurveyOwner("Sample Domain Intelligence", "CZ", 0.01),
    SurveyOwner("Fictional IoT Inventory", "KR", 0.01),
    SurveyOwner("Specimen Risk Exchange", "IL", 0.01),
    SurveyOwner("Demo Edge Survey", "CA", 0.02, since_days=-19),
)


@functools.lru_cache(maxsize=1)
def list_networks() -> tuple[AutonomousSystem, ...]:
    """Give every network of the world, access first, then hosting, then survey."""
    offsets = read_offsets()
    drafts = [
        *_drafts(Trade.ACCESS, ACCESS_PERCENT, offsets, everywhere=True),
        *_drafts(Trade.HOSTING, HOSTING_PERCENT, offsets, everywhere=False),
        *((Trade.SURVEY, owner.country, owner.weight, owner.organization) for owner in SURVEY_OWNERS),
    ]
    total = {trade: sum(weight for kind, _, weight, _ in drafts if kind is trade) for trade in Trade}
    first, networks = int(ranges.SOURCES_V4[0]) + (1 << 16), []
    for index, (trade, country, weight, name) in enumerate(drafts):
        length = _length_for(trade, weight / total[trade])
        size = 1 << (32 - length)
        first = -(-first // size) * size
        networks.append(
            AutonomousSystem(
                number=_as_number(index),
                organization=name,
                country=country,
                utc_offset_hours=offsets[country],
                trade=trade,
                weight=weight / total[trade],
                v4_first=first,
                v4_length=length,
                v6_first=int(ranges.SOURCES_V6[0]) + ((index + 1) << 96),
            )
        )
        first += size
    return tuple(networks)


def networks_of(trade: Trade) -> tuple[AutonomousSystem, ...]:
    return tuple(network for network in list_networks() if network.trade is trade)


def read_offsets() -> dict[str, float]:
    """Give hours ahead of UTC by country code; the largest zone stands for a country of several."""
    text = importlib.resources.files("teiten.simulators").joinpath("countries.txt").read_text("utf-8")
    return {row["country"]: float(row["utc_offset_hours"]) for row in csv.DictReader(text.splitlines())}


def _drafts(
    trade: Trade, percents: str, offsets: dict[str, float], *, everywhere: bool
) -> list[tuple[Trade, str, float, str]]:
    """Split each country's share over its networks, the first ones larger."""
    stated = {code: float(share) for code, share in (pair.split(":") for pair in percents.split())}
    others = [code for code in sorted(offsets) if code not in stated] if everywhere else []
    rest = (100 - sum(stated.values())) / max(1, len(others))
    drafts: list[tuple[Trade, str, float, str]] = []
    for country in [*stated, *others]:
        share = stated.get(country, rest)
        count = min(_MOST_NETWORKS, 1 + int(share / _PERCENT_PER_NETWORK))
        parts = [1 / (place + 1) for place in range(count)]
        drafts.extend(
            (trade, country, share * part / sum(parts), _invent_name(trade, country, place))
            for place, part in enumerate(parts)
        )
    return drafts


def _invent_name(trade: Trade, country: str, place: int) -> str:
    words = _ACCESS_WORDS if trade is Trade.ACCESS else _HOSTING_WORDS
    salt = salt_of(f"{trade.value} {country}")
    first = _FIRST_WORDS[(salt + place // len(words)) % len(_FIRST_WORDS)]
    return f"{first} {words[(salt // 7 + place) % len(words)]} {country}"


def _length_for(trade: Trade, weight: float) -> int:
    if trade is Trade.SURVEY:
        return 22
    if trade is Trade.HOSTING:
        return 15 if weight > 0.01 else 17
    return 12 if weight > 0.02 else 14 if weight > 0.004 else 17


def _as_number(index: int) -> int:
    """Use 16-bit private numbers for most, 32-bit ones for every ninth, as the real world mixes them."""
    if index % 9 == 8:
        return ranges.PRIVATE_AS_WIDE_FIRST + index
    return ranges.PRIVATE_AS_FIRST + index


def _dotted(address: int) -> str:
    return ".".join(str((address >> shift) & 0xFF) for shift in (24, 16, 8, 0))
