"""Jobs: asked for or due, done once, and taken over when their process ends."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from teiten.foundation.clock import FixedClock, SystemClock
from teiten.portal.testing import Cast

if TYPE_CHECKING:
    from teiten.automation.jobs import Context

pytestmark = pytest.mark.requirement("R4.2", "R5.1")


class RecordingStore:
    """A store door that remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[Any] = []
        self.fails_with: Exception | None = None

    def rebuild(self, day: date) -> dict[str, Any]:
        self.asked.append(("rebuild", day))
        if self.fails_with is not None:
            raise self.fails_with
        return {"rows": 5}

    def check(self, day: date | None) -> dict[str, Any]:
        self.asked.append(("check", day))
        return {"differences": 0}

    def apply_retention(self, list_holds: Callable[[], Sequence[Any]]) -> dict[str, Any]:
        self.asked.append(("retention", list(list_holds())))
        return {"parts": 0}

    def count_rows(self, **what: Any) -> dict[str, Any]:
        self.asked.append(("count", what))
        return {"rows": 7}


def context_with(store: RecordingStore | None = None, clock=None) -> Context:
    from teiten.automation.jobs import Context

    return Context(clock=clock or SystemClock(), store=store)


def work(url: str, context: Context, until) -> None:
    """Run a worker until the run ``until`` is settled."""
    from teiten.automation.worker import Worker

    async def run() -> None:
        worker = asyncio.create_task(Worker(url, context).run())
        try:
            for _ in range(200):
                await asyncio.sleep(0.05)
                if worker.done() or await asyncio.to_thread(is_settled):
                    break
        finally:
            worker.cancel()
            with suppress(asyncio.CancelledError):
                await worker

    def is_settled() -> bool:
        from django.db import connection

        try:
            until.refresh_from_db()
            return until.state not in ("queued", "running")
        finally:
            connection.close()

    asyncio.run(run())


def ask(name: str, **arguments: Any):
    from teiten.automation import services

    return services.request_run(name, arguments, requested_by="command", clock=SystemClock())


def test_it_works(database: str) -> None:
    from teiten.automation import services

    store = RecordingStore()
    run = ask("store.rebuild", day="2026-11-20")

    work(database, context_with(store), run)

    assert store.asked == [("rebuild", date(2026, 11, 20))]
    assert (run.state, run.result, run.attempts, run.error) == ("done", {"rows": 5}, 1, "")
    assert services.wait_for_run(run, clock=SystemClock(), sleep=lambda _: None) == {"rows": 5}


def test_a_failure_is_its_rows_and_the_worker_goes_on(database: str) -> None:
    from teiten.automation import services
    from teiten.automation.errors import JobFailedError

    store = RecordingStore()
    store.fails_with = OSError("disk is full")
    failing, good = ask("store.rebuild", day="2026-11-20"), ask("store.check")

    work(database, context_with(store), good)

    failing.refresh_from_db()
    assert (failing.state, failing.error) == ("failed", "OSError: disk is full")
    assert (good.state, good.result) == ("done", {"differences": 0})
    with pytest.raises(JobFailedError, match="disk is full"):
        services.wait_for_run(failing, clock=SystemClock(), sleep=lambda _: None)


def test_a_process_without_the_store_leaves_its_jobs_alone(database: str, clock: FixedClock) -> None:
    from teiten.automation import services
    from teiten.automation.errors import JobWaitError

    waiting, other = ask("store.check"), ask("accounts.clean")

    work(database, context_with(None), other)

    waiting.refresh_from_db()
    assert (waiting.state, other.state) == ("queued", "done")
    with pytest.raises(JobWaitError, match="teiten up"):
        services.wait_for_run(waiting, clock=clock, sleep=clock.advance)


def test_a_count_comes_through_the_queue_as_text(database: str) -> None:
    store = RecordingStore()
    run = ask(
        "custody.count",
        network="240.0.0.1/32",
        sensors="3,5",
        start="",
        end="2026-11-20T03:00:00+00:00",
        dataset="",
    )

    work(database, context_with(store), run)

    assert (run.state, run.result) == ("done", {"rows": 7})
    ((_, what),) = store.asked
    assert (what["network"], what["sensors"], what["start_at"], what["dataset"]) == (
        "240.0.0.1/32",
        [3, 5],
        None,
        None,
    )
    assert what["end_at"].isoformat() == "2026-11-20T03:00:00+00:00"


