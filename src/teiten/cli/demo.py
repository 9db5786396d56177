"""``teiten demo``: everything, with a simulated fleet and, where allowed, one real sensor.

The simulated sensors go the real way: enrolment with one-time tokens, keys, TLS,
seals, batches. What they send is the data set ``simulated`` and never mixes with
``live``. The next start goes on with the same data.
"""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
from collections.abc import Sequence

from teiten.cli import components, up
from teiten.cli.components import Component
from teiten.cli.demo_parts import FleetProcess, RealSensorProcess
from teiten.cli.installation import Installation
from teiten.cli.sensor_settings import gateway_key_text, gateway_pin, gateway_url, write_sensor_settings
from teiten.cli.up import House
from teiten.fleet.sites import Site
from teiten.foundation.settings import Source
from teiten.loader.reference import NONE, ReferenceBook
from teiten.simulators import places, roster
from teiten.simulators.config import FleetSimulationConfig, SensorPlan

#: Where the demonstration keeps its data unless the settings say otherwise.
DATA_DIR = "demo-data"
REAL_SENSOR = "real-01"
REAL_REGION = ("here", "この機械", "This machine")
#: Kinds of the simulated sensors, in turn.
_KINDS = ("isp", "isp", "university", "enterprise", "cloud", "idc")
_PROVIDERS = 7
#: Countries of the regions abroad.
_ABROAD = {"asia": "SG", "europe": "DE", "north-america": "US", "south-america": "BR", "oceania": "AU"}


def run_demo(source: Source, options: argparse.Namespace) -> int:
    """Serve with sensors until interrupted."""
    installation = Installation(_with_own_folder(source))
    with up.opened(installation) as house:
        _use_simulated_places(installation)
        print(up.welcome(installation), flush=True)
        parts = [*house.parts, *_sensors(house, options)]
        asyncio.run(
            components.serve(parts, ready=lambda: print("ready; Ctrl-C stops everything", flush=True))
        )
    return 0


def _with_own_folder(source: Source) -> Source:
    """Keep the demonstration apart from an installation that uses the defaults."""
    site = {"data_dir": DATA_DIR, **source.tables.get("site", {})}
    return dataclasses.replace(source, tables={**source.tables, "site": site})


def _use_simulated_places(installation: Installation) -> None:
    """Give the reserved ranges of the simulation their countries, AS numbers and survey scanners."""
    book = ReferenceBook(installation.place_dir)
    if book.current_version() != NONE:
        return
    database = installation.data_dir / "simulated-places.mmdb"
    surveys = installation.data_dir / "simulated-surveys.csv"
    places.write_database(database)
    places.write_survey_list(surveys, anchor_us=installation.clock.now_us())
    book.use([database], surveys)


def _sensors(house: House, options: argparse.Namespace) -> Sequence[Component]:
    installation = house.installation
    parts: list[Component] = [FleetProcess(_make_order(installation, options))]
    if not options.no_real_sensor:
        parts.append(_make_real_sensor(installation, options))
    return parts


def _make_order(installation: Installation, options: argparse.Namespace) -> FleetSimulationConfig:
    """Write down the simulated fleet, with tokens for the sensors that are new."""
    tokens = _issue_tokens(installation, roster.list_sensors(options.sensors))
    plans = tuple(
        dataclasses.replace(plan, token=tokens.get(plan.name, ""))
        for plan in roster.list_sensors(options.sensors)
    )
    return FleetSimulationConfig(
        state_dir=installation.data_dir / "simulated-fleet",
        gateway_url=gateway_url(installation),
        authority=installation.gateway_config.authority,
        pins=(gateway_pin(installation),),
        gateway_keys=(gateway_key_text(installation),),
        sensors=plans,
        seed=options.seed,
        history_days=options.days,
    )


def _issue_tokens(installation: Installation, plans: Sequence[SensorPlan]) -> dict[str, str]:
    """Create the sensors that are not in the fleet yet; give name → token."""
    from teiten.cli import sensor_verbs
    from teiten.fleet.models import Sensor, SensorState

    names = {code: (name_ja, name_en) for code, name_ja, name_en in roster.REGIONS}
    waiting = {SensorState.CREATED, SensorState.TOKEN_ISSUED}
    known = dict(Sensor.objects.values_list("name", "state"))
    clock, config = installation.clock, installation.section("fleet")
    tokens = {}
    for number, plan in enumerate(plans):
        if plan.name not in known:
            made = sensor_verbs.create_sensor(
                name=plan.name,
                region=plan.region,
                region_names=names.get(plan.region),
                dataset="simulated",
                organisation=up.FIRST_ORGANISATION,
                clock=clock,
                config=config,
                site=_site_of(plan, number),
            )
            tokens[plan.name] = made.token
        elif known[plan.name] in waiting:
            tokens[plan.name] = sensor_verbs.issue_token(plan.name, clock=clock, config=config).token
    return tokens


def _site_of(plan: SensorPlan, number: int) -> Site:
    """Say where a simulated sensor stands; AS numbers are of RFC 5398, for documentation."""
    kind = _KINDS[number % len(_KINDS)]
    place = number % _PROVIDERS
    return Site(
        country=_ABROAD.get(plan.region, "JP"),
        asn=64_496 + place,
        provider=f"Example Net {place + 1}",
        kind=kind,
        mode=plan.mode,
    )


def _make_real_sensor(installation: Installation, options: argparse.Namespace) -> RealSensorProcess:
    from teiten.cli import sensor_verbs
    from teiten.fleet.models import Sensor, SensorState

    state = installation.data_dir / "real-sensor"
    clock, config = installation.clock, installation.section("fleet")
    known = Sensor.objects.filter(name=REAL_SENSOR).values_list("state", flat=True).first()
    token = ""
    if known is None:
        code, name_ja, name_en = REAL_REGION
        token = sensor_verbs.create_sensor(
            name=REAL_SENSOR,
            region=code,
            region_names=(name_ja, name_en),
            organisation=up.FIRST_ORGANISATION,
            dataset="live",
            may_import=True,
            clock=clock,
            config=config,
        ).token
    elif known in (SensorState.CREATED, SensorState.TOKEN_ISSUED):
        token = sensor_verbs.issue_token(REAL_SENSOR, clock=clock, config=config).token
    return RealSensorProcess(
        write_sensor_settings(
            installation,
            state / "sensor.toml",
            state_dir=state / "state",
            extra=_real_sensor_settings(options),
        ),
        token=token,
        payload_bytes=options.payload,
    )


def _real_sensor_settings(options: argparse.Namespace) -> dict[str, object]:
    settings: dict[str, object] = {
        "payload_bytes": options.payload,
        "first_connect_seconds": 0,
        "window_seconds": 30,
    }
    if options.interface:
        settings["interfaces"] = [options.interface]
    return settings
