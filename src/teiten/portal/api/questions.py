"""Calls about breadth, groups of sensors, news, movers and payload examples."""

from __future__ import annotations

from typing import Literal

from django.http import HttpRequest, HttpResponse
from ninja import Query, Router
from pydantic import Field

from teiten.portal.api.admission import admit
from teiten.portal.api.encoding import respond
from teiten.portal.api.parameters import Asked, read_query, split_names
from teiten.search.answers_news import NewsDimension
from teiten.search.answers_places import SensorGroup
from teiten.search.errors import QueryError

router = Router()
_NAMES = "Names, separated by commas; without it any."


class CompareAsked(Asked):
    by: str = Field(description="Dimension: a field of `/fields` that is one.")
    limit: int = Field(10, description="1 to 50.")
    against: Literal["group", "before"] = Field(
        "group", description="The other group, or the first one in the period before."
    )
    same_sensors: bool = Field(
        default=False, description="Only sensors that watched in this period and in the one before."
    )
    one_region: str | None = Field(None, description=_NAMES)
    one_kind: str | None = Field(None, description="isp, enterprise, university, cloud, idc, other.")
    one_country: str | None = Field(None, description=_NAMES)
    one_mode: str | None = Field(None, description="silent or answering.")
    one_provider: str | None = Field(None, description=_NAMES)
    one_asn: str | None = Field(None, description="Numbers, separated by commas.")
    one_sensor: str | None = Field(None, description="Numbers, separated by commas.")
    other_region: str | None = Field(None, description=_NAMES)
    other_kind: str | None = Field(None, description="isp, enterprise, university, cloud, idc, other.")
    other_country: str | None = Field(None, description=_NAMES)
    other_mode: str | None = Field(None, description="silent or answering.")
    other_provider: str | None = Field(None, description=_NAMES)
    other_asn: str | None = Field(None, description="Numbers, separated by commas.")
    other_sensor: str | None = Field(None, description="Numbers, separated by commas.")


class NewsAsked(Asked):
    by: NewsDimension = Field("dst_port", description="What news are of.")
    days: int = Field(28, description="Days before the period in which it was not seen, 1 to 90.")
    limit: int = Field(20, description="1 to 200.")


class MoversAsked(Asked):
    by: str = Field("dst_port", description="Dimension: a field of `/fields` that is one.")
    limit: int = Field(10, description="1 to 50.")


class ExamplesAsked(Asked):
    payload_hash: str = Field(description="16 hexadecimal digits.")
    limit: int = Field(5, description="1 to 50.")


@router.get("/breadth", summary="In what share of the sensors it was seen", tags=["observation"])
def breadth(request: HttpRequest, asked: Query[Asked]) -> HttpResponse:
    """Sensors that saw matching packets, of those that watched; by region, and "only here"."""
    search, viewer = admit(request)
    return respond(search.breadth(viewer, read_query(request, asked)))


@router.get("/compare", summary="One group of sensors against another", tags=["observation"])
def compare(request: HttpRequest, asked: Query[CompareAsked]) -> HttpResponse:
    """Rates of both groups per value of `by`, their ratio, and its 95 % confidence interval."""
    search, viewer = admit(request)
    answer = search.compare(
        viewer,
        read_query(request, asked),
        one=read_group(asked, "one"),
        other=read_group(asked, "other") if asked.against == "group" else None,
        dimension=asked.by,
        limit=asked.limit,
        same_sensors=asked.same_sensors,
    )
    return respond(answer)


@router.get("/news", summary="What is seen for the first time", tags=["figures"])
def news(request: HttpRequest, asked: Query[NewsAsked]) -> HttpResponse:
    """Values of the period's days that the days before did not have."""
    search, viewer = admit(request)
    query = read_query(request, asked)
    return respond(search.news(viewer, query, dimension=asked.by, days=asked.days, limit=asked.limit))


@router.get("/movers", summary="What grew beyond its usual range", tags=["figures"])
def movers(request: HttpRequest, asked: Query[MoversAsked]) -> HttpResponse:
    """Trend and anomaly against the 28 days before, in packets per covered address-day."""
    search, viewer = admit(request)
    query = read_query(request, asked)
    return respond(search.movers(viewer, query, dimension=asked.by, limit=asked.limit))


@router.get("/examples", summary="Whole payloads with a hash", tags=["packets"])
def examples(request: HttpRequest, asked: Query[ExamplesAsked]) -> HttpResponse:
    """At most one a sensor and day, newest first; `payload` is hexadecimal. Needs the payload permission."""
    search, viewer = admit(request)
    query = read_query(request, asked)
    return respond(search.examples(viewer, query, payload_hash=asked.payload_hash, limit=asked.limit))


def read_group(asked: CompareAsked, side: Literal["one", "other"]) -> SensorGroup:
    """Read one side's group.

    Raises:
        QueryError: naming the parameter, for what is no number.
    """

    def names(part: str) -> tuple[str, ...]:
        return split_names(getattr(asked, f"{side}_{part}")) or ()

    return SensorGroup(
        sensors=_read_numbers(f"{side}_sensor", names("sensor")),
        regions=names("region"),
        kinds=names("kind"),
        countries=names("country"),
        providers=names("provider"),
        asns=_read_numbers(f"{side}_asn", names("asn")),
        modes=names("mode"),
    )


def _read_numbers(name: str, words: tuple[str, ...]) -> tuple[int, ...]:
    for word in words:
        if not (word.isascii() and word.isdigit() and int(word) <= 0xFFFFFFFF):
            rule = "numbers up to 4294967295, separated by commas"
            raise QueryError(
                f"URL parameter {name}: {word!r} is no number; write {rule}",
                field=name,
                value=word,
                rule=rule,
            )
    return tuple(int(word) for word in words)
