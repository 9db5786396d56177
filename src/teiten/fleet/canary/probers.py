"""How probers do: what they last said, and whether it is they who fail.

A prober whose newest slots are void, or that says nothing any more, raises one alarm
for operators, of the group ``prober NAME``; no sensor is blamed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import connection

from teiten.fleet.alarms import metrics
from teiten.fleet.alarms.models import Alarm, AlarmKind
from teiten.fleet.canary.models import Prober

#: Logs travel by somebody's timer: half a day is usual, more than this and two slots is not.
SILENT_AFTER = timedelta(hours=24)
#: Verdicts that are older say nothing of how a prober does.
_LOOK_BACK = timedelta(days=7)
#: So many slots in a row, the newest of an IP version and protocol, must be void.
_VOID_AFTER = 2
_PREFIX = "prober "

_NEWEST = """
SELECT prober_id, bool_and(is_void), (array_agg(expected ORDER BY slot DESC))[1], (array_agg(met ORDER BY slot DESC))[1],
    count(*)
FROM (
    SELECT *, row_number() OVER (PARTITION BY prober_id, ip_version, protocol ORDER BY slot DESC) AS place
    FROM fleet_canary_slotverdict WHERE ended_at > %(since)s
) AS v
WHERE place <= %(places)s
GROUP BY prober_id, ip_version, protocol
"""
_LOGS = """
SELECT prober_id, max(ended_at), max(taken_at), (array_agg(sent ORDER BY slot DESC))[1]
FROM fleet_canary_slotlog GROUP BY prober_id
"""


@dataclass(frozen=True)
class ProberState:
    """How one prober does."""

    name: str
    #: End of the newest slot whose log was taken up, and how many canaries it says it sent.
    last_slot_at: datetime | None
    last_taken_at: datetime | None
    last_sent: int
    #: Sensors that should have received its newest canaries, and those that did; of the worst IP version and protocol.
    expected: int
    met: int
    #: Most sensors miss what it sends: it is the prober, or the way from it.
    is_void: bool
    #: It sent once, and has said nothing for :data:`SILENT_AFTER` and two slots.
    is_silent: bool

    @property
    def trouble(self) -> str:
        """``silent``, ``void``, or empty."""
        return "silent" if self.is_silent else "void" if self.is_void else ""


def list_states(*, now: datetime) -> tuple[ProberState, ...]:
    """Tell how the probers in use do, by name."""
    worst: dict[int, tuple[bool, int, int]] = {}
    with connection.cursor() as cursor:
        cursor.execute(_NEWEST, {"since": now - _LOOK_BACK, "places": _VOID_AFTER})
        for prober, all_void, expected, met, count in cursor.fetchall():
            seen = (all_void and count >= _VOID_AFTER, expected, met)
            worst[prober] = max(worst.get(prober, seen), seen, key=lambda one: (one[0], one[1] - one[2]))
        cursor.execute(_LOGS)
        logs = {row[0]: row[1:] for row in cursor.fetchall()}
    states = []
    for prober in Prober.objects.filter(revoked_at=None).order_by("name"):
        ended_at, taken_at, sent = logs.get(prober.pk, (None, None, 0))
        is_void, expected, met = worst.get(prober.pk, (False, 0, 0))
        patience = SILENT_AFTER + timedelta(seconds=2 * prober.slot_seconds)
        is_silent = ended_at is not None and ended_at < now - patience
        states.append(ProberState(prober.name, ended_at, taken_at, sent, expected, met, is_void, is_silent))
    return tuple(states)


def watch_probers(*, now: datetime) -> None:
    """Open an alarm for each prober that fails and has none; close those of probers that do well again, or are gone."""
    failing = {_PREFIX + state.name: state for state in list_states(now=now) if state.trouble}
    known = Alarm.objects.filter(
        kind=AlarmKind.CANARY_LOST, sensor=None, closed_at=None, group__startswith=_PREFIX
    )
    open_now = {alarm.group: alarm for alarm in known}
    for group in sorted(set(failing) - set(open_now)):
        state = failing[group]
        detail = {"why": state.trouble, "sensors": state.expected - state.met, "expected": state.expected}
        Alarm.objects.create(kind=AlarmKind.CANARY_LOST, group=group, opened_at=now, detail=detail)
        metrics.ALARMS.labels(AlarmKind.CANARY_LOST.value, "opened").inc()
    _close([alarm for group, alarm in open_now.items() if group not in failing], now)


def _close(over: Sequence[Alarm], now: datetime) -> None:
    for alarm in over:
        Alarm.objects.filter(pk=alarm.pk).update(closed_at=max(now, alarm.opened_at))
        metrics.ALARMS.labels(AlarmKind.CANARY_LOST.value, "closed").inc()
