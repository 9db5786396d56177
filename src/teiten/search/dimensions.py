"""What an answer can be split by, and how one value is written, shown and pivoted on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from ipaddress import IPv4Network, IPv6Address, IPv6Network
from typing import Any, TypeAlias

from teiten.search import language, services, values
from teiten.search.answers import Group
from teiten.search.conditions import Condition, PortValue, Value, where
from teiten.search.errors import QueryError
from teiten.search.fields import FIELDS, Field, suggest_names
from teiten.search.predicates import Binding, type_of
from teiten.search.visibility import Permission

#: Raw key columns as the store gives them.
Key: TypeAlias = tuple[Any, ...]


@dataclass(frozen=True)
class Dimension:
    """One way to split."""

    name: str
    #: Columns that must be there for it.
    columns: tuple[str, ...]
    #: SQL expressions of the key, one or two.
    keys: tuple[str, ...]
    permission: Permission
    #: A packet may count for several values.
    is_multiple: bool = False
    #: Field of the query language that its values belong to.
    field_name: str = ""
    #: Only packets for which this holds are split: those that have a value.
    only: Condition | None = None
    #: Dimensions that this one pairs, in the order of its key; empty for a plain one.
    parts: tuple[str, ...] = ()


_MAPPED = bytes(10) + b"\xff\xff"
#: Dimension → length of the prefixes around a source, by IP version.
_PREFIXES: Mapping[str, Mapping[int, int]] = {"src_prefix": {4: 24, 6: 48}, "src_64": {4: 32, 6: 64}}
_AROUND = (
    "toIPv6(tupleElement(IPv6CIDRToRange(src_addr,"
    " if(src_addr BETWEEN toIPv6('::ffff:0.0.0.0') AND toIPv6('::ffff:255.255.255.255'), {v4}, {v6})), 1))"
)
#: Labels that most packets lack: a split by one is over the packets that carry it.
_ONLY: Mapping[str, Condition] = {
    "tcp_fp": where("tcp_fp", "!=", ""),
    "payload_hash": where("payload_hash", "!=", 0),
    "probe": where("probe", "!=", ""),
    "actor": where("actor", "!=", ""),
}


def _declare() -> dict[str, Dimension]:
    found = {
        field.name: Dimension(
            field.name,
            (field.column,),
            (field.expression,),
            field.permission,
            field_name=field.name,
            only=_ONLY.get(field.name),
        )
        for field in FIELDS.values()
        if field.is_dimension
    }
    for name in ("dst_port", "src_port"):
        found[name] = replace(found[name], columns=(name, "protocol"), keys=(name, "protocol"))
    for name, lengths in _PREFIXES.items():
        around = _AROUND.format(v4=96 + lengths[4], v6=lengths[6])
        found[name] = replace(found["src_addr"], name=name, keys=(around,))
    for name in ("hint", "parse_marks"):
        column = FIELDS[name].column
        bits = f"arrayJoin(if({column} = 0, [toUInt64(0)], bitmaskToArray(toUInt64({column}))))"
        found[name] = replace(found[name], columns=(column,), keys=(bits,), is_multiple=True)
    for name, parts in _PAIRS.items():
        found[name] = _pair(name, [found[part] for part in parts])
    return found


#: Dimension → those that it pairs; the first one names the packets that have a value.
_PAIRS: Mapping[str, tuple[str, ...]] = {"fingerprint_port": ("tcp_fp", "dst_port")}


def _pair(name: str, parts: list[Dimension]) -> Dimension:
    return replace(
        parts[0],
        name=name,
        columns=tuple(column for part in parts for column in part.columns),
        keys=tuple(key for part in parts for key in part.keys),
        parts=tuple(part.name for part in parts),
    )


DIMENSIONS: dict[str, Dimension] = _declare()


def get_dimension(name: str) -> Dimension:
    """Give the dimension called ``name``.

    Raises:
        QueryError: when there is none.
    """
    dimension = DIMENSIONS.get(name)
    if dimension is None:
        raise QueryError(
            f"dimension {name!r}: nothing can be split by it; {suggest_names(name, tuple(DIMENSIONS))}",
            field="dimension",
            value=name,
            rule="one of " + ", ".join(DIMENSIONS),
        )
    return dimension


def describe(dimension: Dimension, key: Key, *, names: Mapping[int, str] | None = None) -> Group:
    """Write one value for people and for the query language.

    Args:
        dimension: what was split by.
        key: the store's key columns.
        names: AS numbers' holders, as far as known.
    """
    if dimension.parts:
        return _describe_pair(dimension, key)
    field = FIELDS[dimension.field_name]
    value = value_of(dimension, key)
    text = values.print_value(field, value)
    condition = language.print_condition(where(field.name, "=", value))
    label = _LABELS.get(dimension.name, _plain_label)(field, value, text)
    return Group(dimension.name, text, label, _name_of(dimension.name, value, names or {}), condition)


def _describe_pair(dimension: Dimension, key: Key) -> Group:
    groups = [describe(part, own) for part, own in take_apart(dimension, key)]
    return Group(
        dimension.name,
        " ".join(group.key for group in groups),
        " → ".join(group.label for group in groups),
        next((group.name for group in groups if group.name), None),
        " and ".join(group.condition for group in groups),
    )


def take_apart(dimension: Dimension, key: Key) -> list[tuple[Dimension, Key]]:
    """Give the plain dimensions of a key, each with its own part of it."""
    if not dimension.parts:
        return [(dimension, key)]
    found: list[tuple[Dimension, Key]] = []
    place = 0
    for name in dimension.parts:
        part = DIMENSIONS[name]
        found.append((part, tuple(key[place : place + len(part.keys)])))
        place += len(part.keys)
    return found


def parse_key(dimension: Dimension, text: str) -> Value:
    """Read a key as :func:`describe` wrote it.

    Raises:
        QueryError: when it is no value of the dimension.
    """
    return values.parse_value(FIELDS[dimension.field_name], text)


def write_chosen(
    dimension: Dimension, keys: list[Key], binding: Binding, *, expressions: tuple[str, ...]
) -> str:
    """Give a clause that tells whether a row's key is among ``keys``."""
    if len(expressions) == 1:
        kind = key_types(dimension)[0]
        return f"{expressions[0]} IN {binding.bind(f'Array({kind})', [to_text(key[0]) for key in keys])}"
    kinds = ", ".join(key_types(dimension))
    mark = binding.bind(f"Array(Tuple({kinds}))", [tuple(key) for key in keys])
    return f"({', '.join(expressions)}) IN {mark}"


