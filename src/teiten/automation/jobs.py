"""The jobs, declared once: what each does, when by itself, and what it needs.

A job is a plain function of the :class:`Context` and its arguments that gives facts
for its run's row. It may be begun again after a crash, so each does the same when
done twice. Adding a job is adding one entry to :data:`JOBS`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any

from teiten.accounts import audit, lockout
from teiten.accounts import services as accounts
from teiten.accounts.config import AccountsConfig
from teiten.automation import custody_jobs, watch
from teiten.automation.config import AutomationConfig
from teiten.automation.doors import AuditDoor, Facts, LandingDoor, StoreDoor
from teiten.automation.errors import JobUnknownError, NotWiredError
from teiten.automation.models import JobRun, JobState
from teiten.custody.config import CustodyConfig
from teiten.custody.holding import earliest_held, standing_holds
from teiten.datasets.config import DatasetsConfig
from teiten.datasets.doors import ReferencePublisher
from teiten.fleet.alarms import mailing, watching
from teiten.fleet.canary.judging import judge_canaries
from teiten.fleet.config import FleetConfig
from teiten.fleet.rollouts.advancing import advance_all
from teiten.foundation.clock import Clock

#: Only the process that owns the embedded store takes from this queue.
STORE_QUEUE = "store"
LANDING_QUEUE = "landing"
CONTROL_QUEUE = "control"
#: Characters of the longest text that a run takes.
_LONGEST_TEXT = 100_000


@dataclass(frozen=True)
class Context:
    """Everything that jobs use, in the process that runs them."""

    clock: Clock
    accounts: AccountsConfig = field(default_factory=AccountsConfig)
    fleet: FleetConfig = field(default_factory=FleetConfig)
    automation: AutomationConfig = field(default_factory=AutomationConfig)
    custody: CustodyConfig = field(default_factory=CustodyConfig)
    datasets: DatasetsConfig = field(default_factory=DatasetsConfig)
    #: Zone whose days the installation counts in.
    zone: str = "Asia/Tokyo"
    store: StoreDoor | None = None
    landing: LandingDoor | None = None
    reference: ReferencePublisher | None = None
    audit: AuditDoor | None = None

    @property
    def queues(self) -> list[str]:
        """Give the queues that this process can serve."""
        owned = {STORE_QUEUE: self.store, LANDING_QUEUE: self.landing}
        return [CONTROL_QUEUE, *(queue for queue, door in owned.items() if door is not None)]


@dataclass(frozen=True)
class Job:
    """One job."""

    name: str
    run: Callable[..., Facts]
    queue: str
    #: When it runs by itself, as five cron fields in UTC and perhaps seconds; None: only when asked for.
    cron: str | None = None
    #: Names of arguments that it takes, as ISO days.
    days: tuple[str, ...] = ()
    #: Names of arguments that it takes, as texts that it reads itself.
    texts: tuple[str, ...] = ()
    #: Arguments that may be left out.
    optional: frozenset[str] = frozenset()


def _rebuild_store(context: Context, *, day: date) -> Facts:
    return _store_of(context).rebuild(day)


def _check_store(context: Context, *, day: date | None = None) -> Facts:
    return _store_of(context).check(day)


def _apply_store_retention(context: Context) -> Facts:
    return _store_of(context).apply_retention(standing_holds)


def _expire_landing(context: Context) -> Facts:
    if context.landing is None:
        raise NotWiredError("this process has no landing log")
    return context.landing.expire(held_from=earliest_held())


def _clean_accounts(context: Context) -> Facts:
    now = context.clock.now()
    return {
        "sessions": accounts.remove_dead_sessions(
            now=now, idle=timedelta(minutes=context.accounts.session_idle_minutes)
        ),
        "counters": lockout.remove_stale_counters(now=now, config=context.accounts),
    }


def _watch_silence(context: Context) -> Facts:
    return {"fell_silent": watch.note_silence(now=context.clock.now(), config=context.fleet)}


def _watch_alarms(context: Context) -> Facts:
    now = context.clock.now()
    done = watching.watch_alarms(now=now, config=context.fleet)
    return {**done, **mailing.send_mails(now=now, config=context.fleet)}


def _judge_canaries(context: Context) -> Facts:
    return judge_canaries(now=context.clock.now(), config=context.fleet)


def _watch_clones(context: Context) -> Facts:
    return {"quarantined": watch.quarantine_clones(now=context.clock.now())}


def _renew_releases(context: Context) -> Facts:
    """Sign the update repository's short-lived files anew; without it sensors take no updates, and record on."""
    if context.fleet.releases_dir is None:
        raise NotWiredError("this process knows no update repository")
    from teiten.fleet.releases import services as releases

    return releases.look_after(context.fleet.releases_dir, now=context.clock.now())


def _advance_rollouts(context: Context) -> Facts:
    return advance_all(context.clock.now(), context.fleet)


def _keep_audit_head(context: Context) -> Facts:
    if context.audit is None:
        raise NotWiredError("this process has no place for heads of the audit chain")
    head = audit.read_head(at=context.clock.now())
    context.audit.keep_head(head)
    return {"number": head.number}


def _forget_runs(context: Context) -> Facts:
    before = context.clock.now() - timedelta(days=context.automation.keep_runs_days)
    ended = JobRun.objects.exclude(state__in=[JobState.QUEUED, JobState.RUNNING])
    removed, _ = ended.filter(requested_at__lt=before).delete()
    return {"runs": removed}


