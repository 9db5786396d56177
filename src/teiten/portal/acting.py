"""What forms that change the fleet have in common: who acts, what a refusal says, and what is never kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any

from django import forms
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.urls import reverse
from django.utils.translation import gettext_lazy as _

from teiten.fleet.errors import FleetError, FleetInputError
from teiten.fleet.services import Act
from teiten.portal import middleware
from teiten.portal.access import viewer_of

#: The longest reason that the history keeps.
_REASON = 200


class ReasonForm(forms.Form):
    """Why something is done; it stays in the audit log."""

    reason = forms.CharField(
        label=_("Reason"), max_length=_REASON, help_text=_("It stays in the audit log."),
        widget=forms.TextInput(attrs={"autocomplete": "off"}),
    )  # fmt: skip


View = Callable[..., HttpResponse]


def posted(back: str, *, keeps: Sequence[str] = ()) -> Callable[[View], View]:
    """Let only a form do it; whoever comes otherwise is led to a page that can be looked at.

    They come by going back, by switching the language below a refused form, or with a
    bookmark.

    Args:
        back: name of the page.
        keeps: parts of the address that it shares.
    """

    def mark(view: View) -> View:
        @wraps(view)
        def answer(request: HttpRequest, **gaps: Any) -> HttpResponse:
            if request.method == "POST":
                return view(request, **gaps)
            if request.method in ("GET", "HEAD"):
                return HttpResponseRedirect(reverse(back, kwargs={name: gaps[name] for name in keeps}))
            return HttpResponseNotAllowed(["POST"])

        return answer

    return mark


def act_of(request: HttpRequest) -> Act:
    """Say who does it, and when."""
    return Act(at=middleware.clock.now(), actor=viewer_of(request))


def add_refusal(form: forms.Form, error: FleetError, names: dict[str, str] | None = None) -> None:
    """Write a refusal at its field; ``names`` translates what other rooms call a field."""
    field = error.field if isinstance(error, FleetInputError) else ""
    known = (names or {}).get(field, field)
    text = str(error).removeprefix(f"{field}: ") if known in form.fields else str(error)
    form.add_error(known if known in form.fields else None, text)


def keep_nowhere(response: HttpResponse) -> HttpResponse:
    """Let no cache keep an answer that holds a secret."""
    response["Cache-Control"] = "no-store, private"
    response["Pragma"] = "no-cache"
    return response
