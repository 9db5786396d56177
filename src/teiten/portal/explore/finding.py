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
_COUNTRY = re.compile(r"[A-Z]{2}")
_HIGHEST_PORT = 65_535


def find_target(text: str, *, dataset: str = "") -> str:
    """Give the address of what was meant: a source's page, or Explore with a filter.

    Raises:
        QueryError: when nothing fits; what may be typed is in its rule.
    """
    typed = text.strip()
    common = {"dataset": dataset} if dataset else {}
    source = _find_source(typed)
    if source:
        return f"{reverse('source', args=[source])}?{urlencode(common)}".rstrip("?")
    filters = _find_filter(typed)
    if filters is None:
        rule = "an address, a prefix, AS64500, a port (23 or 53/udp), a fingerprint, or a country code"
        raise QueryError(f"nothing is known by {typed!r}; type {rule}", field="for", value=typed, rule=rule)
    return f"{reverse('explore')}?{urlencode({**common, 'q': filters})}"


def _find_source(typed: str) -> str | None:
    # Addresses are often pasted defanged.
    plain = typed.replace("[.]", ".").replace("[:]", ":").strip("[]")
    try:
        return str(ip_network(plain, strict=False)) if "/" in plain else str(ip_address(plain))
    except ValueError:
        return None


def _find_filter(typed: str) -> str | None:
    if match := _AS.fullmatch(typed):
        return f"asn = {int(match[1])}"
    if match := _PORT.fullmatch(typed):
        if int(match[1]) > _HIGHEST_PORT:
            return None
        return f"dst_port = {int(match[1])}" + (f"/{match[2].lower()}" if match[2] else "")
    if _FINGERPRINT.fullmatch(typed):
        return f'tcp_fp = "{typed}"'
    if _COUNTRY.fullmatch(typed):
        return f"country = {typed}"
    return typed if re.search(r"[=<>]|\b(in|has|lacks)\b", typed) else None
