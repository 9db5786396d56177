"""The one way to ask the store: every call takes a :class:`Visibility` first.

All calls are synchronous and safe from any thread; under asyncio use
``asyncio.to_thread``. Every call may raise:

* :class:`QueryError`: the question makes no sense; field, rule and way out are in it;
* :class:`NotPermitted`: a field, dimension or call is beyond the visibility;
* :class:`TooExpensive`: beyond the role's limits of rows, time or memory;
* :class:`SearchUnavailable`: the store does not answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeAlias

from teiten.foundation.clock import Clock
from teiten.search.answers import (
    Basis,
    Completion,
    DatasetExtent,
    Facets,
    FieldView,
    Live,
    Packet,
    Rows,
    Sensors,
    Series,
    SourcePage,
    Top,
    Totals,
)
from teiten.search.config import SearchConfig
from teiten.search.doors import ObservationStore
from teiten.search.exports import Export, ExportFormat
from teiten.search.query import Query
from teiten.search.visibility import Visibility

RankBy: TypeAlias = Literal["avg", "max", "last"]

#: Facets that are shown when none are named.
DEFAULT_FACETS: tuple[str, ...] = (
    "country",
    "region",
    "hint",
    "survey",
    "tcp_fp",
    "nature",
    "dst_port",
    "asn",
)


class Search:
    """Answers questions about packets and about the observation itself."""

    def __init__(self, store: ObservationStore, clock: Clock, config: SearchConfig | None = None) -> None:
        self._store = store
        self._clock = clock
        self._config = config or SearchConfig()

    def totals(self, visibility: Visibility, query: Query) -> Totals:
        """Give the key figures with the previous period and a spark of each."""
        raise NotImplementedError

    def series(
        self,
        visibility: Visibility,
        query: Query,
        *,
        dimension: str | None = None,
        limit: int = 8,
        rank_by: RankBy = "avg",
        previous: bool = True,
        step_seconds: int | None = None,
    ) -> Series:
        """Give the query's metric over time, split by a dimension's ``limit`` first values and others.

        Args:
            visibility: what the viewer may see.
            query: what is asked.
            dimension: name of :meth:`dimensions`; None for the total alone.
            limit: lines besides others, 1 to 20.
            rank_by: order lines by their mean, their highest or their newest bucket.
            previous: overlay the period before.
            step_seconds: bucket length; None picks one that gives 60 to 370 buckets.
        """
        raise NotImplementedError

    def top(
        self,
        visibility: Visibility,
        query: Query,
        *,
        dimension: str,
        limit: int = 10,
        previous: bool = True,
        sparks: bool = True,
    ) -> Top:
        """Rank a dimension's values by the query's metric (``limit`` 1 to 1000; 300 and no sparks for a map)."""
        raise NotImplementedError

    def facets(
        self, visibility: Visibility, query: Query, *, dimensions: Sequence[str] | None = None, limit: int = 5
    ) -> Facets:
        """Give the most frequent values of several dimensions by packets."""
        raise NotImplementedError

    def rows(
        self,
        visibility: Visibility,
        query: Query,
        *,
        page: str | None = None,
        limit: int = 50,
        columns: Sequence[str] | None = None,
        count: bool = True,
    ) -> Rows:
        """Give one page of packets, newest first; ``page`` is the last answer's ``next_page``."""
        raise NotImplementedError

    def packet(self, visibility: Visibility, reference: str) -> Packet:
        """Give one packet by a reference from :meth:`rows`.

        Raises:
            NotFound: when it is not, or no longer, in the store.
        """
        raise NotImplementedError

    def source(self, visibility: Visibility, query: Query, *, source: str) -> SourcePage:
        """Give everything about an address or prefix (IPv4 /8 to /32, IPv6 /32 to /128)."""
        raise NotImplementedError

    def sensors(
        self,
        visibility: Visibility,
        query: Query,
        *,
        step_seconds: int | None = None,
        sensor: int | None = None,
    ) -> Sensors:
        """Give who was watching: each sensor's and region's coverage per hour or day."""
        raise NotImplementedError

    def basis(self, visibility: Visibility, query: Query) -> Basis:
        """Give only the coverage that answers to ``query`` would rest on."""
        raise NotImplementedError

    def live(self, visibility: Visibility, query: Query, *, seconds: int = 60, latest: int = 50) -> Live:
        """Give the last ``seconds`` before now, in buckets of one second; the query's period is not used.

        Raises:
            NotPermitted: for a member.
        """
        raise NotImplementedError

    def datasets(self, visibility: Visibility) -> tuple[DatasetExtent, ...]:
        """List the data sets that hold anything, and the time each spans."""
        raise NotImplementedError

    def fields(self, visibility: Visibility) -> tuple[FieldView, ...]:
        """List the fields of the query language."""
        raise NotImplementedError

    def complete(
        self, visibility: Visibility, text: str, *, cursor: int | None = None, dataset: str = "live"
    ) -> tuple[Completion, ...]:
        """Say what may stand at ``cursor`` (characters from 0; None: at the end) of a query text."""
        raise NotImplementedError

    def export(
        self,
        visibility: Visibility,
        query: Query,
        *,
        file_format: ExportFormat,
        columns: Sequence[str] | None = None,
        limit: int | None = None,
        byte_order_mark: bool = False,
    ) -> Export:
        """Start an export of packets, oldest first; iterate over it for the bytes."""
        raise NotImplementedError
