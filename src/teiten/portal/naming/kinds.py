"""The kinds of values that have a page of their own, and the addresses of their pages."""

from __future__ import annotations

from dataclasses import dataclass

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from teiten.search.answers import Group


@dataclass(frozen=True)
class Kind:
    """One kind of value: what its address begins with, and which dimension it is a value of."""

    #: Name of the address, and its first part.
    name: str
    dimension: str
    label: Promise
    #: Dimensions whose most frequent values the page lists.
    lists: tuple[str, ...]
    #: What is new under this value, as :meth:`Search.news` calls it; empty for nothing.
    news: str = ""


_PLACES = ("src_addr", "asn", "country")

KINDS: tuple[Kind, ...] = (
    Kind("port", "dst_port", _("Port"), (*_PLACES, "tcp_fp", "hint", "probe"), "fingerprint_port"),
    Kind(
        "fingerprint",
        "tcp_fp",
        _("Fingerprint"),
        ("dst_port", *_PLACES, "hint", "region"),
        "fingerprint_port",
    ),
    Kind("payload", "payload_hash", _("Payload"), ("dst_port", "probe", *_PLACES, "region")),
    Kind("probe", "probe", _("Probe"), ("dst_port", "payload_hash", *_PLACES, "region"), "payload_hash"),
    Kind(
        "country",
        "country",
        _("Country or area"),
        ("dst_port", "asn", "src_addr", "tcp_fp", "hint", "region"),
        "fingerprint_port",
    ),
    Kind(
        "as",
        "asn",
        _("AS"),
        ("dst_port", "src_addr", "country", "tcp_fp", "hint", "region"),
        "fingerprint_port",
    ),
    Kind("actor", "actor", _("Actor"), ("dst_port", *_PLACES, "probe", "tcp_fp")),
    Kind("tool", "hint", _("Tool"), ("dst_port", *_PLACES, "tcp_fp", "region"), "fingerprint_port"),
    Kind("nature", "nature", _("Nature"), ("dst_port", *_PLACES, "tcp_fp", "region")),
)
BY_NAME: dict[str, Kind] = {kind.name: kind for kind in KINDS}
_BY_DIMENSION: dict[str, Kind] = {kind.dimension: kind for kind in KINDS}


def kind_of(group: Group) -> Kind | None:
    """Give the kind whose page shows this value; None when it has none."""
    return _BY_DIMENSION.get(group.dimension) if group.key not in ("", "none") else None


def write_key(kind: Kind, key: str) -> str:
    """Give a key as it stands in an address: ``23-tcp`` for ``23/tcp``."""
    return key.replace("/", "-") if kind.name == "port" else key


def read_key(kind: Kind, text: str) -> str:
    """Give the key that :func:`write_key` wrote."""
    return text.replace("-", "/", 1) if kind.name == "port" else text
