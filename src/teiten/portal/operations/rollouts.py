"""Releases and roll-outs: what runs where, what is on its way, and until when what is signed holds."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db.models import Count
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_safe

from teiten.accounts.models import Role
from teiten.fleet.errors import FleetError
from teiten.fleet.models import SensorHealth, SensorState
from teiten.fleet.releases.errors import ReleaseError
from teiten.fleet.releases.repository import ReleaseRepository
from teiten.fleet.rollouts import selectors, services
from teiten.fleet.rollouts.models import Rollout, RolloutKind, TargetState
from teiten.portal import middleware
from teiten.portal import services as portal_services
from teiten.portal.access import role_required, viewer_of
from teiten.portal.acting import ReasonForm, act_of, add_refusal, posted
from teiten.portal.operations.paging import read_page
from teiten.portal.operations.rings import describe_rollout

#: Roles that people sign ask for time; those that the base signs are renewed by themselves.
_SOON = {
    "root": timedelta(days=30),
    "targets": timedelta(days=30),
    "snapshot": timedelta(days=2),
    "timestamp": timedelta(hours=12),
}
_MOVES = {"pause": services.pause, "resume": services.resume, "halt": services.halt, "stop": services.stop}


@role_required(Role.ANALYST)
@require_safe
def show_releases(request: HttpRequest) -> HttpResponse:
    """Show what runs where, roll-outs of updates, and what is published."""
    viewer = viewer_of(request)
    updates = selectors.rollouts_visible_to(viewer, kind=RolloutKind.UPDATE)
    page = read_page(request, updates, size=20)
    newest = page.rows[0] if page.rows and page.number == 1 else None
    context = {
        "here": "operations",
        "tab": "releases",
        "running": list_running(),
        "page": page,
        "progress": describe_rollout(viewer, newest) if newest else None,
        "form": ReasonForm(),
        "may_move": viewer.has_role(Role.OPERATOR),
        **_read_repository(),
    }
    return render(request, "portal/operations/releases.html", context)


def list_running() -> list[dict[str, Any]]:
    """Count sensors by the release and version that they run."""
    rows = (
        SensorHealth.objects.exclude(sensor__state=SensorState.REVOKED)
        .values_list("release", "software", "update_state")
        .annotate(n=Count("pk"))
    )
    counted: Counter[tuple[int | None, str]] = Counter()
    bad: Counter[tuple[int | None, str]] = Counter()
    for release, version, state, number in rows:
        counted[release, version] += number
        bad[release, version] += number if state in ("rolled_back", "blocked") else 0
    total = sum(counted.values()) or 1
    return [
        {"release": release, "version": version, "sensors": number, "share": number / total, "failed": bad[release, version]}
        for (release, version), number in sorted(counted.items(), key=lambda item: (-(item[0][0] or 0), item[0][1]))
    ]  # fmt: skip


def _read_repository() -> dict[str, Any]:
    folder: Path | None = portal_services.releases_dir() or settings.TEITEN_FLEET.releases_dir
    now = middleware.clock.now()
    if folder is None:
        return {"roles": [], "targets": [], "flaw": ""}
    try:
        repository = ReleaseRepository(folder)
        roles = [
            {"name": role, "at": at, "is_over": at <= now, "is_soon": at - now < _SOON.get(role, timedelta(days=7))}
            for role, at in repository.list_expiries().items()
        ]  # fmt: skip
        targets = [{"name": name, **facts} for name, facts in repository.list_targets().items()]
    except (ReleaseError, OSError) as error:
        return {"roles": [], "targets": [], "flaw": str(error)}
    return {"roles": roles, "targets": targets, "flaw": ""}


@role_required(Role.ANALYST)
@require_safe
def show_rollout(request: HttpRequest, number: int) -> HttpResponse:
    """Show one roll-out with its sensors."""
    return _show(request, _find(request, number), ReasonForm())


def _find(request: HttpRequest, number: int) -> Rollout:
    found = selectors.rollouts_visible_to(viewer_of(request)).filter(pk=number).first()
    if found is None:
        raise Http404("no such roll-out")
    return found


def _show(request: HttpRequest, rollout: Rollout, form: ReasonForm, *, status: int = 200) -> HttpResponse:
    viewer, state = viewer_of(request), request.GET.get("state", "")
    targets = selectors.targets_visible_to(viewer, rollout)
    if state in TargetState.values:
        targets = targets.filter(state=state)
    context = {
        "here": "operations",
        "tab": "releases" if rollout.kind == RolloutKind.UPDATE else "commands",
        "progress": describe_rollout(viewer, rollout),
        "page": read_page(request, targets),
        "chosen_state": state if state in TargetState.values else "",
        "chosen_label": TargetState(state).label if state in TargetState.values else "",
        "pager_extra": f"state={state}&" if state in TargetState.values else "",
        "form": form,
        "may_move": viewer.has_role(Role.OPERATOR),
    }
    return render(request, "portal/operations/rollout.html", context, status=status)


@role_required(Role.OPERATOR)
@posted("rollout", keeps=("number",))
def move_rollout(request: HttpRequest, number: int) -> HttpResponse:
    """Pause, resume, halt or stop; ``move`` says which."""
    rollout, form = _find(request, number), ReasonForm(request.POST)
    move = _MOVES.get(request.POST.get("move", ""))
    if move is None:
        raise Http404("no such move")
    if form.is_valid():
        try:
            move(rollout, reason=form.cleaned_data["reason"], act=act_of(request))
        except FleetError as error:
            add_refusal(form, error)
        else:
            is_command = rollout.kind == RolloutKind.COMMAND
            return redirect("command", rollout.subject) if is_command else redirect("rollout", rollout.pk)
    rollout.refresh_from_db()
    return _show(request, rollout, form, status=400)
