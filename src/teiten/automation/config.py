"""Rules of the automation."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class AutomationConfig:
    """Section ``automation`` of the settings."""

    #: Jobs that one worker runs at the same time.
    concurrency: int = 2
    #: Seconds without a sign of life after which a worker counts as gone and its jobs are taken over.
    stalled_after_seconds: int = 30
    #: Times that a job is begun before it is given up.
    attempts: int = 3
    #: Days for which finished runs are kept.
    keep_runs_days: int = 90
    #: Seconds that a stopping worker gives its jobs to finish.
    stop_seconds: float = 10.0
