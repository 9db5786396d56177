"""``teiten command …``: hand in what operators signed, see whom it reaches, start it, watch it, stop it."""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from teiten.cli import printing
from teiten.cli.confirming import is_confirmed
from teiten.cli.errors import CliError
from teiten.cli.files import read_file, write_new
from teiten.cli.installation import Installation
from teiten.cli.pacing import read_stages
from teiten.foundation.settings import Source

if TYPE_CHECKING:
    # Django's models can be imported only once Django has been set up.
    from teiten.fleet.commands.models import Command
    from teiten.fleet.commands.services import Checked
    from teiten.fleet.commands.targeting import Resolved

#: Sensors that a preview names.
_NAMED = 10


def bring_operators(source: Source, options: argparse.Namespace) -> int:
    """Take in a list of operators where a file is named, then print the list."""
    with Installation(source) as installation:
        installation.start_django()
        from teiten.fleet.commands import consent, operators
        from teiten.fleet.services import Act

        if options.file is not None:
            act = Act(installation.clock.now())
            operators.import_operators(read_file(options.file), act=act)
            for halted in consent.halt_objected(act):
                print(f"command {halted.subject} is halted (roll-out {halted.pk}): {halted.reason}")
        known = operators.get_operators()
        now_s = int(installation.clock.now().timestamp())
    print(f"version {known.version}; for the base's own checks only: sensors go by the update repository's")
    printing.print_table(
        ("person", "key", "classes", "roles", "standing"),
        [
            (
                one.person, one.key_id, "".join(one.classes), ", ".join(one.roles) or "-",
                "withdrawn" if one.withdrawn_s is not None
                else "valid" if one.valid_from_s <= now_s < one.valid_to_s else "not valid now",
            )
            for one in known.operators
        ],
    )  # fmt: skip
    return 0


def preview(source: Source, options: argparse.Namespace) -> int:
    """Print whom a selector means, and write the file that an operator's machine signs for."""
    with Installation(source) as installation:
        installation.start_django()
        from teiten.fleet.commands.targeting import resolve_selector

        found = resolve_selector(options.selector)
        _refuse_nobody(found, options.selector)
        print(f"{len(found.sensors)} sensors, sha256 {found.sha256.hex()}")
        _print_names(found.names)
        _print_standing(found.sensors, installation)
    if options.output is not None:
        write_new(options.output, _write_targets(options.selector, found))
        print(f"targets file for teiten-operator: {options.output}")
    return 0


def print_targets(source: Source, options: argparse.Namespace) -> int:
    """Print the file that an operator's machine signs for."""
    with Installation(source) as installation:
        installation.start_django()
        from teiten.fleet.commands.targeting import resolve_selector

        found = resolve_selector(options.selector)
        _refuse_nobody(found, options.selector)
        print(_write_targets(options.selector, found).decode(), end="")
    return 0


def submit(source: Source, options: argparse.Namespace) -> int:
    """Hand a command in; with --start, begin its roll-out."""
    content = read_file(options.file)
    targets = None if options.targets is None else _read_targets(options.targets)
    with Installation(source) as installation:
        installation.start_django()
        from teiten.fleet.commands import services
        from teiten.fleet.services import Act

        if options.dry_run:
            checked = services.check_envelope(content, targets=targets, now=installation.clock.now())
            _print_checked(checked, installation)
            return 0
        command, checked = services.submit(content, targets=targets, act=Act(installation.clock.now()))
        _print_checked(checked, installation)
        if checked.wanted:
            print(f"kept as {command.state}: {checked.wanted}; hand it in again with the next signature")
            if options.start:
                print("it was not started", file=sys.stderr)
                return 1
        elif options.start:
            return _start(installation, command, options)
        else:
            print(f"approved; `teiten command start {command.pk}` begins its roll-out")
    return 0


def start(source: Source, options: argparse.Namespace) -> int:
    """Begin a roll-out."""
    with Installation(source) as installation:
        installation.start_django()
        from teiten.fleet.commands.services import get_command

        return _start(installation, get_command(options.id), options)


def list_all(source: Source, options: argparse.Namespace) -> int:
    """Print commands, newest first."""
    with Installation(source) as installation:
        installation.start_django()
        from teiten.fleet.commands.models import Command

        rows = Command.objects.select_related("rollout").order_by("-pk")[: options.limit]
        lines = [
            (
                row.pk, row.command_class, row.verb, row.rollout.state if row.rollout else row.state,
                len(row.sensors), ", ".join(row.signers) or "-", printing.instant(row.expires_at), row.reason,
            )
            for row in rows
        ]  # fmt: skip
    printing.print_table(("id", "class", "verb", "state", "sensors", "signed by", "expires", "reason"), lines)
    return 0


def show(source: Source, options: argparse.Namespace) -> int:
    """Print one command, how far it is, and what sensors answered."""
    with Installation(source) as installation:
        installation.start_django()
        from teiten.fleet.commands import selectors
        from teiten.fleet.commands.services import get_command

        command = get_command(options.id)
        if options.envelope is not None:
            write_new(options.envelope, bytes(command.envelope))
        if options.sensor:
            return _print_answer(command, options.sensor)
        print(f"{command.pk} class {command.command_class} {command.verb} {json.dumps(command.arguments)}")
        print(f"signed by {', '.join(command.signers) or 'nobody'}; {command.reason}")
        stands = (
            f"roll-out {command.rollout.pk} {command.rollout.state}" if command.rollout else command.state
        )
        counts = selectors.count_states(None, command)
        told = ", ".join(f"{count} {state}" for state, count in counts.items() if count)
        print(f"{stands}, expires {printing.instant(command.expires_at)}: {told}")
        if command.rollout and command.rollout.reason:
            print(f"because: {command.rollout.reason}")
        if options.results:
            _print_results(command)
    return 0


