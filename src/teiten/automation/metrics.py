"""Counters of the automation room."""

from teiten.foundation.metrics import Counter, Histogram

RUNS = Counter("teiten_automation_runs_total", "Runs of jobs, by job and outcome.", ["job", "outcome"])
RUN_SECONDS = Histogram("teiten_automation_run_seconds", "How long runs took.", ["job"])
STALLED = Counter(
    "teiten_automation_stalled_total", "Runs whose process ended under them, by what was done.", ["done"]
)
