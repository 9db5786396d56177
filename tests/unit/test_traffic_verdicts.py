"""Verdicts: from counts to which tools a source used, and how sure."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from teiten.traffic.hints import RULES, Hint
from teiten.traffic.rules import RULE_VERSION
from teiten.traffic.verdicts import YES, SourceDayCounts, judge_tools

pytestmark = pytest.mark.requirement("R2.3")


def day(*, syns=0, udp=0, echo=0, folds=(), ip_version=4, **hints):
    bits = {Hint[name.upper()].bit_length() - 1: count for name, count in hints.items()}
    return SourceDayCounts(
        packets=syns + udp + echo,
        syn_packets=syns,
        udp_packets=udp,
        echo_packets=echo,
        hint_counts=bits,
        nmap_folds=folds,
        ip_version=ip_version,
    )


def judge(counts):
    return {verdict.hint: verdict for verdict in judge_tools(counts, rule_version=RULE_VERSION)}


@pytest.mark.parametrize(
    ("counts", "hint", "state"),
    [
        (day(syns=98, mirai=98), Hint.MIRAI, "yes"),
        (day(syns=1, mirai=1), Hint.MIRAI, "yes"),
        (day(syns=5, masscan_old=5), Hint.MASSCAN_OLD, "yes"),
        # One coincidence of 16 bits is never enough, in however few packets.
        (day(syns=1, masscan_old=1), Hint.MASSCAN_OLD, "too few"),
        (day(syns=4, zmap_old=1), Hint.ZMAP_OLD, "too few"),
        (day(syns=200_000, masscan_new=3), Hint.MASSCAN_NEW, "no"),
        (day(syns=65_536, masscan_new=1), Hint.MASSCAN_NEW, "no"),
        (day(syns=5, zmap_new=5), Hint.ZMAP_NEW, "yes"),
        (day(syns=1, zmap_new=1), Hint.ZMAP_NEW, "too few"),
        # UDP and echo requests are ZMap's too.
        (day(udp=6, echo=2, zmap_old=8), Hint.ZMAP_OLD, "yes"),
        (day(udp=6, echo=2), Hint.ZMAP_OLD, "no"),
        # A SYN-ACK scan.
        (day(zmap_old=9), Hint.ZMAP_OLD, "yes"),
        (day(syns=4), Hint.MIRAI, "too few"),
        (day(syns=5), Hint.MIRAI, "no"),
        (day(syns=40, nmap_syn=40, folds=(7,)), Hint.NMAP_SYN, "yes"),
        (day(syns=40, nmap_syn=40, folds=tuple(range(10))), Hint.NMAP_SYN, "yes"),
        # Nmap's shape with sequence numbers that are nobody's runs.
        (day(syns=10, nmap_syn=10, folds=tuple(range(10))), Hint.NMAP_SYN, "no"),
        (day(syns=2, nmap_syn=2, folds=(7,)), Hint.NMAP_SYN, "too few"),
        (day(syns=400, nmap_syn=400, folds=tuple(range(16))), Hint.NMAP_SYN, "no"),
        (day(syns=50, not_computable=50), Hint.MIRAI, "not computable"),
        (day(syns=50, not_computable=50), Hint.ZMAP_NEW, "no"),
        (day(syns=52, not_computable=50, mirai=2), Hint.MIRAI, "yes"),
        (day(syns=9, ip_version=6), Hint.MIRAI, "not computable"),
    ],
)
def test_it_judges(counts, hint, state):
    verdict = judge(counts)[hint]

    assert verdict.state == state, verdict
    assert 0 <= verdict.confidence <= 1
    assert (verdict.confidence >= YES) or state != "yes"


def test_a_nat_may_hide_two_tools():
    verdicts = judge_tools(day(syns=1000, mirai=40, masscan_old=60), rule_version=RULE_VERSION)

    found = {
        verdict.hint: (verdict.matching, verdict.contradicting)
        for verdict in verdicts
        if verdict.state == "yes"
    }
    assert found == {Hint.MIRAI: (40, 960), Hint.MASSCAN_OLD: (60, 940)}
    assert verdicts[-1].state == "no"


def test_the_grounds_name_the_evidence():
    verdict = judge(day(syns=100, mirai=98, not_computable=2))[Hint.MIRAI]

    assert verdict.grounds == (
        "98 of 98 SYNs match, rule v2; of 2 it could not be asked: their public destination is unknown"
    )
    assert (verdict.tool, verdict.rule_version) == ("Mirai-like", RULE_VERSION)


def test_a_source_of_which_no_rule_was_asked_has_no_verdict():
    assert judge_tools(SourceDayCounts(packets=9), rule_version=RULE_VERSION) == ()
    assert judge(day(udp=3)).keys() == {Hint.ZMAP_OLD}


def test_rules_of_a_later_version_are_not_asked():
    assert judge_tools(day(syns=9, mirai=9), rule_version=0) == ()


names = st.sampled_from(RULES)
numbers = st.integers(0, 300)


@st.composite
def days(draw):
    syns, udp, echo = draw(numbers), draw(numbers), draw(numbers)
    unknown = draw(st.integers(0, syns))
    matching = {rule.hint.name.lower(): draw(st.integers(0, syns - unknown)) for rule in RULES}
    folds = draw(st.integers(0, min(16, matching["nmap_syn"])))
    return day(syns=syns, udp=udp, echo=echo, folds=tuple(range(folds)), not_computable=unknown, **matching)


@settings(max_examples=150, deadline=None)
@given(days(), names, st.integers(1, 5))
def test_more_matches_never_lower_confidence(counts, rule, more):
    name = rule.hint.name.lower()
    enlarged = counts.add(day(syns=more, **{name: more}))
    before, after = judge(counts).get(rule.hint), judge(enlarged)[rule.hint]
    had_folds = rule.hint is not Hint.NMAP_SYN or counts.nmap_folds or not counts.count_hint(rule.hint)

    if before is not None and had_folds:
        assert after.confidence >= before.confidence - 1e-12
        assert after.contradicting == before.contradicting


@settings(max_examples=150, deadline=None)
@given(days(), st.integers(1, 400))
def test_packets_that_could_not_be_asked_never_make_a_no(counts, more):
    before = judge(counts)
    after = judge(counts.add(day(syns=more, not_computable=more)))

    for rule in (rule for rule in RULES if rule.needs_destination):
        verdict = after[rule.hint]
        old = before.get(rule.hint)
        assert verdict.state != "no" or (old is not None and old.state == "no")
        assert old is None or verdict.confidence == old.confidence


@settings(max_examples=100, deadline=None)
@given(days(), days(), days())
def test_the_order_of_merging_does_not_matter(one, two, three):
    assert one.add(two) == two.add(one)
    assert one.add(two).add(three) == one.add(two.add(three))
    assert one.add(SourceDayCounts()).packets == one.packets


def test_nothing_added_changes_nothing():
    counts = day(syns=9, ip_version=6)

    assert (
        SourceDayCounts().add(counts) == counts.add(SourceDayCounts()) == day(syns=9, ip_version=6).add(day())
    )
    assert SourceDayCounts().add(counts).ip_version == 6
