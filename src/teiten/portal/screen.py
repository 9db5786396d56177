"""A screen's state: who looks, what is asked, and the addresses that change one thing of it.

All of it is in the URL (`search.url`, version 1). Where the URL leaves the data set,
period or metric out, the portal chooses; its own links always write them, so that a
shared address means the same to everybody.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from django.conf import settings
from django.http import HttpRequest
from django.urls import reverse

from teiten.portal import frame, middleware, services
from teiten.portal.naming.instants import Instants
from teiten.search import url as search_url
from teiten.search.answers import DatasetExtent
from teiten.search.query import Query
from teiten.search.visibility import Visibility

DEFAULT_METRIC = "rate"
#: A data set is worth opening with once it holds this much time.
_ENOUGH = timedelta(days=1)
_WALL_CLOCK = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}(:\d{2})?")


@dataclass(frozen=True)
class Screen:
    """What a view and its template need to know about the question."""

    viewer: Visibility
    query: Query
    path: str
    instants: Instants
    language: str
    datasets: tuple[DatasetExtent, ...]
    now: datetime

    @property
    def is_simulated(self) -> bool:
        return self.query.dataset == "simulated"

    @property
    def period_text(self) -> str:
        return self.instants.period(self.query.start, self.query.end)

    @property
    def zone(self) -> str:
        return f"{self.instants.zone.key} ({self.instants.zone_word(self.query.end)})"

    def url(self, query: Query, **extra: str) -> str:
        """Give this screen's address for another question."""
        return f"{self.path}?{urlencode({**encode(query), **extra})}"

    def url_of(self, name: str, query: Query | None = None, *args: str, **extra: str) -> str:
        """Give another screen's address for the same question, or for ``query``."""
        return f"{reverse(name, args=args)}?{urlencode({**encode(query or self.query), **extra})}"

    @property
    def carried(self) -> str:
        """What stays when one goes to another screen: all but the filter."""
        parameters = encode(self.query)
        parameters.pop("q", None)
        return urlencode(parameters)


def encode(query: Query) -> dict[str, str]:
    """Give the parameters of a question, with nothing left to a default that may differ."""
    parameters = search_url.encode(query)
    return {**parameters, "dataset": query.dataset, "metric": query.metric}


def read_screen(request: HttpRequest, *, extra: Iterable[str] = ()) -> Screen:
    """Read the question from the URL.

    Args:
        request: of a signed-in person.
        extra: parameters that the view reads itself.

    Raises:
        QueryError: naming the parameter and the rule.
    """
    viewer = frame.visibility_of(request)
    now = middleware.clock.now()
    datasets = services.get_search().datasets(viewer)
    parameters = _complete(_given(request), datasets)
    query = search_url.decode(parameters, now=now, extra=extra)
    return Screen(viewer, query, request.path, frame.instants(), frame.language(), datasets, now)


def _given(request: HttpRequest) -> dict[str, Sequence[str]]:
    """Give the URL's parameters; a start or end without a zone is the installation's wall clock."""
    given: dict[str, Sequence[str]] = {name: [str(v) for v in values] for name, values in request.GET.lists()}
    for name in ("start", "end"):
        if name in given:
            given[name] = [_with_zone(text) for text in given[name]]
    return {
        name: values
        for name, values in given.items()
        if list(values) != [""] or name not in ("q", "start", "end")
    }


def _with_zone(text: str) -> str:
    if not _WALL_CLOCK.fullmatch(text):
        return text
    try:
        return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(settings.TIME_ZONE)).isoformat()
    except ValueError:  # a 30th of February: decode() says so with the parameter's name
        return text


def _complete(given: dict[str, Sequence[str]], datasets: tuple[DatasetExtent, ...]) -> dict[str, Any]:
    dataset = given.get("dataset") or [choose_dataset(datasets)]
    completed: dict[str, Any] = {
        **given,
        "dataset": dataset,
        "metric": given.get("metric") or [DEFAULT_METRIC],
    }
    if not {"period", "start", "end"} & set(given):
        completed["period"] = [_choose_period(dataset[0], datasets)]
    if "period" not in completed:
        completed["period"] = ["custom"]
    return completed


def choose_dataset(datasets: tuple[DatasetExtent, ...]) -> str:
    """Open with what is live; a young installation opens with the data set that holds most."""
    by_name = {extent.name: extent for extent in datasets}
    live = by_name.get("live")
    if live and live.last_at - live.first_at >= _ENOUGH:
        return "live"
    return max(datasets, key=lambda extent: extent.packets).name if datasets else "live"


def _choose_period(dataset: str, datasets: tuple[DatasetExtent, ...]) -> str:
    extent = next((extent for extent in datasets if extent.name == dataset), None)
    return "24h" if extent is None or extent.last_at - extent.first_at < _ENOUGH else "7d"
