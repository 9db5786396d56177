"""A filter as a tree of conditions, always in one canonical form.

Build trees with :func:`all_of`, :func:`any_of`, :func:`negate` and
:func:`where`: they flatten nested lists, remove double negation and push a
negation into a single condition, so that two ways to say the same give equal
trees and ``parse(print(tree)) == tree`` holds.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network
from typing import Literal, TypeAlias

Operator: TypeAlias = Literal["=", "!=", "<", "<=", ">", ">=", "in", "not in", "has", "lacks"]

#: Each operator's opposite: ``not (a OP b)`` is ``a OPPOSITE b``.
OPPOSITE: dict[Operator, Operator] = {
    "=": "!=",
    "!=": "=",
    "<": ">=",
    ">=": "<",
    ">": "<=",
    "<=": ">",
    "in": "not in",
    "not in": "in",
    "has": "lacks",
    "lacks": "has",
}


@dataclass(frozen=True, order=True)
class PortValue:
    """A port together with its protocol, as in ``23/tcp``."""

    number: int
    #: IANA protocol number.
    protocol: int


@dataclass(frozen=True, order=True)
class Span:
    """Numbers from ``low`` to ``high``, both included, as in ``1..1024``."""

    low: int
    high: int


Value: TypeAlias = int | str | PortValue | Span | IPv4Network | IPv6Network


@dataclass(frozen=True)
class Condition:
    """One field compared with one value, or with several for ``in`` and ``not in``."""

    field: str
    operator: Operator
    values: tuple[Value, ...]


@dataclass(frozen=True)
class Not:
    """The opposite of a list; a single condition carries its negation itself."""

    part: AllOf | AnyOf


@dataclass(frozen=True)
class AllOf:
    """Every part holds; at least two parts, none of them an ``AllOf``."""

    parts: tuple[Expression, ...]


@dataclass(frozen=True)
class AnyOf:
    """At least one part holds; at least two parts, none of them an ``AnyOf``."""

    parts: tuple[Expression, ...]


Expression: TypeAlias = Condition | Not | AllOf | AnyOf


def where(field: str, operator: Operator, *values: Value) -> Condition:
    """Make a condition; ``in`` with one value becomes ``=``, repeated values go."""
    distinct = tuple(dict.fromkeys(values))
    if len(distinct) == 1 and operator in ("in", "not in"):
        return Condition(field, "=" if operator == "in" else "!=", distinct)
    return Condition(field, operator, distinct)


def all_of(parts: Iterable[Expression]) -> Expression | None:
    """Join with ``and``: None for no part, the part itself for one."""
    flat = _flatten(parts, AllOf)
    if len(flat) < 2:
        return flat[0] if flat else None
    return AllOf(flat)


def any_of(parts: Iterable[Expression]) -> Expression | None:
    """Join with ``or``: None for no part, the part itself for one."""
    flat = _flatten(parts, AnyOf)
    if len(flat) < 2:
        return flat[0] if flat else None
    return AnyOf(flat)


def negate(expression: Expression) -> Expression:
    """Give the opposite."""
    if isinstance(expression, Condition):
        return Condition(expression.field, OPPOSITE[expression.operator], expression.values)
    if isinstance(expression, Not):
        return expression.part
    return Not(expression)


def walk(expression: Expression | None) -> Iterator[Condition]:
    """List every condition of the tree, from left to right."""
    if expression is None:
        return
    if isinstance(expression, Condition):
        yield expression
    elif isinstance(expression, Not):
        yield from walk(expression.part)
    else:
        for part in expression.parts:
            yield from walk(part)


def _flatten(parts: Iterable[Expression], kind: type[AllOf | AnyOf]) -> tuple[Expression, ...]:
    flat: list[Expression] = []
    for part in parts:
        if isinstance(part, kind):
            flat.extend(part.parts)
        else:
            flat.append(part)
    return tuple(dict.fromkeys(flat))
