"""Whoever keeps the record of what is given away, as narrow as search uses it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from teiten.search.query import Query

#: Dimensions whose values are addresses or sensors: a list of them is data on somebody.
ABOUT_SOMEBODY = frozenset({"src_addr", "src_prefix", "src_64", "dst_addr", "sensor"})


@dataclass(frozen=True)
class Disclosed:
    """What one answer held."""

    #: Name of the call: ``rows``, ``packet``, ``source``, ``export``, ``live``, ``examples``; ``top``, ``series`` or ``facets`` of addresses or sensors.
    call: str
    #: The question as it was answered: snapped, with a fixed period.
    query: Query
    #: ``real``, ``pseudonym`` or ``aggregate``.
    level: str
    rows: int
    #: Of a source's page: its address or prefix.
    source: str = ""
    #: Sensors that it was about, where it was about certain ones alone.
    sensors: tuple[int, ...] = ()
    has_payload: bool = False


class OpenFile(Protocol):
    """The record of a file that flows."""

    def close(self, *, is_whole: bool, byte_count: int, sha256: str) -> None:
        """Write down how it ended; from any thread, also while the client is already gone."""


class Recorder(Protocol):
    """Keeps the record for one recipient."""

    def give(self, disclosed: Disclosed) -> None:
        """Note what an answer holds; it is written down before it leaves."""

    def open_file(self, disclosed: Disclosed) -> OpenFile:
        """Write down that a file begins, before its first byte."""
