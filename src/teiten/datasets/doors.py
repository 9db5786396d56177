"""What this room needs from others; ``cli`` hands it over."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Protocol

from teiten.traffic.behaviour import FleetDay, SourceDay, Thresholds


class ReferencePublisher(Protocol):
    """The reference data that the loader reads, kept by version."""

    def read_survey(self) -> bytes | None:
        """Give the survey list in use as it was written, None when there is none."""

    def use_survey(self, content: bytes) -> str:
        """Use a survey list, CSV, from the next block on; gives the version.

        Raises:
            TeitenError: when it cannot be used; nothing was changed.
        """


@dataclass(frozen=True)
class WatchedDay:
    """What a data set watched on one day, in one mode."""

    watched: FleetDay
    #: 1 where the sensors answered; silent ones are preferred where there are any.
    answering: int


@dataclass(frozen=True)
class Candidate:
    """A source whose day may be a survey's."""

    #: Its address as a prefix of itself.
    network: str
    day: SourceDay


class SurveyStore(Protocol):
    """What the store counts of a complete day; nothing but candidates leaves it."""

    def read_fleet_day(self, dataset: str, day: date) -> WatchedDay | None:
        """Give what was watched in IPv4, None when nothing was."""

    def find_candidates(
        self, dataset: str, day: date, *, answering: int, needed: Thresholds, limit: int
    ) -> Sequence[Candidate]:
        """Give at most ``limit`` sources that reach all thresholds, most packets first."""
