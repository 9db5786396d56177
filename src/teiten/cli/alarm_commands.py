"""``teiten alarm list | ack``."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from teiten.cli.installation import Installation
from teiten.cli.printing import instant, print_table
from teiten.foundation.settings import Source

if TYPE_CHECKING:
    from teiten.fleet.alarms.models import Alarm

_MOST_ROWS = 1_000
_HEADS = ("alarm", "kind", "sensor or group", "host", "since", "until", "acknowledged", "detail")


def list_alarms(source: Source, options: argparse.Namespace) -> int:
    """List alarms."""
    with Installation(source) as installation:
        installation.start_django()
        from teiten.fleet.alarms.selectors import alarms_visible_to

        found = alarms_visible_to(None, open_only=not options.all, with_parts=options.parts)
        print_table(_HEADS, [_row_of(alarm) for alarm in found[:_MOST_ROWS]])
    return 0


def ack(source: Source, options: argparse.Namespace) -> int:
    """Note that somebody looks after alarms."""
    with Installation(source) as installation:
        installation.start_django()
        from teiten.fleet.alarms import services
        from teiten.fleet.services import Act

        for number in options.number:
            act = Act(installation.clock.now())
            alarm = services.acknowledge(services.get_alarm(number), act=act)
            state = "is over" if alarm.closed_at else "stays open until it is over"
            print(f"alarm {alarm.pk} ({alarm.kind}) is acknowledged, and {state}")
    return 0


def _row_of(alarm: Alarm) -> tuple[object, ...]:
    return (
        alarm.pk,
        alarm.kind,
        alarm.sensor.name if alarm.sensor is not None else alarm.group,
        alarm.organisation.code if alarm.organisation is not None else "-",
        instant(alarm.opened_at),
        instant(alarm.closed_at),
        instant(alarm.acknowledged_at),
        " ".join(f"{name}={value}" for name, value in alarm.detail.items()),
    )
