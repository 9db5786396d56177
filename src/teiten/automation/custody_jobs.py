"""Jobs about what may be kept, what must go, and what the trends are told."""

from __future__ import annotations

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from teiten.automation.doors import Facts, StoreDoor
from teiten.custody.config import CustodyConfig
from teiten.custody.erasing import erased_networks, run_erasures
from teiten.custody.excluding import run_exclusions
from teiten.datasets import behaviour, noticing
from teiten.datasets.config import DatasetsConfig
from teiten.datasets.doors import ReferencePublisher
from teiten.datasets.publishing import publish
from teiten.foundation.clock import Clock

#: Complete days that the behavioural rule looks at: late data change yesterday's counts.
_DAYS_BACK = 2


def erase(
    store: StoreDoor,
    publisher: ReferencePublisher | None,
    *,
    clock: Clock,
    custody: CustodyConfig,
    datasets: DatasetsConfig,
) -> Facts:
    """Carry out the erasures that were asked for, also in what the behavioural rule found."""
    facts = run_erasures(store, clock, custody)
    forgotten = behaviour.forget_networks(erased_networks())
    if forgotten and publisher is not None:
        publish(publisher, at=clock.now(), config=datasets, is_announced=False)
    return {**facts, "surveys": forgotten}


def exclude(store: StoreDoor, clock: Clock) -> Facts:
    """Carry out exclusions and their lifting, and set aside what came late."""
    return run_exclusions(store, clock)


def count_rows(
    store: StoreDoor,
    *,
    end: str,
    network: str = "",
    sensors: str = "",
    start: str = "",
    dataset: str = "",
) -> Facts:
    """Count what an erasure would touch; everything comes as text, since it comes through the queue."""
    return store.count_rows(
        network=network or None,
        sensors=[int(number) for number in sensors.split(",")] if sensors else None,
        start_at=datetime.fromisoformat(start) if start else None,
        end_at=datetime.fromisoformat(end),
        dataset=dataset or None,
    )


def mark_surveys(
    store: StoreDoor,
    publisher: ReferencePublisher,
    *,
    clock: Clock,
    zone: str,
    config: DatasetsConfig,
) -> Facts:
    """Judge the sources of the last complete days by their behaviour."""
    today = clock.now().astimezone(ZoneInfo(zone)).date()
    days = [today - timedelta(days=number) for number in range(1, _DAYS_BACK + 1)]
    found = behaviour.mark_surveys(store, publisher, days=days, now=clock.now(), zone=zone, config=config)
    return {"surveys": found.surveys, "added": found.added, "closed": found.closed, "version": found.version}


def notice(clock: Clock, *, zone: str, config: DatasetsConfig) -> Facts:
    """Write annotations about rules that changed and sensors that were added."""
    return noticing.notice(now=clock.now(), zone=zone, config=config)
