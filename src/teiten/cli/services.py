"""``teiten gateway|loader|portal|worker``: one part of the house per process, against outside servers."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Callable

from teiten.cli import components, wiring
from teiten.cli.components import Component
from teiten.cli.errors import CliError
from teiten.cli.installation import Installation
from teiten.foundation.settings import Source


def run_gateway(source: Source, _options: argparse.Namespace) -> int:
    """Authenticate, land and receipt."""
    return _serve(source, components.GatewayComponent)


def run_loader(source: Source, _options: argparse.Namespace) -> int:
    """Load what has landed."""

    def make(house: Installation) -> Component:
        return components.LoaderComponent(wiring.make_loaders(house, wiring.open_store(house)))

    return _serve(source, make)


def run_portal(source: Source, _options: argparse.Namespace) -> int:
    """Show screens and answer the API."""

    def make(house: Installation) -> Component:
        _require_server(house, "portal")
        wiring.give_portal_its_search(house, wiring.open_store(house))
        portal = house.section("portal")
        return components.PortalComponent(portal)

    return _serve(source, make)


def run_worker(source: Source, _options: argparse.Namespace) -> int:
    """Do queued and periodic jobs; those of the store only against a ClickHouse server."""

    def make(house: Installation) -> Component:
        store = None if house.store_config.url is None else wiring.open_store(house)
        return components.WorkerComponent(house, wiring.make_context(house, store))

    return _serve(source, make)


def _serve(source: Source, make: Callable[[Installation], Component]) -> int:
    with Installation(source) as installation:
        wiring.migrate(installation)
        asyncio.run(components.serve([make(installation)], ready=lambda: print("ready", flush=True)))
    return 0


def _require_server(installation: Installation, part: str) -> None:
    if installation.store_config.url is None:
        raise CliError(
            f"the {part} alone needs a ClickHouse server, because an embedded store belongs to one process: "
            "set store.url, or run `teiten up`"
        )
