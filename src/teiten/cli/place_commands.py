"""``teiten sensor place|address|maintenance|configure``: words in, histories changed, lines out."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from teiten.cli import place_verbs, printing
from teiten.cli.errors import CliError
from teiten.cli.installation import Installation
from teiten.cli.instants import read_instant
from teiten.cli.place_verbs import Period, Span
from teiten.foundation.settings import Source

_SITE = ("kind", "country", "asn", "provider", "mode")
_PLACE_HEADS = ("region", "kind", "mode", "country", "AS", "provider")
_ADDRESS_HEADS = ("public", "local", "known by", "note")


def place(source: Source, options: argparse.Namespace) -> int:
    """Move a sensor, or list where it stood."""
    site = site_of(options)
    with Installation(source) as installation:
        installation.start_django()
        if not options.region and not site and options.since is None:
            _print(_PLACE_HEADS, place_verbs.list_places(options.name))
            return 0
        span = _read_span(installation, options)
        placed = place_verbs.place_sensor(
            options.name, region=options.region or "", site=site, since=span.since, clock=installation.clock
        )
    _print(_PLACE_HEADS, [placed])
    return 0


def address(source: Source, options: argparse.Namespace) -> int:
    """Enter or end a public address, or list them."""
    with Installation(source) as installation:
        installation.start_django()
        span = _read_span(installation, options)
        if options.public:
            changed = place_verbs.state_address(
                options.name,
                public=options.public,
                local=options.local,
                span=span,
                is_successor=options.instead,
                note=options.note,
                clock=installation.clock,
            )
        elif options.end is not None:
            changed = place_verbs.end_address(
                options.name, options.end, until=span.until, clock=installation.clock
            )
        else:
            _refuse_alone(options, ("local", "since", "until", "instead", "note"), needed="--public")
            _print(_ADDRESS_HEADS, place_verbs.list_addresses(options.name))
            return 0
    _print(_ADDRESS_HEADS, [changed])
    return 0


def maintenance(source: Source, options: argparse.Namespace) -> int:
    """Plan or cancel maintenance, or list it."""
    with Installation(source) as installation:
        installation.start_django()
        span = _read_span(installation, options)
        if options.cancel is not None:
            changed = place_verbs.cancel_maintenance(options.name, options.cancel, clock=installation.clock)
        elif span.since is not None and span.until is not None:
            changed = place_verbs.plan_maintenance(
                options.name,
                start=span.since,
                end=span.until,
                reason=options.reason,
                clock=installation.clock,
            )
        else:
            _refuse_alone(options, ("since", "until", "reason"), needed="--from and --to")
            _print(("reason",), place_verbs.list_maintenance(options.name))
            return 0
    _print(("reason",), [changed])
    return 0


def configure(source: Source, options: argparse.Namespace) -> int:
    """Set how soon a sensor sends and how little payload it keeps."""
    wanted = {
        "window_seconds": options.window,
        "payload_bytes": options.payload,
        "examples_per_window": options.examples,
    }
    with Installation(source) as installation:
        installation.start_django()
        print(place_verbs.configure_sensor(options.name, wanted=wanted, clock=installation.clock))
    return 0


def site_of(options: argparse.Namespace) -> dict[str, Any]:
    """Give what was typed about the place where a sensor stands."""
    typed = {name: getattr(options, name) for name in _SITE}
    return {name: value for name, value in typed.items() if value is not None}


def _read_span(installation: Installation, options: argparse.Namespace) -> Span:
    zone = installation.site.zone

    def read(name: str, text: str | None) -> datetime | None:
        return read_instant(name, text, zone=zone) if text else None

    return Span(read("--from", options.since), read("--to", getattr(options, "until", None)))


def _refuse_alone(options: argparse.Namespace, names: Sequence[str], *, needed: str) -> None:
    if any(getattr(options, name) for name in names):
        raise CliError(f"{needed} is missing; without any option the verb lists what there is")


def _print(heads: Sequence[str], periods: Sequence[Period]) -> None:
    printing.print_table(
        ("entry", "from", "to", *heads),
        [(one.entry, printing.instant(one.start), printing.instant(one.end), *one.facts) for one in periods],
    )
