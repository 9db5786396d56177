"""The two tasks that the queue knows: run what was asked for, and run what is due.

Every run has a row (:class:`JobRun`); the queue's own rows are removed when they are
done. A quiet periodic run, one that found nothing to do, leaves no row.

The functions become tasks of a queue by :func:`register`, once for each worker: a task
of procrastinate keeps the connection of the queue that it belongs to.
"""

from __future__ import annotations

import logging
from typing import Any

from procrastinate import App

from teiten.automation import jobs, metrics
from teiten.automation.models import JobRun, JobState
from teiten.foundation.errors import TeitenError

_log = logging.getLogger(__name__)

RUN = "teiten.run"
DUE = "teiten.due"


def run_requested(run: int) -> None:
    """Do one requested run, unless somebody else does it or it is done."""
    context = jobs.current()
    claimed = JobRun.objects.filter(pk=run, state=JobState.QUEUED).update(
        state=JobState.RUNNING, started_at=context.clock.now()
    )
    if claimed:
        execute(JobRun.objects.get(pk=run), context)


def run_due(timestamp: int, job: str) -> None:
    """Do one periodic run."""
    del timestamp
    context = jobs.current()
    now = context.clock.now()
    row = JobRun.objects.create(
        job=job, requested_by="clock", requested_at=now, started_at=now, state=JobState.RUNNING
    )
    execute(row, context)
    if row.state == JobState.DONE and not any((row.result or {}).values()):
        row.delete()


def execute(run: JobRun, context: jobs.Context) -> None:
    """Do a run whose row is ours, and write down how it ended."""
    began = context.clock.monotonic()
    run.attempts += 1
    run.save(update_fields=["attempts"])
    try:
        job = jobs.get_job(run.job)
        run.result = dict(job.run(context, **jobs.read_arguments(job, run.arguments)))
        run.state = JobState.DONE
    except Exception as error:  # noqa: BLE001  # the boundary of a job: its failure is its row's, and is logged
        run.state, run.error = JobState.FAILED, _describe(error)
        _log.exception("A job failed.", extra={"job": run.job, "run": run.pk})
    run.finished_at = context.clock.now()
    run.save(update_fields=["state", "result", "error", "finished_at"])
    metrics.RUNS.labels(run.job, str(run.state)).inc()
    metrics.RUN_SECONDS.labels(run.job).observe(context.clock.monotonic() - began)


def _describe(error: Exception) -> str:
    return str(error) if isinstance(error, TeitenError) else f"{type(error).__name__}: {error}"


def register(queue: App) -> None:
    """Make both tasks known to a worker's queue, and every periodic job to its clock."""
    queue.task(name=RUN, queue=jobs.CONTROL_QUEUE)(run_requested)
    due = queue.task(name=DUE, queue=jobs.CONTROL_QUEUE)(run_due)
    for job in jobs.JOBS.values():
        if job.cron is not None:
            kwargs: dict[str, Any] = {"job": job.name}
            queue.periodic(
                cron=job.cron,
                periodic_id=job.name,
                queue=job.queue,
                lock=f"job:{job.name}",
                queueing_lock=f"due:{job.name}",
                task_kwargs=kwargs,
            )(due)
