"""``teiten canary …``: probers, plans, logs, and the prober itself."""

from __future__ import annotations

import argparse
import signal
import sys
import threading
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from teiten.cli.errors import CliError
from teiten.cli.installation import Installation
from teiten.cli.printing import instant, print_table
from teiten.foundation.clock import SystemClock
from teiten.foundation.settings import Source

_MOST_PER_SECOND = 1_000.0
_PROTOCOLS = {6: "tcp", 17: "udp"}


def register(source: Source, options: argparse.Namespace) -> int:
    """Enter a prober; write its key file."""
    if options.output.exists():
        raise CliError(f"{options.output} is there already; nothing was changed")
    with Installation(source) as installation:
        installation.start_django()
        from teiten.fleet.canary import files, services
        from teiten.fleet.services import Act

        act = Act(installation.clock.now())
        held = services.register_prober(
            options.name, addresses=options.address, slot_seconds=options.slot, act=act
        )
        files.write_key_file(options.output, held)
        print(
            f"prober {held.prober} sends from {', '.join(held.addresses)}\n"
            f"its key is in {options.output}; it is not shown again: bring it to the prober, and delete it here"
        )
    return 0


def revoke(source: Source, options: argparse.Namespace) -> int:
    """Take a prober out of use."""
    with Installation(source) as installation:
        installation.start_django()
        from teiten.fleet.canary import services
        from teiten.fleet.services import Act

        services.revoke_prober(options.name, act=Act(installation.clock.now()))
        print(f"prober {options.name} is out of use; its packets are ordinary ones now")
    return 0


def list_probers(source: Source, _options: argparse.Namespace) -> int:
    """List the probers."""
    with Installation(source) as installation:
        installation.start_django()
        from teiten.fleet.canary.models import Prober

        rows = [
            (
                one.name,
                ", ".join(one.addresses),
                one.slot_seconds,
                instant(one.created_at),
                instant(one.revoked_at),
            )
            for one in Prober.objects.order_by("name")
        ]
        print_table(("prober", "sends from", "slot (s)", "since", "revoked"), rows)
    return 0


def plan(source: Source, options: argparse.Namespace) -> int:
    """Write whom a prober sends to."""
    with Installation(source) as installation:
        installation.start_django()
        from teiten.fleet.canary import files, services

        prober = services.get_prober(options.name)
        config = installation.section("fleet")
        made = services.make_plan(prober, now=installation.clock.now(), config=config)
        files.write_plan(options.output, made)
        print(
            f"{len(made.targets)} addresses of {len({one.sensor for one in made.targets})} sensors in {options.output};"
            " whoever reads it knows them: treat it as the key"
        )
    return 0


def send(_source: Source, options: argparse.Namespace) -> int:
    """Be the prober until a signal comes; needs no database."""
    from teiten.fleet.canary import files, prober

    if not 0 < options.per_second <= _MOST_PER_SECOND:
        raise CliError(f"--per-second: more than 0 and at most {_MOST_PER_SECOND:g}")
    if not options.log.is_dir():
        raise CliError(f"--log: {options.log} is no folder")
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    sent = prober.run_prober(
        files.read_key_file(options.key),
        options.plan,
        options.log,
        per_second=options.per_second,
        clock=SystemClock(),
        stop=stop,
        slots=options.slots,
    )
    print(f"{sent} canaries sent")
    return 0


def bring(source: Source, options: argparse.Namespace) -> int:
    """Take up logs of what probers sent: all that can be, whatever is wrong with some."""
    with Installation(source) as installation:
        installation.start_django()
        from teiten.fleet.canary import files

        paths: list[Path] = []
        for given in options.file:
            paths += files.list_logs(given) if given.is_dir() else [given]
        if not paths:
            raise CliError(
                "there is no log (canary-*.json): does the prober run, and does its folder get here?"
            )
        now = installation.clock.now()
        bad = sum(not _bring_one(path, now=now, delete=options.delete) for path in paths)
    return 1 if bad else 0


def _bring_one(path: Path, *, now: datetime, delete: bool) -> bool:
    from teiten.fleet.canary import files, services
    from teiten.fleet.errors import FleetError

    try:
        brought = services.bring_log(path, now=now)
    except files.LogTooOldError as error:
        print(f"left out: {error}")
    except FleetError as error:
        print(f"error: {error}", file=sys.stderr)
        return False
    else:
        log, again = brought.log, "" if brought.is_new else "; taken up before"
        print(f"{path}: {len(log.probes)} canaries of prober {log.prober}, slot {log.slot}{again}")
    if delete:
        path.unlink(missing_ok=True)
    return True


def status(source: Source, _options: argparse.Namespace) -> int:
    """Tell how probers do, and which ports do not get through; ends with 1 when something is wrong."""
    with Installation(source) as installation:
        installation.start_django()
        from teiten.fleet.canary import probers, selectors

        states = probers.list_states(now=installation.clock.now())
        rows = [
            (
                one.name,
                instant(one.last_slot_at),
                instant(one.last_taken_at),
                one.last_sent,
                f"{one.met}/{one.expected}",
                _TROUBLE[one.trouble],
            )
            for one in states
        ]
        print_table(("prober", "newest slot", "its log came", "sent", "sensors reached", ""), rows)
        lines = [
            (f"{_PROTOCOLS.get(one.protocol, one.protocol)}/{one.port}", one.sensors, _tell_ways(one.shut))
            for one in selectors.list_ports(
                now=installation.clock.now(), config=installation.section("fleet")
            )
        ]
        print()
        print_table(("port", "sensors it does not reach", "reaches no sensor from"), lines)
    return 1 if any(one.trouble for one in states) else 0


_TROUBLE = {
    "": "",
    "silent": "no log for more than a day: does it run, and does its folder get here?",
    "void": "most sensors miss what it sends: look at its network and its clock",
}


def _tell_ways(probers: Sequence[str]) -> str:
    return ", ".join(probers) or "-"


def reach(source: Source, options: argparse.Namespace) -> int:
    """List which ports canaries reach."""
    with Installation(source) as installation:
        installation.start_django()
        from teiten.fleet import services
        from teiten.fleet.canary.selectors import reachability_visible_to

        sensor_id = services.get_sensor(options.sensor).pk if options.sensor else None
        rows = [
            (
                one.name,
                one.address,
                f"{_PROTOCOLS.get(one.protocol, one.protocol)}/{one.port}",
                one.sent,
                one.arrived,
                one.lost_in_row,
                instant(one.last_arrived_at),
                "unreachable" if one.is_unreachable else "",
            )
            for one in reachability_visible_to(
                None, config=installation.section("fleet"), sensor_id=sensor_id
            )
        ]
        heads = ("sensor", "address", "port", "sent", "arrived", "lost in a row", "last arrived", "")
        print_table(heads, rows)
    return 0
