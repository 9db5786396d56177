"""Two groups of sensors, chosen in the URL: ``one_region=kanto&other_kind=cloud&against=group``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from django.http import HttpRequest

from teiten.portal.naming.kinds import KINDS
from teiten.search.answers_places import SensorGroup
from teiten.search.dimensions import DIMENSIONS
from teiten.search.errors import QueryError

Side: TypeAlias = Literal["one", "other"]
SIDES: tuple[Side, ...] = ("one", "other")
#: Part of a group's parameter → field of :class:`SensorGroup`.
PARTS: dict[str, str] = {
    "region": "regions",
    "kind": "kinds",
    "country": "countries",
    "mode": "modes",
    "provider": "providers",
    "asn": "asns",
    "sensor": "sensors",
}
#: Parts that are numbers, written with commas between them.
NUMBERS = frozenset({"asn", "sensor"})
#: What the other side is: another group, or the first one in the period before.
AGAINST = ("group", "before")
SPLITS = tuple(
    name for name in dict.fromkeys((*(kind.dimension for kind in KINDS), "protocol")) if name in DIMENSIONS
)
PARAMETERS = (*(f"{side}_{part}" for side in SIDES for part in PARTS), "against", "split", "same")


@dataclass(frozen=True)
class Choice:
    """What is compared with what."""

    one: SensorGroup
    #: None for the first group in the period before.
    other: SensorGroup | None
    split: str
    same_sensors: bool


def read_choice(request: HttpRequest) -> Choice:
    """Read the groups from the URL.

    Raises:
        QueryError: naming the parameter and the rule.
    """
    against = _choose(request, "against", AGAINST)
    return Choice(
        one=_read_group(request, "one"),
        other=_read_group(request, "other") if against == "group" else None,
        split=_choose(request, "split", SPLITS),
        same_sensors=_choose(request, "same", ("no", "yes")) == "yes",
    )


def _choose(request: HttpRequest, name: str, choices: Sequence[str]) -> str:
    chosen = request.GET.get(name, choices[0])
    if chosen not in choices:
        rule = f"one of {', '.join(choices)}"
        raise QueryError(
            f"URL parameter {name}={chosen!r} must be {rule}", field=name, value=chosen, rule=rule
        )
    return chosen


def _read_group(request: HttpRequest, side: Side) -> SensorGroup:
    texts: Mapping[str, tuple[str, ...]] = {
        part: tuple(text for text in request.GET.getlist(f"{side}_{part}") if text) for part in PARTS
    }
    return SensorGroup(
        regions=texts["region"],
        kinds=texts["kind"],
        countries=texts["country"],
        modes=texts["mode"],
        providers=texts["provider"],
        asns=_read_numbers(f"{side}_asn", texts["asn"]),
        sensors=_read_numbers(f"{side}_sensor", texts["sensor"]),
    )


def _read_numbers(name: str, texts: Sequence[str]) -> tuple[int, ...]:
    words = [word.strip().upper().removeprefix("AS") for text in texts for word in text.split(",")]
    wrong = next((word for word in words if word and not (word.isdecimal() and len(word) <= 10)), None)
    if wrong is not None:
        rule = "numbers with commas between them, as in 3, 17"
        raise QueryError(
            f"URL parameter {name}: {wrong!r} is no number; write {rule}", field=name, value=wrong, rule=rule
        )
    return tuple(dict.fromkeys(int(word) for word in words if word))
