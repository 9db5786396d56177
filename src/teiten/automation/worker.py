"""The worker: takes jobs from the queues that its process can serve, until it is cancelled.

It runs in the event loop of ``teiten up`` or alone; jobs run in threads. Jobs of a
worker that gave no sign of life are begun again by the others, a few times.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging

import psycopg
from procrastinate import App, PsycopgConnector
from procrastinate.contrib.django import DjangoApp
from procrastinate.exceptions import ConnectorException
from procrastinate.jobs import Job, Status

from teiten.automation import jobs, metrics, services, tasks
from teiten.fleet.doors import call_in_thread
from teiten.fleet.errors import FleetAwayError

_log = logging.getLogger(__name__)

#: Seconds between two attempts to reach the database.
_RETRY_SECONDS = 5.0
#: Seconds that the queue waits for a connection.
_CONNECTION_WAIT_SECONDS = 10.0


class Worker:
    """One worker over one database."""

    def __init__(self, database_url: str, context: jobs.Context) -> None:
        self._context = context
        self._app = _connect(database_url)
        self._database_url = database_url

    async def run(self) -> None:
        """Work until cancelled, also over an outage of the database; jobs under way get a few seconds to finish."""
        jobs.use(self._context)
        while True:
            try:
                await self._work()
            except (ConnectorException, psycopg.OperationalError) as error:
                _log.warning(
                    "The worker lost the database and tries again.",
                    extra={"reason": str(error.__cause__ or error), "retry_seconds": _RETRY_SECONDS},
                )
            await asyncio.sleep(_RETRY_SECONDS)
            self._app = _connect(self._database_url)

    async def _work(self) -> None:
        rules = self._context.automation
        async with self._app.open_async():
            reaper = asyncio.create_task(self._reap_for_ever())
            try:
                await self._app.run_worker_async(
                    queues=self._context.queues,
                    name="teiten",
                    concurrency=rules.concurrency,
                    install_signal_handlers=False,
                    delete_jobs="successful",
                    shutdown_graceful_timeout=rules.stop_seconds,
                    stalled_worker_timeout=rules.stalled_after_seconds,
                )
            finally:
                reaper.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await reaper

    async def reap(self) -> int:
        """Take over the jobs of workers that are gone; gives how many."""
        stalled = list(
            await self._app.job_manager.get_stalled_jobs(
                seconds_since_heartbeat=self._context.automation.stalled_after_seconds
            )
        )
        for job in stalled:
            await self._take_over(job)
        return len(stalled)

    async def _take_over(self, job: Job) -> None:
        run_id = job.task_kwargs.get("run")
        if job.task_name == tasks.RUN and isinstance(run_id, int):
            attempts = await call_in_thread(lambda: services.find_attempts(run_id))
            if attempts < self._context.automation.attempts:
                await call_in_thread(lambda: services.put_back_run(run_id))
                await self._app.job_manager.retry_job(job)
                self._note(job, done="again")
                return
            await call_in_thread(lambda: services.give_up_run(run_id, clock=self._context.clock))
        # A periodic run comes again by itself.
        await self._app.job_manager.finish_job(job, Status.FAILED, delete_job=True)
        self._note(job, done="given_up")

    def _note(self, job: Job, *, done: str) -> None:
        metrics.STALLED.labels(done).inc()
        _log.warning(
            "A job's process ended under it.", extra={"job": job.id, "task": job.task_name, "done": done}
        )

    async def _reap_for_ever(self) -> None:
        while True:
            await asyncio.sleep(self._context.automation.stalled_after_seconds)
            try:
                await self.reap()
            except (FleetAwayError, ConnectorException) as error:
                _log.warning("Stalled jobs could not be looked for.", extra={"reason": str(error)})


def _connect(database_url: str) -> App:
    connector = PsycopgConnector(
        conninfo=database_url,
        min_size=1,
        max_size=4,
        timeout=_CONNECTION_WAIT_SECONDS,
        kwargs={"application_name": "teiten-worker"},
    )
    app = DjangoApp(connector=connector)
    tasks.register(app)
    return app
