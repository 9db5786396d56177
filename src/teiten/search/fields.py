"""The fields of the query language, derived from the packet columns.

Every column of :mod:`teiten.traffic.columns` that a person can sensibly filter by
is a field here; its meaning, type and range come from the column. To make a new
column searchable, add one line to :data:`_DECLARED`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum, IntFlag
from functools import cache
from typing import Literal, TypeAlias

from teiten.search import services
from teiten.search.conditions import Operator
from teiten.search.errors import QueryError
from teiten.search.permissions import PERMISSIONS
from teiten.search.visibility import Permission
from teiten.traffic import columns
from teiten.traffic.columns import BY_NAME
from teiten.traffic.hints import Hint
from teiten.traffic.marks import ParseMark
from teiten.traffic.nature import Nature
from teiten.traffic.survey import SurveyKind
from teiten.traffic.validity import SourceValidity

#: How a field's values are written, checked and compared.
#: ``bits`` compare whole (``=``) or by bit (``has``); ``marks`` always by bit: ``=`` is "carries".
FieldKind: TypeAlias = Literal[
    "number", "port", "address", "code", "name", "bits", "marks", "hash", "text", "yesno"
]

_ORDERED: tuple[Operator, ...] = ("=", "!=", "<", "<=", ">", ">=", "in", "not in")
_EQUAL: tuple[Operator, ...] = ("=", "!=", "in", "not in")
_BITS: tuple[Operator, ...] = ("=", "!=", "in", "not in", "has", "lacks")
_OPERATORS: dict[FieldKind, tuple[Operator, ...]] = {
    "number": _ORDERED,
    "port": _ORDERED,
    "address": _EQUAL,
    "code": _EQUAL,
    "name": _EQUAL,
    "bits": _BITS,
    "marks": _EQUAL,
    "hash": _EQUAL,
    "text": _EQUAL,
    "yesno": ("=", "!="),
}
_HIGHEST: dict[columns.Kind, int] = {"u8": 0xFF, "u16": 0xFFFF, "u32": 0xFFFFFFFF, "u64": 0xFFFFFFFFFFFFFFFF}

#: The bits of ``tcp_flags``, lowest first.
TCP_FLAGS: tuple[str, ...] = ("fin", "syn", "rst", "psh", "ack", "urg", "ece", "cwr")


@dataclass(frozen=True)
class Field:
    """One word of the query language."""

    name: str
    #: Column of the packets table that holds it.
    column: str
    kind: FieldKind
    #: What a viewer needs to see it or filter by it.
    permission: Permission
    #: Whether series, top and facets may be split by it.
    is_dimension: bool
    meaning: str
    #: Range of numbers, both ends included.
    lowest: int = 0
    highest: int = 0
    #: SQL of the value where it is not the column itself.
    computed: str = ""

    @property
    def expression(self) -> str:
        """The SQL that a value is compared with."""
        return self.computed or self.column

    @property
    def operators(self) -> tuple[Operator, ...]:
        return _OPERATORS[self.kind]

    @property
    def names(self) -> Mapping[str, int]:
        """Words for numbers: of a name, or of single bits."""
        return names_of(self.name)

    @property
    def rule(self) -> str:
        """What a value must be, for messages and completion."""
        return _rule_of(self)


#: Field → its column, where the names differ.
_COLUMN_OF = {"hint": "hints", "survey_kind": "survey"}
#: Field → SQL of its value, where it is not the column itself: any kind of survey scanner is one.
_COMPUTED = {"survey": "toUInt8(survey > 0)"}


def _field(name: str, kind: FieldKind, *, dimension: bool = True, highest: int = -1) -> Field:
    column = BY_NAME[_COLUMN_OF.get(name, name)]
    top = _HIGHEST.get(column.kind, 0) if highest < 0 else highest
    return Field(
        name,
        column.name,
        kind,
        PERMISSIONS[column.name],
        dimension,
        column.meaning,
        highest=top,
        computed=_COMPUTED.get(name, ""),
    )


_DECLARED: tuple[Field, ...] = (
    _field("src_addr", "address"),
    _field("dst_addr", "address"),
    _field("dst_port", "port"),
    _field("src_port", "port"),
    _field("protocol", "name"),
    _field("ip_version", "number", highest=6),
    _field("country", "code"),
    _field("asn", "number"),
    _field("region", "code"),
    _field("sensor", "number"),
    _field("nature", "name"),
    _field("hint", "marks"),
    _field("tcp_fp", "text"),
    _field("survey", "yesno"),
    _field("survey_kind", "name"),
    _field("actor", "text"),
    _field("validity", "name"),
    _field("probe", "text"),
    _field("answering", "yesno"),
    _field("tcp_flags", "bits", highest=0xFFF),
    _field("tcp_window", "number"),
    _field("tcp_seq", "number", dimension=False),
    _field("tcp_ack", "number", dimension=False),
    _field("icmp_type", "number"),
    _field("icmp_code", "number"),
    _field("ttl", "number"),
    _field("tos", "number"),
    _field("ip_id", "number", dimension=False),
    _field("ip_df", "yesno"),
    _field("ip_mf", "yesno"),
    _field("fragment_offset", "number", dimension=False, highest=0x1FFF),
    _field("total_length", "number"),
    _field("payload_length", "number"),
    _field("payload_hash", "hash"),
    _field("vlan", "number"),
    _field("epoch", "number", dimension=False),
    _field("batch_seq", "number", dimension=False),
    _field("parse_marks", "marks"),
    _field("rule_version", "number"),
)

FIELDS: dict[str, Field] = {field.name: field for field in _DECLARED}


def get_field(name: str, *, position: int | None = None) -> Field:
    """Give the field called ``name``.

    Raises:
        QueryError: when there is none, with the nearest names.
    """
    field = FIELDS.get(name)
    if field is None:
        raise QueryError(
            f"{'' if position is None else f'position {position}: '}{name!r} is no field; {suggest_names(name, tuple(FIELDS))}",
            field=name,
            value=name,
            rule="known fields: " + ", ".join(FIELDS),
            position=position,
        )
    return field


def suggest_names(given: str, known: tuple[str, ...]) -> str:
    """Say what a mistyped word may have meant."""
    from difflib import get_close_matches

    near = get_close_matches(given, known, n=3)
    return f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(known)}"


@cache
def names_of(field_name: str) -> Mapping[str, int]:
    """Give the words of a field whose numbers have names: word → number (or bit)."""
    if field_name == "tcp_flags":
        return {name: 1 << bit for bit, name in enumerate(TCP_FLAGS)}
    if field_name == "protocol":
        return services.PROTOCOLS
    members = _MEMBERS.get(field_name)
    return {} if members is None else _words(members)


_MEMBERS: Mapping[str, type[IntEnum | IntFlag]] = {
    "parse_marks": ParseMark,
    "nature": Nature,
    "hint": Hint,
    "validity": SourceValidity,
    "survey_kind": SurveyKind,
}


def _words(members: type[IntEnum | IntFlag]) -> dict[str, int]:
    return {name.lower(): int(member) for name, member in members.__members__.items()}


def _rule_of(field: Field) -> str:
    if field.kind in ("number", "port"):
        extra = ", or a port with its protocol as in 23/tcp" if field.kind == "port" else ""
        return f"{field.name} must be {field.lowest}–{field.highest}{extra}"  # noqa: RUF001 - a range
    if field.kind == "name":
        numbers = " or a number 0–255" if field.name == "protocol" else ""  # noqa: RUF001 - a range
        return f"{field.name} must be one of {', '.join(field.names)}{numbers}"
    if field.kind in ("bits", "marks"):
        return f"{field.name} must be one of {', '.join(field.names)}, several joined with +, or none"
    return {
        "address": f"{field.name} must be an IPv4 or IPv6 address or a prefix, as in 192.0.2.0/24",
        "code": _CODE_RULES.get(field.name, f"{field.name} must be a name"),
        "hash": f"{field.name} must be 16 hexadecimal digits",
        "text": f'{field.name} must be text; put it in "quotation marks" if it holds spaces or commas',
        "yesno": f"{field.name} must be yes or no",
    }[field.kind]


_CODE_RULES = {
    "country": "country must be an ISO 3166-1 code of two letters, or unknown",
    "region": "region must be the name of a region: a–z, 0–9, hyphens; or unknown",  # noqa: RUF001 - ranges
}