def stop(source: Source, options: argparse.Namespace) -> int:
    """Stop a command."""
    with Installation(source) as installation:
        installation.start_django()
        from teiten.fleet.commands import services
        from teiten.fleet.services import Act

        command = services.get_command(options.id)
        kept = services.stop(command, reason=options.reason, act=Act(installation.clock.now()))
    print(f"{command.pk}: {kept} sensors never get it; what was fetched already is obeyed")
    return 0


def _start(installation: Installation, command: Command, options: argparse.Namespace) -> int:
    from teiten.fleet.commands import services
    from teiten.fleet.rollouts.advancing import advance
    from teiten.fleet.services import Act

    what = f"give {command.verb} (class {command.command_class}) to {len(command.sensors)} sensors"
    look = f"`teiten command show {command.pk}` to see it"
    if not is_confirmed(what, yes=options.yes, way_to_look=look):
        return 1
    config = installation.section("fleet")
    started = services.start(
        command,
        act=Act(installation.clock.now()),
        per_minute=config.rollout_per_minute if options.per_minute is None else options.per_minute,
        stages=read_stages(options.stages),
    )
    if started.rollout is not None:
        done = advance(started.rollout.pk, now=installation.clock.now(), config=config)
        print(
            f"roll-out {started.rollout.pk} has begun with {done.count} sensors; the rest follows by itself"
        )
    return 0


def _print_checked(checked: Checked, installation: Installation) -> None:
    from teiten.fleet.models import Sensor

    told = checked.command
    print(f"{told.command_id}: class {told.command_class} {told.verb} {json.dumps(dict(told.arguments))}")
    print(f"reason: {told.reason}; signed by {', '.join(checked.persons) or 'nobody'}: {checked.state.value}")
    sensors = checked.sensors
    print(f"{len(sensors)} sensors" + (f" ({told.targets.selector})" if told.targets.selector else ""))
    named = Sensor.objects.filter(pk__in=sensors[:_NAMED]).order_by("pk").values_list("name", flat=True)
    _print_names((*named, *[""] * (len(sensors) - len(named))))
    regions = Counter(Sensor.objects.filter(pk__in=sensors).values_list("region", flat=True))
    print("by region: " + ", ".join(f"{region} {count}" for region, count in sorted(regions.items())))
    _print_standing(sensors, installation)


def _print_standing(sensors: Sequence[int], installation: Installation) -> None:
    """Say what is easily overlooked: that these are all, and how many of them will not hear of it now."""
    from teiten.fleet.commands.targeting import count_candidates
    from teiten.fleet.models import Sensor
    from teiten.fleet.rollouts.counting import find_silent

    if len(sensors) > 1 and len(sensors) == count_candidates():
        print("these are ALL sensors that there are")
    silent = find_silent(sensors, now=installation.clock.now(), config=installation.section("fleet"))
    if silent:
        print(f"{len(silent)} of them are silent now: they get it only if they come back before it expires")
    suspended = Sensor.objects.filter(pk__in=sensors, state="suspended").count()
    if suspended:
        print(f"{suspended} of them are suspended: they obey all the same")


def _refuse_nobody(found: Resolved, selector: str) -> None:
    if not found.sensors:
        raise CliError(
            f"{selector!r:.200} means nobody: no sensor that has enrolled and is not revoked is so; "
            "`teiten sensor list` shows regions, organisations and names as they are written"
        )


def _print_names(names: tuple[str, ...]) -> None:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    print(f"  {', '.join(names[:_NAMED]) or 'nobody'}{more}")


def _print_answer(command: Command, name: str) -> int:
    from teiten.fleet.commands.selectors import find_forgery, read_output
    from teiten.fleet.services import get_sensor

    result = command.results.filter(sensor=get_sensor(name)).first()
    if result is None:
        raise CliError(f"sensor {name} has not answered command {command.pk}")
    forged = find_forgery(result)
    if forged is not None:
        raise CliError(f"what is kept of sensor {name}'s answer is not what it signed: {forged}")
    told = " ".join(filter(None, (result.state, result.reason)))
    print(f"{told} at {printing.instant(result.ended_at)}; the signature of its key {result.key_no} holds")
    print(read_output(result), end="")
    return 0


def _print_results(command: Command) -> None:
    if command.rollout is None:
        return
    from teiten.fleet.commands.selectors import STATE_NAMES

    targets = command.rollout.targets.exclude(state="ok").select_related("sensor").order_by("position")
    printing.print_table(
        ("sensor", "state", "since", "detail"),
        [
            (
                one.sensor.name,
                STATE_NAMES[one.state],
                printing.instant(one.ended_at or one.fetched_at or one.released_at),
                one.detail or "-",
            )
            for one in targets[:500]
        ],
    )


def _write_targets(selector: str, found: Resolved) -> bytes:
    named = [
        {"number": number, "name": name} for number, name in zip(found.sensors, found.names, strict=True)
    ]
    return json.dumps({"selector": selector, "sensors": named}).encode() + b"\n"


def _read_targets(path: Path) -> list[int]:
    """Read a targets file; the SHA-256 in the command decides whether it is the right one."""
    try:
        listed = json.loads(read_file(path))["sensors"]
        sensors = [one["number"] if isinstance(one, dict) else one for one in listed]
    except (ValueError, KeyError, TypeError) as error:
        raise CliError(f"{path} is no targets file of `teiten command targets`") from error
    if not all(type(one) is int and 0 < one < 1 << 32 for one in sensors):
        raise CliError(f"{path}: sensors must be a list of numbers")
    return sensors
