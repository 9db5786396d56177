"""How right the rules are: counted on packets whose maker is known.

Three kinds of traffic go the way of all packets, from bytes through the parser and the
rules to verdicts: the telescope's, that of the confounders, and captures of real tools.
The figures are deterministic by seed; ``scripts/measure-rules`` writes them down.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from teiten.sensor.capture_files import open_capture
from teiten.simulators import confounders
from teiten.simulators.config import TelescopeConfig
from teiten.simulators.false_positives import count_false
from teiten.simulators.labels import Origin, Purpose, Tool
from teiten.simulators.population import DAY_US
from teiten.simulators.source_days import SourceDay, count_source_days
from teiten.simulators.streams import ALL_STREAMS
from teiten.simulators.survey_measuring import Seen, measure_surveys
from teiten.simulators.telescope import Outlook, Telescope
from teiten.traffic.addresses import from_text
from teiten.traffic.hints import RULES, Hint, Rule
from teiten.traffic.nature import Nature
from teiten.traffic.parse import parse_packets
from teiten.traffic.rules import RULE_VERSION, Context, derive_columns, take_as_recorded
from teiten.traffic.validity import SourceValidity
from teiten.traffic.verdicts import VERDICT_VERSION, SourceDayCounts, judge_tools

Columns = dict[str, Any]

#: The rule that is about each tool.
RULE_OF_TOOL: dict[Tool, Hint] = {
    Tool.MIRAI: Hint.MIRAI,
    Tool.ZMAP_OLD: Hint.ZMAP_OLD,
    Tool.ZMAP_NEW: Hint.ZMAP_NEW,
    Tool.MASSCAN_OLD: Hint.MASSCAN_OLD,
    Tool.MASSCAN_NEW: Hint.MASSCAN_NEW,
    Tool.NMAP: Hint.NMAP_SYN,
}
#: Captures of real tools (``tests/golden/scanners``) and the rule that is about each.
CAPTURES: dict[str, Hint | None] = {
    "masscan": Hint.MASSCAN_OLD,
    "zmap_tcp": Hint.ZMAP_OLD,
    "zmap_udp": Hint.ZMAP_OLD,
    "zmap_icmp": Hint.ZMAP_OLD,
    "nmap_syn": Hint.NMAP_SYN,
    "nmap_connect": None,
    "nmap_udp": None,
    "nmap_xmas": None,
    "hping3_syn": None,
    "hping3_fixed": None,
    "hping3_options": None,
    "hping3_udp": None,
    "hping3_icmp": None,
    "hping3_fragments": None,
}
#: Natures that are measured; a scanner's probe and an attacker's trigger are the same bytes.
_NATURES: tuple[tuple[Purpose, ...], ...] = (
    (Purpose.SCAN,),
    (Purpose.BACKSCATTER,),
    (Purpose.UDP_PROBE, Purpose.REFLECTION),
    (Purpose.RESIDUAL,),
    (Purpose.MALFORMED,),
)
_VALIDITIES = {
    SourceValidity.ORDINARY: Origin.OWN,
    SourceValidity.BOGON: Origin.BOGON,
    SourceValidity.SPOOF_SUSPECT: Origin.DESTINATION,
}
#: Confounders that imitate nothing: kernels, a scanner's own program, hping3, random headers.
PLAIN_SENDERS = ("linux", "windows", "embedded", "own program", "hping3", "all random")
#: Sources with fewer packets of a tool are no matter of verdicts.
ENOUGH_PACKETS = 5
_TCP, _SYN = 6, 2
#: Columns that are counted by source and day.
_COUNTED = ("protocol", "tcp_flags", "icmp_type", "tcp_seq", "dst_port")
#: What a sensor behind NAT sees as its own address.
_LOCAL = np.frombuffer(from_text("192.0.2.77"), np.uint8)


@dataclass(frozen=True)
class Scale:
    """How much traffic is measured."""

    seed: int = 20_260_219
    sensors: int = 20
    days: int = 7
    confounding_sources: int = 1_000
    confounding_packets: int = 100


@dataclass(frozen=True)
class Known:
    """Packets and the truth about them."""

    columns: Columns
    context: Context
    truth: Truth

    def judge(self) -> Judged:
        """Apply the rules, and keep only what is counted."""
        derived = derive_columns(self.columns, self.context)
        counted = {name: np.asarray(self.columns[name]) for name in _COUNTED}
        return Judged(
            columns=counted,
            hints=derived["hints"].astype(np.uint32),
            natures=derived["nature"].astype(np.uint8),
            validities=derived["validity"].astype(np.uint8),
            truth=self.truth,
        )


@dataclass(frozen=True)
class Truth:
    """What is known of packets, one entry per packet."""

    #: The source's day, any number.
    source_day: NDArray[np.int64]
    #: The rule that is about the packet's maker, 0 for none.
    rule: NDArray[np.uint32]
    #: :class:`Purpose`, empty when nobody states it.
    purpose: NDArray[np.uint8]
    #: Kind of sender, or empty.
    name: str = ""
    #: :class:`Origin` of the source address, empty when nobody states it.
    origin: NDArray[np.uint8] = field(default_factory=lambda: np.zeros(0, np.uint8))
    #: 1 where the source is a survey scanner, empty when nobody states it.
    survey: NDArray[np.uint8] = field(default_factory=lambda: np.zeros(0, np.uint8))


@dataclass(frozen=True)
class Judged:
    """What the rules said of packets, beside the truth."""

    columns: Columns
    hints: NDArray[np.uint32]
    natures: NDArray[np.uint8]
    validities: NDArray[np.uint8]
    truth: Truth


def measure(scale: Scale, captures: Path) -> dict[str, Any]:
    """Give all figures, as the rules page shows them.

    Args:
        scale: how much.
        captures: folder of the captures of real tools.
    """
    first = _observe(scale, 0)
    telescope = [first.judge(), *(_observe(scale, number).judge() for number in range(1, scale.sensors))]
    confused = [_take_sample(sample).judge() for sample in _make_confounders(scale)]
    real = [
        _take_capture(captures / f"{name}.pcap", hint, number).judge()
        for number, (name, hint) in enumerate(CAPTURES.items())
    ]
    sets = {"simulated": _Tally(telescope), "confounders": _Tally(confused), "captures": _Tally(real)}
    tool_free = _list_tool_free(
        [*telescope, *(part for part in confused if part.truth.name in PLAIN_SENDERS)]
    )
    return {
        "rule_version": RULE_VERSION,
        "verdict_version": VERDICT_VERSION,
        "seed": scale.seed,
        "packets": {name: tally.packets for name, tally in sets.items()},
        "rules": [
            {"hint": rule.hint.name, "name": rule.name, "since_version": rule.since_version}
            | {name: tally.count_packets(rule) for name, tally in sets.items()}
            | {"tool_free": count_false(tool_free, rule.hint)}
            | {"worst_confounder": _find_worst(confused, rule), "behind_nat": _count_behind_nat(first, rule)}
            for rule in RULES
        ],
        "verdicts": [
            {"tool": rule.name} | {name: tally.count_verdicts(rule.hint) for name, tally in sets.items()}
            for rule in RULES
        ],
        "all_verdicts": {name: tally.count_all_verdicts() for name, tally in sets.items()},
        "natures": _count_natures(telescope),
        "validities": _count_validities(telescope),
        "surveys": measure_surveys(_gather_surveys(telescope), sensors=scale.sensors),
    }


def _make_confounders(scale: Scale) -> Iterable[confounders.Sample]:
    return confounders.make_samples(
        sources=scale.confounding_sources, packets=scale.confounding_packets, seed=scale.seed
    )


def _observe(scale: Scale, number: int) -> Known:
    config = TelescopeConfig(seed=scale.seed)
    outlook = Outlook(f"measured-{number}", (f"198.51.100.{number + 1}/32",))
    traffic = Telescope(config).observe(outlook, config.anchor_us - scale.days * DAY_US, config.anchor_us)
    columns = traffic.parse()
    sources = np.ascontiguousarray(columns["src_addr"]).view(">u4")[:, 3].astype(np.int64)
    day = traffic.observed_at_us // DAY_US
    origin = np.array([stream.origin for stream in ALL_STREAMS], np.uint8)[traffic.labels.stream]
    truth = Truth(
        day << 32 | sources,
        _rules_of(traffic.labels.tool),
        traffic.labels.purpose,
        origin=origin,
        survey=traffic.labels.survey,
    )
    return Known(columns, _exempt(columns), truth)


def _rules_of(tool: NDArray[np.uint8]) -> NDArray[np.uint32]:
    table = np.zeros(256, np.uint32)
    for known, hint in RULE_OF_TOOL.items():
        table[known] = hint
    return table[tool]


def _exempt(columns: Columns) -> Context:
    recorded = take_as_recorded(columns)
    return replace(recorded, is_exempt=np.ones(recorded.times_us.size, np.bool_))


def _take_sample(sample: confounders.Sample) -> Known:
    lengths = (sample.raw[:, 2].astype(np.uint32) << np.uint32(8)) | sample.raw[:, 3]
    columns = _parse(sample.raw, lengths)
    truth = Truth(sample.source.astype(np.int64), _rules_of(sample.tool), np.zeros(0, np.uint8), sample.name)
    return Known(columns, _exempt(columns), truth)


def _take_capture(path: Path, hint: Hint | None, number: int) -> Known:
    capture = open_capture(path)
    chunk = next(capture.packet_chunks())
    columns = _parse(chunk.raw, chunk.captured_length)
    capture.close()
    # Masscan also resets the connections that were answered; those are no probes.
    is_probe = (np.asarray(columns["protocol"]) != _TCP) | (np.asarray(columns["tcp_flags"]) == _SYN)
    rule = np.where(is_probe, np.uint32(hint or 0), np.uint32(0))
    truth = Truth(np.full(rule.size, number, np.int64), rule, np.zeros(0, np.uint8), path.stem)
    return Known(columns, _exempt(columns), truth)


def _parse(raw: NDArray[np.uint8], lengths: NDArray[np.uint32]) -> Columns:
    return parse_packets(
        raw,
        lengths,
        wire_length=lengths,
        observed_at_us=np.zeros(len(lengths), np.int64),
        vlan=np.zeros(len(lengths), np.uint16),
    )


class _Tally:
    """Counts of one kind of traffic."""

    def __init__(self, parts: Sequence[Judged]) -> None:
        self._hints = np.concatenate([part.hints for part in parts])
        self._truth = np.concatenate([part.truth.rule for part in parts])
        self.packets = int(self._truth.size)
        self._days = [(day, _name_tools(day.counts)) for day in _count_days(parts, self._hints, self._truth)]

    def count_packets(self, rule: Rule) -> dict[str, Any]:
        is_true, is_found = self._truth == rule.hint, (self._hints & np.uint32(rule.hint)) != 0
        right, found, true = (int(mask.sum()) for mask in (is_true & is_found, is_found, is_true))
        others = self.packets - true
        return {
            "packets": true,
            "matching": found,
            **_rates(right=right, found=found, true=true, reached=right),
            "false_per_million": round((found - right) * 1e6 / others, 4) if others else None,
        }

    def count_verdicts(self, hint: Hint) -> dict[str, Any]:
        """Count over the days of sources with enough packets."""
        found = [day for day, tools in self._days if hint in tools]
        true = [tools for day, tools in self._days if day.made.get(hint, 0) >= ENOUGH_PACKETS]
        right = sum(day.made.get(hint, 0) > 0 for day in found)
        reached = sum(hint in tools for tools in true)
        return {
            "source_days": len(true),
            "found": len(found),
            **_rates(right=right, found=len(found), true=len(true), reached=reached),
        }

    def count_all_verdicts(self) -> dict[str, Any]:
        """Count over all tools together."""
        each = [self.count_verdicts(rule.hint) for rule in RULES]
        source_days, found = (sum(one[name] for one in each) for name in ("source_days", "found"))
        right = sum(round((one["precision"] or 0) * one["found"]) for one in each)
        reached = sum(round((one["recall"] or 0) * one["source_days"]) for one in each)
        return {
            "source_days": source_days,
            "found": found,
            **_rates(right=right, found=found, true=source_days, reached=reached),
        }


def _rates(*, right: int, found: int, true: int, reached: int) -> dict[str, float | None]:
    return {
        "precision": round(right / found, 6) if found else None,
        "recall": round(reached / true, 6) if true else None,
    }


def _name_tools(counts: SourceDayCounts) -> frozenset[Hint | None]:
    verdicts = judge_tools(counts, rule_version=RULE_VERSION)
    return frozenset(verdict.hint for verdict in verdicts if verdict.state == "yes")


def _count_days(
    parts: Sequence[Judged], hints: NDArray[np.uint32], truth: NDArray[np.uint32]
) -> Iterator[SourceDay]:
    columns = {name: np.concatenate([part.columns[name] for part in parts]) for name in _COUNTED}
    keys = np.concatenate([part.truth.source_day for part in parts])
    return count_source_days(keys, columns, hints=hints, truth=truth, least_packets=ENOUGH_PACKETS)


def _list_tool_free(parts: Sequence[Judged]) -> NDArray[np.uint32]:
    return np.concatenate([part.hints[part.truth.rule == 0] for part in parts])


def _find_worst(parts: Sequence[Judged], rule: Rule) -> dict[str, Any]:
    """Give the kind of sender without the tool that a rule mistakes most often, packet by packet."""
    worst: dict[str, Any] = {"name": "", "packets": 0, "false_per_million": 0.0}
    for part in parts:
        hints = part.hints[part.truth.rule != rule.hint]
        rate = round(float(((hints & np.uint32(rule.hint)) != 0).mean()) * 1e6, 4) if hints.size else 0.0
        if rate > worst["false_per_million"]:
            worst = {"name": part.truth.name, "packets": int(hints.size), "false_per_million": rate}
    return worst


def _count_behind_nat(known: Known, rule: Rule) -> dict[str, float | None]:
    """Give recall where 1:1 NAT changed the destination: as version 1 asked, and as version 2 does."""
    truth = known.truth.rule == rule.hint
    local = {**known.columns, "dst_addr": np.tile(_LOCAL, (truth.size, 1))}
    recorded = replace(known.context, destinations=local["dst_addr"])
    unknown = replace(recorded, is_known=np.zeros(truth.size, np.bool_))

    def recall(context: Context, bit: int) -> float | None:
        found = derive_columns(local, context)["hints"].astype(np.uint32)[truth] & np.uint32(bit)
        return round(float((found != 0).mean()), 6) if found.size else None

    return {
        "version_1": recall(recorded, rule.hint),
        "version_2": recall(known.context, rule.hint),
        "not_computable_if_unknown": recall(unknown, Hint.NOT_COMPUTABLE) if rule.needs_destination else 0.0,
    }


def _count_validities(parts: Sequence[Judged]) -> list[dict[str, Any]]:
    found = np.concatenate([part.validities for part in parts])
    truth = np.concatenate([part.truth.origin for part in parts])
    rows = []
    for validity, origin in _VALIDITIES.items():
        is_true, is_found = truth == origin, found == validity
        right, number, true = (int(mask.sum()) for mask in (is_true & is_found, is_found, is_true))
        rates = _rates(right=right, found=number, true=true, reached=right)
        rows.append({"validity": validity.name, "packets": true, **rates})
    return rows


def _gather_surveys(parts: Sequence[Judged]) -> Seen:
    columns = {
        name: np.concatenate([part.columns[name] for part in parts])
        for name in ("protocol", "tcp_flags", "dst_port")
    }
    return Seen(
        source_day=np.concatenate([part.truth.source_day for part in parts]),
        sensor=np.repeat(np.arange(len(parts)), [len(part.hints) for part in parts]),
        survey=np.concatenate([part.truth.survey for part in parts]),
        **columns,
    )


def _count_natures(parts: Sequence[Judged]) -> list[dict[str, Any]]:
    found = np.concatenate([part.natures for part in parts])
    truth = np.concatenate([part.truth.purpose for part in parts])
    rows = []
    for purposes in _NATURES:
        is_true = np.isin(truth, purposes)
        is_found = np.isin(found, [Nature[purpose.name] for purpose in purposes])
        right, number, true = (int(mask.sum()) for mask in (is_true & is_found, is_found, is_true))
        name = " or ".join(purpose.name for purpose in purposes)
        rows.append(
            {"nature": name, "packets": true, **_rates(right=right, found=number, true=true, reached=right)}
        )
    return rows