def _erase(context: Context) -> Facts:
    return custody_jobs.erase(
        _store_of(context),
        context.reference,
        clock=context.clock,
        custody=context.custody,
        datasets=context.datasets,
    )


def _exclude(context: Context) -> Facts:
    return custody_jobs.exclude(_store_of(context), context.clock)


def _count_rows(context: Context, **what: str) -> Facts:
    return custody_jobs.count_rows(_store_of(context), **what)


def _mark_surveys(context: Context) -> Facts:
    if context.reference is None:
        raise NotWiredError("this process has no reference data")
    return custody_jobs.mark_surveys(
        _store_of(context),
        context.reference,
        clock=context.clock,
        zone=context.zone,
        config=context.datasets,
    )


def _notice(context: Context) -> Facts:
    return custody_jobs.notice(context.clock, zone=context.zone, config=context.datasets)


JOBS: dict[str, Job] = {
    job.name: job
    for job in (
        Job("store.rebuild", _rebuild_store, STORE_QUEUE, days=("day",)),
        Job("store.check", _check_store, STORE_QUEUE, days=("day",), optional=frozenset({"day"})),
        Job("store.retention", _apply_store_retention, STORE_QUEUE, cron="20 18 * * *"),
        Job("custody.erasures", _erase, STORE_QUEUE, cron="*/5 * * * *"),
        Job("custody.exclusions", _exclude, STORE_QUEUE, cron="*/5 * * * *"),
        Job(
            "custody.count",
            _count_rows,
            STORE_QUEUE,
            texts=("network", "sensors", "start", "end", "dataset"),
            optional=frozenset({"network", "sensors", "start", "dataset"}),
        ),
        # Some hours after the day of most installations is over, so that late data are in.
        Job("survey.behaviour", _mark_surveys, STORE_QUEUE, cron="10 17 * * *"),
        Job("datasets.notice", _notice, CONTROL_QUEUE, cron="*/10 * * * *"),
        Job("landing.expire", _expire_landing, LANDING_QUEUE, cron="7 * * * *"),
        Job("accounts.clean", _clean_accounts, CONTROL_QUEUE, cron="*/10 * * * *"),
        Job("fleet.silence", _watch_silence, CONTROL_QUEUE, cron="* * * * *"),
        # Every quarter of a minute: an alarm may come two heartbeats after the first missing one, not later.
        Job("fleet.alarms", _watch_alarms, CONTROL_QUEUE, cron="* * * * * */15"),
        Job("fleet.canaries", _judge_canaries, CONTROL_QUEUE, cron="*/5 * * * *"),
        Job("fleet.clones", _watch_clones, CONTROL_QUEUE, cron="* * * * *"),
        Job("releases.renew", _renew_releases, CONTROL_QUEUE, cron="25 * * * *"),
        Job("fleet.rollouts", _advance_rollouts, CONTROL_QUEUE, cron="* * * * *"),
        Job("audit.head", _keep_audit_head, CONTROL_QUEUE, cron="3 * * * *"),
        Job("automation.forget", _forget_runs, CONTROL_QUEUE, cron="40 18 * * *"),
    )
}


def get_job(name: str) -> Job:
    """Give a job by its name.

    Raises:
        JobUnknownError: naming the ones there are.
    """
    try:
        return JOBS[name]
    except KeyError:
        raise JobUnknownError(f"there is no job {name!r}; jobs: {', '.join(sorted(JOBS))}") from None


def read_arguments(job: Job, given: dict[str, Any]) -> dict[str, Any]:
    """Check the arguments of a job, given as JSON values, and turn them into what it takes.

    Raises:
        JobUnknownError: naming the argument and the rule.
    """
    taken = (*job.days, *job.texts)
    if set(given) - set(taken) or set(taken) - set(given) - job.optional:
        raise JobUnknownError(
            f"job {job.name} takes {', '.join(taken) or 'no arguments'}; got {', '.join(sorted(given)) or 'none'}"
        )
    read = {name: _read_text(job, name, given[name]) for name in given if name in job.texts}
    return read | _read_days(job, {name: given[name] for name in given if name in job.days})


def _read_text(job: Job, name: str, value: Any) -> Any:
    if not isinstance(value, str) or len(value) > _LONGEST_TEXT:
        raise JobUnknownError(
            f"argument {name} of job {job.name} must be a text of at most {_LONGEST_TEXT} characters"
        )
    return value


def _read_days(job: Job, given: dict[str, Any]) -> dict[str, Any]:
    read: dict[str, Any] = {}
    for name, value in given.items():
        try:
            read[name] = None if value is None and name in job.optional else date.fromisoformat(value)
        except (TypeError, ValueError) as error:
            raise JobUnknownError(
                f"argument {name} of job {job.name} must be a day such as 2026-11-21"
            ) from error
    return read


_context: Context | None = None


def use(context: Context | None) -> None:
    """Make ``context`` what jobs of this process use."""
    global _context  # noqa: PLW0603  # the queue calls tasks by name; they can only ask a module
    _context = context


def current() -> Context:
    """Give what was handed to :func:`use`.

    Raises:
        NotWiredError: when nothing was.
    """
    if _context is None:
        raise NotWiredError("the jobs of this process have no context; call automation.jobs.use first")
    return _context


def _store_of(context: Context) -> StoreDoor:
    if context.store is None:
        raise NotWiredError("this process does not own the store")
    return context.store
