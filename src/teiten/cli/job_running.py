"""Do a job of the store here when the store is free, else in the process that owns it."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping
from typing import Any

from teiten.cli import wiring
from teiten.cli.installation import Installation
from teiten.store.errors import StoreUnavailable
from teiten.store.service import Store


def run_job(
    installation: Installation, name: str, arguments: Mapping[str, str] | None = None
) -> Mapping[str, Any]:
    """Do a job and give its facts; Django must be set up.

    Raises:
        JobWaitError: when its owner does not take it or is not done in time; it goes on there.
        JobFailedError: when it failed there.
    """
    from teiten.automation import jobs

    given = dict(arguments or {})
    with _own_store(installation) as store:
        if store is None:
            return _hand_over(installation, name, given)
        job = jobs.get_job(name)
        return job.run(wiring.make_context(installation, store), **jobs.read_arguments(job, given))


@contextlib.contextmanager
def _own_store(installation: Installation) -> Iterator[Store | None]:
    """Open the store, or give None when another process owns it."""
    try:
        store = wiring.open_store(installation)
    except StoreUnavailable:
        yield None
        return
    try:
        yield store
    finally:
        store.close()


def _hand_over(installation: Installation, name: str, arguments: dict[str, str]) -> Mapping[str, Any]:
    from teiten.automation import services

    run = services.request_run(name, arguments, requested_by="command", clock=installation.clock)
    print(f"the store belongs to a running Teiten; handed over as run {run.pk}", flush=True)
    return services.wait_for_run(run, clock=installation.clock, sleep=time.sleep)
