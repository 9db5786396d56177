"""The API: the screens' queries as JSON, under ``/api/v1/``."""

from __future__ import annotations

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from ninja import NinjaAPI, Query

from teiten.accounts.models import Scope
from teiten.portal.api import fleet, guard, questions
from teiten.portal.api import parameters as form
from teiten.portal.api.admission import admit
from teiten.portal.api.columns import list_columns
from teiten.portal.api.encoding import respond
from teiten.portal.api.errors import add_handlers
from teiten.portal.api.parameters import read_query, refuse_unknown, split_names
from teiten.portal.api.streaming import respond_with_file

_DESCRIPTION = """
Every answer carries `basis`: on how much observation it rests, what is missing, and until when it is complete.
In a series `null` means "not watched"; zero means "watched, none seen".
`hosts`, the number of distinct sources, is an estimate from about 100 on, by a sketch whose standard error is 1.6 %; of the same packets it
is always the same. Packets and sensors are exact, but for members, whose figures are coarse.

Members get lines of alike packets of an hour instead of packets, coarse figures, and nothing that fewer than `basis.least_sensors`
sensors of other organisations saw: 0 means none, or too few. Their periods are whole hours (whole days from three days on) and end
an hour before now.

`/fleet/…` tells of the sensors themselves, read-only, with a token of scope `sensors`: everybody of the sensors that they see as they
are (members: their own organisation's). Lists have `next_page`; pass it as `page`, until it is null.

Payload needs the permission of the person and a reason in the header `Teiten-Payload-Reason` (10 characters or more; it stays on record).

Errors: `{"error": code, "message": text, "field": name}` with 400 `bad_query`, 401 `bad_token` or `not_signed_in`,
403 `not_permitted` or `missing_scope`, 404 `not_found`, 422 `too_expensive`, 429 `too_many_calls`,
503 `store_unavailable`.
"""

api = NinjaAPI(
    title="Teiten",
    version="1",
    description=_DESCRIPTION,
    urls_namespace="api-v1",
    auth=[guard.TokenAuth(), guard.SessionAuth()],
    docs_url="docs",
    docs_decorator=login_required,
)
add_handlers(api)
api.add_router("", questions.router)
api.add_router("/fleet", fleet.router)


@api.get("/totals", summary="Key figures with the previous period", tags=["figures"])
def totals(request: HttpRequest, asked: Query[form.TotalsAsked]) -> HttpResponse:
    """Hosts, packets, packets per covered address-day, sensors; with a spark of each."""
    search, viewer = admit(request)
    return respond(search.totals(viewer, read_query(request, asked), step_seconds=asked.step))


@api.get("/series", summary="Values over time, split by a dimension", tags=["figures"])
def series(request: HttpRequest, asked: Query[form.SeriesAsked]) -> HttpResponse:
    """One line per value of `by`, others, and the total."""
    search, viewer = admit(request)
    answer = search.series(
        viewer,
        read_query(request, asked),
        dimension=asked.by,
        limit=asked.limit,
        rank_by=asked.rank_by,
        previous=asked.previous,
        step_seconds=asked.step,
    )
    return respond(answer)


@api.get("/top", summary="Ranking of a dimension's values", tags=["figures"])
def top(request: HttpRequest, asked: Query[form.TopAsked]) -> HttpResponse:
    """Rank, value, share, change, previous rank and spark of the first values, and others."""
    search, viewer = admit(request)
    answer = search.top(
        viewer,
        read_query(request, asked),
        dimension=asked.by,
        limit=asked.limit,
        previous=asked.previous,
        sparks=asked.sparks,
    )
    return respond(answer)


@api.get("/facets", summary="Most frequent values of several dimensions", tags=["figures"])
def facets(request: HttpRequest, asked: Query[form.FacetsAsked]) -> HttpResponse:
    """Packets per value; conditions on a facet's own field are set aside for it."""
    search, viewer = admit(request)
    query = read_query(request, asked)
    return respond(search.facets(viewer, query, dimensions=split_names(asked.by), limit=asked.limit))


