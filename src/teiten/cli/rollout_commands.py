"""``teiten rollout …``: how far roll-outs are, and the hand on their brake."""

from __future__ import annotations

import argparse
from typing import Any

from teiten.cli import printing
from teiten.cli.installation import Installation
from teiten.foundation.settings import Source

_HEADS = ("number", "kind", "subject", "state", "stage", "sensors", "started", "reason")


def list_all(source: Source, options: argparse.Namespace) -> int:
    """Print roll-outs, newest first."""
    with Installation(source) as installation:
        installation.start_django()
        from teiten.fleet.rollouts.models import UNDER_WAY, Rollout

        found = Rollout.objects.order_by("-pk")
        rows = found[:200] if options.all else found.filter(state__in=UNDER_WAY)
        lines = [
            (
                row.pk, row.kind, row.subject, row.state, f"{row.stages[row.stage]} %", row.total,
                printing.instant(row.started_at), row.reason or "-",
            )
            for row in rows
        ]  # fmt: skip
    printing.print_table(_HEADS, lines)
    return 0


def show(source: Source, options: argparse.Namespace) -> int:
    """Print one roll-out: each stage with the states of its sensors."""
    with Installation(source) as installation:
        installation.start_django()
        from teiten.fleet.rollouts import selectors
        from teiten.fleet.rollouts.services import find_rollout

        row = find_rollout(options.number)
        print(f"{row.kind} {row.subject}: {row.state} {f'({row.reason})' if row.reason else ''}".rstrip())
        print(f"{row.total} sensors, at most {row.per_minute} a minute; now at {row.stages[row.stage]} %")
        rings = selectors.count_rings(None, row)
    printing.print_table(
        ("stage", "sensors"),
        [
            (f"{percent} %", ", ".join(f"{count} {state}" for state, count in sorted(counts.items())) or "-")
            for percent, counts in rings
        ],
    )
    return 0


def pause(source: Source, options: argparse.Namespace) -> int:
    """Pause one."""
    _change(source, options, "pause")
    print(f"roll-out {options.number} is paused; who was released stays so")
    return 0


def resume(source: Source, options: argparse.Namespace) -> int:
    """Resume one."""
    _change(source, options, "resume")
    print(f"roll-out {options.number} goes on within a minute")
    return 0


def stop(source: Source, options: argparse.Namespace) -> int:
    """Stop one."""
    kept = _change(source, options, "stop")
    print(f"roll-out {options.number} is stopped; {kept} sensors never get it")
    return 0


def _change(source: Source, options: argparse.Namespace, what: str) -> Any:
    """Change one by the service of this name, and give what it gives."""
    with Installation(source) as installation:
        installation.start_django()
        from teiten.fleet.rollouts import services
        from teiten.fleet.services import Act

        row = services.find_rollout(options.number)
        changes = {"pause": services.pause, "resume": services.resume, "stop": services.stop}
        return changes[what](row, reason=options.reason, act=Act(installation.clock.now()))
