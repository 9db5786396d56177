"""Rules of the datasets room."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class DatasetsConfig:
    """Section ``datasets`` of the settings."""

    #: Days for which an entry of a survey list that no longer holds is still given to the loader, for late data and imports.
    survey_history_days: int = 400
    #: Days for which a source that behaved as a survey scanner counts as one after the last such day.
    behaviour_days: int = 14
    #: Sources that the behavioural rule may enter on one day; more is taken for an attack on the rule.
    behaviour_limit: int = 20_000
    #: Sensors that began to observe on one day before an annotation says so.
    noted_sensors: int = 10
