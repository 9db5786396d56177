"""Put an installation's parts together: who migrates, who owns the store, who is handed what."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from teiten.cli.installation import Installation
from teiten.landing import migrations as landing_migrations
from teiten.landing.blocks import BlockLedger
from teiten.loader.config import LoaderConfig
from teiten.loader.reference import ReferenceBook
from teiten.loader.service import Loader
from teiten.search.service import Search
from teiten.store import erasing
from teiten.store.errors import StoreError
from teiten.store.service import Store

if TYPE_CHECKING:
    from teiten.automation.jobs import Context
    from teiten.fleet.config import FleetConfig

_log = logging.getLogger(__name__)


def migrate(installation: Installation) -> Sequence[str]:
    """Bring the control database up to date; the store migrates when it is opened."""
    from teiten.portal import boot

    applied = landing_migrations.migrate(installation.database_url)
    installation.start_django()
    boot.migrate()
    return applied


def open_store(installation: Installation) -> Store:
    """Open the store and bring its schema up to date; this process owns it from now on."""
    store = Store.open(
        installation.store_config,
        installation.clock,
        announce=lambda text: _log.info("store migration", extra={"migration": text}),
    )
    if installation.store_config.url is not None:
        return store  # a server is shared: whoever works on it may be at it now
    try:
        erasing.finish(store)
    except StoreError:
        _log.exception("An exclusion or erasure that was cut short waits; the next one finishes it first.")
    return store


def make_loaders(
    installation: Installation, store: Store, at: Callable[[str], None] = lambda _: None
) -> list[Loader]:
    """Make the loaders over the landing ledger and the fleet's register; Django must be set up.

    While one inserts, another prepares the next block: claims keep their blocks apart.
    """
    from teiten.fleet.canary.door import CanaryDesk
    from teiten.fleet.register import FleetRegister

    fleet: FleetConfig = installation.section("fleet")
    canaries = CanaryDesk(installation.clock, (*fleet.canary_tcp_ports, *fleet.canary_udp_ports))
    config: LoaderConfig = installation.section("loader")
    register, reference = FleetRegister(installation.clock), ReferenceBook(installation.place_dir)
    return [
        Loader(
            config,
            ledger=BlockLedger(installation.landing_config, installation.database_url, installation.clock),
            store=store,
            register=register,
            reference=reference,
            clock=installation.clock,
            canaries=canaries,
            is_helper=number > 0,
            at=at,
        )
        for number in range(max(1, config.parallel))
    ]


def make_context(installation: Installation, store: Store | None) -> Context:
    """Say what the jobs of this process may use; Django must be set up."""
    from teiten.automation.jobs import Context
    from teiten.cli.audit_doors import AuditHeads
    from teiten.cli.dataset_doors import PublishedReference
    from teiten.cli.doors import LandingMaintenance, StoreMaintenance

    return Context(
        clock=installation.clock,
        accounts=installation.section("accounts"),
        fleet=dataclasses.replace(installation.section("fleet"), releases_dir=installation.releases_dir),
        automation=installation.section("automation"),
        custody=installation.section("custody"),
        datasets=installation.section("datasets"),
        zone=installation.site.zone,
        store=None if store is None else StoreMaintenance(store),
        landing=LandingMaintenance(installation),
        reference=PublishedReference(installation),
        audit=AuditHeads(installation.audit_dir),
    )


def give_portal_its_search(installation: Installation, store: Store) -> Search:
    """Let the portal and the API ask the store; close what is given before the store."""
    from teiten.cli.making_commands import make_web_kit
    from teiten.fleet.facts import FleetFacts
    from teiten.portal import services

    search = Search(
        store,
        installation.clock,
        installation.section("search"),
        system_names=ReferenceBook(installation.place_dir),
        fleet=FleetFacts(installation.clock),
    )
    services.set_search(search)
    services.set_fleet(
        releases_dir=installation.releases_dir,
        make_kit=lambda allow_exec: make_web_kit(installation, allow_exec=allow_exec),
    )
    return search
