"""Documentation is tested: what can be set, counted, asked or typed stands in docs/."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

import pytest

from teiten.cli import parser
from teiten.cli.pages import PAGES

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", sorted(PAGES))
def test_a_generated_page_is_what_the_code_says(name: str) -> None:
    assert (ROOT / name).read_text(encoding="utf-8") == PAGES[name](), (
        "run `make docs` and commit what it wrote"
    )


def test_every_setting_says_what_it_is() -> None:
    silent = [
        line
        for line in PAGES["docs/settings.md"]().splitlines()
        if line.startswith("| `") and line.endswith("|  |")
    ]

    assert not silent


def test_every_verb_is_documented() -> None:
    page = (ROOT / "docs/operating.md").read_text(encoding="utf-8")

    assert not [verb for verb in list_verbs(parser.build()) if f"`teiten {verb}" not in page]


def list_verbs(built: argparse.ArgumentParser) -> list[str]:
    """List the verbs of a parser, `sensor create` for one below another."""
    found = []
    for action in built._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, below in action.choices.items():
                found += [name, *(f"{name} {verb}" for verb in list_verbs(below))]
    return found


def test_every_link_between_pages_leads_somewhere() -> None:
    broken = [
        f"{page.relative_to(ROOT)}: {target}"
        for page in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
        for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))
        if not re.match(r"[a-z]+:", target) and not (page.parent / target).exists()
    ]

    assert not broken
