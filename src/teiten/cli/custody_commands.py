"""``teiten hold|erase|exclude …``: count first, ask, order, carry out."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING

from teiten.cli import printing, wiring
from teiten.cli.confirming import is_confirmed
from teiten.cli.errors import CliError
from teiten.cli.installation import Installation
from teiten.cli.instants import read_instant
from teiten.cli.job_running import run_job
from teiten.foundation.settings import Source

if TYPE_CHECKING:
    # Django's models can be imported only once Django has been set up.
    from teiten.custody.models import Erasure, Exclusion
    from teiten.fleet.services import Act

#: A hold without a start holds from the beginning of everything.
_FIRST_AT = datetime(1970, 1, 2, tzinfo=timezone.utc)


def add_hold(source: Source, options: argparse.Namespace) -> int:
    """Hold observations."""
    with Installation(source) as installation:
        installation.start_django()
        from teiten.custody import services
        from teiten.custody.reach import describe_hold
        from teiten.fleet.services import get_sensor

        start_at, end_at = _period(installation, options)
        scope = "sensor" if options.sensor else "address" if options.address else "dataset"
        row = services.hold(
            scope=scope,
            dataset=options.dataset,
            sensor=get_sensor(options.sensor) if options.sensor else None,
            network=options.address,
            start_at=start_at or _FIRST_AT,
            end_at=end_at,
            reason=options.reason,
            act=_act(installation),
        )
        print(f"{describe_hold(row)}: nothing of it is removed until `teiten hold release {row.pk}`")
    return 0


def list_holds(source: Source, options: argparse.Namespace) -> int:
    """Print holds."""
    with Installation(source) as installation:
        installation.start_django()
        from teiten.custody import holding

        rows = holding.list_holds(with_released=options.all)
    printing.print_table(
        ("number", "scope", "of", "data set", "from", "to", "ordered", "released", "reason"),
        [
            (
                row.pk, row.scope, row.network or (row.sensor.name if row.sensor else "-"), row.dataset or "all",
                printing.instant(row.start_at), printing.instant(row.end_at), printing.instant(row.created_at),
                printing.instant(row.released_at), row.reason,
            )
            for row in rows
        ],
    )  # fmt: skip
    return 0


def release_hold(source: Source, options: argparse.Namespace) -> int:
    """End a hold."""
    with Installation(source) as installation:
        installation.start_django()
        from teiten.custody import services

        services.release(options.number, reason=options.reason, act=_act(installation))
    print(f"legal hold {options.number} is released; what is past its term goes with the next retention")
    return 0


def erase_address(source: Source, options: argparse.Namespace) -> int:
    """Erase an address."""
    with Installation(source) as installation:
        wiring.migrate(installation)
        from teiten.custody import services

        act, dataset = _act(installation), options.dataset
        start_at, end_at = _period(installation, options)
        end_at = end_at or act.at

        def order(*, only_check: bool) -> Erasure:
            return services.erase_address(
                options.network, reason=options.reason, act=act, dataset=dataset, start_at=start_at, end_at=end_at,
                only_check=only_check,
            )  # fmt: skip

        network = order(only_check=True).network
        found = _count(installation, network=network, start_at=start_at, end_at=end_at, dataset=dataset)
        print(f"{found} packets hold an address of {network}")
        if not options.dry_run and is_confirmed(f"erase them for ever ({network})", yes=options.yes):
            _carry_out_erasure(installation, order(only_check=False))
    return 0


def erase_organisation(source: Source, options: argparse.Namespace) -> int:
    """Take an organisation out."""
    with Installation(source) as installation:
        wiring.migrate(installation)
        from teiten.accounts.models import Organisation
        from teiten.custody import services

        organisation = Organisation.objects.filter(code=options.code).first()
        if organisation is None:
            raise CliError(f"there is no organisation {options.code!r}; `teiten user list` names them")
        act = _act(installation)

        def order(*, only_check: bool) -> Erasure:
            return services.erase_organisation(
                organisation,
                reason=options.reason,
                act=act,
                keeps_data=options.keep_data,
                only_check=only_check,
            )

        sensors = order(only_check=True).sensors
        is_erased = sensors and not options.keep_data
        found = _count(installation, sensors=sensors, end_at=act.at) if is_erased else 0
        print(f"{organisation.code}: {len(sensors)} sensors, {found} packets to erase")
        if not options.dry_run and is_confirmed(
            f"close, revoke and erase ({organisation.code})", yes=options.yes
        ):
            _carry_out_erasure(installation, order(only_check=False))
    return 0


def list_erasures(source: Source, _options: argparse.Namespace) -> int:
    """Print erasures."""
    with Installation(source) as installation:
        installation.start_django()
        from teiten.custody import erasing

        rows = list(erasing.list_erasures()[:500])
    printing.print_table(
        ("number", "kind", "of", "data set", "state", "asked", "finished", "facts", "reason", "error"),
        [
            (
                row.pk, row.kind, row.organisation or row.network or "(forgotten)", row.dataset or "all", row.state,
                printing.instant(row.requested_at), printing.instant(row.finished_at), _facts(row.progress),
                row.reason, row.error,
            )
            for row in rows
        ],
    )  # fmt: skip
    return 0


def retry_erasure(source: Source, options: argparse.Namespace) -> int:
    """Try a failed erasure again."""
    with Installation(source) as installation:
        wiring.migrate(installation)
        from teiten.custody import services

        _carry_out_erasure(installation, services.retry_erasure(options.number))
    return 0


def add_exclusion(source: Source, options: argparse.Namespace) -> int:
    """Exclude a sensor's data."""
    with Installation(source) as installation:
        wiring.migrate(installation)
        from teiten.custody import services
        from teiten.fleet.services import get_sensor

        sensor, act = get_sensor(options.sensor), _act(installation)
        start_at, end_at = (
            read_instant(name, text, zone=installation.site.zone)
            for name, text in (("--from", options.since), ("--to", options.until))
        )

        def order(*, only_check: bool) -> Exclusion:
            return services.exclude(
                sensor, start_at=start_at, end_at=end_at, reason=options.reason, act=act, dataset=options.dataset,
                only_check=only_check,
            )  # fmt: skip

        dataset = order(only_check=True).dataset
        found = _count(installation, sensors=[sensor.pk], start_at=start_at, end_at=end_at, dataset=dataset)
        print(f"{found} packets of {sensor.name} in that time; whole batches are set aside")
        if not options.dry_run and is_confirmed(
            f"take them out of every figure ({sensor.name})", yes=options.yes
        ):
            _carry_out_exclusion(installation, order(only_check=False))
    return 0


