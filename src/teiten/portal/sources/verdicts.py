"""The four axes of a source in words: each label with its evidence, what could not be asked said so.

The judgement is `traffic.verdicts`'; nothing is judged here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from django.utils.translation import gettext as _

from teiten.datasets.selectors import SurveyReason, survey_reasons
from teiten.portal.naming.groups import name_group, name_hint
from teiten.portal.naming.instants import Instants
from teiten.search.answers import Count, SourcePage
from teiten.traffic.hints import Hint
from teiten.traffic.verdicts import ToolVerdict

_MOST_OTHERS = 3


@dataclass(frozen=True)
class Verdict:
    """One axis: what it says, how sure, and on what grounds."""

    axis: str
    label: str
    #: 0.0 to 1.0; None when not computable.
    confidence: float | None
    grounds: str
    counter: str
    #: A tag beside the label, such as "unverified".
    tag: str = ""


def list_verdicts(page: SourcePage, instants: Instants, *, language: str, at: datetime) -> list[Verdict]:
    """Give tool, nature, actor and source validity."""
    reasons = [] if page.is_prefix else survey_reasons(page.source, at)
    return [
        describe_tool(page),
        describe_nature(page, language),
        describe_actor(page, reasons, instants),
        describe_validity(page, language),
    ]


def name_tool(verdict: ToolVerdict) -> str:
    """Give the tool's name as other screens write it."""
    return _name_of(verdict.hint) if verdict.hint is not None else verdict.tool


def _name_of(hint: Hint) -> str:
    return name_hint((hint.name or "").lower())


def name_tools() -> dict[Hint, str]:
    """Give every tool's name."""
    return {hint: _name_of(hint) for hint in Hint}


def name_state(state: str) -> str:
    """Give a verdict's state as a word."""
    return {
        "yes": _("yes"),
        "no": _("no"),
        "not computable": _("not computable"),
        "too few": _("too few packets"),
    }[state]


def describe_tool(page: SourcePage) -> Verdict:
    """Say which tool the source used, as far as its packets tell."""
    axis, breadth = _("Tool"), _word_breadth(page)
    if not page.verdicts:
        words = (
            _("No packet of which a rule could be asked.") if page.packets else _("No packet in this period.")
        )
        return Verdict(axis, _("Not computable"), None, words, breadth)
    best = page.verdicts[0]
    others = [verdict for verdict in page.verdicts[1:] if verdict.state == "yes"][:_MOST_OTHERS]
    counter = " · ".join(part for part in (_word_against(best), breadth) if part)
    if best.state == "yes":
        also = ", ".join(name_tool(verdict) for verdict in others)
        more = f" · {_('also')} {also}" if also else ""
        return Verdict(axis, name_tool(best), best.confidence, word_grounds(best), counter + more)
    if best.state == "not computable":
        return Verdict(axis, _("Not computable"), None, word_grounds(best), breadth)
    if best.state == "too few":
        words = f"{name_tool(best)}: {word_grounds(best)}"
        return Verdict(axis, _("Too few packets to say"), best.confidence, words, counter)
    return Verdict(axis, _("No known tool"), 0.0, f"{name_tool(best)}: {word_grounds(best)}", breadth)  # fmt: skip


def word_grounds(verdict: ToolVerdict) -> str:
    """Write the evidence: "98 of 98 match, rule v2"."""
    asked = verdict.matching + verdict.contradicting
    counts = {"matching": f"{verdict.matching:,}", "asked": f"{asked:,}", "version": verdict.rule_version}
    words = _("%(matching)s of %(asked)s packets match, rule v%(version)s") % counts
    if verdict.not_computable:
        unknown = {"count": f"{verdict.not_computable:,}"}
        words += " · " + _("of %(count)s it could not be asked: the public destination is unknown") % unknown
    return words


def _word_against(verdict: ToolVerdict) -> str:
    return _("%(count)s contradict") % {"count": f"{verdict.contradicting:,}"}