@api.get("/rows", summary="Packets, newest first", tags=["packets"])
def rows(request: HttpRequest, asked: Query[form.RowsAsked]) -> HttpResponse:
    """A page of packets; pass `next_page` of the answer as `page` for the next one."""
    search, viewer = admit(request)
    answer = search.rows(
        viewer,
        read_query(request, asked),
        page=asked.page,
        limit=asked.limit,
        columns=split_names(asked.columns),
        count=asked.count,
    )
    return respond(answer)


@api.get("/packet", summary="One packet with its rebuilt header", tags=["packets"])
def packet(request: HttpRequest, reference: str) -> HttpResponse:
    """`reference` is one of `references` of `/rows`."""
    search, viewer = admit(request)
    refuse_unknown(request, "reference")
    return respond(search.packet(viewer, reference))


@api.get("/source", summary="Everything about an address or prefix", tags=["packets"])
def source(request: HttpRequest, asked: Query[form.SourceAsked]) -> HttpResponse:
    """First and last seen, ports by day, fingerprints, hints, sensors, calendar."""
    search, viewer = admit(request)
    return respond(search.source(viewer, read_query(request, asked), source=asked.source))


@api.get("/export", summary="Packets as a file", tags=["packets"])
def export(request: HttpRequest, asked: Query[form.ExportAsked]) -> StreamingHttpResponse:
    """Oldest first. What the file rests on stands in `Teiten-*` headers, and inside Parquet and Arrow."""
    search, viewer = admit(request, Scope.EXPORT)
    made = search.export(
        viewer,
        read_query(request, asked),
        file_format=asked.format,
        columns=split_names(asked.columns),
        limit=asked.limit,
        byte_order_mark=asked.bom,
    )
    return respond_with_file(request, made)


@api.get("/coverage", summary="On how much observation answers would rest", tags=["observation"])
def coverage(request: HttpRequest, asked: Query[form.Asked]) -> HttpResponse:
    """Covered and expected address-days, completeness, gaps, kernel drops."""
    search, viewer = admit(request)
    return respond(search.basis(viewer, read_query(request, asked)))


@api.get("/sensors", summary="Who was watching", tags=["observation"])
def sensors(request: HttpRequest, asked: Query[form.SensorsAsked]) -> HttpResponse:
    """Coverage of each sensor and region per hour or day."""
    search, viewer = admit(request, Scope.SENSORS)
    query = read_query(request, asked)
    return respond(search.sensors(viewer, query, step_seconds=asked.step, sensor=asked.sensor))


@api.get("/datasets", summary="Data sets and the time each spans", tags=["observation"])
def datasets(request: HttpRequest) -> HttpResponse:
    """Name, first and last instant, packets, sensors."""
    search, viewer = admit(request)
    refuse_unknown(request)
    return respond(search.datasets(viewer))


@api.get("/fields", summary="Fields of the query language", tags=["description"])
def fields(request: HttpRequest) -> HttpResponse:
    """Name, meaning, rule and operators of each field, and which are masked."""
    search, viewer = admit(request)
    refuse_unknown(request)
    return respond(search.fields(viewer))


@api.get("/columns", summary="Columns of a packet", tags=["description"])
def columns(request: HttpRequest) -> HttpResponse:
    """Name, type, unit, meaning and source of each column of `/rows` and `/export`."""
    _, viewer = admit(request)
    refuse_unknown(request)
    return respond(list_columns(viewer))


@api.get("/complete", summary="What may stand at the cursor of a query", tags=["description"])
def complete(
    request: HttpRequest, q: str = "", cursor: int | None = None, dataset: str = "live"
) -> HttpResponse:
    """Fields, operators, values, words."""
    search, viewer = admit(request)
    refuse_unknown(request, "q", "cursor", "dataset")
    return respond(search.complete(viewer, q, cursor=cursor, dataset=dataset))
