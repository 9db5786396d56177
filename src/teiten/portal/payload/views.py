"""Payload may hold strangers' words: who looks says why, for how long, and it stays on record."""

from __future__ import annotations

from django import forms
from django.conf import settings
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import gettext_lazy as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from teiten.accounts.models import Role, User
from teiten.custody.errors import CustodyInputError
from teiten.custody.models import PayloadReason
from teiten.custody.payload import active_reason, request_payload
from teiten.portal import middleware
from teiten.portal.access import role_required, viewer_of

_MOST_REASONS = 20


class ReasonForm(forms.Form):
    """Why, and for how many minutes."""

    reason = forms.CharField(
        label=_("Why you look at payload"),
        help_text=_("At least 10 characters. It stays on record with your name."),
        max_length=1000,
        widget=forms.Textarea(attrs={"rows": 3}),
    )
    minutes = forms.TypedChoiceField(
        label=_("For how long"),
        coerce=int,
        choices=((15, _("15 minutes")), (30, _("30 minutes")), (60, _("60 minutes"))),
    )


@role_required(Role.ANALYST)
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def state_reason(request: HttpRequest) -> HttpResponse:
    """Show the form and the state; open payload to one person for some minutes."""
    user = viewer_of(request)
    if not user.may_see_payload:
        raise PermissionDenied("this person may not see payload")
    if request.method != "POST":
        return _show(request, user, ReasonForm())
    form = ReasonForm(request.POST)
    if not form.is_valid():
        return _show(request, user, form, status=400)
    try:
        request_payload(user, **form.cleaned_data, at=middleware.clock.now())
    except CustodyInputError as error:
        field = error.entry if error.entry in form.fields else None
        form.add_error(field, str(error).partition(": ")[2])
        return _show(request, user, form, status=400)
    return redirect(_target(request) or "payload-reason")


def _show(request: HttpRequest, user: User, form: ReasonForm, *, status: int = 200) -> HttpResponse:
    context = {
        "form": form,
        "next": _target(request),
        "active": active_reason(user, middleware.clock.now()),
        "reasons": PayloadReason.objects.filter(user=user).order_by("-at")[:_MOST_REASONS],
    }
    return render(request, "portal/payload/reason.html", context, status=status)


def _target(request: HttpRequest) -> str:
    """Give the page to go on to when it is one of ours."""
    wished = request.POST.get("next") or request.GET.get("next") or ""
    is_ours = url_has_allowed_host_and_scheme(
        wished, allowed_hosts={request.get_host()}, require_https=request.is_secure()
    )
    return wished if is_ours and wished != settings.LOGIN_REDIRECT_URL else ""
