"""Annotations and names: everybody reads them, analysts write them, nobody deletes them."""

from __future__ import annotations

from datetime import timezone
from typing import Any

from django import forms
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from teiten.accounts.models import Role
from teiten.datasets import annotating, naming, selectors
from teiten.datasets.errors import DatasetsError, DatasetsInputError
from teiten.datasets.models import FingerprintKind, FingerprintName
from teiten.fleet.services import Act
from teiten.portal import middleware
from teiten.portal.access import role_required, viewer_of
from teiten.portal.notes.forms import AnnotationForm, NameForm
from teiten.portal.presenting.notes import describe_note
from teiten.portal.refused_questions import refuse_question
from teiten.portal.screen import Screen, read_screen
from teiten.search.errors import SearchError
from teiten.search.fields import get_field

_MOST_NOTES = 200


@role_required(Role.MEMBER)
@require_safe
def show_notes(request: HttpRequest) -> HttpResponse:
    """List annotations, and offer the form to those who may write."""
    return _list_notes(request, None)


@role_required(Role.ANALYST)
@require_POST
def add_note(request: HttpRequest) -> HttpResponse:
    """Write an annotation."""
    try:
        screen = read_screen(request)
    except SearchError as error:
        return refuse_question(request, error, place="notes")
    form = _note_form(screen, request.POST)
    if not form.is_valid():
        return _list_notes(request, form, status=400)
    try:
        annotating.create_annotation(**_instants_in_utc(form), act=_act(request))
    except DatasetsInputError as error:
        _add_error(form, error)
        return _list_notes(request, form, status=400)
    return redirect(screen.url_of("notes"))


@role_required(Role.ANALYST)
@require_POST
def withdraw_note(request: HttpRequest, number: int) -> HttpResponse:
    """Take an annotation off the screens."""
    try:
        annotating.withdraw_annotation(number, at=middleware.clock.now(), actor=viewer_of(request))
    except DatasetsError as error:
        raise Http404(str(error)) from error
    return redirect("notes")


@role_required(Role.MEMBER)
@require_http_methods(["GET", "HEAD", "POST"])
def show_names(request: HttpRequest, kind: str, value: str) -> HttpResponse:
    """List the names of a value; take a new one from those who may give it."""
    if kind not in FingerprintKind.values:
        raise Http404(f"{kind} is not named")
    try:
        screen = read_screen(request)
    except SearchError as error:
        return refuse_question(request, error, place="")
    if not screen.viewer.grants(get_field(kind).permission):
        raise Http404("not for this role")
    form = NameForm(request.POST or None, initial={"valid_from": screen.now})
    status = 200
    if request.method == "POST":
        if not screen.viewer.may_see_live:
            raise Http404("only analysts give names")
        if _give_name(form, request, kind=kind, value=value):
            return redirect(screen.url_of("names", None, kind, value))
        status = 400
    context = {
        "screen": screen,
        "kind": FingerprintKind(kind).label,
        "value": value,
        "form": form,
        "may_write": viewer_of(request).has_role(Role.ANALYST),
        "names": selectors.list_names(kind=kind, value=value, with_withdrawn=True),
    }
    return render(request, "portal/notes/names.html", context, status=status)


@role_required(Role.ANALYST)
@require_POST
def withdraw_name(request: HttpRequest, number: int) -> HttpResponse:
    """Take a name back."""
    row = get_object_or_404(FingerprintName, pk=number)
    try:
        naming.withdraw_name(number, at=middleware.clock.now(), actor=viewer_of(request))
    except DatasetsError as error:
        raise Http404(str(error)) from error
    return redirect("names", row.kind, row.value)


def _give_name(form: NameForm, request: HttpRequest, *, kind: str, value: str) -> bool:
    """Give the name in the form; tell whether it was given."""
    if not form.is_valid():
        return False
    try:
        naming.name_fingerprint(kind=kind, value=value, **_instants_in_utc(form), act=_act(request))
    except DatasetsInputError as error:
        _add_error(form, error)
        return False
    return True


def _list_notes(request: HttpRequest, form: AnnotationForm | None, *, status: int = 200) -> HttpResponse:
    try:
        screen = read_screen(request)
    except SearchError as error:
        return refuse_question(request, error, place="notes")
    rows = list(selectors.list_annotations(with_withdrawn=True)[:_MOST_NOTES])
    context = {
        "here": "notes",
        "screen": screen,
        "form": form or _note_form(screen),
        "may_write": viewer_of(request).has_role(Role.ANALYST),
        "notes": [(row, describe_note(row, row.pk, screen)) for row in rows],
    }
    return render(request, "portal/notes/notes.html", context, status=status)


def _note_form(screen: Screen, data: Any = None) -> AnnotationForm:
    names = tuple(extent.name for extent in screen.datasets)
    return AnnotationForm(data, datasets=names, initial={"at": screen.now})


def _instants_in_utc(form: forms.Form) -> dict[str, Any]:
    values = dict(form.cleaned_data)
    for name in ("at", "until_at", "valid_from", "valid_to"):
        if values.get(name) is not None:
            values[name] = values[name].astimezone(timezone.utc)
    return values


def _add_error(form: forms.Form, error: DatasetsInputError) -> None:
    """Put the room's own sentence beside the field that it names."""
    field = error.entry if error.entry in form.fields else None
    form.add_error(field, str(error) if field is None else str(error).partition(": ")[2])


def _act(request: HttpRequest) -> Act:
    return Act(at=middleware.clock.now(), actor=viewer_of(request))
