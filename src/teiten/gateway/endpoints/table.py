"""All routes of the sensor listener: a line each."""

from __future__ import annotations

import re
from typing import cast

from aiohttp import web

from teiten.gateway.authenticating import Desk
from teiten.gateway.endpoints import (
    batches,
    commanding,
    enrolling,
    heartbeats,
    public_files,
    recovering,
    rotating,
)
from teiten.gateway.errors import Refusal
from teiten.gateway.routing import Reply, Route

ROUTES: tuple[Route, ...] = (
    batches.ROUTE,
    heartbeats.ROUTE,
    enrolling.ROUTE,
    rotating.ROUTE,
    recovering.ROUTE,
    commanding.COMMANDS_ROUTE,
    commanding.RESULT_ROUTE,
    public_files.METADATA,
    public_files.TARGET,
)

_SHOWN = ", ".join(f"{route.method} {route.shown}" for route in ROUTES)


async def _refuse_path(_desk: Desk, _request: web.BaseRequest, _match: re.Match[str]) -> Reply:
    raise Refusal(404, "unknown_path", f"the path must be one of {_SHOWN}")


_NOWHERE = Route("other", "", re.compile(r"(?s).*"), "", _refuse_path)


def find_route(method: str, raw_path: str) -> tuple[Route, re.Match[str]]:
    """Give the route of a request; one that refuses when there is none."""
    for route in ROUTES:
        match = route.path.fullmatch(raw_path)
        if match is not None and route.method == method:
            return route, match
    # Everything matches .*, so there is a match.
    return _NOWHERE, cast("re.Match[str]", _NOWHERE.path.fullmatch(raw_path))
