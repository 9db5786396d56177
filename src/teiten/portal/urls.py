"""Every address of the portal. Each view says who may open it (``portal.access``)."""

from __future__ import annotations

from importlib.util import find_spec

from django.urls import URLPattern, URLResolver, include, path

handler400 = "teiten.portal.refusals.bad_request"
handler403 = "teiten.portal.refusals.forbidden"
handler404 = "teiten.portal.refusals.not_found"
handler500 = "teiten.portal.refusals.server_error"

#: Folders with a ``urls.py`` of their own → the path below which they stand.
AREAS = {
    "signin": "",
    "overview": "",
    "explore": "explore/",
    "sources": "sources/",
    "sensors": "sensors/",
    "live": "live/",
}


def _list_areas() -> list[URLPattern | URLResolver]:
    modules = {f"teiten.portal.{area}.urls": below for area, below in AREAS.items()}
    return [
        pattern
        for module, below in modules.items()
        if find_spec(module.removesuffix(".urls")) is not None and find_spec(module) is not None
        for pattern in [path(below, include(module))]
    ]


urlpatterns: list[URLPattern | URLResolver] = [
    *_list_areas(),
]
if find_spec("teiten.portal.api") is not None and find_spec("teiten.portal.api.urls") is not None:
    urlpatterns.append(path("api/", include("teiten.portal.api.urls")))
