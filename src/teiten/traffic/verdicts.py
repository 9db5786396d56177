"""Verdicts: which tools a source used on a day, from the counts of its packets' hints.

A pure function of counts, so late data only change the counts. For each rule:

* **Chance.** If the source never used the tool, each packet that the rule could be asked
  about matches by chance with the rule's stated probability ``p``. That ``k`` or more of
  ``n`` do has at most the probability ``C(n, k) p^k`` (the union bound over which ``k``).
* **Look-alikes.** Whatever a packet shows, another program may write the same bytes on
  purpose. Each rule states in what share of the sources that do not use the tool this is
  expected; no number of packets argues it away.
* **Confidence** is the posterior that the tool was used: prior odds of 1 to 49 (a tool
  among 2 percent of the sources) against the sum of both probabilities. It may be read
  whatever the state is.

A source may use several tools, behind a NAT or on purpose, so packets that do not match
do not refute a tool: they are shown beside those that do, and only make chance larger.
Matches that chance explains by one coincidence of 16 bits or less are never enough.

Nmap's shape alone proves little. Within one run of Nmap ``(seq >> 16) ^ (seq & 0xffff)``
is the same in every packet (``seq32_encode`` in Nmap's ``scan_engine_raw.cc``), and each
unanswered probe is sent again; so ``n`` packets with ``d`` different values of it argue by
the chance that ``n`` random sequence numbers have so few.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from teiten.traffic.hints import RULES, Hint, Rule

#: Raise it when the function gives another answer for some counts.
VERDICT_VERSION = 1

State: TypeAlias = Literal["yes", "no", "not computable", "too few"]

#: Confidence from which on a verdict reads "yes".
YES = 0.95
#: Fewer packets than this are no ground for a "no".
ENOUGH_PACKETS = 5
#: The store keeps so many folds of a source's day; then their number is unknown.
MOST_FOLDS = 16
#: Odds that a source uses a given tool, before anything is known of it.
_PRIOR_ODDS = 0.02 / 0.98
_FOLD_BITS = 16
_ORDER: dict[str, int] = {"yes": 0, "too few": 1, "not computable": 2, "no": 3}


@dataclass(frozen=True)
class SourceDayCounts:
    """What one source sent on one day, or on several, to all sensors."""

    packets: int = 0
    #: TCP with SYN and without ACK, RST and FIN.
    syn_packets: int = 0
    udp_packets: int = 0
    #: ICMP echo requests.
    echo_packets: int = 0
    #: Bit number of a hint (0 to 31) → packets that have it.
    hint_counts: Mapping[int, int] = field(default_factory=dict)
    #: Distinct values of ``(seq >> 16) ^ (seq & 0xffff)`` among packets with Nmap's hint.
    nmap_folds: tuple[int, ...] = ()
    #: Value of traffic.nature.Nature → packets.
    natures: Mapping[int, int] = field(default_factory=dict)
    #: Value of traffic.validity.SourceValidity → packets.
    validities: Mapping[int, int] = field(default_factory=dict)
    #: 4 or 6; there are no rules for IPv6.
    ip_version: int = 4

    def add(self, other: SourceDayCounts) -> SourceDayCounts:
        """Give both together; the order does not matter."""
        return SourceDayCounts(
            packets=self.packets + other.packets,
            syn_packets=self.syn_packets + other.syn_packets,
            udp_packets=self.udp_packets + other.udp_packets,
            echo_packets=self.echo_packets + other.echo_packets,
            hint_counts=_add_counts(self.hint_counts, other.hint_counts),
            nmap_folds=tuple(sorted({*self.nmap_folds, *other.nmap_folds})),
            natures=_add_counts(self.natures, other.natures),
            validities=_add_counts(self.validities, other.validities),
            ip_version=min(
                part.ip_version for part in ([p for p in (self, other) if p.packets] or [self, other])
            ),
        )

    def count_hint(self, hint: Hint) -> int:
        return self.hint_counts.get(int(hint).bit_length() - 1, 0)


def _add_counts(one: Mapping[int, int], other: Mapping[int, int]) -> dict[int, int]:
    return {key: one.get(key, 0) + other.get(key, 0) for key in sorted({*one, *other})}


@dataclass(frozen=True)
class ToolVerdict:
    """Whether a source used one tool."""

    #: As a label reads, such as ``Mirai-like``.
    tool: str
    hint: Hint | None
    state: State
    #: Packets that match, and those of which the rule was asked that do not.
    matching: int
    contradicting: int
    #: Packets of which the rule could not be asked.
    not_computable: int
    #: Probability that the source used the tool, 0..1.
    confidence: float
    rule_version: int
    #: What the verdict rests on, one English sentence.
    grounds: str


@dataclass(frozen=True)
class _Evidence:
    """What the counts say about one rule."""

    rule: Rule
    asked: int
    matching: int
    not_computable: int
    #: Highest probability of so many matches without the tool, by chance alone.
    chance: float

    @property
    def confidence(self) -> float:
        if self.matching == 0:
            return 0.0
        odds = _PRIOR_ODDS / min(1.0, self.chance + self.rule.lookalikes)
        return odds / (1 + odds)


def judge_tools(counts: SourceDayCounts, *, rule_version: int) -> tuple[ToolVerdict, ...]:
    """Judge every tool of which the source sent a packet that its rule is about, best first.

    Args:
        counts: the source's packets.
        rule_version: version of the rules that set the hints.
    """
    rules = [rule for rule in RULES if rule.introduced_in <= rule_version]
    verdicts = [_judge(_weigh(rule, counts), counts, rule_version) for rule in rules]
    return tuple(
        sorted(
            (verdict for verdict in verdicts if verdict is not None),
            key=lambda verdict: (_ORDER[verdict.state], -verdict.confidence, -verdict.matching),
        )
    )


def _weigh(rule: Rule, counts: SourceDayCounts) -> _Evidence:
    matching = counts.count_hint(rule.hint)
    asked = counts.syn_packets
    if not rule.is_of_syn_only:
        asked += counts.udp_packets + counts.echo_packets
    unknown = min(asked, counts.count_hint(Hint.NOT_COMPUTABLE)) if rule.needs_destination else 0
    if counts.ip_version != 4:
        unknown = asked
    # A SYN-ACK scan matches ZMap's rule, and is none of the packets counted above.
    asked = max(matching, asked - unknown)
    chance = _chance_of_matches(rule.chance, asked, matching)
    if rule.hint is Hint.NMAP_SYN:
        chance = _chance_of_folds(matching, len(counts.nmap_folds))
    return _Evidence(rule, asked, matching, unknown, chance)


def _chance_of_matches(chance: float, asked: int, matching: int) -> float:
    logarithm = _log_choose(asked, matching) + matching * math.log(chance)
    return math.exp(min(0.0, logarithm))


def _chance_of_folds(packets: int, folds: int) -> float:
    """Give the highest probability that ``packets`` random numbers of 16 bits are ``folds`` different ones.

    The first of each value are free; each of the others must be one of ``folds`` values.
    """
    repeats = packets - folds
    if not 0 < folds < MOST_FOLDS or repeats <= 0:
        return 1.0
    logarithm = _log_choose(packets, folds) + repeats * (math.log(folds) - _FOLD_BITS * math.log(2))
    return math.exp(min(0.0, logarithm))


def _log_choose(whole: int, part: int) -> float:
    return math.lgamma(whole + 1) - math.lgamma(part + 1) - math.lgamma(whole - part + 1)


def _judge(evidence: _Evidence, counts: SourceDayCounts, rule_version: int) -> ToolVerdict | None:
    if evidence.asked == 0 and evidence.not_computable == 0:
        return None
    return ToolVerdict(
        tool=evidence.rule.name,
        hint=evidence.rule.hint,
        state=_state_of(evidence, counts),
        matching=evidence.matching,
        contradicting=evidence.asked - evidence.matching,
        not_computable=evidence.not_computable,
        confidence=evidence.confidence,
        rule_version=rule_version,
        grounds=_write_grounds(evidence, counts, rule_version),
    )


def _state_of(evidence: _Evidence, counts: SourceDayCounts) -> State:
    if evidence.confidence >= YES and _has_coincidences_enough(evidence, counts):
        return "yes"
    if evidence.not_computable > evidence.asked:
        return "not computable"
    if evidence.asked >= ENOUGH_PACKETS and evidence.confidence < 1 - YES:
        return "no"
    return "too few"


def _has_coincidences_enough(evidence: _Evidence, counts: SourceDayCounts) -> bool:
    """Tell whether more than 16 bits had to coincide."""
    if evidence.rule.hint is Hint.NMAP_SYN:
        return evidence.matching - len(counts.nmap_folds) >= 2
    return evidence.matching * -math.log2(evidence.rule.chance) > _FOLD_BITS


def _write_grounds(evidence: _Evidence, counts: SourceDayCounts, rule_version: int) -> str:
    kind = "SYNs" if evidence.rule.is_of_syn_only else "SYNs, UDP packets and echo requests"
    words = f"{evidence.matching:,} of {evidence.asked:,} {kind} match, rule v{rule_version}"
    if evidence.rule.hint is Hint.NMAP_SYN and evidence.matching:
        folds = len(counts.nmap_folds)
        more = " or more" if folds >= MOST_FOLDS else ""
        words += f"; their sequence numbers are of {folds}{more} runs"
    if evidence.not_computable:
        reason = "the rule is for IPv4" if counts.ip_version != 4 else "their public destination is unknown"
        words += f"; of {evidence.not_computable:,} it could not be asked: {reason}"
    return words
