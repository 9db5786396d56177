"""Template tags that draw: icons, sparklines, bars. Geometry only; colour comes from classes."""

from __future__ import annotations

from django import template
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe

from teiten.portal.charts import marks
from teiten.portal.presenting.figures import Change, describe_change

register = template.Library()


@register.simple_tag
def icon(name: str) -> SafeString:
    """Draw an icon; it is decoration, so words must stand beside it or in aria-label."""
    return mark_safe(f'<svg class="i" viewBox="0 0 16 16" aria-hidden="true">{marks.ICONS[name]}</svg>')  # noqa: S308 - our own table


@register.filter
def inline_code(text: str) -> SafeString:
    """Write what stands between backticks as code; everything is escaped."""
    parts = enumerate(str(text).split("`"))
    return format_html_join(
        "", "{}", ((format_html("<code>{}</code>", part) if place % 2 else part,) for place, part in parts)
    )


@register.simple_tag
def sparkline(
    values: marks.Values, previous: marks.Values = (), *, width: int = 200, height: int = 28, tone: str = ""
) -> SafeString:
    """Draw a sparkline from 0; ``previous`` is dashed. ``tone``: "" (figures), "n" (others), "w" (watched)."""
    now, before = marks.thin(values, width), marks.thin(previous, width)
    top = marks.highest(now, before)
    line, area = marks.draw_spark(now, width=width, height=height, top=top)
    dashed, _ = marks.draw_spark(before, width=width, height=height, top=top)
    return format_html(
        '<svg viewBox="0 0 {w} {h}" preserveAspectRatio="none" width="{w}" height="{h}" aria-hidden="true">'
        '<path class="sparkfill {tone}" d="{area}"/><path class="sparkprev" d="{dashed}"/>'
        '<path class="spark {tone}" d="{line}"/></svg>',
        w=width,
        h=height,
        tone=tone,
        area=area,
        dashed=dashed,
        line=line,
    )


@register.simple_tag
def share_bar(share: float | None, tone: str = "") -> SafeString:
    """Draw a bar filled to a share of 1."""
    percent = f"{min(1.0, max(0.0, share or 0.0)) * 100:.1f}%"
    return format_html(
        '<svg class="sharebar" width="100%" height="8" aria-hidden="true"><rect class="barbg" width="100%" height="8" rx="1.5"/>'
        '<rect class="bar {}" width="{}" height="8" rx="1.5"/></svg>',
        tone,
        percent,
    )


@register.simple_tag
def change(now: float | None, before: float | None) -> SafeString:
    """Write a change with its arrow; grey below 20 %."""
    return write_change(describe_change(now, before))


@register.filter
def write_change(described: Change) -> SafeString:
    if described.tone == "none":
        return format_html('<span class="delta flat">{}</span>', described.text)
    return format_html('<span class="delta {}">{} {}</span>', described.tone, described.arrow, described.text)
