"""``teiten up``: everything in one process, with embedded databases unless others are set."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from teiten.cli import components, wiring
from teiten.cli.components import Component
from teiten.cli.installation import Installation
from teiten.cli.priorities import PriorityComponent
from teiten.foundation.settings import Source
from teiten.store.service import Store

#: Organisation and user ID of the operator that the first start makes.
FIRST_ORGANISATION = "observatory"
FIRST_USER = "operator"


@dataclass(frozen=True)
class House:
    """An installation that is ready to serve."""

    installation: Installation
    store: Store
    parts: Sequence[Component]


def run_up(source: Source, _options: argparse.Namespace) -> int:
    """Serve until interrupted."""
    with opened(Installation(source)) as house:
        print(welcome(house.installation), flush=True)
        asyncio.run(components.serve(house.parts, ready=lambda: print("ready", flush=True)))
    return 0


@contextlib.contextmanager
def opened(installation: Installation, at: Callable[[str], None] = lambda _: None) -> Iterator[House]:
    """Start databases, migrate, open the store and wire the parts; undo all of it at the end."""
    with contextlib.ExitStack() as stack:
        stack.callback(installation.close)
        wiring.migrate(installation)
        store = wiring.open_store(installation)
        stack.callback(store.close)
        stack.callback(wiring.give_portal_its_search(installation, store).close)
        yield House(installation, store, make_parts(installation, store, at))


def make_parts(
    installation: Installation, store: Store, at: Callable[[str], None] = lambda _: None
) -> list[Component]:
    """Make the parts of one process, in the order in which they start."""
    portal = installation.section("portal")
    context = wiring.make_context(installation, store)
    database = [components.DatabaseComponent(installation)] if installation.is_database_embedded else []
    return [
        *database,
        PriorityComponent(),
        components.LoaderComponent(wiring.make_loaders(installation, store, at)),
        components.WorkerComponent(installation, context),
        components.GatewayComponent(installation, at),
        components.PortalComponent(portal),
    ]


def welcome(installation: Installation) -> str:
    """Say where the portal is; at the first start make an operator and show the password once."""
    from teiten.cli import user_verbs

    lines = [f"portal    {portal_url(installation)}"]
    if not user_verbs.has_users():
        first = user_verbs.create_user(
            user_id=FIRST_USER,
            role="operator",
            organisation=FIRST_ORGANISATION,
            organisation_names=("観測所", "Observatory"),
            display_name="Operator",
            language=installation.site.language,
            clock=installation.clock,
        )
        lines.append(str(first))
    return "\n".join(lines)


def portal_url(installation: Installation) -> str:
    """Give the address that a browser on this machine opens."""
    portal = installation.section("portal")
    scheme = "https" if portal.https else "http"
    return f"{scheme}://{portal.host}:{portal.port}/"
