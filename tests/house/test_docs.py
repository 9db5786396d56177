"""Documentation is tested: what can be set, counted, asked or typed stands in docs/."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest
from teiten.cli.config import SECTIONS

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", sorted(SECTIONS))
def test_every_setting_is_documented(name: str) -> None:
    page = (ROOT / "docs/operating.md").read_text(encoding="utf-8")

    missing = [
        field.name for field in dataclasses.fields(SECTIONS[name]) if f"`{name}.{field.name}`" not in page
    ]

    assert not missing


def test_every_link_between_pages_leads_somewhere() -> None:
    broken = [
        f"{page.relative_to(ROOT)}: {target}"
        for page in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
        for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))
        if not re.match(r"[a-z]+:", target) and not (page.parent / target).exists()
    ]

    assert not broken
