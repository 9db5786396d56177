"""The one way to ask the store: every call takes a :class:`Visibility` first.

All calls are synchronous and safe from any thread; under asyncio use
``asyncio.to_thread``. Every call may raise:

* :class:`QueryError`: the question makes no sense; field, rule and way out are in it;
* :class:`NotPermitted`: a field, dimension or call is beyond the visibility;
* :class:`TooExpensive`: beyond the role's limits of rows, time or memory;
* :class:`SearchUnavailable`: the store does not answer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

from teiten.foundation.clock import Clock
from teiten.search import (
    breadth,
    comparing,
    completion,
    coverage,
    examples,
    facets,
    lines,
    live,
    masking,
    modes,
    movers,
    news,
    packets,
    parting,
    ranking,
    sensors,
    series,
    single,
    sources,
)
from teiten.search.admission import admit
from teiten.search.answers import DatasetExtent, Facets, Live, Packet, Rows, Series, SourcePage, Top, Totals
from teiten.search.answers_news import Examples, Movers, News, NewsDimension
from teiten.search.answers_places import Breadth, Comparison, SensorGroup
from teiten.search.basis import Basis
from teiten.search.conditions import where
from teiten.search.config import SearchConfig
from teiten.search.desk import Desk
from teiten.search.disclosing import tell
from teiten.search.doors import FleetFacts, ObservationStore, SystemNames
from teiten.search.exports import Export, ExportFormat, start_export
from teiten.search.masking import check_filters
from teiten.search.modes import watch_all
from teiten.search.periods import DAY
from teiten.search.query import Query
from teiten.search.recording import ABOUT_SOMEBODY, Disclosed
from teiten.search.references import ReferenceDesk
from teiten.search.series import RankBy
from teiten.search.visibility import Visibility
from teiten.search.vocabulary import Completion, FieldView
from teiten.search.watching import Sensors


class Search:
    """Answers questions about packets and about the observation itself."""

    def __init__(
        self,
        store: ObservationStore,
        clock: Clock,
        config: SearchConfig | None = None,
        *,
        system_names: SystemNames | None = None,
        fleet: FleetFacts | None = None,
    ) -> None:
        settings = config or SearchConfig()
        key = bytes.fromhex(settings.reference_key) if settings.reference_key else None
        self._desk = Desk(
            store=store,
            clock=clock,
            config=settings,
            zone=store.config.zone,
            workers=ThreadPoolExecutor(settings.parallel_statements, thread_name_prefix="search"),
            references=ReferenceDesk(key),
            system_names=system_names,
            fleet=fleet,
        )

    def close(self) -> None:
        """Wait for running statements and end the threads; before the store is closed."""
        self._desk.workers.shutdown()

    def totals(self, visibility: Visibility, query: Query, *, step_seconds: int | None = None) -> Totals:
        """Give the key figures with the previous period and a spark of each."""
        visibility, query = self._admit(visibility, query, step_seconds=step_seconds)
        answer = series.answer_totals(self._desk, visibility, query, step_seconds=step_seconds)
        return masking.mask_answer(visibility, answer)

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
            step_seconds: bucket length; None picks one that gives about 30 to 385 buckets.
        """
        visibility, query = self._admit(visibility, query, step_seconds=step_seconds)
        answer = series.answer_series(
            self._desk,
            visibility,
            query,
            dimension=dimension,
            limit=limit,
            rank_by=rank_by,
            previous=previous,
            step_seconds=step_seconds,
        )
        self._tell_list("series", visibility, query, {dimension: len(answer.lines)})
        return masking.mask_answer(visibility, answer)

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
        visibility, query = self._admit(visibility, query)
        answer = ranking.answer_top(
            self._desk, visibility, query, dimension=dimension, limit=limit, previous=previous, sparks=sparks
        )
        self._tell_list("top", visibility, query, {dimension: len(answer.rows)})
        return masking.mask_answer(visibility, answer)

    def facets(
        self, visibility: Visibility, query: Query, *, dimensions: Sequence[str] | None = None, limit: int = 5
    ) -> Facets:
        """Give the most frequent values of several dimensions by packets."""
        visibility, query = self._admit(visibility, query)
        answer = facets.answer_facets(self._desk, visibility, query, wanted=dimensions, limit=limit)
        self._tell_list(
            "facets", visibility, query, {facet.dimension: len(facet.values) for facet in answer.facets}
        )
        return masking.mask_answer(visibility, answer)

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
        visibility, query = self._admit(visibility, query)
        answer = packets.answer_rows(
            self._desk, visibility, query, page=page, limit=limit, columns=columns, count=count
        )
        has_payload = "payload" in answer.columns and "payload" not in answer.masked
        self._tell("rows", visibility, query, rows=len(answer.rows), has_payload=has_payload)
        return masking.mask_answer(visibility, answer)

    def packet(self, visibility: Visibility, reference: str) -> Packet:
        """Give one packet by a reference from :meth:`rows`.

        Raises:
            NotFound: when it is not, or no longer, in the store.
        """
        answer, place = single.answer_packet(self._desk, visibility, reference)
        hour = Query(place.dataset, answer.basis.start_at, answer.basis.end_at)
        has_payload = bool(answer.payload)
        sensors = (place.sensor,)
        shown = visibility.for_own_sensors() if visibility.is_guarded else visibility
        self._tell("packet", shown, hour, rows=1, has_payload=has_payload, sensors=sensors)
        return answer

    def source(self, visibility: Visibility, query: Query, *, source: str) -> SourcePage:
        """Give everything about an address or prefix (IPv4 /8 to /32, IPv6 /32 to /128)."""
        # The page shows all of a source, so that no filter may make it more real; a masked one is still refused.
        check_filters(visibility, query.filters)
        ignored = sources.list_ignored(query)
        visibility, query = self._admit(
            visibility, replace(query, filters=None, mode="all"), step_seconds=DAY
        )
        answer = sources.answer_source(self._desk, visibility, query, source=source, ignored=ignored)
        self._tell("source", visibility, query, rows=answer.packets, source=answer.source)
        return masking.mask_answer(visibility, answer)

    def breadth(self, visibility: Visibility, query: Query) -> Breadth:
        """Tell in what share of the covered sensors, and where, the matching packets were seen."""
        visibility, query = self._admit(visibility, query, step_seconds=DAY)
        answer = breadth.answer_breadth(self._desk, visibility, query)
        return masking.mask_answer(visibility, answer)

    def compare(
        self,
        visibility: Visibility,
        query: Query,
        *,
        one: SensorGroup,
        other: SensorGroup | None = None,
        dimension: str,
        limit: int = 10,
        same_sensors: bool = False,
    ) -> Comparison:
        """Put the rates of one group of sensors beside those of another.

        Args:
            visibility: what the viewer may see.
            query: what is asked; its metric is not used.
            one: the first group.
            other: the second group; None for the first one in the period before.
            dimension: name of :meth:`dimensions`.
            limit: rows, 1 to 50.
            same_sensors: count only sensors that watched in this period and in the one before.
        """
        visibility, query = self._admit(visibility, query)
        answer = comparing.answer_comparison(
            self._desk,
            visibility,
            query,
            one=one,
            other=other,
            dimension=dimension,
            limit=limit,
            same_sensors=same_sensors,
        )
        self._tell_list("compare", visibility, query, {dimension: len(answer.rows)})
        return masking.mask_answer(visibility, answer)

    def news(
        self,
        visibility: Visibility,
        query: Query,
        *,
        dimension: NewsDimension = "dst_port",
        days: int = 28,
        limit: int = 20,
    ) -> News:
        """List values of the period that were not seen in the ``days`` (1 to 90) before it."""
        visibility, query = self._admit(visibility, query, step_seconds=DAY)
        answer = news.answer_news(self._desk, visibility, query, dimension=dimension, days=days, limit=limit)
        return masking.mask_answer(visibility, answer)

    def movers(self, visibility: Visibility, query: Query, *, dimension: str, limit: int = 10) -> Movers:
        """List values whose rate grew beyond that of the 28 days before, with trend and anomaly."""
        visibility, query = self._admit(visibility, query, step_seconds=DAY)
        answer = movers.answer_movers(self._desk, visibility, query, dimension=dimension, limit=limit)
        return masking.mask_answer(visibility, answer)

    def examples(
        self, visibility: Visibility, query: Query, *, payload_hash: str, limit: int = 5
    ) -> Examples:
        """Give whole payloads with a hash (16 hexadecimal digits), newest first.

        Raises:
            NotPermitted: for a viewer who may not see payloads.
        """
        visibility, query = self._admit(visibility, query)
        answer = examples.answer_examples(
            self._desk, visibility, query, payload_hash=payload_hash, limit=limit
        )
        if answer.examples:
            of_hash = query.narrow(where("payload_hash", "=", int(answer.payload_hash, 16)))
            self._tell("examples", visibility, of_hash, rows=len(answer.examples), has_payload=True)
        return masking.mask_answer(visibility, answer)

    def sensors(
        self,
        visibility: Visibility,
        query: Query,
        *,
        step_seconds: int | None = None,
        sensor: int | None = None,
    ) -> Sensors:
        """Give who was watching: each sensor's and region's coverage per hour or day."""
        if sensor is not None and sensor in visibility.own_sensors:
            query = query.narrow(where("sensor", "=", sensor))
        visibility, query = self._admit(visibility, watch_all(query), step_seconds=step_seconds)
        answer = sensors.answer_sensors(
            self._desk, visibility, query, step_seconds=step_seconds, sensor=sensor
        )
        return masking.mask_answer(visibility, answer)

    def basis(self, visibility: Visibility, query: Query) -> Basis:
        """Give only the coverage that answers to ``query`` would rest on."""
        visibility, query = self._admit(visibility, query)
        window = lines.plan_for(self._desk, query).window
        return masking.mask_basis(visibility, coverage.observe(self._desk, visibility, query, window).basis)

    def live(self, visibility: Visibility, query: Query, *, seconds: int = 60, latest: int = 50) -> Live:
        """Give the last ``seconds`` before now, in buckets of one second; the query's period is not used.

        Raises:
            NotPermitted: for a member.
        """
        query = modes.settle(self._desk, visibility, query)
        answer = live.answer_live(self._desk, visibility, query, seconds=seconds, latest=latest)
        shown = query.within(answer.starts[0], answer.now_at)
        self._tell("live", visibility, shown, rows=len(answer.latest.rows))
        return answer

    def datasets(self, visibility: Visibility) -> tuple[DatasetExtent, ...]:
        """List the data sets that hold anything, and the time each spans."""
        extents = self._desk.remember(
            "datasets",
            lambda: live.list_datasets(self._desk, visibility),
            seconds=self._desk.config.freshness_cache_seconds,
            viewer=None,
        )
        return masking.mask_extents(visibility, extents)

    def fields(self, visibility: Visibility) -> tuple[FieldView, ...]:
        """List the fields of the query language."""
        return completion.list_fields(visibility)

    def complete(
        self, visibility: Visibility, text: str, *, cursor: int | None = None, dataset: str = "live"
    ) -> tuple[Completion, ...]:
        """Say what may stand at ``cursor`` (characters from 0; None: at the end) of a query text."""
        return completion.complete(self._desk, visibility, text[:cursor], dataset=dataset)

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
        visibility, query = self._admit(visibility, query)
        return start_export(
            self._desk,
            visibility,
            query,
            file_format=file_format,
            columns=columns,
            limit=limit,
            byte_order_mark=byte_order_mark,
        )

    def _admit(
        self, visibility: Visibility, query: Query, *, step_seconds: int | None = None
    ) -> tuple[Visibility, Query]:
        """Give the visibility and the question with which a call is answered; every call begins with it."""
        desk = self._desk
        visibility, query = admit(
            visibility, query, now=desk.clock.now(), zone=desk.zone, step_seconds=step_seconds
        )
        query = modes.settle(desk, visibility, query)
        return visibility, parting.keep_supported(desk, visibility, query)

    def _tell(self, call: str, visibility: Visibility, query: Query, *, rows: int, **more: Any) -> None:
        """Tell the record of disclosures what an answer holds."""
        tell(visibility, Disclosed(call, query, visibility.level, rows, **more))

    def _tell_list(
        self, call: str, visibility: Visibility, query: Query, lengths: Mapping[str | None, int]
    ) -> None:
        """Tell of lists whose values are addresses or sensors; other figures are about nobody."""
        rows = sum(length for dimension, length in lengths.items() if dimension in ABOUT_SOMEBODY)
        if rows:
            self._tell(call, visibility, query, rows=rows)

    @property
    def config(self) -> SearchConfig:
        """Limits, and what members may see."""
        return self._desk.config
