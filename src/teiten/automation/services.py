"""Ask for a run of a job, and wait for what came of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.db import transaction
from procrastinate.contrib.django import app as queue

from teiten.automation import jobs
from teiten.automation.errors import JobFailedError, JobWaitError
from teiten.automation.models import JobRun, JobState
from teiten.automation.tasks import RUN
from teiten.foundation.clock import Clock

_POLL_SECONDS = 0.2


def request_run(name: str, arguments: dict[str, Any], *, requested_by: str, clock: Clock) -> JobRun:
    """Put a run into its queue; the run and its place in the queue are one transaction.

    Args:
        name: one of :data:`jobs.JOBS`.
        arguments: JSON values, days as ISO text.
        requested_by: a user ID, or ``command``.
        clock: for the time of the request.

    Raises:
        JobUnknownError: when there is no such job, or it does not take these arguments.
    """
    job = jobs.get_job(name)
    jobs.read_arguments(job, arguments)
    with transaction.atomic():
        run = JobRun.objects.create(
            job=name, arguments=arguments, requested_by=requested_by, requested_at=clock.now()
        )
        queue.configure_task(RUN, allow_unknown=True, queue=job.queue, lock=f"job:{name}").defer(run=run.pk)
    return run


def wait_for_run(
    run: JobRun,
    *,
    clock: Clock,
    sleep: Callable[[float], None],
    start_seconds: float = 30,
    timeout_seconds: float = 3600,
) -> dict[str, Any]:
    """Wait until a run has ended and give its facts.

    Raises:
        JobWaitError: when nobody began it within ``start_seconds``, or it did not end in time.
        JobFailedError: when it failed, with its own reason.
    """
    began = clock.monotonic()
    while True:
        run.refresh_from_db()
        waited = clock.monotonic() - began
        if run.state == JobState.DONE:
            return dict(run.result or {})
        if run.state in (JobState.FAILED, JobState.LOST):
            raise JobFailedError(f"job {run.job} (run {run.pk}) failed: {run.error or 'its process ended'}")
        if run.state == JobState.QUEUED and waited >= start_seconds:
            raise JobWaitError(
                f"nobody took run {run.pk} of {run.job} within {start_seconds:.0f} s; is `teiten up` or a worker running? "
                "It stays in the queue"
            )
        if waited >= timeout_seconds:
            raise JobWaitError(
                f"run {run.pk} of {run.job} goes on after {timeout_seconds:.0f} s; look again later"
            )
        sleep(_POLL_SECONDS)


def give_up_run(run_id: int, *, clock: Clock) -> None:
    """Mark a run whose process ended once too often."""
    JobRun.objects.filter(pk=run_id, state=JobState.RUNNING).update(
        state=JobState.LOST,
        finished_at=clock.now(),
        error="its process ended each time that it was begun; the log of that process says why",
    )


def put_back_run(run_id: int) -> None:
    """Let a run whose process ended be begun again."""
    JobRun.objects.filter(pk=run_id, state=JobState.RUNNING).update(state=JobState.QUEUED, started_at=None)


def find_attempts(run_id: int) -> int:
    """Give how often a run was begun."""
    return JobRun.objects.filter(pk=run_id).values_list("attempts", flat=True).first() or 0
