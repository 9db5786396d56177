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
from pathlib import Path

from teiten.cli import components, up
from teiten.cli.components import Component
from teiten.cli.demo_parts import FleetProcess, RealSensorProcess
from teiten.cli.installation import Installation
from teiten.cli.up import House
from teiten.fleet.sites import Site
from teiten.foundation.settings import Source
from teiten.gateway.tls import pin_of
from teiten.loader.reference import NONE, ReferenceBook
from teiten.protocol import keys
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


def gateway_url(installation: Installation) -> str:
    """Give the gateway's address for sensors on this machine."""
    config = installation.gateway_config
    host = "127.0.0.1" if config.host in ("", "0.0.0.0", "::") else config.host  # noqa: S104
    return f"https://{host}:{config.port}"


def gateway_pin(installation: Installation) -> str:
    """Give the pin of the gateway's TLS key; the certificate is made when there is none."""
    from teiten.gateway import tls

    config = installation.gateway_config
    if config.tls_certificate is not None:
        return pin_of(config.tls_certificate)
    host = config.authority.rsplit(":", 1)[0].strip("[]")
    return pin_of(
        tls.make_self_signed(installation.gateway_key_dir, host=host, now=installation.clock.now())[0]
    )


def gateway_key_text(installation: Installation) -> str:
    """Give the gateway's signing key as sensors are told it: ``id=base64url``."""
    public = keys.public_bytes(installation.gateway_key)
    return f"{keys.gateway_key_id(public)}={keys.to_text(public)}"


def write_sensor_settings(
    installation: Installation, path: Path, *, state_dir: Path | None, extra: dict[str, object], url: str = ""
) -> Path:
    """Write the TOML file that a sensor of this installation needs; it holds no secret."""
    values = sensor_settings(installation, state_dir=state_dir, extra=extra, url=url)
    lines = [f"{name} = {value}" for name, value in values.items()]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(["[sensor]", *lines, ""]), encoding="utf-8")
    return path


def sensor_settings(
    installation: Installation, *, state_dir: Path | None, extra: dict[str, object], url: str = ""
) -> dict[str, str]:
    """Give what a sensor of this installation must be told, as name → TOML value."""
    values: dict[str, object] = {
        **({} if state_dir is None else {"state_dir": str(state_dir)}),
        "gateway_url": url or gateway_url(installation),
        "authority": installation.gateway_config.authority,
        "pins": [gateway_pin(installation)],
        "gateway_keys": [gateway_key_text(installation)],
        **extra,
    }
    return {name: _toml(value) for name, value in values.items()}


def _toml(value: object) -> str:
    if isinstance(value, list):
        return f"[{', '.join(_toml(one) for one in value)}]"
    if isinstance(value, str):
        escaped = value.replace("\\", "\\\\").replace('"', '\\"')
        return f'"{escaped}"'
    return str(value).lower()