def key_types(dimension: Dimension) -> tuple[str, ...]:
    """Give the ClickHouse types of the key."""
    if dimension.is_multiple:
        return ("UInt64",)
    return tuple(type_of(column) for column in dimension.columns)


def to_text(part: Any) -> Any:
    """Give a key's part as it can be bound: addresses as text."""
    return str(IPv6Address(part)) if isinstance(part, bytes) else part


def value_of(dimension: Dimension, key: Key) -> Value:
    """Give a key as a value of the query language."""
    part = key[0]
    if isinstance(part, bytes):
        return _to_network(part, _PREFIXES.get(dimension.name, {}))
    if len(key) == 2:
        return PortValue(int(part), int(key[1]))
    return part if isinstance(part, str) else int(part)


def _to_network(packed: bytes, lengths: Mapping[int, int]) -> IPv4Network | IPv6Network:
    if packed.startswith(_MAPPED):
        return IPv4Network((packed[12:], lengths.get(4, 32)))
    return IPv6Network((packed, lengths.get(6, 128)))


def _plain_label(_: Field, __: Value, text: str) -> str:
    return text


def _label_port(_: Field, value: Value, text: str) -> str:
    if isinstance(value, PortValue):
        word = services.name_protocol(value.protocol).upper()
        return f"{value.number}/{word}" if value.protocol in services.WITH_PORTS else word
    return text


def _label_system(_: Field, value: Value, text: str) -> str:
    return f"AS{text}" if value else text


_LABELS: dict[str, Callable[[Field, Value, str], str]] = {
    "dst_port": _label_port,
    "src_port": _label_port,
    "asn": _label_system,
    "protocol": lambda _, __, text: text.upper(),
    "tcp_flags": lambda _, __, text: text.upper(),
    "sensor": lambda _, __, text: f"S-{text}",
}


def _name_of(dimension: str, value: Value, names: Mapping[int, str]) -> str | None:
    if isinstance(value, PortValue):
        return services.name_service(value.number, value.protocol)
    if dimension == "asn" and isinstance(value, int):
        return names.get(value)
    return None