def test_every_order_of_custody_is_work_of_the_stores_owner() -> None:
    from teiten.automation import jobs

    owned = {name for name, job in jobs.JOBS.items() if job.queue == jobs.STORE_QUEUE and job.cron}

    assert {"custody.erasures", "custody.exclusions", "survey.behaviour", "store.retention"} <= owned


@pytest.mark.parametrize(
    ("name", "arguments", "rule"),
    [
        ("custody.count", {}, "takes network, sensors, start, end, dataset; got none"),
        ("custody.count", {"end": 5}, "must be a text"),
        ("store.burn", {}, "no job"),
        ("store.rebuild", {}, "takes day"),
        ("store.rebuild", {"day": "yesterday"}, "must be a day"),
        ("store.rebuild", {"day": 5}, "must be a day"),
        ("store.rebuild", {"day": None}, "must be a day"),
        ("store.check", {"days": "2026-11-20"}, "takes day"),
        ("accounts.clean", {"day": "2026-11-20"}, "takes no arguments"),
    ],
)
def test_a_request_that_makes_no_sense_is_not_queued(
    database: str, name: str, arguments: dict, rule: str
) -> None:
    from teiten.automation.errors import JobUnknownError
    from teiten.automation.models import JobRun

    with pytest.raises(JobUnknownError, match=rule):
        ask(name, **arguments)

    assert not JobRun.objects.exists()


def leave_behind(url: str, run, *, attempts: int) -> None:
    """Make the database look as after ``kill -9`` of a worker in the middle of ``run``."""
    from django.db import connection

    from teiten.automation.models import JobRun

    JobRun.objects.filter(pk=run.pk).update(state="running", attempts=attempts)
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO procrastinate_workers (last_heartbeat) VALUES (now() - interval '1 hour') RETURNING id"
        )
        worker = cursor.fetchone()[0]
        cursor.execute("UPDATE procrastinate_jobs SET status = 'doing', worker_id = %s", [worker])


def reap(url: str, context: Context) -> int:
    from teiten.automation.worker import Worker

    async def run() -> int:
        worker = Worker(url, context)
        async with worker._app.open_async():
            return await worker.reap()

    return asyncio.run(run())


def test_a_job_whose_process_was_killed_is_begun_again(database: str) -> None:
    store = RecordingStore()
    run = ask("store.rebuild", day="2026-11-20")
    leave_behind(database, run, attempts=1)

    assert reap(database, context_with(store)) == 1
    work(database, context_with(store), run)

    assert (run.state, run.attempts) == ("done", 2)


def test_a_job_that_kills_its_process_is_given_up(database: str) -> None:
    run = ask("store.rebuild", day="2026-11-20")
    leave_behind(database, run, attempts=3)

    assert reap(database, context_with(RecordingStore())) == 1

    run.refresh_from_db()
    assert run.state == "lost"
    assert reap(database, context_with()) == 0


def test_a_run_that_is_done_is_not_done_again(database: str) -> None:
    from teiten.automation import jobs
    from teiten.automation.models import JobRun
    from teiten.automation.tasks import run_requested

    store = RecordingStore()
    run = ask("store.check")
    JobRun.objects.filter(pk=run.pk).update(state="done")
    jobs.use(context_with(store))

    run_requested(run.pk)

    assert store.asked == []


def test_a_quiet_periodic_run_leaves_no_row(database: str) -> None:
    from teiten.automation import jobs
    from teiten.automation.models import JobRun
    from teiten.automation.tasks import run_due

    jobs.use(context_with())
    run_due(0, "fleet.silence")
    assert not JobRun.objects.exists()

    run_due(0, "store.retention")
    assert JobRun.objects.get().error == "this process does not own the store"


def test_old_runs_are_forgotten(database: str, clock: FixedClock) -> None:
    from teiten.automation import jobs
    from teiten.automation.models import JobRun

    for days, state in ((100, "done"), (100, "queued"), (10, "failed")):
        JobRun.objects.create(
            job="x", requested_by="clock", requested_at=clock.now() - timedelta(days=days), state=state
        )

    context = context_with(clock=clock)
    assert jobs.get_job("automation.forget").run(context) == {"runs": 1}


