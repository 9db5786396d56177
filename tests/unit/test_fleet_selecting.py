"""Selectors: what they mean, and what is said of those that mean nothing."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from teiten.fleet.commands.errors import SelectorError
from teiten.fleet.commands.selecting import Candidate, read_selector, version_key

pytestmark = pytest.mark.requirement("R1.3", "R2.1")
KANTO = Candidate(1, "TK-001", "kanto", "alpha", "active", "live", "1.3.9", ("vps",))
KANSAI = Candidate(2, "OS-001", "kansai", "beta", "suspended", "simulated", "1.4.0rc1", ())
MUTE = Candidate(3, "TK-002", "kanto", "beta", "active", "live", "", ("vps", "ipv6"))
ALL = (KANTO, KANSAI, MUTE)


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("all", [1, 2, 3]),
        ("region = kanto", [1, 3]),
        ("region = kanto and version < 1.4", [1]),
        ("version >= 1.4", [2]),
        ("version != 1.3.9", [2]),
        ("not version < 9", [3]),
        ("name = TK-*", [1, 3]),
        ("name != TK-*", [2]),
        ("org in (alpha, beta) and not region = kansai", [1, 3]),
        ("number in (2, 3) or tag = vps and org = alpha", [1, 2, 3]),
        ("(number > 1 or tag = vps) and org = alpha", [1]),
        ("tag = ipv6", [3]),
        ("tag != vps", [2]),
        ('state = "suspended"', [2]),
        ("dataset=live and number<=1", [1]),
        ('region = "kan*" and state = active', [1, 3]),
        ('name = "TK.001"', []),
    ],
)
def test_it_works(text: str, numbers: list[int]) -> None:
    test = read_selector(text)

    assert [one.number for one in ALL if test(one)] == numbers


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "column 1: a field is wanted"),
        ("region", "after region one of"),
        ("region = ", "a value is wanted"),
        ("region = kanto kansai", "column 16: `and` or `or`"),
        ("colour = red", "a field is wanted: number, name"),
        ("region = kanto and rregion = kansai", "column 20: a field is wanted"),
        ("rregion = kanto", "'rregion' is none"),
        ("region < kanto", "region is compared by = or != only"),
        ("version < new", "no version such as 1.4"),
        ("number = x", "no number of a sensor"),
        ("(region = kanto", "\\) is wanted"),
        ("region in kanto", "\\( is wanted"),
        ("region = kanto; drop", "cannot stand here"),
        ("not " * 30 + "all", "at most 20 deep"),
        ("(" * 30, "at most 20 deep"),
        ("x" * 1001, "at most 1000 characters"),
    ],
)
def test_what_means_nothing_is_named(text: str, message: str) -> None:
    with pytest.raises(SelectorError, match=message):
        read_selector(text)


@settings(max_examples=150, deadline=None)
@given(st.text(alphabet='regionkatvsl ()=<>!,"*.19é', max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        test = read_selector(text)
    except SelectorError:
        return
    assert isinstance(test(KANTO), bool)


def test_versions_are_numbers() -> None:
    assert version_key("1.10") > version_key("1.9.9")
    assert version_key("1.4") == version_key("1.4.0")
    assert version_key("1.4+build7") == version_key("1.4")
