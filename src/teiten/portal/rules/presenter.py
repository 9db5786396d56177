"""What the rules page shows: the rules of the code and the lists that are data, with their dates."""

from __future__ import annotations

from datetime import datetime, timezone
from math import log2
from typing import Any

from django.utils.translation import gettext as _

from teiten.datasets.selectors import list_surveys
from teiten.portal.naming.groups import name_nature
from teiten.portal.naming.kinds import BY_NAME, write_key
from teiten.portal.screen import Screen
from teiten.search.basis import Basis
from teiten.traffic import behaviour, hints, verdicts
from teiten.traffic.nature import Nature
from teiten.traffic.probes import ProbeRule, load_probes
from teiten.traffic.rule_figures import load_figures
from teiten.traffic.rules import CHANGES, RULE_VERSION
from teiten.traffic.timed_ranges import FOREVER_US
from teiten.traffic.validity import BogonNetwork, load_bogons

_SECOND_US = 1_000_000
_SECONDS_A_DAY = 86_400


def describe_rules(screen: Screen, basis: Basis | None) -> dict[str, Any]:
    """Give everything the page shows."""
    return {
        "rule_version": RULE_VERSION,
        "verdict_version": verdicts.VERDICT_VERSION,
        "yes": verdicts.YES,
        "tools": [describe_tool(rule, screen) for rule in hints.RULES],
        "changes": sorted(CHANGES.items(), reverse=True),
        "measured": describe_measured(),
        "natures": [(nature.value, name_nature(nature.name.lower()), _page("nature", nature.name.lower(), screen)) for nature in Nature if nature.value],
        "probes": [describe_probe(rule, screen) for rule in load_probes().rules],
        "bogons": [describe_bogon(row) for row in load_bogons().rows],
        "surveys": list_surveys(screen.now),
        "behaviour": describe_behaviour(screen, basis),
    }  # fmt: skip


def describe_tool(rule: hints.Rule, screen: Screen) -> dict[str, Any]:
    """Give a tool's rule, with what a chance match takes."""
    key = (rule.hint.name or "").lower()
    return {
        "rule": rule,
        "bit": int(rule.hint).bit_length() - 1,
        "chance": f"2^{_log2(rule.chance)}",
        "lookalikes": f"{rule.lookalikes * 100:.4g} %",
        "url": _page("tool", key, screen),
        "needs": _("public destination") if rule.needs_destination else "—",
    }


#: Kinds of traffic on which rules are measured, as the file of figures calls them.
_SETS = ("simulated", "confounders", "captures")


def describe_measured() -> dict[str, Any]:
    """Give how often verdicts and hints are right: on simulated traffic, on look-alikes, on real tools."""
    figures = load_figures()
    by_name = {rule["name"]: rule for rule in figures["rules"]}
    rows = [_describe_row(row["tool"], row, by_name.get(row["tool"])) for row in figures["verdicts"]]
    packets = {name: f"{figures['packets'][name]:,}" for name in _SETS}
    return {
        "rows": [*rows, _describe_row(_("All tools"), figures["all_verdicts"], None)],
        "rule_version": figures["rule_version"],
        "verdict_version": figures["verdict_version"],
        "on": figures["measured_on"],
        "packets": packets,
    }


def _describe_row(tool: str, verdict: dict[str, Any], hint: dict[str, Any] | None) -> dict[str, Any]:
    worst = hint["worst_confounder"] if hint else None
    return {
        "tool": tool,
        "sets": [verdict[name] for name in _SETS],
        "false_simulated": hint["simulated"]["false_per_million"] if hint else None,
        "false_alike": hint["confounders"]["false_per_million"] if hint else None,
        "worst": worst["name"] if worst else "",
    }


def _log2(chance: float) -> int:
    return round(log2(chance))


def _page(kind: str, key: str, screen: Screen) -> str:
    return screen.url_of(kind, None, write_key(BY_NAME[kind], key))


def describe_probe(rule: ProbeRule, screen: Screen) -> dict[str, Any]:
    """Give a probe's pattern as it is written in the file of rules."""
    protocol = "tcp" if rule.protocol == 6 else "udp"
    return {
        "label": rule.label,
        "url": _page("probe", rule.label, screen),
        "port": f"{rule.port}/{protocol.upper()}" if rule.port is not None else protocol.upper(),
        "match": _("whole payload") if rule.match == "exact" else _("first bytes"),
        "pattern": write_pattern(rule),
        "is_trigger": rule.is_trigger,
        "source": rule.source,
    }


def write_pattern(rule: ProbeRule) -> str:
    """Write a pattern in pairs of hex digits, ``..`` for any byte, ``40/c0`` where only some bits are asked."""
    pairs = zip(rule.value, rule.mask, strict=True)
    return " ".join(f"{value:02x}" if mask == 0xFF else ".." if not mask else f"{value:02x}/{mask:02x}" for value, mask in pairs)  # fmt: skip


def describe_bogon(row: BogonNetwork) -> dict[str, Any]:
    """Give a network that no packet can come from, with the days for which that holds."""
    return {
        "network": row.network,
        "since": _day(row.valid_from_us),
        "until": "" if row.valid_to_us >= FOREVER_US else _day(row.valid_to_us),
        "reason": row.reason,
        "source": row.source,
    }


def _day(at_us: int) -> str:
    return datetime.fromtimestamp(at_us / _SECOND_US, timezone.utc).date().isoformat()


def describe_behaviour(screen: Screen, basis: Basis | None) -> dict[str, Any]:
    """Give the behavioural rule, and what it asks for on what this data set watched in a day."""
    days = screen.query.length.total_seconds() / _SECONDS_A_DAY
    thresholds = None
    if basis is not None and basis.covered_address_days > 0:
        fleet = behaviour.FleetDay(basis.covered_address_days / max(days, 1.0), basis.sensors_seen)
        thresholds = behaviour.scale_thresholds(fleet)
    return {"rule": behaviour.RULE, "thresholds": thresholds}
