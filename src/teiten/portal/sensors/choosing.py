"""How the sensors' screen is laid out: what the cells show, in which order, and which sensors are left in."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from django.db.models import Q
from django.http import HttpRequest
from django.utils.translation import gettext as _

from teiten.fleet.health import Condition
from teiten.fleet.models import SensorKind, SensorMode, SensorPlacement
from teiten.fleet.selectors import SensorBrief
from teiten.portal.controls import Choice, Control
from teiten.portal.naming.groups import name_mode
from teiten.portal.naming.regions import name_region
from teiten.portal.screen import Screen
from teiten.search.errors import QueryError

VIEWS = ("state", "coverage", "version", "canary")
ORDERS = ("as", "organisation", "added")
#: Choices of a filter that are offered; an organisation beyond can still be written into the address.
_MOST_CHOICES = 60
#: What an address may hold beside the question itself.
PARAMETERS = ("state", "view", "order", "area", "kind", "mode", "org", "version", "page")


class Place(NamedTuple):
    """Where a sensor stands now; empty where it is masked or nobody said."""

    asn: int
    provider: str
    kind: str
    mode: str


NOWHERE = Place(0, "", "", "")


@dataclass(frozen=True)
class Chosen:
    """What the address chooses."""

    state: str = ""
    view: str = "state"
    order: str = "as"
    area: str = ""
    kind: str = ""
    mode: str = ""
    org: str = ""
    version: str = ""
    page: int = 1

    def given(self, **changes: str) -> dict[str, str]:
        """Give the parameters with changes; defaults and pages are left out."""
        present = {name: getattr(self, name) for name in PARAMETERS if name != "page"} | changes
        return {name: text for name, text in present.items() if text and text != _DEFAULTS.get(name)}


_DEFAULTS = {"view": "state", "order": "as"}


def read_chosen(request: HttpRequest) -> Chosen:
    """Read what is chosen.

    Raises:
        QueryError: naming the parameter and the rule.
    """
    known = {
        "state": [condition.value for condition in Condition], "view": VIEWS, "order": ORDERS,
        "kind": SensorKind.values, "mode": SensorMode.values,
    }  # fmt: skip
    given = {name: request.GET[name] for name in PARAMETERS if request.GET.get(name)}
    for name, values in known.items():
        if name in given and given[name] not in values:
            raise _refuse(name, given[name], f"one of {', '.join(values)}")
    page = given.pop("page", "1")
    if not (page.isascii() and page.isdecimal() and 1 <= int(page[:6]) <= 10_000):
        raise _refuse("page", page, "1 to 10000")
    return Chosen(**given, page=int(page))


def _refuse(name: str, value: str, rule: str) -> QueryError:
    return QueryError(f"URL parameter {name}={value!r} must be {rule}", field=name, value=value, rule=rule)


def read_places(rows: Sequence[SensorBrief], screen: Screen) -> dict[int, Place]:
    """Give where the sensors stand that the viewer sees as they are; one statement."""
    seen = {row.id for row in rows if row.id is not None}
    if not seen:
        return {}
    now = screen.now
    held = SensorPlacement.objects.filter(Q(valid_to=None) | Q(valid_to__gt=now), valid_from__lte=now)
    listed = held.values_list("sensor", "asn", "provider", "kind", "mode")
    return {
        sensor: Place(asn, provider, kind, mode)
        for sensor, asn, provider, kind, mode in listed
        if sensor in seen
    }


def narrow(rows: Iterable[SensorBrief], places: Mapping[int, Place], chosen: Chosen) -> list[SensorBrief]:
    """Leave in what all filters but the state's let through; what is masked passes only by region."""
    tests: list[Callable[[SensorBrief, Place], bool]] = []
    if chosen.area:
        tests.append(lambda row, _place: row.region == chosen.area)
    if chosen.org:
        tests.append(lambda row, _place: row.organisation == chosen.org)
    if chosen.version:
        tests.append(lambda row, _place: row.software == chosen.version)
    if chosen.kind:
        tests.append(lambda _row, place: place.kind == chosen.kind)
    if chosen.mode:
        tests.append(lambda _row, place: place.mode == chosen.mode)
    if not tests:
        return list(rows)
    return [row for row in rows if all(test(row, places.get(row.id or 0, NOWHERE)) for test in tests)]


def put_in_order(rows: Iterable[SensorBrief], places: Mapping[int, Place], order: str) -> list[SensorBrief]:
    """Sort; masked sensors come last, by their pseudonym."""

    def key(row: SensorBrief) -> tuple[bool, int, str, int, str]:
        place = places.get(row.id or 0, NOWHERE)
        asn = place.asn if order == "as" else 0
        return row.is_masked, asn, row.organisation if order != "added" else "", row.id or 0, row.name

    return sorted(rows, key=key)


def list_choices(
    rows: Sequence[SensorBrief], places: Mapping[int, Place], chosen: Chosen, screen: Screen
) -> dict[str, list[Control]]:
    """Give the switches and the filters; a filter that could not narrow anything is left out."""
    views = {"state": _("State"), "coverage": _("Coverage"), "version": _("Version"), "canary": _("Canary")}
    orders = {"as": _("AS"), "organisation": _("Organisation"), "added": _("Added")}
    kinds, modes = dict(SensorKind.choices), {mode: name_mode(mode) for mode in SensorMode.values}
    stand = places.values()
    offered = (
        ("area", _("Region"), {code: name_region(code, screen.language) for code in _most(row.region for row in rows)}),
        ("org", _("Organisation"), {code: code for code in _most(row.organisation for row in rows)}),
        ("version", _("Version"), {text: text for text in _most(row.software for row in rows)}),
        ("kind", _("Kind"), {code: str(kinds[code]) for code in _most(place.kind for place in stand)}),
        ("mode", _("Way of watching"), {code: modes[code] for code in _most(place.mode for place in stand)}),
    )  # fmt: skip
    return {
        "switches": [
            _control("view", _("Show"), views, chosen, screen),
            _control("order", _("Order"), orders, chosen, screen),
        ],
        "filters": [
            _control(name, label, {"": _("all"), **values}, chosen, screen)
            for name, label, values in offered
            if len(values) > 1 or getattr(chosen, name)
        ],
    }


def _most(values: Iterable[str]) -> list[str]:
    counted = Counter(value for value in values if value)
    return sorted(value for value, _count in counted.most_common(_MOST_CHOICES))


def _control(name: str, label: str, values: Mapping[str, str], chosen: Chosen, screen: Screen) -> Control:
    current = getattr(chosen, name)
    return Control(
        name,
        label,
        tuple(
            Choice(word, screen.url(screen.query, **chosen.given(**{name: value})), value == current)
            for value, word in values.items()
        ),
    )
