"""Survey scanners by what they do: a rule's findings, kept as a list like any other.

What is found on a complete day enters the list ``behaviour`` from now on, until some days
after the last such day. **Not retroactive**: rows that are stored keep the answer of their
time, and so do late rows of before.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import numpy as np
from django.db.models import Q

from teiten.datasets.config import DatasetsConfig
from teiten.datasets.doors import ReferencePublisher, SurveyStore
from teiten.datasets.entries import StatedEntry
from teiten.datasets.errors import DatasetsError
from teiten.datasets.importing import BEHAVIOUR_LIST, Statement, replace_entries
from teiten.datasets.models import EntryKind, ListFormat, SurveyEntry
from teiten.datasets.publishing import is_published, publish
from teiten.fleet.services import Act
from teiten.foundation.clock import to_us
from teiten.traffic import addresses
from teiten.traffic.behaviour import RULE, is_survey, scale_thresholds
from teiten.traffic.survey import FOREVER_US, SurveyNetwork, SurveyTable

#: Who scans is not known; the column ``actor`` says this.
OWNER = "behaviour"
#: Data sets whose sources are judged; an import is somebody's past.
DATASETS = ("live", "simulated")


@dataclass(frozen=True)
class Found:
    """What one run of the rule changed."""

    surveys: int
    added: int
    closed: int
    #: Empty when nothing had to be published.
    version: str


def mark_surveys(
    store: SurveyStore,
    publisher: ReferencePublisher,
    *,
    days: Sequence[date],
    now: datetime,
    zone: str,
    config: DatasetsConfig,
) -> Found:
    """Judge the sources of complete days and publish what changed; the same again changes nothing.

    Args:
        store: counts the sources of a day.
        publisher: the loader's reference data.
        days: complete days of the installation's zone.
        now: from when new entries hold.
        zone: whose days these are.
        config: for how long an entry holds, and how many may be found.

    Raises:
        DatasetsError: when one day finds more than :attr:`DatasetsConfig.behaviour_limit`; nothing was changed.
    """
    found: dict[str, StatedEntry] = {}
    for day in sorted(days):
        end_at = datetime.combine(day + timedelta(days=1), time(), tzinfo=ZoneInfo(zone))
        until = end_at + timedelta(days=config.behaviour_days)
        for dataset in DATASETS:
            found |= _judge_day(store, dataset, day, until=until, limit=config.behaviour_limit)
    entries = _leave_listed(_keep_unexpired(found, now), now)
    record = replace_entries(
        BEHAVIOUR_LIST,
        entries,
        about=Statement(ListFormat.BEHAVIOUR, "By behaviour", f"rule {RULE.version}", "survey.behaviour"),
        act=Act(now),
        kind=EntryKind.BEHAVIOUR,
    )
    version = ""
    # Also where a process ended between the list and its publication.
    if not is_published(publisher, at=now, config=config):
        version = publish(publisher, at=now, config=config, is_announced=False).version
    return Found(len(found), record.added, record.closed, version)


def forget_networks(networks: Sequence[str]) -> int:
    """Remove what the rule said of addresses that were erased, history included; gives how many entries."""
    removed = 0
    for network in networks:
        inside = SurveyEntry.objects.filter(kind=EntryKind.BEHAVIOUR).extra(
            where=["datasets_surveyentry.network::inet <<= %s::inet"], params=[network]
        )
        removed += SurveyEntry.objects.filter(pk__in=list(inside.values_list("pk", flat=True))).delete()[0]
    return removed


def _judge_day(
    store: SurveyStore, dataset: str, day: date, *, until: datetime, limit: int
) -> dict[str, StatedEntry]:
    fleet = store.read_fleet_day(dataset, day)
    if fleet is None:
        return {}
    needed = scale_thresholds(fleet.watched)
    candidates = store.find_candidates(
        dataset, day, answering=fleet.answering, needed=needed, limit=limit + 1
    )
    if len(candidates) > limit:
        raise DatasetsError(
            f"more than {limit} sources of {dataset} on {day} behave as survey scanners; that is no survey but an "
            "attack on the rule, or a wrong count of sensors: look, then raise datasets.behaviour_limit"
        )
    surveys = (one for one in candidates if is_survey(one.day, fleet.watched).is_survey)
    return {
        one.network: StatedEntry(one.network, OWNER, None, until, reason=say_reason(day)) for one in surveys
    }


def say_reason(day: date) -> str:
    """Say what a source did on a day, without a figure of ours.

    Members read it. How many sensors saw a source would tell one who sends on purpose how many of
    their targets are sensors; the figures are on the source's own page, for those who may see them.
    """
    return (
        f"{day}: as many SYN and UDP packets to as many ports as NICT's definition asks ({RULE.packets:,} packets to "
        f"{RULE.ports} ports on {RULE.watched_addresses:,} addresses a day), scaled to what was watched, and seen by "
        f"{RULE.share_of_sensors:.0%} of the sensors or more"
    )


def _keep_unexpired(found: dict[str, StatedEntry], now: datetime) -> list[StatedEntry]:
    """Give what was found now and what was found before and still holds; the later end wins."""
    held = SurveyEntry.objects.filter(list__name=BEHAVIOUR_LIST, valid_from__lte=now, valid_to__gt=now)
    entries = dict(found)
    for row in held.order_by("pk"):
        new = entries.get(row.network)
        if new is None or (row.valid_to and new.valid_to and row.valid_to > new.valid_to):
            entries[row.network] = StatedEntry(
                row.network, row.owner, None, row.valid_to, source=row.source, reason=row.reason
            )
    return [entries[network] for network in sorted(entries)]


def _leave_listed(entries: list[StatedEntry], now: datetime) -> list[StatedEntry]:
    """Leave out what a list names: a named owner says more, and a narrow entry would hide a wide one."""
    held = SurveyEntry.objects.filter(kind=EntryKind.LISTED, valid_from__lte=now)
    held = held.filter(Q(valid_to=None) | Q(valid_to__gt=now))
    table = SurveyTable(
        [SurveyNetwork(network, "", 0, FOREVER_US, "") for network in held.values_list("network", flat=True)]
    )
    if not entries or not table.networks:
        return entries
    packed = addresses.from_texts(entry.network.partition("/")[0] for entry in entries)
    known, _ = table.lookup(packed, np.full(len(entries), to_us(now), np.int64))
    return [entry for entry, is_listed in zip(entries, known, strict=True) if not is_listed]
