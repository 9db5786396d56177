"""The generated pages of ``docs/``: path from the root of the repository → what writes it."""

from __future__ import annotations

from collections.abc import Callable

from teiten.cli import metrics_page, settings_page
from teiten.traffic import columns_page, rules_page

PAGES: dict[str, Callable[[], str]] = {
    "docs/columns.md": columns_page.render,
    "docs/metrics.md": metrics_page.render,
    "docs/rules.md": rules_page.render,
    "docs/settings.md": settings_page.render,
}
