"""The frame as a template tag, so that every view may render with Django's own `render`."""

from __future__ import annotations

from typing import Any

from django import template

from teiten.portal.frame import Frame, describe_frame

register = template.Library()


@register.simple_tag(takes_context=True)
def frame(context: dict[str, Any]) -> Frame:
    return describe_frame(context.get("request"))
