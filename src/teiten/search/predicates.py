"""A filter as a WHERE clause: column names from declarations, every value bound.

:class:`Binding` collects parameters; the clause holds only ``{p0:Type}`` marks, so
that no text of a user ever becomes SQL.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Address, IPv6Network
from typing import Any

from teiten.search.conditions import AllOf, Condition, Expression, Not, PortValue, Span, Value
from teiten.search.fields import FIELDS, Field
from teiten.search.plain_syns import ANY_WINDOW, IS_ANY_WINDOW
from teiten.traffic.columns import BY_NAME

_TRUE = "1"


@dataclass
class Binding:
    """Parameters of one statement, named in the order of their arrival."""

    parameters: dict[str, Any] = field(default_factory=dict)

    def bind(self, clickhouse_type: str, value: Any) -> str:
        """Keep a value and give its mark."""
        name = f"p{len(self.parameters)}"
        self.parameters[name] = value
        return f"{{{name}:{clickhouse_type}}}"

    def instant(self, microseconds: int) -> str:
        """Bind an instant, compared with DateTime64(6) columns."""
        return f"fromUnixTimestamp64Micro({self.bind('Int64', microseconds)}, 'UTC')"


def write_filter(expression: Expression | None, binding: Binding) -> str:
    """Give the clause of a filter; ``1`` when there is none."""
    if expression is None:
        return _TRUE
    if isinstance(expression, Condition):
        return _write_condition(expression, binding)
    if isinstance(expression, Not):
        return f"NOT ({write_filter(expression.part, binding)})"
    word = " AND " if isinstance(expression, AllOf) else " OR "
    return "(" + word.join(write_filter(part, binding) for part in expression.parts) + ")"


def columns_of(expression: Expression | None) -> frozenset[str]:
    """Name the columns that the clause of ``expression`` reads."""
    if expression is None:
        return frozenset()
    if isinstance(expression, Condition):
        columns = {FIELDS[expression.field].column}
        if any(isinstance(value, PortValue) for value in expression.values):
            columns.add("protocol")
        return frozenset(columns)
    parts = (expression.part,) if isinstance(expression, Not) else expression.parts
    return frozenset().union(*(columns_of(part) for part in parts))


def type_of(column: str) -> str:
    """Give the type in which values of a column are bound."""
    kind = BY_NAME[column].clickhouse_type
    return "String" if kind.startswith("LowCardinality") else kind


def highest_address(network: IPv4Network | IPv6Network) -> str:
    """Give the last address of a network as the store holds it (v4 mapped)."""
    return str(map_address(int(network.broadcast_address), network.version))


def lowest_address(network: IPv4Network | IPv6Network) -> str:
    """Give the first address of a network as the store holds it (v4 mapped)."""
    return str(map_address(int(network.network_address), network.version))


def map_address(number: int, version: int) -> IPv6Address:
    """Give an address as the store holds it: IPv4 inside ``::ffff:0:0/96``."""
    return IPv6Address(number | 0xFFFF_0000_0000 if version == 4 else number)


def _write_condition(condition: Condition, binding: Binding) -> str:
    declared = FIELDS[condition.field]
    if condition.operator in ("<", "<=", ">", ">="):
        mark = binding.bind(type_of(declared.column), condition.values[0])
        return f"{declared.expression} {condition.operator} {mark}"
    clause = _write_membership(declared, condition, binding)
    return f"NOT ({clause})" if condition.operator in ("!=", "not in", "lacks") else clause


def _write_membership(declared: Field, condition: Condition, binding: Binding) -> str:
    by_bit = declared.kind == "marks" or condition.operator in ("has", "lacks")
    if by_bit:
        clauses = [_write_bits(declared.column, value, binding) for value in condition.values]
    else:
        plain = [value for value in condition.values if isinstance(value, int | str)]
        clauses = [
            _write_range(declared.column, value, binding)
            for value in condition.values
            if not isinstance(value, int | str)
        ]
        if plain:
            clauses.insert(0, _write_list(declared, plain, binding))
    return clauses[0] if len(clauses) == 1 else "(" + " OR ".join(clauses) + ")"


def _write_list(declared: Field, values: list[int | str], binding: Binding) -> str:
    if declared.column == "tcp_fp" and ANY_WINDOW in values:
        others = [value for value in values if value != ANY_WINDOW]
        return f"({IS_ANY_WINDOW} OR {_write_list(declared, others, binding)})" if others else IS_ANY_WINDOW
    kind = type_of(declared.column)
    if len(values) == 1:
        return f"{declared.expression} = {binding.bind(kind, values[0])}"
    return f"{declared.expression} IN {binding.bind(f'Array({kind})', values)}"


def _write_bits(column: str, value: Value, binding: Binding) -> str:
    kind = type_of(column)
    if value == 0:
        return f"{column} = {binding.bind(kind, 0)}"
    mark = binding.bind(kind, value)
    return f"bitAnd({column}, {mark}) = {mark}"


def _write_range(column: str, value: Value, binding: Binding) -> str:
    if isinstance(value, PortValue):
        port = binding.bind(type_of(column), value.number)
        return f"({column} = {port} AND protocol = {binding.bind('UInt8', value.protocol)})"
    if isinstance(value, Span):
        kind = type_of(column)
        return f"{column} BETWEEN {binding.bind(kind, value.low)} AND {binding.bind(kind, value.high)}"
    if isinstance(value, IPv4Network | IPv6Network):
        low = binding.bind("IPv6", lowest_address(value))
        if value.prefixlen == value.max_prefixlen:
            return f"{column} = {low}"
        return f"{column} BETWEEN {low} AND {binding.bind('IPv6', highest_address(value))}"
    raise TypeError(f"{column} has no range of {type(value).__name__}")
