"""The control row: period, metric, survey switch, region, data set. Every choice is an address."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TypeGuard

from django.utils.translation import gettext as _

from teiten.portal.naming.groups import name_mode
from teiten.portal.naming.regions import name_region
from teiten.portal.screen import Screen, encode
from teiten.search.basis import Basis
from teiten.search.conditions import Condition, where
from teiten.search.query import Query, for_period


@dataclass(frozen=True)
class Choice:
    """One choice of a control."""

    label: str
    url: str
    is_current: bool


@dataclass(frozen=True)
class Control:
    """A row of choices, of which one is in force."""

    name: str
    label: str
    choices: tuple[Choice, ...]

    @property
    def current(self) -> str:
        return next((choice.label for choice in self.choices if choice.is_current), "")


@dataclass(frozen=True)
class Controls:
    """All controls of a screen."""

    period: Control
    metric: Control
    survey: Control
    region: Control
    dataset: Control
    #: None where sensors watched in one way only.
    mode: Control | None
    #: Start and end for the form of a custom period, as the installation's wall clock.
    start: str
    end: str
    #: What that form must carry along.
    hidden: tuple[tuple[str, str], ...]
    earlier: str
    later: str


def list_controls(screen: Screen, regions: Iterable[str] = (), *, basis: Basis | None = None) -> Controls:
    """Give the control row of a screen.

    Args:
        screen: whose question it is.
        regions: codes to choose from.
        basis: of the answer; ways of watching are offered when it knows of both.
    """
    query = screen.query
    local = screen.instants.local
    kept = {name: text for name, text in encode(query).items() if name not in ("period", "start", "end")}
    return Controls(
        period=_period(screen),
        metric=_metric(screen),
        survey=_survey(screen),
        region=_region(screen, regions),
        dataset=_dataset(screen),
        mode=_mode(screen, basis),
        start=local(query.start).strftime("%Y-%m-%dT%H:%M"),
        end=local(query.end).strftime("%Y-%m-%dT%H:%M"),
        hidden=tuple(kept.items()),
        earlier=screen.url(query.move(-1)),
        later=screen.url(query.move(1)),
    )


def name_metric(metric: str) -> str:
    """Give the metric's name with what it counts."""
    return {
        "hosts": _("Source hosts"),
        "packets": _("Packets"),
        "rate": _("Packets per address-day"),
    }[metric]


def _period(screen: Screen) -> Control:
    query = screen.query
    names = ("24h", "7d", "30d", "90d")
    shown = [
        (
            name,
            replace(
                for_period(query.dataset, name, now=screen.now),
                filters=query.filters,
                survey=query.survey,
                metric=query.metric,
                mode=query.mode,
            ),
        )
        for name in names
    ]
    choices = tuple(Choice(name, screen.url(other), query.period == name) for name, other in shown)
    return Control("period", _("Period"), choices)


def _metric(screen: Screen) -> Control:
    labels = (("hosts", _("Hosts")), ("packets", _("Packets")), ("rate", _("Per address-day")))
    return Control(
        "metric",
        _("Metric"),
        tuple(
            Choice(label, screen.url(replace(screen.query, metric=name)), screen.query.metric == name)  # type: ignore[arg-type]  # a literal above
            for name, label in labels
        ),
    )


def _survey(screen: Screen) -> Control:
    labels = (("all", _("With")), ("without", _("Without")), ("only", _("Only")))
    return Control(
        "survey",
        _("Survey scanners"),
        tuple(
            Choice(label, screen.url(replace(screen.query, survey=name)), screen.query.survey == name)  # type: ignore[arg-type]  # a literal above
            for name, label in labels
        ),
    )


def _mode(screen: Screen, basis: Basis | None) -> Control | None:
    """Offer silent, answering or both; figures of the two are never mixed into one rate."""
    watched = [name for name, days in basis.modes_apart.items() if days > 0] if basis else []
    if screen.query.mode == "auto" and len(watched) < 2:
        return None
    in_force = screen.query.mode
    if in_force == "auto" and basis is not None:
        in_force = basis.mode  # type: ignore[assignment]  # one of the literals
    labels = (
        ("silent", name_mode("silent")),
        ("answering", name_mode("answering")),
        ("all", _("Both, no rate")),
    )
    choices = tuple(
        Choice(label, screen.url(replace(screen.query, mode=name)), in_force == name)  # type: ignore[arg-type]  # a literal above
        for name, label in labels
    )
    return Control("mode", _("Mode"), choices)


def _region(screen: Screen, regions: Iterable[str]) -> Control:
    present = next((part for part in screen.query.conditions if is_region(part)), None)
    bare = screen.query if present is None else screen.query.widen(screen.query.conditions.index(present))
    chosen = present.values[0] if present is not None else None
    choices = [Choice(_("All regions"), screen.url(bare), chosen is None)]
    choices += [
        Choice(
            name_region(code, screen.language),
            screen.url(bare.narrow(where("region", "=", code))),
            code == chosen,
        )
        for code in sorted(regions)
        if code
    ]
    return Control("region", _("Sensors"), tuple(choices))


def is_region(part: object) -> TypeGuard[Condition]:
    """Tell whether a part of a filter is the region control's own."""
    return isinstance(part, Condition) and part.field == "region" and part.operator == "="


def _dataset(screen: Screen) -> Control:
    names = list(dict.fromkeys((*(extent.name for extent in screen.datasets), screen.query.dataset)))
    return Control(
        "dataset",
        _("Data set"),
        tuple(
            Choice(
                name_dataset(name), screen.url(_in_dataset(screen.query, name)), name == screen.query.dataset
            )
            for name in names
        ),
    )


def _in_dataset(query: Query, name: str) -> Query:
    return replace(query, dataset=name)


def name_dataset(name: str) -> str:
    """Give the data set's name as people call it."""
    if name == "live":
        return _("Live")
    if name == "simulated":
        return _("Simulated")
    return _("Import %(name)s") % {"name": name.partition(":")[2]}
