"""Values of a field: from text, checked against the field's rule, and back to text.

Printing is the inverse of reading for every value that a rule allows.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from ipaddress import IPv4Network, IPv6Network, ip_network

from teiten.search.conditions import PortValue, Span, Value
from teiten.search.errors import QueryError
from teiten.search.fields import Field
from teiten.search.pseudonyms import is_pseudonym
from teiten.search.services import PROTOCOLS, WITH_PORTS, name_protocol

#: The word for "the file knows no country, AS …", "no hint", "no fingerprint".
UNKNOWN = "unknown"
NONE = "none"

_COUNTRY = re.compile(r"[A-Z]{2}")
_REGION = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
_HASH = re.compile(r"[0-9a-f]{16}")
_MAPPED = IPv6Network("::ffff:0:0/96")


class _Refused(Exception):
    """The text breaks the field's rule, or the one that the error names."""


def parse_value(field: Field, text: str, *, position: int | None = None) -> Value:
    """Read one value of ``field``.

    Raises:
        QueryError: naming position, field and rule.
    """
    try:
        return _READERS[field.kind](field, text.strip())
    except _Refused as refused:
        if is_pseudonym(text):
            raise _refuse_pseudonym(field, text, position) from None
        where = "" if position is None else f"position {position}: "
        rule = str(refused) or field.rule
        raise QueryError(
            f"{where}{rule}, not {text!r}",
            field=field.name,
            value=text,
            rule=rule,
            position=position,
        ) from None


def _refuse_pseudonym(field: Field, text: str, position: int | None) -> QueryError:
    rule = "pseudonyms are for reading; filter by region or placement instead"
    return QueryError(
        f"{field.name} = {text.strip()}: a pseudonym is no filter, for its count would tell which sensor it is; {rule}",
        field=field.name,
        value=text,
        rule=rule,
        position=position,
    )


def print_value(field: Field, value: Value) -> str:
    """Write a value as the query language does, without quotation marks."""
    if isinstance(value, Span):
        return f"{value.low}..{value.high}"
    if isinstance(value, PortValue):
        return f"{value.number}/{name_protocol(value.protocol)}"
    if isinstance(value, IPv4Network | IPv6Network):
        is_host = value.prefixlen == value.max_prefixlen
        return str(value.network_address if is_host else value)
    if isinstance(value, int):
        return _print_number(field, value)
    return value or (NONE if field.kind == "text" else UNKNOWN)


def _print_number(field: Field, value: int) -> str:
    if field.kind == "name":
        return next((word for word, number in field.names.items() if number == value), str(value))
    if field.kind in ("bits", "marks"):
        return print_bits(field, value)
    if field.kind == "yesno":
        return "yes" if value else "no"
    if field.kind == "hash":
        return f"{value:016x}" if value else NONE
    if field.name == "asn" and value == 0:
        return UNKNOWN
    return str(value)


def print_bits(field: Field, value: int) -> str:
    """Write a bit set as names joined with ``+``; nameless bits in hexadecimal."""
    words = [word for word, bit in field.names.items() if bit and value & bit == bit]
    rest = value & ~sum(field.names.values())
    if rest:
        words.append(hex(rest))
    return "+".join(words) or NONE


def _read_number(field: Field, text: str) -> Value:
    if field.name == "asn":
        if text.lower() == UNKNOWN:
            return 0
        text = re.sub(r"^as(?=\d)", "", text, flags=re.IGNORECASE)
    low, dots, high = text.partition("..")
    if not dots:
        return _read_integer(field, text)
    span = Span(_read_integer(field, low), _read_integer(field, high))
    if span.low > span.high:
        raise _Refused
    return span.low if span.low == span.high else span


def _read_integer(field: Field, text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 20):
        raise _Refused
    number = int(text)
    if not field.lowest <= number <= field.highest:
        raise _Refused
    return number


def _read_port(field: Field, text: str) -> Value:
    port, slash, protocol = text.partition("/")
    if not slash:
        return _read_number(field, text)
    value = PortValue(_read_integer(field, port), _read_protocol(protocol))
    if value.number and value.protocol not in WITH_PORTS:
        word = name_protocol(value.protocol)
        raise _Refused(f"{word} has no ports: ask for protocol = {word}, or for {field.name} = {port}")
    return value


def _read_protocol(text: str) -> int:
    number = PROTOCOLS.get(text.lower())
    if number is not None:
        return number
    if text.isascii() and text.isdigit() and len(text) <= 3 and int(text) <= 0xFF:
        return int(text)
    raise _Refused


def _read_address(_: Field, text: str) -> Value:
    try:
        network = ip_network(text, strict=False)
    except ValueError:
        raise _Refused from None
    if isinstance(network, IPv6Network) and network.prefixlen >= 96 and network.subnet_of(_MAPPED):
        return IPv4Network((int(network.network_address) & 0xFFFFFFFF, network.prefixlen - 96))
    return network


def _read_code(field: Field, text: str) -> Value:
    if text.lower() == UNKNOWN:
        return ""
    code, pattern = (text.upper(), _COUNTRY) if field.name == "country" else (text.lower(), _REGION)
    if not pattern.fullmatch(code):
        raise _Refused
    return code


def _read_name(field: Field, text: str) -> Value:
    if field.name == "protocol":
        return _read_protocol(text)
    if text.lower() not in field.names:
        raise _Refused
    return field.names[text.lower()]


def _read_bits(field: Field, text: str) -> Value:
    if text.lower() == NONE:
        return 0
    bits = 0
    for word in text.lower().split("+"):
        bits |= _read_bit(field, word)
    return bits


def _read_bit(field: Field, word: str) -> int:
    if word in field.names:
        return field.names[word]
    if re.fullmatch(r"0x[0-9a-f]{1,8}", word) and 0 < int(word, 16) <= field.highest:
        return int(word, 16)
    raise _Refused


def _read_hash(_: Field, text: str) -> Value:
    if text.lower() == NONE:
        return 0
    if not _HASH.fullmatch(text.lower()):
        raise _Refused
    return int(text, 16)


def _read_text(_: Field, text: str) -> Value:
    if len(text) > 200 or not text.isprintable():
        raise _Refused
    return "" if text.lower() == NONE else text


def _read_yesno(_: Field, text: str) -> Value:
    answers = {"yes": 1, "no": 0}
    if text.lower() not in answers:
        raise _Refused
    return answers[text.lower()]


_READERS: dict[str, Callable[[Field, str], Value]] = {
    "number": _read_number,
    "port": _read_port,
    "address": _read_address,
    "code": _read_code,
    "name": _read_name,
    "bits": _read_bits,
    "marks": _read_bits,
    "hash": _read_hash,
    "text": _read_text,
    "yesno": _read_yesno,
}
