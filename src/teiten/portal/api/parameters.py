"""The URL parameters of each call.

Those of the question are the same as the screens' (``teiten.search.url``): here they
are only declared for the OpenAPI page, and read by :func:`read_query`, which refuses
whatever is unknown. A call's own parameters are read by their types.
"""

from __future__ import annotations

from typing import Literal

from django.http import HttpRequest
from ninja import Schema
from pydantic import Field

from teiten.portal import middleware
from teiten.search import url
from teiten.search.exports import ExportFormat
from teiten.search.query import METRICS, MODES, PERIODS, SURVEYS, Query


class Asked(Schema):
    """The question, as every call of figures and packets takes it."""

    v: str = Field("1", description="Version of this form.")
    dataset: str = Field("live", description="`live`, `simulated` or `import:NAME`.")
    period: str = Field(
        "24h",
        description="A period that ends now, or `custom` with `start` and `end`.",
        json_schema_extra={"enum": [*PERIODS, "custom"]},
    )
    start: str | None = Field(None, description="First instant, ISO 8601 with zone.")
    end: str | None = Field(None, description="End, excluded.")
    q: str = Field(
        "", description="Filter: `dst_port = 8728 and region = kanto and country not in (CN, US)`."
    )
    survey: str = Field(
        "all", description="Known survey scanners.", json_schema_extra={"enum": list(SURVEYS)}
    )
    metric: str = Field(
        "packets",
        description="Distinct sources, packets, or packets per covered address-day.",
        json_schema_extra={"enum": list(METRICS)},
    )
    mode: str = Field(
        "auto",
        description="Way of watching; `auto` is silent, or answering where only that watched; `all` has no rate.",
        json_schema_extra={"enum": list(MODES)},
    )


_STEP = Field(None, description="Length of a bucket in seconds; without it a fit one is chosen.")
_BY = Field(description="Dimension: a field of `/fields` that is one, `src_prefix` or `src_64`.")


class TotalsAsked(Asked):
    step: int | None = _STEP


class SeriesAsked(Asked):
    by: str | None = Field(None, description="Dimension to split by; without it only the total.")
    limit: int = Field(8, description="Lines besides others, 1 to 20.")
    rank_by: Literal["avg", "max", "last"] = Field("avg", description="What chooses the lines.")
    previous: bool = Field(default=True, description="With the period before.")
    step: int | None = _STEP


class TopAsked(Asked):
    by: str = _BY
    limit: int = Field(10, description="1 to 1,000.")
    previous: bool = Field(default=True, description="With the period before.")
    sparks: bool = Field(default=True, description="With a small series for each.")


class FacetsAsked(Asked):
    by: str | None = Field(None, description="Dimensions, separated by commas.")
    limit: int = Field(5, description="Values of each, 1 to 50.")


class RowsAsked(Asked):
    page: str | None = Field(None, description="`next_page` of the answer before.")
    limit: int = Field(50, description="1 to 1,000.")
    columns: str | None = Field(None, description="Columns, separated by commas.")
    count: bool = Field(default=True, description="Count the matching packets, up to 10,000.")


class SourceAsked(Asked):
    source: str = Field(description="An address, or a prefix of /8 (IPv4) or /32 (IPv6) and longer.")


class SensorsAsked(Asked):
    step: int | None = _STEP
    sensor: int | None = Field(None, description="Only this sensor.")


class ExportAsked(Asked):
    format: ExportFormat = Field("csv", description="Form of the file.")
    columns: str | None = Field(None, description="Columns, separated by commas; all that you may see.")
    limit: int | None = Field(None, ge=1, description="At most this many rows, the oldest.")
    bom: bool = Field(default=False, description="A byte-order mark before CSV, for Excel.")


def read_query(request: HttpRequest, asked: Asked) -> Query:
    """Read the question of a call.

    Raises:
        QueryError: naming the parameter, the rule and the way out.
    """
    given: dict[str, list[str]] = {
        name: [str(value) for value in values] for name, values in request.GET.lists()
    }
    return url.decode(given, now=middleware.clock.now(), extra=type(asked).model_fields)


def refuse_unknown(request: HttpRequest, *known: str) -> None:
    """Refuse parameters that a call without a question does not have.

    Raises:
        QueryError: naming the first unknown one.
    """
    url.check_names(request.GET.keys(), known)


def split_names(text: str | None) -> tuple[str, ...] | None:
    """Read ``a,b,c``; None for nothing."""
    if not text:
        return None
    return tuple(part.strip() for part in text.split(",") if part.strip())
