"""Template filters that write instants, and names that need the reader's language."""

from __future__ import annotations

from datetime import datetime

from django import template

from teiten.portal import frame
from teiten.portal.naming.countries import name_country

register = template.Library()


@register.filter
def moment(at: datetime | None) -> str:
    """``11-21 12:00 JST``."""
    return f"{frame.instants().moment(at)} {frame.instants().zone_word(at)}" if at else "—"


@register.filter
def full_moment(at: datetime | None) -> str:
    """``2026-11-21 12:00 JST``."""
    return frame.instants().full(at) if at else "—"


@register.simple_tag
def country_name(code: str) -> str:
    return name_country(code, frame.language())
