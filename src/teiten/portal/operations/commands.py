"""Commands: who was told what, how far it is, what came back. Sensors obey signatures of operators, never this page."""

from __future__ import annotations

import json

from django import forms
from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_safe

from teiten.accounts.models import Role
from teiten.fleet.commands import selectors, services, targeting
from teiten.fleet.commands.models import Command
from teiten.fleet.errors import FleetError
from teiten.fleet.rollouts.advancing import advance
from teiten.portal import middleware
from teiten.portal.access import role_required, viewer_of
from teiten.portal.acting import ReasonForm, act_of, add_refusal, posted
from teiten.portal.operations import command_words
from teiten.portal.operations.command_forms import SelectorForm, StartForm, SubmitForm
from teiten.portal.operations.paging import read_page

_MOST_NAMES = 200


@role_required(Role.MEMBER)
@require_safe
def show_commands(request: HttpRequest) -> HttpResponse:
    """List commands, newest first; to members those that reached their sensors."""
    viewer = viewer_of(request)
    # Numbers and signatures of 10,000 sensors are not read for a line that counts them.
    listed = selectors.commands_visible_to(viewer).defer("envelope", "sensors")
    page = read_page(request, listed)
    totals = dict(
        Command.objects.filter(pk__in=[one.pk for one in page.rows]).values_list("pk", "sensors__len")
    )
    context = {
        "here": "operations",
        "tab": "commands",
        "lines": [
            command_words.describe_line(command) | {"sensors": totals[command.pk]} for command in page.rows
        ],
        "page": page,
        "may_submit": viewer.has_role(Role.OPERATOR),
    }
    return render(request, "portal/operations/commands.html", context)


@role_required(Role.MEMBER)
@require_safe
def show_command(request: HttpRequest, command_id: str) -> HttpResponse:
    """Show one command: what it says, who signed it, how far it is, what came back."""
    command = _find(request, command_id)
    return _show(request, command, _start_form(), ReasonForm())


def _show(
    request: HttpRequest, command: Command, start_form: StartForm, stop_form: ReasonForm, *, status: int = 200
) -> HttpResponse:
    viewer = viewer_of(request)
    results = read_page(request, selectors.results_visible_to(viewer, command), size=25)
    context = {
        "here": "operations",
        "tab": "commands",
        "results": [command_words.describe_result(result) for result in results.rows],
        "page": results,
        "start_form": start_form,
        "stop_form": stop_form,
        **command_words.describe_command(command, viewer, now=middleware.clock.now()),
    }
    return render(request, "portal/operations/command.html", context, status=status)


def _start_form() -> StartForm:
    return StartForm(initial={"per_minute": settings.TEITEN_FLEET.rollout_per_minute})


def _find(request: HttpRequest, command_id: str) -> Command:
    found = selectors.commands_visible_to(viewer_of(request)).filter(pk=command_id).first()
    if found is None:
        raise Http404("no such command")
    return found


@role_required(Role.OPERATOR)
@require_http_methods(["GET", "HEAD", "POST"])
def submit_command(request: HttpRequest) -> HttpResponse:
    """Take up a signed command; with ``check`` say only what would become of it."""
    form = SubmitForm(request.POST or None, request.FILES or None)
    context: dict[str, object] = {"here": "operations", "tab": "commands", "form": form}
    if request.method != "POST":
        return render(request, "portal/operations/submit.html", context)
    try:
        if form.is_valid():
            envelope, targets = form.cleaned_data["envelope"], form.cleaned_data["targets"]
            if "check" not in request.POST:
                command, _checked = services.submit(envelope, targets=targets, act=act_of(request))
                return redirect("command", command.pk)
            found = services.check_envelope(envelope, targets=targets, now=middleware.clock.now())
            context["checked"] = command_words.describe_checked(found)
            return render(request, "portal/operations/submit.html", context)
    except FleetError as error:
        add_refusal(form, error)
    return render(request, "portal/operations/submit.html", context, status=400)


@role_required(Role.OPERATOR)
@posted("command", keeps=("command_id",))
def start_command(request: HttpRequest, command_id: str) -> HttpResponse:
    """Give an approved command to its sensors, a few first."""
    command, form = _find(request, command_id), StartForm(request.POST)
    if form.is_valid():
        try:
            started = services.start(command, act=act_of(request), **form.cleaned_data)
            if started.rollout is not None:
                advance(started.rollout.pk, now=middleware.clock.now(), config=settings.TEITEN_FLEET)
        except FleetError as error:
            add_refusal(form, error)
        else:
            return redirect("command", command.pk)
    return _show(request, _find(request, command_id), form, ReasonForm(), status=400)


@role_required(Role.OPERATOR)
@posted("command", keeps=("command_id",))
def stop_command(request: HttpRequest, command_id: str) -> HttpResponse:
    """Keep a command from whoever has not fetched it."""
    command, form = _find(request, command_id), ReasonForm(request.POST)
    if form.is_valid():
        try:
            services.stop(command, reason=form.cleaned_data["reason"], act=act_of(request))
        except FleetError as error:
            add_refusal(form, error)
        else:
            return redirect("command", command.pk)
    return _show(request, _find(request, command_id), _start_form(), form, status=400)


@role_required(Role.OPERATOR)
@require_safe
def preview_selector(request: HttpRequest) -> HttpResponse:
    """Say whom a selector means now; with ``download`` give the list that operators sign."""
    form = SelectorForm(request.GET if "selector" in request.GET else None)
    context: dict[str, object] = {"here": "operations", "tab": "commands", "form": form}
    status = 200
    if form.is_bound:
        found = _resolve(form)
        if found is None:
            status = 400
        elif "download" in request.GET:
            return _give_targets(form.cleaned_data["selector"], found)
        else:
            context |= {"found": found, "names": found.names[:_MOST_NAMES], "sha256": found.sha256.hex()}
            context["more"] = max(0, len(found.names) - _MOST_NAMES)
    return render(request, "portal/operations/preview.html", context, status=status)


def _resolve(form: forms.Form) -> targeting.Resolved | None:
    if not form.is_valid():
        return None
    try:
        return targeting.resolve_selector(form.cleaned_data["selector"])
    except FleetError as error:
        form.add_error("selector", str(error))
        return None


def _give_targets(selector: str, found: targeting.Resolved) -> HttpResponse:
    """Give the file that `teiten-operator command new --targets` takes; the same as `teiten command targets`."""
    listed = [
        {"number": number, "name": name} for number, name in zip(found.sensors, found.names, strict=True)
    ]
    content = json.dumps({"selector": selector, "sensors": listed}, ensure_ascii=False, indent=1)
    response = HttpResponse(content + "\n", content_type="application/json; charset=utf-8")
    response["Content-Disposition"] = 'attachment; filename="sensors.targets.json"'
    return response
