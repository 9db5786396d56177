"""``teiten sensor approve | recover | release | discard``: who may send, and what becomes of what was kept back."""

from __future__ import annotations

import argparse

from teiten.cli.installation import Installation
from teiten.foundation.settings import Source


def approve(source: Source, options: argparse.Namespace) -> int:
    """Let in a sensor that has enrolled and waits."""
    with Installation(source) as installation:
        installation.start_django()
        from teiten.fleet import services

        act = services.Act(installation.clock.now())
        moved = services.approve_sensor(services.get_sensor(options.name), reason=options.reason, act=act)
        print(f"sensor {moved.pk} {moved.name} is {moved.state} now")
    return 0


def recover(source: Source, options: argparse.Namespace) -> int:
    """Print a recovery token for a sensor whose key is lost, or in two hands."""
    with Installation(source) as installation:
        installation.start_django()
        from teiten.fleet import recovering, services

        issued = recovering.issue_recovery(
            services.get_sensor(options.name),
            reason=options.reason,
            cidr=options.cidr,
            act=services.Act(installation.clock.now()),
            config=installation.section("fleet"),
        )
        print(
            f"sensor {issued.sensor.pk} {issued.sensor.name} ({issued.sensor.state})\n"
            f"recovery token  {issued.text}\n"
            f"It works once, until {issued.expires_at:%Y-%m-%d %H:%M} UTC, on the machine that is to be this sensor from"
            " now on: `teiten-sensor recover --token-file FILE`. Every other copy of its key is out with that; it is not"
            " shown again."
        )
    return 0


def release(source: Source, options: argparse.Namespace) -> int:
    """Give batches that were kept back to the loader."""
    return _decide(source, options, "release_batches", "released to the loader")


def discard(source: Source, options: argparse.Namespace) -> int:
    """Decide that batches that were kept back are never loaded."""
    return _decide(source, options, "discard_batches", "discarded; they stay in the ledger and count nowhere")


def _decide(source: Source, options: argparse.Namespace, verb: str, done: str) -> int:
    with Installation(source) as installation:
        installation.start_django()
        from teiten.fleet import holding, services

        decided = getattr(holding, verb)(
            services.get_sensor(options.name),
            reason=options.reason,
            act=services.Act(installation.clock.now()),
        )
        print(f"sensor {decided.sensor.pk} {decided.sensor.name}: {decided.batches} batches {done}")
    return 0
