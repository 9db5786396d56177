"""``teiten sensor …``: words in, the fleet changed, lines out."""

from __future__ import annotations

import argparse

from teiten.cli import printing, sensor_verbs
from teiten.cli.installation import Installation
from teiten.foundation.settings import Source


def list_all(source: Source, _options: argparse.Namespace) -> int:
    """Print every sensor with its conditions, worst first."""
    with Installation(source) as installation:
        installation.start_django()
        lines = sensor_verbs.list_sensors(clock=installation.clock, config=installation.section("fleet"))
    printing.print_table(
        (
            "number",
            "name",
            "region",
            "organisation",
            "data set",
            "standing",
            "conditions",
            "last heartbeat",
            "version",
        ),
        [
            (
                line.sensor,
                line.name,
                line.region,
                line.organisation,
                line.dataset,
                line.standing,
                ", ".join(line.conditions),
                printing.instant(line.heartbeat_at),
                line.software,
            )
            for line in lines
        ],
    )
    return 0


def issue_token(source: Source, options: argparse.Namespace) -> int:
    """Print a new one-time token."""
    with Installation(source) as installation:
        installation.start_django()
        fleet = installation.section("fleet")
        print(sensor_verbs.issue_token(options.name, clock=installation.clock, config=fleet))
    return 0


def suspend(source: Source, options: argparse.Namespace) -> int:
    """Refuse a sensor's data from its next request on."""
    with Installation(source) as installation:
        installation.start_django()
        print(sensor_verbs.suspend_sensor(options.name, reason=options.reason, clock=installation.clock))
    return 0


def resume(source: Source, options: argparse.Namespace) -> int:
    """Accept a sensor again."""
    with Installation(source) as installation:
        installation.start_django()
        print(sensor_verbs.resume_sensor(options.name, reason=options.reason, clock=installation.clock))
    return 0


def revoke(source: Source, options: argparse.Namespace) -> int:
    """Refuse a sensor for ever."""
    with Installation(source) as installation:
        installation.start_django()
        print(sensor_verbs.revoke_sensor(options.name, reason=options.reason, clock=installation.clock))
    return 0
