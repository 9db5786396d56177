"""The rules' measured figures, as they ship and as the rules page shows them.

``scripts/measure-rules`` writes the file; a test measures a small part anew.
"""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Any

from teiten.traffic.rule_files import read_shipped

#: Kinds of traffic that are measured, with what the page calls them.
_SETS = {"simulated": "simulated", "confounders": "confounders", "captures": "real tools"}
_TEXT = """\
Packets whose maker is known go the way of all packets, from bytes through parser and rules to
verdicts. **Simulated** is the telescope's traffic, whose tools are written from the same published
formulas as the rules: it shows that nothing gets lost on the way, not that the formulas are right.
**Confounders** share some of a tool's fields on purpose (hping3 in Masscan's shape, Masscan's id in
another shape, ZMap's options with a real Windows' TTL, Nmap's shape with random sequence numbers, one
packet repeated, …) or are two senders behind one NAT. **Real tools** are the captures in
`tests/golden/scanners` (Masscan 1.3.2, ZMap 2.1.1, Nmap 7.93, hping3), few packets each; ZMap from
4.1, the newer Masscan and Mirai are not among them. A program that writes every field as a tool does
cannot be told from it; verdicts call that look-alikes, whose share is an estimate."""


@lru_cache(maxsize=1)
def load_figures() -> dict[str, Any]:
    """Give the measured figures that ship with the rules."""
    figures: dict[str, Any] = json.loads(read_shipped("rule_figures.json"))
    return figures


def render_figures() -> str:
    """Give the figures as a part of the rules page."""
    figures = load_figures()
    packets = ", ".join(f"{count:,} {_SETS[name]}" for name, count in figures["packets"].items())
    when = (
        f"Measured on {figures['measured_on']} for rule version {figures['rule_version']} and verdict version "
        f"{figures['verdict_version']} by `scripts/measure-rules`, seed {figures['seed']}: {packets} packets."
    )
    parts = (
        _render_rules(figures),
        _render_tool_free(figures),
        _render_worst(figures),
        _render_verdicts(figures),
        _render_natures(figures),
        _render_validities(figures),
        _render_surveys(figures),
    )
    return f"## Measured\n\n{when}\n\n{_TEXT}\n\n" + "\n\n".join(parts) + "\n"


def _render_rules(figures: dict[str, Any]) -> str:
    head = "| hint | since | traffic | its packets | precision | recall | false per million others |\n|---|---|---|---|---|---|---|"
    rows = [
        f"| {rule['name']} | {rule['since_version']} | {shown} | {rule[name]['packets']:,} "
        f"| {_write(rule[name]['precision'])} | {_write(rule[name]['recall'])} | {_write(rule[name]['false_per_million'])} |"
        for rule in figures["rules"]
        for name, shown in _SETS.items()
    ]
    return f"### Hints, by packet\n\n{head}\n" + "\n".join(rows)


def _render_tool_free(figures: dict[str, Any]) -> str:
    head = "| hint | packets without any tool | false | false per million | at most per million (95 %) |\n|---|---|---|---|---|"
    rows = [
        f"| {rule['name']} | {free['packets']:,} | {free['false']:,} | {_write(free['false_per_million'])} "
        f"| {_write(free['at_most_per_million'])} |"
        for rule in figures["rules"]
        for free in (rule["tool_free"],)
    ]
    note = (
        "Packets of kernels, of scanners' own programs, of hping3 and with random headers, in the telescope's traffic "
        "and among the confounders that imitate nothing. The last column is what the number of packets allows to say."
    )
    return f"### Hints, on traffic without any tool\n\n{head}\n" + "\n".join(rows) + f"\n\n{note}"


def _render_worst(figures: dict[str, Any]) -> str:
    head = (
        "| hint | confounder mistaken most | false per million of its packets | recall behind NAT, version 1 "
        "| version 2 | not computable if unknown |\n|---|---|---|---|---|---|"
    )
    rows = []
    for rule in figures["rules"]:
        worst, nat = rule["worst_confounder"], rule["behind_nat"]
        rows.append(
            f"| {rule['name']} | {worst['name'] or 'none'} | {_write(worst['false_per_million'])} "
            f"| {_write(nat['version_1'])} | {_write(nat['version_2'])} | {_write(nat['not_computable_if_unknown'])} |"
        )
    return f"### Hints, where they err, and behind 1:1 NAT\n\n{head}\n" + "\n".join(rows)


def _render_verdicts(figures: dict[str, Any]) -> str:
    head = "| tool | traffic | days of sources with 5 packets or more | precision | recall |\n|---|---|---|---|---|"
    all_tools = [{"tool": "all tools", **figures["all_verdicts"]}]
    rows = [
        f"| {verdict['tool']} | {shown} | {verdict[name]['source_days']:,} | {_write(verdict[name]['precision'])} "
        f"| {_write(verdict[name]['recall'])} |"
        for verdict in figures["verdicts"] + all_tools
        for name, shown in _SETS.items()
    ]
    return f"### Verdicts, by source and day\n\n{head}\n" + "\n".join(rows)


def _render_natures(figures: dict[str, Any]) -> str:
    head = "| nature | simulated packets | precision | recall |\n|---|---|---|---|"
    rows = [
        f"| {row['nature']} | {row['packets']:,} | {_write(row['precision'])} | {_write(row['recall'])} |"
        for row in figures["natures"]
    ]
    note = (
        "A datagram for a service that moved away is residual in truth, and a UDP probe to any rule on one packet; "
        "odd flags in an intact header are malformed to nobody."
    )
    return f"### Natures\n\n{head}\n" + "\n".join(rows) + f"\n\n{note}"


def _render_validities(figures: dict[str, Any]) -> str:
    head = "| source validity | simulated packets | precision | recall |\n|---|---|---|---|"
    rows = [
        f"| {row['validity']} | {row['packets']:,} | {_write(row['precision'])} | {_write(row['recall'])} |"
        for row in figures["validities"]
    ]
    note = (
        "A source that is spoofed and ordinary to look at is found by no rule on one packet; the simulator makes "
        "only such as contradict themselves."
    )
    return f"### Source validity\n\n{head}\n" + "\n".join(rows) + f"\n\n{note}"


def _render_surveys(figures: dict[str, Any]) -> str:
    found = figures["surveys"]
    head = "| counted | precision | recall |\n|---|---|---|"
    rows = (
        f"| days of sources | {_write(found['precision'])} | {_write(found['recall'])} |",
        f"| their packets | {_write(found['precision_by_packets'])} | {_write(found['recall_by_packets'])} |",
    )
    note = (
        f"{found['survey_days']:,} days of simulated survey scanners at {found['sensors']} sensors, of which the rule "
        "sees those that are loud enough. What it finds beside them are scanners of many ports that say nothing of "
        "themselves: the definition asks for behaviour, not for intent."
    )
    return f"### Surveys by behaviour\n\n{head}\n" + "\n".join(rows) + f"\n\n{note}"


def _write(value: float | None) -> str:
    return "n/a" if value is None else f"{value:.6f}".rstrip("0").rstrip(".")
