"""Make sensors: names, places and tokens, and one download with what installs them; the tokens are shown never again."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from typing import Any

from django.conf import settings
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_http_methods

from teiten.accounts.models import Role
from teiten.fleet import installing, making, naming
from teiten.fleet.errors import FleetError
from teiten.fleet.installing import Renderer, Ticket
from teiten.fleet.services import Act, IssuedToken
from teiten.fleet.sites import Site
from teiten.portal import services
from teiten.portal.access import role_required
from teiten.portal.acting import act_of, add_refusal, keep_nowhere
from teiten.portal.operations.making_forms import MAX_HERE, MakeForm
from teiten.portal.operations.readiness import read_readiness

_FOLDER = "teiten-sensors"
_PRIVATE = 0o600 << 16


@role_required(Role.OPERATOR)
@require_http_methods(["GET", "HEAD", "POST"])
def make_sensors(request: HttpRequest) -> HttpResponse:
    """Ask for what is needed, make the sensors, and answer with the files."""
    form = MakeForm(request.POST if request.method == "POST" else None)
    context: dict[str, Any] = {
        "here": "operations", "tab": "make", "form": form, "most": MAX_HERE, "readiness": read_readiness(),
    }  # fmt: skip
    if request.method != "POST":
        return render(request, "portal/operations/make.html", context)
    if form.is_valid():
        if form.cleaned_data["count"] > MAX_HERE:
            context["command"] = write_command(form.cleaned_data)
        else:
            answer = _make(form, act_of(request))
            if answer is not None:
                return answer
    return render(request, "portal/operations/make.html", context, status=400)


def _make(form: MakeForm, act: Act) -> HttpResponse | None:
    """Make them all and their files, or nothing; None when the form says what is wrong."""
    values = form.cleaned_data
    try:
        renderer = Renderer(services.make_kit(allow_exec=values["allow_exec"]))
        # The files are made before the commit: sensors whose tokens nobody has seen would be of no use.
        with transaction.atomic():
            content = pack_files(renderer, _create(values, act))
    except FleetError as error:
        add_refusal(form, error)
        return None
    response = HttpResponse(content, content_type="application/zip")
    response["Content-Disposition"] = f'attachment; filename="{values["name"]}.zip"'
    return keep_nowhere(response)


def _create(values: Mapping[str, Any], act: Act) -> list[IssuedToken]:
    site = Site(
        country=values["country"].upper(), asn=values["asn"] or 0, provider=values["provider"],
        kind=values["kind"], mode=values["mode"],
    )  # fmt: skip
    return making.create_sensors(
        naming.name_sensors(values["name"], values["count"]),
        region=values["region"],
        organisation=values["organisation"],
        dataset=values["dataset"],
        act=act,
        config=settings.TEITEN_FLEET,
        needs_approval=values["needs_approval"],
        cidr=values["cidr"],
        site=site,
    )


def pack_files(renderer: Renderer, made: list[IssuedToken]) -> bytes:
    """Pack script and user data of each sensor, and how to run them."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for issued in made:
            number = issued.sensor.pk
            ticket = Ticket(
                number, issued.sensor.name, issued.text, issued.expires_at, {"number": str(number)}
            )
            script = renderer.render_script(ticket)
            _add(archive, installing.script_name(ticket), script)
            _add(archive, f"{ticket.name}.user-data.yaml", installing.render_user_data(script))
        _add(archive, "README.txt", _write_readme(made))
    return packed.getvalue()


def _add(archive: zipfile.ZipFile, name: str, text: str) -> None:
    entry = zipfile.ZipInfo(f"{_FOLDER}/{name}", date_time=(1980, 1, 1, 0, 0, 0))
    entry.compress_type = zipfile.ZIP_DEFLATED
    entry.external_attr = _PRIVATE
    archive.writestr(entry, text)


def _write_readme(made: list[IssuedToken]) -> str:
    first = made[0]
    name = first.sensor.name
    return (
        f"{len(made)} sensors of Teiten. Each file holds a token that works once, until "
        f"{first.expires_at:%Y-%m-%d %H:%M} UTC: keep them as you keep passwords, and delete them afterwards.\n\n"
        f"On each host, as root:\n\n    sh {name}.install.sh install\n\n"
        f"or give {name}.user-data.yaml to cloud-init as user data. `sh {name}.install.sh uninstall` takes it away.\n"
    )


def write_command(values: Mapping[str, Any]) -> str:
    """Write what does the same on the server."""
    parts = [
        f"teiten sensor create {values['name']} --region {values['region'].code} --org {values['organisation'].code}",
        f"--count {values['count']}",
        *(f"--{name} {values[name]}" for name in ("country", "asn", "cidr") if values[name]),
        f"--kind {values['kind']} --mode {values['mode']}",
        *(["--approve"] if values["needs_approval"] else []),
        *(["--allow-exec"] if values["allow_exec"] else []),
        "--output DIR",
    ]
    return " ".join(parts)
