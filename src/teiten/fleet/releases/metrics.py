"""Counters of releases."""

from __future__ import annotations

from teiten.foundation.metrics import Counter, Gauge

PUBLISHED = Counter("teiten_fleet_releases_published", "Publications of the update repository.")
EXPIRES = Gauge(
    "teiten_fleet_releases_expire_seconds",
    "When a role of the update repository expires (Unix time).",
    ["role"],
)
