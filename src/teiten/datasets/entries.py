"""Entries of survey lists as a file or a rule states them, and the rules for each of them."""

from __future__ import annotations

import ipaddress
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise

from teiten.datasets.errors import DatasetsInputError
from teiten.traffic.survey import SHORTEST_PREFIX

#: Characters of the longest owner and source; both stand in the store's columns and on screens.
LONGEST_OWNER = 100
LONGEST_SOURCE = 300
_MAPPED = ipaddress.IPv6Network("::ffff:0:0/96")


@dataclass(frozen=True)
class StatedEntry:
    """One network of one owner, as stated."""

    #: Canonical CIDR prefix.
    network: str
    owner: str
    #: None: from the first time that the list names it.
    valid_from: datetime | None
    #: None: until further notice.
    valid_to: datetime | None
    source: str = ""
    #: What a behavioural rule found.
    reason: str = ""
    #: Where it stands, for messages, such as ``line 7``.
    place: str = field(default="", compare=False)


def read_network(place: str, text: str) -> str:
    """Give the canonical form of a prefix, or of an address as a prefix of itself.

    Raises:
        DatasetsInputError: naming ``place`` and the rule: no prefix, host bits set, an
            IPv4-mapped form, or a range that is broader than any one scanner.
    """
    text = text.strip()
    try:
        network = ipaddress.ip_network(text)
    except ValueError as error:
        raise DatasetsInputError(place, _say_what_is_wrong(text, error)) from error
    if "%" in text:
        raise DatasetsInputError(place, f"{text} names an interface; write the address without it")
    if network.version == 6 and network.subnet_of(_MAPPED):
        raise DatasetsInputError(place, f"{text} is an IPv4 network in an IPv6 form; write it as IPv4")
    shortest = SHORTEST_PREFIX[network.version]
    if network.prefixlen < shortest:
        raise DatasetsInputError(
            place, f"{text} is too broad; an IPv{network.version} entry is /{shortest} or longer"
        )
    return str(network)


def read_text(place: str, name: str, text: str, *, longest: int, is_needed: bool = True) -> str:
    """Give a text without surrounding blanks.

    Raises:
        DatasetsInputError: when it is missing, too long or holds control characters.
    """
    text = text.strip()
    if is_needed and not text:
        raise DatasetsInputError(place, f"the {name} is missing; write it, or give it for the whole list")
    if len(text) > longest:
        raise DatasetsInputError(
            place, f"the {name} has {len(text)} characters, at most {longest} are allowed"
        )
    if not text.isprintable():
        raise DatasetsInputError(place, f"the {name} holds control characters")
    return text


def refuse_duplicates(entries: Sequence[StatedEntry], *, file: str) -> None:
    """Refuse a network that is stated twice for one time.

    Raises:
        DatasetsInputError: naming both places.
    """
    by_network: dict[str, list[StatedEntry]] = {}
    for entry in entries:
        by_network.setdefault(entry.network, []).append(entry)
    for network, same in by_network.items():
        for one, other in pairwise(_by_start(same)):
            if one.valid_to is None or other.valid_from is None or other.valid_from < one.valid_to:
                raise DatasetsInputError(
                    f"{file}, {other.place}",
                    f"{network} is a duplicate: {one.place} holds it at the same time; remove one of them",
                )


def refuse_reversed(place: str, valid_from: datetime | None, valid_to: datetime | None) -> None:
    """Refuse a validity that ends before it begins.

    Raises:
        DatasetsInputError: naming ``place`` and both instants.
    """
    if valid_from is not None and valid_to is not None and valid_to <= valid_from:
        raise DatasetsInputError(
            place,
            f"validity is reversed: valid_to {valid_to:%Y-%m-%d} is not after valid_from {valid_from:%Y-%m-%d}",
        )


def _by_start(entries: Iterable[StatedEntry]) -> list[StatedEntry]:
    return sorted(
        entries, key=lambda one: -math.inf if one.valid_from is None else one.valid_from.timestamp()
    )


def _say_what_is_wrong(text: str, error: ValueError) -> str:
    try:
        meant = ipaddress.ip_network(text, strict=False)
    except ValueError:
        return f"{text!r} is no address and no prefix such as 192.0.2.0/24 ({error})"
    return f"{text} has bits set behind the prefix; did you mean {meant}?"