def describe_nature(page: SourcePage, language: str) -> Verdict:
    """Say what most packets are."""
    axis = _("Nature")
    if not page.natures:
        return Verdict(axis, _("None seen"), None, _("No packet in this period."), "")
    best = page.natures[0]
    grounds = _("%(count)s of %(packets)s packets") % {
        "count": f"{best.packets:,}",
        "packets": f"{page.packets:,}",
    }
    return Verdict(axis, _name(best, language), best.share, grounds, _word_rest(page.natures[1:4], language))


def describe_actor(page: SourcePage, reasons: Sequence[SurveyReason], instants: Instants) -> Verdict:
    """Say whose scanner it is, and what says so: the list with its dates, or the behaviour with its numbers."""
    axis = _("Actor")
    if not page.actors and not reasons:
        return Verdict(
            axis,
            _("Not a known survey scanner"),
            0.0,
            _("No list that is valid in this period names it"),
            _("its behaviour is below the thresholds"),
        )
    named = next((reason.owner for reason in reasons if reason.owner), "")
    seen = next((actor.actor for actor in page.actors if actor.actor), "")
    packets = sum(actor.packets for actor in page.actors)
    counts = {"count": f"{packets:,}", "packets": f"{page.packets:,}"}
    return Verdict(
        axis,
        named or seen or _("Survey scanner"),
        1.0,
        " / ".join(_word_reason(reason, instants) for reason in reasons[:2]) or _word_unlisted(page),
        _("%(count)s of %(packets)s packets") % counts if page.packets else "",
        tag=_("survey"),
    )


def _word_reason(reason: SurveyReason, instants: Instants) -> str:
    until = instants.date(reason.valid_to) if reason.valid_to else _("until further notice")
    facts = {
        "list": reason.list,
        "network": reason.network,
        "start": instants.date(reason.valid_from),
        "end": until,
    }
    if reason.kind == "behaviour":
        return _("By its behaviour, %(start)s to %(end)s: ") % facts + reason.reason
    return _("On the list %(list)s as %(network)s, %(start)s to %(end)s") % facts


def _word_unlisted(page: SourcePage) -> str:
    """Say what told when the packets came, though no list holds today."""
    if any(actor.reason == "behaviour" for actor in page.actors):
        return _("By its behaviour when the packets came")
    return _("On a list that was valid when the packets came")


def describe_validity(page: SourcePage, language: str) -> Verdict:
    """Say whether the address can be what it says; nothing here proves that it sent the packets."""
    ttls = sorted(int(count.group.key) for count in page.ttls if count.group.key.isdecimal())
    spread = _("TTL %(low)s to %(high)s") % {"low": ttls[0], "high": ttls[-1]} if ttls else ""
    odd = [count for count in page.validities if count.group.key not in ("ordinary", "none", "")]
    is_mostly_odd = bool(odd) and 2 * odd[0].packets > page.packets
    label = _name(odd[0], language) if is_mostly_odd else _("Ordinary")
    grounds = _("No handshake seen: a SYN can be forged.")
    if odd:
        grounds = _("%(name)s: %(count)s of %(packets)s packets") % {
            "name": _name(odd[0], language),
            "count": f"{odd[0].packets:,}",
            "packets": f"{page.packets:,}",
        }
    return Verdict(_("Source validity"), label, None, grounds, spread, tag=_("unverified"))


def _word_rest(counts: Sequence[Count], language: str) -> str:
    return ", ".join(f"{_name(count, language)} {count.packets:,}" for count in counts)


def _name(count: Count, language: str) -> str:
    return name_group(count.group, language)[0]


def _word_breadth(page: SourcePage) -> str:
    if page.packets and not page.sensors_seen:  # coarse for members: too few to be told
        return _("few sensors")
    words = {"seen": f"{page.sensors_seen:,}", "all": f"{page.sensors_covered:,}"}
    return _("%(seen)s of %(all)s sensors") % words
