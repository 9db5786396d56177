"""The disclosure log: who received what, and who received data on an address or a sensor."""

from __future__ import annotations

from django import forms
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_safe

from teiten.accounts.models import Organisation, Role
from teiten.custody import recipients
from teiten.custody.errors import CustodyInputError
from teiten.custody.models import Channel
from teiten.portal.access import role_required
from teiten.portal.disclosures.asking_again import make_verify
from teiten.portal.disclosures.presenter import describe_receipts, list_newest
from teiten.portal.refused_questions import refuse_question
from teiten.portal.screen import read_screen
from teiten.search.errors import SearchError

PARAMETERS = ("about", "organisation", "channel", "before")


class FilterForm(forms.Form):
    """What to look for in the log."""

    about = forms.CharField(
        label=_("Who received data on"),
        required=False,
        max_length=100,
        help_text=_("An address, a prefix, or a sensor as S-12."),
    )
    organisation = forms.ModelChoiceField(
        label=_("Recipient"),
        required=False,
        queryset=Organisation.objects.order_by("code"),
        to_field_name="code",
        empty_label=_("Everybody"),
    )
    channel = forms.ChoiceField(
        label=_("Channel"), required=False, choices=[("", _("All")), *Channel.choices]
    )
    before = forms.IntegerField(required=False, min_value=1, widget=forms.HiddenInput())


@role_required(Role.OPERATOR)
@require_safe
def show_disclosures(request: HttpRequest) -> HttpResponse:
    """Show the log, newest first, or everybody who received data on one subject."""
    try:
        screen = read_screen(request, extra=PARAMETERS)
    except SearchError as error:
        return refuse_question(request, error, place="disclosures")
    form = FilterForm(request.GET)
    context = {"here": "disclosures", "screen": screen, "form": form}
    if not form.is_valid():
        return render(request, "portal/disclosures/disclosures.html", context, status=400)
    about = form.cleaned_data["about"].strip()
    if not about:
        context |= list_newest(form.cleaned_data, screen)
        return render(request, "portal/disclosures/disclosures.html", context)
    try:
        subject = recipients.read_subject(about)
    except CustodyInputError as error:
        form.add_error("about", str(error).partition(": ")[2])
        return render(request, "portal/disclosures/disclosures.html", context, status=400)
    received = recipients.who_received(subject, verify=make_verify(request))
    context |= describe_receipts(received, form.cleaned_data, screen)
    return render(request, "portal/disclosures/disclosures.html", context)
