"""``teiten release promote|halt|resume|stop``: a published release on its way to the sensors."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from teiten.cli import pacing, printing
from teiten.cli.errors import CliError
from teiten.cli.installation import Installation
from teiten.foundation.settings import Source

if TYPE_CHECKING:
    # Django's models can be imported only once Django has been set up.
    from teiten.fleet.releases.services import Plan


def promote(source: Source, options: argparse.Namespace) -> int:
    """Start a roll-out; with --dry-run say whom it would reach."""
    stages = pacing.read_stages(options.stages)
    with Installation(source) as installation:
        installation.start_django()
        from teiten.fleet.releases import services
        from teiten.fleet.services import Act

        act = Act(installation.clock.now())
        if options.dry_run:
            plan = services.plan_promotion(
                options.release, folder=installation.releases_dir, selector=options.to, now=act.at
            )
            _print_plan(plan, options.to)
            print("nothing was started")
            return 0
        promotion = services.promote(
            options.release,
            folder=installation.releases_dir,
            selector=options.to,
            stages=stages,
            per_minute=options.per_minute,
            soak_seconds=options.soak,
            act=act,
        )
        print(
            f"roll-out {promotion.rollout.pk}: release {options.release} to {promotion.sensors} sensors, "
            f"{promotion.left_out} left out; stages {', '.join(f'{stage} %' for stage in stages)}"
        )
        _print_plan(promotion.plan, options.to)
    return 0


def _print_plan(plan: Plan, selector: str) -> None:
    """Say whom a promotion reaches, and why not the others."""
    of_all = "all sensors that there are" if plan.is_everybody else f"{plan.meant} sensors"
    print(f"{selector!r} means {of_all}; {len(plan.fit.sensors)} of {plan.meant} take release {plan.release}")
    for why, count in sorted(plan.fit.left_out.items()):
        print(f"  {count} left out: they {why}" if why != "never heard of" else f"  {count} left out: {why}")


def halt(source: Source, options: argparse.Namespace) -> int:
    """Let no further sensor take a release for now."""
    return _change(source, options, lambda rollouts: rollouts.halt, "halted")


def resume(source: Source, options: argparse.Namespace) -> int:
    """Go on after a halt."""
    from teiten.fleet.releases.repository import ReleaseRepository

    with Installation(source) as installation:
        offered = ReleaseRepository(installation.releases_dir).list_releases()
    if offered and options.release not in offered:
        raise CliError(
            f"release {options.release} is on offer no more (there are {', '.join(map(str, offered))}), so nobody could take it: "
            f"`teiten release stop {options.release} --reason …`, and promote another"
        )
    return _change(source, options, lambda rollouts: rollouts.resume, "running again")


def stop(source: Source, options: argparse.Namespace) -> int:
    """End a roll-out for good."""
    return _change(source, options, lambda rollouts: rollouts.stop, "stopped")


def print_rollouts() -> None:
    """Print the last roll-outs of releases; Django must be set up."""
    from django.db.models import Count

    from teiten.fleet.rollouts.models import Rollout, RolloutKind

    rows = []
    for one in Rollout.objects.filter(kind=RolloutKind.UPDATE).order_by("-pk")[:10]:
        counts = dict(one.targets.order_by().values_list("state").annotate(Count("pk")))
        stage = one.stages[min(one.stage, len(one.stages) - 1)]
        told = ", ".join(f"{count} {state}" for state, count in sorted(counts.items()))
        rows.append((one.pk, one.subject, one.state, f"{stage} %", told, one.reason or "-"))
    printing.print_table(("roll-out", "release", "state", "stage", "sensors", "reason"), rows)


def _change(
    source: Source, options: argparse.Namespace, choose: Callable[[Any], Callable[..., Any]], told: str
) -> int:
    with Installation(source) as installation:
        installation.start_django()
        from teiten.fleet.releases import services
        from teiten.fleet.rollouts import services as rollouts
        from teiten.fleet.services import Act

        found = services.find_under_way(options.release)
        choose(rollouts)(found, reason=options.reason, act=Act(installation.clock.now()))
        print(f"roll-out {found.pk} of release {options.release} is {told}")
    return 0
