"""``teiten sensor create``: one sensor and its token, or thousands and the scripts that install them."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING

from teiten.cli import sensor_settings, sensor_verbs
from teiten.cli.errors import CliError
from teiten.cli.installation import Installation
from teiten.cli.place_commands import site_of
from teiten.fleet.naming import name_sensors
from teiten.fleet.sites import Site
from teiten.foundation.settings import Source

if TYPE_CHECKING:
    # Django's models can be imported only once Django has been set up.
    from teiten.fleet.installing import Kit, Ticket
    from teiten.fleet.services import IssuedToken

#: As the fleet's own rules have them; here they are told in words.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_CODE = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")
_LOCAL = ("localhost", "127.", "[::1]")
_OPERATORS_FILE = "/etc/teiten-sensor/operators.json"


def create(source: Source, options: argparse.Namespace) -> int:
    """Make sensors and print what they need, or write it to a folder."""
    _check_words(options)
    with Installation(source) as installation:
        installation.start_django()
        for place in sensor_verbs.find_unknown_places(options.region, options.org):
            print(f"There is no {place} yet; the first sensor makes it. Was that meant?", file=sys.stderr)
        if options.output is None:
            _create_one(installation, options)
        else:
            _create_scripts(installation, options)
    return 0


def _check_words(options: argparse.Namespace) -> None:
    """Refuse words that cannot go together, or cannot name anything.

    Raises:
        CliError: naming the word and its rule.
    """
    if options.count > 1 and options.output is None:
        raise CliError(
            "--count makes many tokens: name the folder for their install scripts with --output DIR"
        )
    if options.output is None and (options.packages or options.embed or options.allow_exec):
        raise CliError(
            "--packages, --embed and --allow-exec are for install scripts: name their folder with --output DIR"
        )
    if options.output is not None and options.bundle is not None:
        raise CliError(
            "--bundle is for one sensor without --output; install scripts hold the settings already"
        )
    if _NAME.fullmatch(options.name) is None:
        raise CliError(
            f"NAME {options.name!r:.80} must begin with a letter or digit and hold letters, digits and ._- only, "
            "64 at most, such as TK or TK-0001"
        )
    for word, code in (("--region", options.region), ("--org", options.org or "x")):
        if _CODE.fullmatch(code) is None:
            raise CliError(
                f"{word} {code!r:.80} must be a code of small letters, digits and hyphens, 40 at most, such as kanto"
            )


def _create_one(installation: Installation, options: argparse.Namespace) -> None:
    made = _enter(installation, options, [options.name])
    print(sensor_verbs.token_of(made[0]))
    if options.bundle is not None:
        sensor_settings.write_sensor_settings(
            installation, options.bundle, state_dir=None, extra={}, url=_gateway_url(installation)
        )
        print(f"settings for teiten-sensor: {options.bundle} (no secret in it)")


def _enter(installation: Installation, options: argparse.Namespace, names: list[str]) -> list[IssuedToken]:
    return sensor_verbs.create_sensors(
        names=names,
        region=options.region,
        organisation=options.org,
        may_import=options.may_import,
        needs_approval=options.approve,
        cidr=options.cidr,
        site=Site(**site_of(options)),
        clock=installation.clock,
        config=installation.section("fleet"),
    )


def _create_scripts(installation: Installation, options: argparse.Namespace) -> None:
    from django.db import transaction

    from teiten.fleet import installing

    names = name_sensors(options.name, options.count)
    kit = _make_kit(installation, options)
    renderer = installing.Renderer(kit)

    def tell(number: int) -> None:
        print(f"{number:,} of {len(names):,} written", file=sys.stderr)

    # The files are written before the commit: sensors whose tokens nobody has seen would be of no use.
    with installing.NewFiles(options.output, names, tell=tell) as files, transaction.atomic():
        made = _enter(installation, options, names)
        tickets = [_ticket_of(one) for one in made]
        files.write(renderer, tickets)
    _report(kit, options, made)


def _ticket_of(issued: IssuedToken) -> Ticket:
    from teiten.fleet import installing

    number = issued.sensor.pk
    own = {"number": str(number)}
    return installing.Ticket(number, issued.sensor.name, issued.text, issued.expires_at, own)


def _make_kit(installation: Installation, options: argparse.Namespace) -> Kit:
    from teiten.fleet import installing, trust_files

    repository = installation.releases_dir
    packages = installing.find_packages(options.packages) if options.packages else ()
    embedded = installing.check_embedded(options.embed)
    installing.publish_packages(packages, repository / "public")
    trust = trust_files.read_trust(repository)
    return installing.Kit(
        gateway_url=_gateway_url(installation),
        settings=_common_settings(installation, allow_exec=options.allow_exec),
        root=trust.root,
        operators=trust.operators,
        packages=installing.add_embedded(packages, embedded),
        embedded=embedded,
    )


def make_web_kit(installation: Installation, *, allow_exec: bool) -> Kit:
    """Give what scripts made by the portal have in common: packages that are public already, nothing embedded."""
    from teiten.fleet import installing, trust_files

    repository = installation.releases_dir
    public = repository / "public" / "packages"
    trust = trust_files.read_trust(repository)
    return installing.Kit(
        gateway_url=_gateway_url(installation),
        settings=_common_settings(installation, allow_exec=allow_exec),
        root=trust.root,
        operators=trust.operators,
        packages=installing.find_published(public),
    )


def _common_settings(installation: Installation, *, allow_exec: bool) -> Mapping[str, str]:
    url = _gateway_url(installation)
    extra: dict[str, object] = {"operators_file": _OPERATORS_FILE, "allow_exec": allow_exec}
    return sensor_settings.sensor_settings(installation, state_dir=None, extra=extra, url=url)


def _gateway_url(installation: Installation) -> str:
    return f"https://{installation.gateway_config.authority}"


def _report(kit: Kit, options: argparse.Namespace, made: list[IssuedToken]) -> None:
    first, last = made[0].sensor, made[-1].sensor
    what = f"sensor {first.pk} {first.name}"
    if len(made) > 1:
        what = f"{len(made)} sensors, {what} to {last.pk} {last.name}"
    print(f"{what}: install scripts and cloud-init user data are in {options.output}")
    print(
        f"Each holds a token that works once, until {made[0].expires_at:%Y-%m-%d %H:%M} UTC: "
        "keep them as you keep passwords, and delete them once the hosts are installed."
    )
    gaps = kit.list_gaps()
    if kit.gateway_url.removeprefix("https://").startswith(_LOCAL):
        gaps.insert(
            0,
            f"hosts elsewhere cannot reach {kit.gateway_url}; set gateway.authority and make the scripts anew",
        )
    for gap in gaps:
        print(f"What will not work: {gap}", file=sys.stderr)
