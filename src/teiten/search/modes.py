"""Ways of watching: sensors that keep silent and sensors that answer are never mixed in a rate.

A sensor that answers is told more (handshakes, payloads, follow-up connections), so
numerator and denominator of every rate are of one mode. A question that names none is
about the silent sensors, or about the answering ones where only these watched.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

from teiten.foundation.clock import to_us
from teiten.search import periods
from teiten.search.conditions import Condition, where
from teiten.search.desk import Desk
from teiten.search.errors import QueryError
from teiten.search.periods import DAY, HOUR_US, Window, find_hour, keep_seconds
from teiten.search.predicates import Binding, write_filter
from teiten.search.query import Mode, Query
from teiten.search.roster import choose_coverage, project
from teiten.search.statements import write_time
from teiten.search.tables import HOUR
from teiten.search.visibility import Visibility

#: From this on whole days tell what was watched.
_DAYS_FROM = timedelta(days=3)
_ANSWERING: Mapping[Mode, int] = {"silent": 0, "answering": 1}
_STRATA = """
SELECT mode, ip_version, prefix_length, sum(address_seconds) AS seconds
FROM {table}
WHERE dataset = {dataset} AND {time} AND {filter}
GROUP BY mode, ip_version, prefix_length
ORDER BY mode, ip_version, prefix_length
"""


@dataclass(frozen=True)
class Stratum:
    """What was watched in one way, of one family and prefix length."""

    mode: str
    ip_version: int
    prefix_length: int
    #: Address-seconds.
    seconds: float


def settle(desk: Desk, visibility: Visibility, query: Query) -> Query:
    """Decide the mode of a question and keep only packets of it; the same again changes nothing.

    Raises:
        QueryError: when the filter asks for another mode than the question.
    """
    asked = asked_mode(query)
    if query.mode not in ("auto", "all") and asked not in ("auto", query.mode):
        rule = "mode and the condition on answering must not contradict each other"
        raise QueryError(
            f"mode={query.mode} leaves nothing of the filter, which keeps mode {asked};"
            " take the condition on answering away, or leave mode out",
            field="mode",
            value=query.mode,
            rule=rule,
        )
    mode = query.mode if asked == "auto" else asked
    if mode == "auto":
        mode = _choose(list_strata(desk, visibility, query, _around(desk, query)))
    settled = replace(query, mode=mode)
    if mode in ("all", asked):
        return settled
    return settled.narrow(where("answering", "=", _ANSWERING[mode]))


def watch_all(query: Query) -> Query:
    """Ask about every mode unless the question names one: for lists of who watched, not for rates."""
    return replace(query, mode="all") if query.mode == "auto" and asked_mode(query) == "auto" else query


def asked_mode(query: Query) -> Mode:
    """Give the one mode that the filter keeps; ``auto`` when it says nothing of it."""
    for part in query.conditions:
        if isinstance(part, Condition) and part.field == "answering":
            return "answering" if part in _YES else "silent"
    return "auto"


_YES = (where("answering", "=", 1), where("answering", "!=", 0))


def list_strata(desk: Desk, visibility: Visibility, query: Query, window: Window) -> tuple[Stratum, ...]:
    """List what was watched in a window (in the hours around it, if it is finer), in every mode."""
    if window.step_seconds < HOUR:
        window = _widen(window.start_us, window.end_us, desk.zone)
    return desk.remember(
        ("strata", query.dataset, project(query.filters), window.start_us, window.end_us),
        lambda: _list_strata(desk, visibility, query, window),
        seconds=keep_seconds(desk.config.freshness_cache_seconds, window),
        viewer=None,
    )


def _list_strata(desk: Desk, visibility: Visibility, query: Query, window: Window) -> tuple[Stratum, ...]:
    binding = Binding()
    table = choose_coverage(query, window)
    statement = _STRATA.format(
        table=table.name,
        dataset=binding.bind("String", query.dataset),
        time=write_time(table, window, binding),
        filter=write_filter(project(query.filters), binding),
    )
    rows = desk.select(visibility, statement, binding.parameters).to_pylist()
    return tuple(Stratum(**row) for row in rows if row["seconds"] > 0)


def _choose(strata: Sequence[Stratum]) -> Mode:
    """Silent, unless only answering sensors watched."""
    watched = {stratum.mode for stratum in strata}
    return "answering" if watched == {"answering"} else "silent"


def _around(desk: Desk, query: Query) -> Window:
    """Give the whole hours, or days of a long period, around it."""
    if query.length >= _DAYS_FROM:
        days = periods.lay_out(query, step_seconds=DAY, zone=desk.zone)
        return Window((days.start_us, days.end_us), DAY, desk.zone)
    return _widen(to_us(query.start), to_us(query.end), desk.zone)


def _widen(start_us: int, end_us: int, zone: str) -> Window:
    return Window((find_hour(start_us, zone), find_hour(end_us + HOUR_US - 1, zone)), HOUR, zone)
