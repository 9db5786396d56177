"""Template filters that write instants, and names that need the reader's language."""

from __future__ import annotations

from datetime import datetime

from django import template

from teiten.portal import frame
from teiten.portal.naming.countries import name_country
from teiten.portal.naming.regions import name_region

register = template.Library()


@register.filter
def moment(at: datetime | None) -> str:
    """``11-21 12:00 JST``."""
    return f"{frame.instants().moment(at)} {frame.instants().zone_word(at)}" if at else "—"


@register.filter
def full_moment(at: datetime | None) -> str:
    """``2026-11-21 12:00 JST``."""
    return frame.instants().full(at) if at else "—"


@register.filter
def clock_second(at: datetime | None) -> str:
    """``12:01:33``."""
    return frame.instants().second(at) if at else "—"


@register.filter
def short_day(at: datetime | None) -> str:
    """``11-21``, or ``21 Nov``."""
    return frame.instants().day(at) if at else "—"


@register.simple_tag
def country_name(code: str) -> str:
    return name_country(code, frame.language())


@register.simple_tag
def region_name(code: str) -> str:
    return name_region(code, frame.language())