def test_every_periodic_job_is_registered(database: str) -> None:
    from teiten.automation import jobs, tasks
    from teiten.automation.worker import Worker

    registry = Worker(database, context_with())._app.periodic_registry
    due = {key[1] for key in registry.periodic_tasks if key[0] == tasks.DUE}

    assert due == {job.name for job in jobs.JOBS.values() if job.cron}


def test_the_worker_outlives_an_outage_of_the_database(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The database ends every connection of the worker; the next job is done all the same."""
    from django.db import connection

    from teiten.automation import worker as module

    monkeypatch.setattr(module, "_RETRY_SECONDS", 0.05)
    monkeypatch.setattr(module, "_CONNECTION_WAIT_SECONDS", 2.0)

    def cut() -> None:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'teiten-worker'"
            )
        connection.close()

    async def run() -> Any:
        worker = asyncio.create_task(module.Worker(database, context_with(RecordingStore())).run())
        try:
            await asyncio.sleep(1)
            await asyncio.to_thread(cut)
            await asyncio.sleep(1)
            asked = await asyncio.to_thread(ask_and_close)
            for _ in range(200):
                await asyncio.sleep(0.05)
                if await asyncio.to_thread(state_of, asked) == "done":
                    break
            return await asyncio.to_thread(state_of, asked)
        finally:
            worker.cancel()
            with suppress(asyncio.CancelledError):
                await worker

    def ask_and_close() -> Any:
        try:
            return ask("store.check")
        finally:
            connection.close()

    def state_of(asked: Any) -> str:
        try:
            asked.refresh_from_db()
            return str(asked.state)
        finally:
            connection.close()

    assert asyncio.run(run()) == "done"


def make_sensor_heard(cast: Cast, clock: FixedClock, *, seconds_ago: int, name: str = "TK-001"):
    from teiten.fleet import services
    from teiten.fleet.config import FleetConfig
    from teiten.fleet.models import SensorHealth
    from teiten.fleet.services import Act

    region = services.find_or_create_region(code="kanto", name_ja="関東", name_en="Kanto")
    sensor = services.create_sensor(
        name=name,
        region=region,
        organisation=cast.alpha,
        dataset="live",
        act=Act(clock.now()),
        config=FleetConfig(),
    ).sensor
    sensor.state = "active"
    sensor.save()
    at = clock.now() - timedelta(seconds=seconds_ago)
    SensorHealth.objects.create(
        sensor=sensor, heartbeat_at=at, counter=1, boot_id="a", booted_at=at, software="0.1.0"
    )
    return sensor


@pytest.mark.requirement("R1.3")
def test_falling_silent_is_written_once(database: str, cast: Cast, clock: FixedClock) -> None:
    from teiten.automation import jobs

    quiet = make_sensor_heard(cast, clock, seconds_ago=151)
    make_sensor_heard(cast, clock, seconds_ago=100, name="TK-002")
    context = dataclasses.replace(context_with(), clock=clock)
    look = jobs.get_job("fleet.silence").run

    assert [look(context), look(context)] == [{"fell_silent": 1}, {"fell_silent": 0}]
    assert quiet.events.filter(kind="silent").count() == 1


@pytest.mark.requirement("R2.1")
def test_an_alarm_of_the_gateway_quarantines_once(database: str, cast: Cast, clock: FixedClock) -> None:
    import psycopg

    from teiten.automation import jobs
    from teiten.fleet import services
    from teiten.fleet.services import Act
    from teiten.landing import migrations

    sensor = make_sensor_heard(cast, clock, seconds_ago=10)
    context = dataclasses.replace(context_with(), clock=clock)
    look = jobs.get_job("fleet.clones").run
    assert look(context) == {"quarantined": 0}

    migrations.migrate(database)
    try:
        with psycopg.connect(database) as connection:
            for _ in range(2):
                connection.execute(
                    "INSERT INTO landing.alarms (at, sensor, kind, detail) VALUES (%s, %s, 'sequence_conflict', 'x')",
                    [clock.now(), sensor.pk],
                )
        clock.advance(30)
        assert [look(context), look(context)] == [{"quarantined": 1}, {"quarantined": 0}]
        sensor.refresh_from_db()
        assert sensor.state == "quarantined"

        services.resume_sensor(sensor, reason="looked at it", act=Act(clock.now()))
        assert look(context) == {"quarantined": 0}
    finally:
        with psycopg.connect(database) as connection:
            connection.execute("DROP SCHEMA landing CASCADE")
