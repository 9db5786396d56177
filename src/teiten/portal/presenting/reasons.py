"""Where to go when only a stated reason is missing to see payload."""

from __future__ import annotations

from django.http import HttpRequest
from django.urls import reverse
from django.utils.http import urlencode

from teiten.portal import frame
from teiten.portal.access import viewer_of


def reason_address(request: HttpRequest) -> str:
    """Give the address of the form that leads back here; empty when payload is open, or not for this person."""
    if not viewer_of(request).may_see_payload or frame.visibility_of(request).may_see_payload:
        return ""
    target = request.headers.get("HX-Current-URL") or request.get_full_path()
    return f"{reverse('payload-reason')}?{urlencode({'next': target})}"
