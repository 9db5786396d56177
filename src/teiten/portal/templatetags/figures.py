"""Template filters and tags that write numbers."""

from __future__ import annotations

from django import template
from django.utils.html import format_html
from django.utils.safestring import SafeString

from teiten.portal import frame
from teiten.portal.presenting import figures

register = template.Library()

register.filter("count", figures.format_count)
register.filter("measure", figures.format_measure)
register.filter("share", figures.format_share)


@register.simple_tag
def big(value: float | None, unit: str = "") -> SafeString:
    """Write a key figure: shortened, its units smaller."""
    if value is None:
        return format_html("—<small>{}</small>", unit)
    shortened = figures.shorten(value, frame.language())
    units = " ".join(part for part in (shortened.unit, unit) if part)
    return format_html("{}<small>{}</small>", shortened.text, units)


@register.filter
def percent(share: float | None) -> str:
    """Write a share as a length for SVG: ``97.2%``."""
    return f"{min(1.0, max(0.0, share or 0.0)) * 100:.1f}%"
