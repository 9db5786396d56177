"""A query as URL parameters, and back. Screens and API share this form, version 1.

==========  =====================================================================
``v``       version of this form, always 1
``dataset`` ``live`` (default), ``simulated``, ``import:NAME``
``period``  ``1h 24h 7d 30d 90d 365d`` (ending now), or ``custom``; default 24h
``start``   with ``custom``: first instant, ISO 8601 with zone
``end``     with ``custom``: end, excluded
``q``       the filter, in the query language
``survey``  ``all`` (default), ``without``, ``only``
``metric``  ``packets`` (default), ``hosts``, ``rate``
``mode``    ``auto`` (default), ``silent``, ``answering``, ``all``
==========  =====================================================================

Defaults are left out when writing. Whatever is not in the table, given twice, or
senseless is refused, never ignored: a mistyped filter must not show other data.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timezone
from urllib.parse import parse_qsl, urlencode

from teiten.search import language
from teiten.search.errors import QueryError
from teiten.search.fields import suggest_names
from teiten.search.query import PERIODS, Query, for_period

VERSION = "1"
PARAMETERS: tuple[str, ...] = ("v", "dataset", "period", "start", "end", "q", "survey", "metric", "mode")
DEFAULT_PERIOD = "24h"
#: Years in which instants of a URL may lie.
FIRST_YEAR, LAST_YEAR = 1970, 2200


def decode(
    parameters: str | Mapping[str, str | Sequence[str]], *, now: datetime, extra: Iterable[str] = ()
) -> Query:
    """Read a query from a query string, or from a mapping such as Django's ``QueryDict``.

    Args:
        parameters: ``"period=7d&q=..."`` or a mapping of name to value(s); of a QueryDict pass ``dict(request.GET.lists())``.
        now: what relative periods end at.
        extra: further parameters that the caller reads itself.

    Raises:
        QueryError: naming parameter, value, rule and the way out.
    """
    given = _collect(parameters)
    check_names(given, (*PARAMETERS, *extra))
    values = {name: _only_one(name, given[name]) for name in given if name in PARAMETERS}
    if values.get("v", VERSION) != VERSION:
        raise _refuse(
            "v", values["v"], "is a version this installation does not read; open the screen anew", rule="1"
        )
    return _build(values, now)


def check_names(given: Iterable[str], known: Iterable[str]) -> None:
    """Refuse a parameter that is not among the ``known``.

    Raises:
        QueryError: naming it and what it may have meant.
    """
    names = tuple(known)
    for name in given:
        if name not in names:
            raise _refuse(
                name,
                "",
                f"is no parameter here; {suggest_names(name, names)}",
                rule=", ".join(names) or "no parameters",
            )


def encode(query: Query) -> dict[str, str]:
    """Give the parameters of a query, defaults left out, in a fixed order."""
    parameters = {"v": VERSION}
    if query.dataset != "live":
        parameters["dataset"] = query.dataset
    parameters["period"] = query.period
    if query.period == "custom":
        parameters["start"] = write_instant(query.start)
        parameters["end"] = write_instant(query.end)
    if query.filters is not None:
        parameters["q"] = language.print_filters(query.filters)
    if query.survey != "all":
        parameters["survey"] = query.survey
    if query.metric != "packets":
        parameters["metric"] = query.metric
    if query.mode != "auto":
        parameters["mode"] = query.mode
    return parameters


def encode_string(query: Query, **extra: str) -> str:
    """Give the query string, with ``extra`` parameters after the query's own."""
    return urlencode({**encode(query), **extra})


def write_instant(instant: datetime) -> str:
    """Write an instant as ISO 8601 in UTC, as short as it can be without loss."""
    text = instant.astimezone(timezone.utc).isoformat()
    return text.replace("+00:00", "Z")


def read_instant(name: str, text: str) -> datetime:
    """Read an instant that states its zone.

    Raises:
        QueryError: naming the parameter and the rule.
    """
    rule = "ISO 8601 with a zone, as in 2026-11-21T12:00:00+09:00"
    try:
        # A plus sign that nobody encoded arrives as a space.
        instant = datetime.fromisoformat(text.strip().replace(" ", "+" if "T" in text else "T"))
    except ValueError:
        raise _refuse(name, text, f"is no instant; write {rule}", rule=rule) from None
    if instant.tzinfo is None:
        raise _refuse(name, text, f"states no zone; write {rule}", rule=rule)
    # The period before and after must be in the calendar too, with any zone.
    if not FIRST_YEAR <= instant.year <= LAST_YEAR:
        years = f"a year from {FIRST_YEAR} to {LAST_YEAR}"
        raise _refuse(name, text, f"is beyond the calendar; use {years}", rule=years)
    return instant.astimezone(timezone.utc)


def _collect(parameters: str | Mapping[str, str | Sequence[str]]) -> dict[str, list[str]]:
    given: dict[str, list[str]] = {}
    if isinstance(parameters, str):
        for name, text in _split(parameters):
            given.setdefault(name, []).append(text)
        return given
    for name, value in parameters.items():
        given[name] = [value] if isinstance(value, str) else list(value)
    return given


def _split(text: str) -> list[tuple[str, str]]:
    try:
        return parse_qsl(text.removeprefix("?"), keep_blank_values=True, max_num_fields=100)
    except ValueError:
        rule = "at most 100 parameters"
        raise QueryError(f"the URL has too many parameters; {rule}", field="q", rule=rule) from None


def _only_one(name: str, values: Sequence[str]) -> str:
    if len(values) != 1:
        raise _refuse(name, ", ".join(values), "is given more than once; give it once", rule="once")
    return values[0]


def _build(values: Mapping[str, str], now: datetime) -> Query:
    dataset = values.get("dataset", "live")
    base = _base(values, dataset, now)
    return Query(
        dataset=dataset,
        start=base.start,
        end=base.end,
        filters=language.parse(values.get("q", "")),
        survey=values.get("survey", "all"),  # type: ignore[arg-type]  # checked by Query
        metric=values.get("metric", "packets"),  # type: ignore[arg-type]  # checked by Query
        mode=values.get("mode", "auto"),  # type: ignore[arg-type]  # checked by Query
        period=base.period,
    )


def _base(values: Mapping[str, str], dataset: str, now: datetime) -> Query:
    has_instants = "start" in values or "end" in values
    period = values.get("period", "custom" if has_instants else DEFAULT_PERIOD)
    if period != "custom":
        if has_instants:
            name = "start" if "start" in values else "end"
            raise _refuse(
                name,
                values[name],
                "goes only with period=custom; leave one of them out",
                rule="period=custom",
            )
        return for_period(dataset, period, now=now)
    for name in ("start", "end"):
        if name not in values:
            rule = f"period=custom needs start and end; or use period={' '.join(PERIODS)}"
            raise _refuse(name, "", f"is missing: {rule}", rule=rule)
    return Query(dataset, read_instant("start", values["start"]), read_instant("end", values["end"]))


def _refuse(name: str, value: str, problem: str, *, rule: str) -> QueryError:
    return QueryError(f"URL parameter {name}={value!r} {problem}", field=name, value=value, rule=rule)
