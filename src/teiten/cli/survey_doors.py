"""The store as the behavioural rule asks it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

from teiten.datasets.doors import Candidate, WatchedDay
from teiten.store.service import Store
from teiten.traffic import addresses
from teiten.traffic.behaviour import FleetDay, SourceDay, Thresholds

#: Modes in the order of preference, with the value of the column ``answering``.
_MODES = (("silent", 0), ("answering", 1))


class SurveyCounts:
    """Counts sources of one day, in the process that owns the store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def read_fleet_day(self, dataset: str, day: date) -> WatchedDay | None:
        """Give what was watched in IPv4 by silent sensors, or else by answering ones."""
        answer = self._store.query("covered_day", {"dataset": dataset, "day": day}, role="maintenance")
        found = {row["mode"]: row for row in answer.to_pylist()}
        for mode, answering in _MODES:
            row = found.get(mode)
            if row is not None and row["address_days"] > 0 and row["sensors"] > 0:
                return WatchedDay(FleetDay(float(row["address_days"]), int(row["sensors"])), answering)
        return None

    def find_candidates(
        self, dataset: str, day: date, *, answering: int, needed: Thresholds, limit: int
    ) -> Sequence[Candidate]:
        """Give the sources that reach all thresholds, most packets first."""
        values = {
            "dataset": dataset,
            "day": day,
            "zone": self._store.config.zone,
            "answering": answering,
            "packets": needed.packets,
            "ports": needed.ports,
            "sensors": needed.sensors,
            "limit": limit,
        }
        answer = self._store.query("survey_candidates", values, role="maintenance")
        return [
            Candidate(
                f"{addresses.to_text(row['src_addr'])}/32",
                SourceDay(row["packets"], row["ports"], row["sensors"], ip_version=4),
            )
            for row in answer.to_pylist()
        ]
