"""What is asked: a data set, a period, a filter, the survey switch, a metric and a mode.

The text language is in :mod:`teiten.search.language`, the URL form in
:mod:`teiten.search.url`; both are inverses of each other's printers.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Literal, TypeAlias, get_args

from teiten.search.conditions import AllOf, Expression, Value, all_of, negate, where
from teiten.search.errors import QueryError

Survey: TypeAlias = Literal["all", "without", "only"]
Metric: TypeAlias = Literal["hosts", "packets", "rate"]
Mode: TypeAlias = Literal["auto", "silent", "answering", "all"]
PeriodName: TypeAlias = Literal["1h", "24h", "7d", "30d", "90d", "365d", "custom"]

SURVEYS: tuple[Survey, ...] = get_args(Survey)
METRICS: tuple[Metric, ...] = get_args(Metric)
MODES: tuple[Mode, ...] = get_args(Mode)
PERIODS: dict[str, timedelta] = {
    "1h": timedelta(hours=1),
    "24h": timedelta(hours=24),
    "7d": timedelta(days=7),
    "30d": timedelta(days=30),
    "90d": timedelta(days=90),
    "365d": timedelta(days=365),
}
_DATASET = re.compile(r"live|simulated|import:[a-z0-9][a-z0-9-]{0,39}")


@dataclass(frozen=True)
class Query:
    """One question, complete and checked.

    Raises:
        QueryError: on construction, for an impossible period, data set, survey, metric or mode.
    """

    dataset: str
    #: First instant of the period, included; aware.
    start: datetime
    #: End of the period, excluded; aware.
    end: datetime
    #: What packets must match; None for all of them.
    filters: Expression | None = None
    #: Known survey scanners: with the others, left out, or alone.
    survey: Survey = "all"
    #: Distinct sources, packets, or packets per covered address-day.
    metric: Metric = "packets"
    #: How the period was asked for; a relative one follows the clock in a shared URL.
    period: PeriodName = "custom"
    #: Ways of watching: sensors that keep silent and ones that answer see different traffic. ``auto`` is
    #: silent, or answering where only that was watched; ``all`` mixes them and has no rate.
    mode: Mode = "auto"
    #: Asked by somebody whose figures are guarded: hours at the finest, from tables that know their sensors.
    #: Never in a URL; :mod:`teiten.search.admission` sets it.
    is_guarded: bool = False

    def __post_init__(self) -> None:
        check_dataset(self.dataset)
        _check_choice("survey", self.survey, SURVEYS)
        _check_choice("metric", self.metric, METRICS)
        _check_choice("mode", self.mode, MODES)
        _check_choice("period", self.period, (*PERIODS, "custom"))
        _check_instants(self.start, self.end)

    @property
    def length(self) -> timedelta:
        return self.end - self.start

    @property
    def conditions(self) -> tuple[Expression, ...]:
        """The parts that must all hold, one chip each."""
        if self.filters is None:
            return ()
        return self.filters.parts if isinstance(self.filters, AllOf) else (self.filters,)

    def narrow(self, condition: Expression) -> Query:
        """Add one condition; the same again changes nothing."""
        if condition in self.conditions:
            return self
        return replace(self, filters=all_of((*self.conditions, condition)))

    def include(self, field: str, value: Value) -> Query:
        """Keep only packets whose ``field`` is ``value`` (the pivot "include")."""
        return self.narrow(where(field, "=", value))

    def exclude(self, condition: Expression) -> Query:
        """Leave out what ``condition`` matches (the pivot "exclude")."""
        return self.narrow(negate(condition))

    def widen(self, index: int) -> Query:
        """Take away the condition with this place in :attr:`conditions`."""
        kept = self.conditions[:index] + self.conditions[index + 1 :]
        return replace(self, filters=all_of(kept))

    def move(self, periods: int) -> Query:
        """Shift by whole lengths of the period, back when negative; the result is custom."""
        shift = self.length * periods
        return replace(self, start=self.start + shift, end=self.end + shift, period="custom")

    def before(self) -> Query:
        """Give the same question about the period just before."""
        return self.move(-1)

    def within(self, start: datetime, end: datetime) -> Query:
        """Ask the same about another period."""
        return replace(self, start=start, end=end, period="custom")


def for_period(dataset: str, name: str, *, now: datetime) -> Query:
    """Ask about a relative period that ends with the minute that now lies in, so that the newest packets are in it.

    Raises:
        QueryError: for an unknown period or data set.
    """
    if name not in PERIODS:
        raise QueryError(
            f"period {name!r} is unknown; use one of {', '.join(PERIODS)} or custom with start and end",
            field="period",
            value=name,
            rule=f"one of {', '.join(PERIODS)}, custom",
        )
    end = now.replace(second=0, microsecond=0)
    if end < now:
        end += timedelta(minutes=1)
    return Query(dataset, end - PERIODS[name], end, period=name)  # type: ignore[arg-type]  # checked above


def check_dataset(name: str) -> None:
    """Refuse what cannot name a data set.

    Raises:
        QueryError: naming the rule.
    """
    if not _DATASET.fullmatch(name):
        raise QueryError(
            f"data set {name!r} cannot exist; use live, simulated or import:NAME"
            " (NAME: a-z, 0-9 and hyphens, at most 40 characters)",
            field="dataset",
            value=name,
            rule="live, simulated or import:NAME",
        )


def _check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        rule = f"one of {', '.join(choices)}"
        raise QueryError(f"{name} must be {rule}, not {value!r}", field=name, value=value, rule=rule)


def _check_instants(start: datetime, end: datetime) -> None:
    for name, instant in (("start", start), ("end", end)):
        if instant.tzinfo is None:
            raise QueryError(
                f"{name} has no time zone; write it as in 2026-11-21T12:00:00+09:00",
                field=name,
                value=instant.isoformat(),
                rule="an instant with its zone",
            )
    if not start < end:
        raise QueryError(
            f"the period ends at {end.isoformat()}, not after its start {start.isoformat()}; put start before end",
            field="end",
            value=end.isoformat(),
            rule="start < end",
        )
