"""The frame as a template tag, so that every view may render with Django's own `render`."""

from __future__ import annotations

from typing import Any

from django import template

from teiten.portal.frame import Frame, describe_bare_frame, describe_frame

register = template.Library()


@register.simple_tag(takes_context=True)
def frame(context: dict[str, Any]) -> Frame:
    """Give the frame; with ``is_bare`` without asking who looks."""
    request = context.get("request")
    return describe_bare_frame(request) if context.get("is_bare") else describe_frame(request)
