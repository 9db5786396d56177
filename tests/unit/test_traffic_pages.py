"""The generated pages are the ones in docs/, and name everything."""

from __future__ import annotations

from pathlib import Path

import pytest

from teiten.traffic import columns_page, hints, rules_page
from teiten.traffic.columns import COLUMNS
from teiten.traffic.marks import ParseMark

DOCS = Path(__file__).parents[2] / "docs"

pytestmark = pytest.mark.requirement("R6")


@pytest.mark.parametrize(("page", "module"), [("columns.md", columns_page), ("rules.md", rules_page)])
def test_the_page_is_up_to_date(page, module):
    command = f"python -m {module.__name__} > docs/{page}"

    assert (DOCS / page).read_text(encoding="utf-8") == module.render(), f"run: {command}"


def test_every_column_and_mark_is_described():
    page = columns_page.render()

    assert all(f"| `{column.name}` |" in page for column in COLUMNS)
    assert all(f"| `{mark.name}` |" in page for mark in ParseMark)


def test_every_hint_is_described():
    assert all(rule.meaning in rules_page.render() for rule in hints.RULES)
