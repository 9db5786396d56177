"""The search box of the top bar: where a few typed characters lead."""

from __future__ import annotations

import re
from ipaddress import ip_address, ip_network
from urllib.parse import urlencode

from django.urls import reverse

from teiten.search.errors import QueryError

_AS = re.compile(r"AS\s*(\d{1,10})", re.IGNORECASE)
_PORT = re.compile(r"(\d{1,5})\s*(?:/\s*(tcp|udp|sctp))?", re.IGNORECASE)
_FINGERPRINT = re.compile(r"\d{1,5}:[0-9-]*:\d*:\d*")
_HASH = re.compile(r"[0-9a-f]{16}", re.IGNORECASE)
_COUNTRY = re.compile(r"[A-Z]{2}")
_HIGHEST_PORT = 65_535


def find_target(text: str, *, dataset: str = "") -> str:
    """Give the address of what was meant: a source's or a value's page, or Explore with a filter.

    Raises:
        QueryError: when nothing fits; what may be typed is in its rule.
    """
    typed = text.strip()
    common = {"dataset": dataset} if dataset else {}
    page = _find_page(typed)
    if page:
        return f"{reverse(page[0], args=[page[1]])}?{urlencode(common)}".rstrip("?")
    if not re.search(r"[=<>]|\b(in|has|lacks)\b", typed):
        rule = "an address, a prefix, AS64500, a port (23 or 53/udp), a fingerprint, a payload hash, or a country code"
        raise QueryError(f"nothing is known by {typed!r}; type {rule}", field="for", value=typed, rule=rule)
    return f"{reverse('explore')}?{urlencode({**common, 'q': typed})}"


def _find_source(typed: str) -> str | None:
    # Addresses are often pasted defanged.
    plain = typed.replace("[.]", ".").replace("[:]", ":").strip("[]")
    try:
        return str(ip_network(plain, strict=False)) if "/" in plain else str(ip_address(plain))
    except ValueError:
        return None


def _find_page(typed: str) -> tuple[str, str] | None:
    """Give the name of the page and the value that its address ends with."""
    if source := _find_source(typed):
        return "source", source
    if match := _AS.fullmatch(typed):
        return "as", str(int(match[1]))
    if match := _PORT.fullmatch(typed):
        return _find_port(int(match[1]), match[2])
    return next(((name, value) for name, form, value in _forms(typed) if form.fullmatch(typed)), None)


def _find_port(number: int, protocol: str | None) -> tuple[str, str] | None:
    if number > _HIGHEST_PORT:
        return None
    return "port", f"{number}-{protocol.lower()}" if protocol else str(number)


def _forms(typed: str) -> tuple[tuple[str, re.Pattern[str], str], ...]:
    return (
        ("fingerprint", _FINGERPRINT, typed),
        ("payload", _HASH, typed.lower()),
        ("country", _COUNTRY, typed),
    )
