"""Every address of the portal. Each view says who may open it (``portal.access``)."""

from __future__ import annotations

from django.urls import URLPattern, URLResolver, include, path

handler400 = "teiten.portal.refusals.bad_request"
handler403 = "teiten.portal.refusals.forbidden"
handler404 = "teiten.portal.refusals.not_found"
handler500 = "teiten.portal.refusals.server_error"

urlpatterns: list[URLPattern | URLResolver] = [
    path("", include("teiten.portal.signin.urls")),
    path("", include("teiten.portal.overview.urls")),
    path("", include("teiten.portal.values.urls")),
    path("", include("teiten.portal.notes.urls")),
    path("explore/", include("teiten.portal.explore.urls")),
    path("sources/", include("teiten.portal.sources.urls")),
    path("sensors/", include("teiten.portal.sensors.urls")),
    path("compare/", include("teiten.portal.compare.urls")),
    path("rules/", include("teiten.portal.rules.urls")),
    path("", include("teiten.portal.payload.urls")),
    path("disclosures/", include("teiten.portal.disclosures.urls")),
    path("live/", include("teiten.portal.live.urls")),
    path("operations/", include("teiten.portal.operations.urls")),
    path("api/", include("teiten.portal.api.urls")),
]
