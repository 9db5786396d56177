"""The rules' measured figures: measured anew on a small scale, and of the rules that ship."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from teiten.simulators import confounders
from teiten.simulators.false_positives import bound_count
from teiten.simulators.measuring import Scale, measure
from teiten.traffic.hints import RULES
from teiten.traffic.rule_figures import load_figures, render_figures
from teiten.traffic.rules import CHANGES, RULE_VERSION
from teiten.traffic.verdicts import VERDICT_VERSION

SCANNERS = Path(__file__).parents[1] / "golden" / "scanners"
SMALL = Scale(sensors=5, days=1, confounding_sources=80, confounding_packets=25)

pytestmark = pytest.mark.requirement("R2.3")


@pytest.fixture(scope="module")
def measured():
    return measure(SMALL, SCANNERS)


def test_the_shipped_figures_are_of_the_rules_that_ship():
    shipped = load_figures()

    wrong = "run scripts/measure-rules and commit what it wrote"
    assert (shipped["rule_version"], shipped["verdict_version"]) == (RULE_VERSION, VERDICT_VERSION), wrong
    assert [(rule["hint"], rule["since_version"]) for rule in shipped["rules"]] == [
        (rule.hint.name, rule.since_version) for rule in RULES
    ], wrong
    assert RULE_VERSION in CHANGES


@pytest.mark.parametrize("kind", ["simulated", "confounders", "captures"])
def test_verdicts_reach_their_targets(measured, kind):
    for figures in (measured, load_figures()):
        found = figures["all_verdicts"][kind]

        assert found["precision"] >= 0.999
        assert found["recall"] >= 0.99
        assert found["source_days"] > 0


def test_hints_are_measured_as_they_ship(measured):
    for small, shipped in zip(measured["rules"], load_figures()["rules"], strict=True):
        for kind in ("simulated", "confounders", "captures"):
            for figure in ("precision", "recall"):
                assert small[kind][figure] == pytest.approx(shipped[kind][figure], abs=0.002), (
                    small["hint"],
                    kind,
                )
        assert small["behind_nat"] == shipped["behind_nat"]


def test_without_any_tool_no_rule_holds(measured):
    for figures in (measured, load_figures()):
        for rule in figures["rules"]:
            assert rule["tool_free"]["false_per_million"] < 20
            assert rule["tool_free"]["false_per_million"] < rule["tool_free"]["at_most_per_million"]
    assert load_figures()["rules"][0]["tool_free"]["at_most_per_million"] < 5


@pytest.mark.parametrize(("found", "bound"), [(0, 2.9957), (1, 4.7439), (10, 16.9622), (100, 118.08)])
def test_bounds_are_those_of_the_poisson_distribution(found, bound):
    assert bound_count(found) == pytest.approx(bound, abs=0.01)


def test_behind_nat_only_the_public_destination_helps(measured):
    found = {rule["hint"]: rule["behind_nat"] for rule in measured["rules"]}

    for rule in RULES:
        nat = found[rule.hint.name]
        assert nat["version_1"] == (0.0 if rule.needs_destination else 1.0)
        assert nat["version_2"] == 1.0
        assert nat["not_computable_if_unknown"] == (1.0 if rule.needs_destination else 0.0)


def test_surveys_are_found_by_what_they_do(measured):
    few, shipped = measured["surveys"], load_figures()["surveys"]

    # Five sensors see little of anybody: fewer surveys are known, not more.
    assert few["precision"] > 0.95
    assert shipped["precision"] > 0.95
    assert 0 < few["recall_by_packets"] < shipped["recall_by_packets"]
    assert shipped["recall_by_packets"] > 0.7
    assert [row["recall"] for row in measured["validities"]] == [1.0, 1.0, 1.0]


def test_the_same_seed_gives_the_same_figures():
    tiny = Scale(sensors=1, days=1, confounding_sources=5, confounding_packets=5)

    assert measure(tiny, SCANNERS) == measure(tiny, SCANNERS)
    assert measure(Scale(**{**vars(tiny), "seed": 8}), SCANNERS) != measure(tiny, SCANNERS)


def test_every_rule_and_figure_is_on_the_page():
    page = render_figures()

    assert all(f"| {rule.name} | simulated |" in page for rule in RULES)
    assert load_figures()["measured_on"] in page


def test_confounders_come_from_reserved_ranges():
    for sample in confounders.make_samples(sources=3, packets=2, seed=1):
        assert (sample.raw[:, 12] >> 4 == 0xF).all()
        assert (sample.raw[:, 16:19] == np.array([198, 51, 100], np.uint8)).all()
        assert len(sample.raw) == len(sample.source) == len(sample.tool)
