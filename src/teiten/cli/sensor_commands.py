"""``teiten sensor …``: words in, the fleet changed, lines out."""

from __future__ import annotations

import argparse

from teiten.cli import demo, printing, sensor_verbs
from teiten.cli.installation import Installation
from teiten.cli.place_commands import site_of
from teiten.fleet.sites import Site
from teiten.foundation.settings import Source


def create(source: Source, options: argparse.Namespace) -> int:
    """Make a sensor, print its token, and write the settings it needs."""
    with Installation(source) as installation:
        installation.start_django()
        made = sensor_verbs.create_sensor(
            name=options.name,
            region=options.region,
            organisation=options.org,
            may_import=options.may_import,
            site=Site(**site_of(options)),
            clock=installation.clock,
            config=installation.section("fleet"),
        )
        print(made)
        if options.bundle is not None:
            url = f"https://{installation.gateway_config.authority}"
            demo.write_sensor_settings(installation, options.bundle, state_dir=None, extra={}, url=url)
            print(f"settings for teiten-sensor: {options.bundle} (no secret in it)")
    return 0


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
