"""Which ports a filter keeps to: told by the filter alone, without looking at packets. Pure functions."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from teiten.search.conditions import AllOf, Condition, Expression, Not, PortValue, Span, Value, walk

#: The protocols that canaries speak.
_TCP, _UDP = 6, 17
#: A filter that names more ports keeps some that canaries are not sent to.
MOST_SERVICES = 64
_LAST_PORT = 0xFFFF


def services_of(filters: Expression | None) -> tuple[PortValue, ...]:
    """Give the ports that packets must have to be kept; empty when others are kept too, or too many are named.

    A port without a protocol is one of TCP and one of UDP.
    """
    conditions = [each for each in walk(filters) if each.field == "dst_port"]
    named: set[int] = set()
    edges = {0, _LAST_PORT}
    for low, high in (ends_of(value) for condition in conditions for value in condition.values):
        edges |= {max(0, low - 1), low, high, min(_LAST_PORT, high + 1)}
        if len(named) + high - low >= MOST_SERVICES:
            return ()
        named |= set(range(low, high + 1))
    # Between the edges nothing changes: ports that are not named are all kept, or none.
    if any(_keeps(filters, port, protocol) for port in edges - named for protocol in (_TCP, _UDP)):
        return ()
    return tuple(
        PortValue(port, protocol)
        for port in sorted(named)
        for protocol in (_TCP, _UDP)
        if _keeps(filters, port, protocol)
    )


def ends_of(value: Value) -> tuple[int, int]:
    """Give the lowest and the highest port of a value of ``dst_port``."""
    if isinstance(value, Span):
        return value.low, value.high
    port = value.number if isinstance(value, PortValue) else int(str(value))
    return port, port


def _keeps(filters: Expression | None, port: int, protocol: int) -> bool:
    return _holds(filters, port, protocol) is not False


def _holds(expression: Expression | None, port: int, protocol: int) -> bool | None:
    """Tell whether a packet to a port fulfils a filter; None when other fields decide (Kleene's logic)."""
    if expression is None:
        return None
    if isinstance(expression, Condition):
        return _compare(expression, port, protocol)
    if isinstance(expression, Not):
        inner = _holds(expression.part, port, protocol)
        return None if inner is None else not inner
    known = {_holds(part, port, protocol) for part in expression.parts}
    decisive = not isinstance(expression, AllOf)
    if decisive in known:
        return decisive
    return None if None in known else not decisive


def _compare(condition: Condition, port: int, protocol: int) -> bool | None:
    if condition.field not in ("dst_port", "protocol"):
        return None
    found = port if condition.field == "dst_port" else protocol
    first = condition.values[0]
    if condition.operator in _ORDERS and isinstance(first, int):
        return _ORDERS[condition.operator](found, first)
    is_one = any(_equals(value, found, protocol) for value in condition.values)
    return is_one if condition.operator in ("=", "in") else not is_one


_ORDERS: Mapping[str, Callable[[int, int], bool]] = {
    "<": lambda one, other: one < other,
    "<=": lambda one, other: one <= other,
    ">": lambda one, other: one > other,
    ">=": lambda one, other: one >= other,
}


def _equals(value: Value, found: int, protocol: int) -> bool:
    if isinstance(value, PortValue):
        return (value.number, value.protocol) == (found, protocol)
    if isinstance(value, Span):
        return value.low <= found <= value.high
    return value == found
