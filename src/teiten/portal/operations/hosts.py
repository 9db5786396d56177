"""Hosts: whom to tell when something is wrong with an organisation's sensors, and what may be commanded there.

Operators look after any organisation, people after their own; any other is as unknown as none.
"""

from __future__ import annotations

import contextlib
from typing import Any
from urllib.parse import urlencode

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_safe

from teiten.accounts.models import Organisation, Role
from teiten.fleet import hosting, selectors
from teiten.fleet.errors import FleetError, SensorUnknownError
from teiten.portal import frame
from teiten.portal.access import role_required, viewer_of
from teiten.portal.acting import act_of, add_refusal, posted
from teiten.portal.operations.host_forms import CLASSES, AgreementForm, ContactForm, FindForm
from teiten.portal.operations.paging import read_page


@role_required(Role.MEMBER)
@require_safe
def show_hosts(request: HttpRequest) -> HttpResponse:
    """List the organisations that operators look after; whoever is of one sees that one."""
    viewer = viewer_of(request)
    if not viewer.has_role(Role.OPERATOR):
        return redirect("host", viewer.organisation.code)
    form = FindForm(request.GET)
    wanted = form.cleaned_data["q"].strip() if form.is_valid() else ""
    page = read_page(request, selectors.hosts_visible_to(viewer, named=wanted))
    context = {
        "here": "operations",
        "tab": "hosts",
        "page": page,
        "wanted": wanted,
        "lines": [{"host": one, "name": _name_of(one)} for one in page.rows],
        "pager_extra": f"{urlencode({'q': wanted})}&" if wanted else "",
    }
    return render(request, "portal/operations/hosts.html", context)


@role_required(Role.MEMBER)
@require_safe
def show_host(request: HttpRequest, code: str) -> HttpResponse:
    """Show one host with its contacts and what it has agreed to."""
    return _show(request, _find(request, code))


@role_required(Role.MEMBER)
@posted("host", keeps=("code",))
def add_contact(request: HttpRequest, code: str) -> HttpResponse:
    """Enter a contact."""
    organisation, form = _find(request, code), ContactForm(request.POST)
    if form.is_valid():
        try:
            hosting.add_contact(organisation, **form.cleaned_data, act=act_of(request))
        except FleetError as error:
            add_refusal(form, error)
        else:
            return redirect("host", code)
    return _show(request, organisation, contact_form=form, status=400)


@role_required(Role.MEMBER)
@posted("host", keeps=("code",))
def remove_contact(request: HttpRequest, code: str, number: int) -> HttpResponse:
    """Take a contact away; one that is gone already stays gone."""
    organisation = _find(request, code)
    try:
        with contextlib.suppress(SensorUnknownError):
            hosting.remove_contact(organisation, number, act=act_of(request))
    except FleetError as error:
        return _show(request, organisation, refused=str(error), status=400)
    return redirect("host", code)


@role_required(Role.MEMBER)
@posted("host", keeps=("code",))
def agree_classes(request: HttpRequest, code: str) -> HttpResponse:
    """Note which classes of commands the host agrees to."""
    organisation, form = _find(request, code), AgreementForm(request.POST)
    if form.is_valid():
        try:
            hosting.agree_classes(organisation, **form.cleaned_data, act=act_of(request))
        except FleetError as error:
            add_refusal(form, error)
        else:
            return redirect("host", code)
    return _show(request, organisation, agreement_form=form, status=400)


def _find(request: HttpRequest, code: str) -> Organisation:
    viewer = viewer_of(request)
    found = selectors.hosts_visible_to(viewer).filter(code=code).first()
    if found is None:
        raise Http404("no such organisation")
    return found


def _show(
    request: HttpRequest,
    organisation: Organisation,
    *,
    contact_form: ContactForm | None = None,
    agreement_form: AgreementForm | None = None,
    refused: str = "",
    status: int = 200,
) -> HttpResponse:
    host = hosting.find_host(organisation)
    context: dict[str, Any] = {
        "here": "operations",
        "tab": "hosts",
        "host": host,
        "refused": refused,
        "name": _name_of(organisation),
        "classes": [{"letter": letter, "says": says, "agreed": letter in host.command_classes} for letter, says in CLASSES.items()],
        "contact_form": contact_form or ContactForm(),
        "agreement_form": agreement_form or AgreementForm(initial={"classes": list(host.command_classes)}),
    }  # fmt: skip
    return render(request, "portal/operations/host.html", context, status=status)


def _name_of(organisation: Organisation) -> str:
    return organisation.name_ja if frame.language() == "ja" else organisation.name_en