def list_exclusions(source: Source, options: argparse.Namespace) -> int:
    """Print exclusions."""
    with Installation(source) as installation:
        installation.start_django()
        from teiten.custody import excluding

        rows = list(excluding.list_exclusions(with_lifted=options.all)[:500])
    printing.print_table(
        ("number", "sensor", "data set", "from", "to", "state", "batches", "lifted", "reason", "error"),
        [
            (
                row.pk, row.sensor.name, row.dataset, printing.instant(row.start_at), printing.instant(row.end_at),
                row.state, row.batches, printing.instant(row.lifted_at), row.reason, row.error,
            )
            for row in rows
        ],
    )  # fmt: skip
    return 0


def lift_exclusion(source: Source, options: argparse.Namespace) -> int:
    """Take excluded data back in."""
    with Installation(source) as installation:
        wiring.migrate(installation)
        from teiten.custody import services

        row = services.lift(options.number, reason=options.reason, act=_act(installation))
        _carry_out_exclusion(installation, row)
    return 0


def _carry_out_erasure(installation: Installation, row: Erasure) -> None:
    """Run the job and say what came of the order.

    Raises:
        CliError: when it failed, with the reason.
    """
    run_job(installation, "custody.erasures")
    row.refresh_from_db()
    if row.state != "done":
        raise CliError(f"erasure {row.pk} is {row.state}: {row.error or 'the job goes on with it'}")
    print(f"erasure {row.pk} is done: {_facts(row.progress)}")


def _carry_out_exclusion(installation: Installation, row: Exclusion) -> None:
    run_job(installation, "custody.exclusions")
    row.refresh_from_db()
    if row.state != "done":
        raise CliError(f"exclusion {row.pk} is {row.state}: {row.error or 'the job goes on with it'}")
    done = "lifted" if row.lifted_at else f"done: {row.batches} batches set aside"
    print(f"exclusion {row.pk} is {done}; figures are made anew")


def _count(
    installation: Installation,
    *,
    end_at: datetime,
    start_at: datetime | None = None,
    network: str = "",
    sensors: list[int] | None = None,
    dataset: str = "",
) -> int:
    arguments = {
        "network": network,
        "sensors": ",".join(map(str, sensors or [])),
        "start": start_at.isoformat() if start_at else "",
        "end": end_at.isoformat(),
        "dataset": dataset,
    }
    return int(run_job(installation, "custody.count", arguments)["rows"])


def _period(
    installation: Installation, options: argparse.Namespace
) -> tuple[datetime | None, datetime | None]:
    zone = installation.site.zone
    start_at = read_instant("--from", options.since, zone=zone) if options.since else None
    end_at = read_instant("--to", options.until, zone=zone) if options.until else None
    return start_at, end_at


def _act(installation: Installation) -> Act:
    from teiten.fleet.services import Act

    # To the second: what is printed and what is kept are one instant.
    now = installation.clock.now()
    return Act(now - timedelta(microseconds=now.microsecond))


def _facts(progress: Mapping[str, object]) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in progress.items()) or "-"
