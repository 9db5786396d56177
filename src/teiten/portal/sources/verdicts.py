"""What can be said of a source, and how sure: counts that match and counts that contradict, never one packet."""

from __future__ import annotations

from dataclasses import dataclass

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from teiten.portal.naming.groups import name_group, name_hint
from teiten.search.answers import Count, SourcePage

#: A single match of 16 bits is a coincidence once in 65,536 packets: below this many, nothing is said.
ENOUGH_MATCHES = 3
#: Below this share of the packets that could carry it, a mark does not describe the source.
ENOUGH_SHARE = 0.5


@dataclass(frozen=True)
class Verdict:
    """One axis: what it says, how sure, and on what grounds."""

    axis: str
    label: str
    #: 0.0 to 1.0; None when not computable.
    confidence: float | None
    grounds: str
    counter: str
    is_warning: bool = False


def list_verdicts(page: SourcePage, language: str) -> list[Verdict]:
    """Give tool, nature, actor and source validity."""
    return [_judge_tool(page), _judge_nature(page, language), _judge_actor(page), _judge_validity(page)]


def _judge_tool(page: SourcePage) -> Verdict:
    axis, breadth = _("Tool"), _breadth(page)
    if not page.tcp_syns:
        return Verdict(axis, _("Not computable"), None, _("No TCP SYN in this period."), breadth)
    best = _best_hint(page)
    if best is None or best.packets < ENOUGH_MATCHES or best.packets < ENOUGH_SHARE * page.tcp_syns:
        words = _("No mark of a known tool on most of %(syns)s SYNs.") % {"syns": f"{page.tcp_syns:,}"}
        return Verdict(axis, _("No known tool"), 0.0, words, breadth)
    counts = {"matches": f"{best.packets:,}", "syns": f"{page.tcp_syns:,}", "rules": _rules(page)}
    grounds = _("%(matches)s of %(syns)s SYNs carry its mark, rule %(rules)s") % counts
    contradicting = max(0, page.tcp_syns - best.packets)
    counter = ngettext("%(count)s contradicts", "%(count)s contradict", contradicting) % {
        "count": f"{contradicting:,}"
    }
    return Verdict(
        axis,
        name_hint(best.group.key),
        min(1.0, best.packets / page.tcp_syns),
        grounds,
        f"{counter} · {breadth}",
    )


def _best_hint(page: SourcePage) -> Count | None:
    return max(
        (count for count in page.hints if count.group.key != "none"),
        key=lambda count: count.packets,
        default=None,
    )


def _judge_nature(page: SourcePage, language: str) -> Verdict:
    axis = _("Nature")
    if not page.natures:
        return Verdict(axis, _("None seen"), None, _("No packet in this period."), "")
    best = page.natures[0]
    rest = ", ".join(
        f"{name_group(count.group, language)[0]} {count.packets:,}" for count in page.natures[1:4]
    )
    grounds = _("%(count)s of %(packets)s packets") % {
        "count": f"{best.packets:,}",
        "packets": f"{page.packets:,}",
    }
    return Verdict(axis, name_group(best.group, language)[0], best.share, grounds, rest)


def _judge_actor(page: SourcePage) -> Verdict:
    label = _("Survey scanner") if page.is_survey else _("Not a known survey scanner")
    grounds = (
        _("On a list of survey scanners that is valid in this period")
        if page.is_survey
        else _("No list that is valid in this period names it")
    )
    return Verdict(_("Actor"), label, 1.0 if page.is_survey else 0.0, grounds, "")


def _judge_validity(page: SourcePage) -> Verdict:
    ttls = sorted(int(count.group.key) for count in page.ttls if count.group.key.isdecimal())
    spread = _("TTL %(low)s to %(high)s") % {"low": ttls[0], "high": ttls[-1]} if ttls else ""
    return Verdict(
        _("Source validity"),
        _("Unverified"),
        None,
        _("No handshake seen: a SYN can be forged."),
        spread,
        is_warning=True,
    )


def _breadth(page: SourcePage) -> str:
    words = {"seen": f"{page.sensors_seen:,}", "all": f"{page.basis.sensors_known:,}"}
    return _("%(seen)s of %(all)s sensors") % words


def _rules(page: SourcePage) -> str:
    return ", ".join(f"v{version}" for version in page.basis.rule_versions) or "—"
