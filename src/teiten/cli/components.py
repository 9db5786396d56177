"""The long-running parts of a process, each started and stopped the same way.

``teiten up`` runs all of them on one event loop; ``teiten gateway``, ``loader``,
``portal`` and ``worker`` run one each. Only this wiring differs.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import logging
import resource
import signal
import socket
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Protocol

import uvicorn

from teiten.cli.errors import CliError, EmbeddedDatabaseError
from teiten.cli.installation import Installation
from teiten.cli.portal_connections import PatientForAWhile
from teiten.gateway.service import Gateway
from teiten.landing.log import LandingLog
from teiten.loader.service import Loader
from teiten.portal.config import PortalConfig

if TYPE_CHECKING:
    from teiten.automation.jobs import Context

# Django's models can be imported only once Django has been set up, so the parts that
# use them import them when they are built.
_log = logging.getLogger(__name__)

#: After this long a part that was asked to stop is left behind.
_STOP_SECONDS = 60.0
#: Jobs get this long to finish; then they are left to the next start, which begins them again.
_WORKER_STOP_SECONDS = 6.0
#: Files and connections that a process should be able to hold; systems often allow 1,024 unasked.
_WANTED_FILES = 16_384
#: With fewer, strangers' connections alone could keep segments and the store from being opened.
_FEWEST_FILES = 4_096
#: How often the embedded database is looked at.
_WATCH_SECONDS = 1.0


class Component(Protocol):
    """A part that runs until it is stopped."""

    async def start(self) -> None:
        """Begin; raise when it cannot."""

    async def stop(self) -> None:
        """Finish what is under way, then end."""

    async def wait(self) -> None:
        """Return only when the part ended by itself, which is a failure."""


def _nothing(point: str) -> None:
    """Stand where tests kill the process."""


class DatabaseComponent:
    """Keeps the embedded PostgreSQL running: nobody else would start it again."""

    def __init__(self, installation: Installation) -> None:
        self._installation = installation
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._task = asyncio.create_task(self._watch(), name="database")

    async def stop(self) -> None:
        """Ask the worker to end; one that was only starting may not hear the first time."""
        while self._task is not None and not self._task.done():
            self._task.cancel()
            await asyncio.wait({self._task}, timeout=_WORKER_STOP_SECONDS)

    async def wait(self) -> None:
        if self._task is not None:
            await asyncio.shield(self._task)

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(_WATCH_SECONDS)
            try:
                if await asyncio.to_thread(self._installation.revive_database):
                    _log.error("the embedded database had died and was started again")
            except EmbeddedDatabaseError as error:
                _log.error("the embedded database died and does not start", extra={"reason": str(error)})
                await asyncio.sleep(_WATCH_SECONDS * 5)


class GatewayComponent:
    """Fleet doors, landing log and gateway."""

    def __init__(self, installation: Installation, at: Callable[[str], None] = _nothing) -> None:
        from teiten.cli.fleet_doors import GatewayDoors
        from teiten.fleet.commands.door import CommandsDoors
        from teiten.fleet.doors import FleetDoors

        self._doors = FleetDoors(installation.database_url, installation.section("fleet"), installation.clock)
        commands = CommandsDoors(self._doors.ask, installation.section("fleet"), installation.clock)
        doors = GatewayDoors(self._doors, commands).as_doors()
        self._landing = LandingLog(
            installation.landing_config,
            installation.database_url,
            installation.clock,
            signing_key=installation.gateway_key,
            at=at,
        )
        self._gateway = Gateway(
            installation.gateway_config,
            doors=dataclasses.replace(doors, releases=installation.releases_dir / "public"),
            landing=self._landing,
            signing_key=installation.gateway_key,
            key_dir=installation.gateway_key_dir,
            clock=installation.clock,
        )

    async def start(self) -> None:
        await self._doors.start()
        await self._landing.start()
        await self._gateway.start()

    async def stop(self) -> None:
        await self._gateway.stop()
        await self._landing.stop()
        await self._doors.stop()

    async def wait(self) -> None:
        await asyncio.Event().wait()


class PortalComponent:
    """The portal under uvicorn; the store must be open and Django set up."""

    def __init__(self, config: PortalConfig) -> None:
        from teiten.portal.asgi import application

        self._host, self._port = config.host, config.port
        settings = uvicorn.Config(
            application,
            host=config.host,
            port=config.port,
            http=PatientForAWhile,
            # Lock-out and token networks count by address: believe only our own proxies about it.
            proxy_headers=bool(config.trusted_proxies),
            forwarded_allow_ips=list(config.trusted_proxies),
            log_config=None,
            lifespan="off",
            server_header=False,
            access_log=False,
        )
        self._server = _Server(settings)
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._task = asyncio.create_task(self._server.serve(), name="portal")
        while not self._server.started:
            if self._task.done():
                raise CliError(
                    f"the portal cannot listen on {self._host}:{self._port}; free it or change portal.port"
                )
            await asyncio.sleep(0.01)

    async def stop(self) -> None:
        self._server.should_exit = True
        if self._task is not None:
            await self._task

    async def wait(self) -> None:
        if self._task is not None:
            await asyncio.shield(self._task)


class LoaderComponent:
    """The loaders, each in a thread of its own."""

    def __init__(self, loaders: Sequence[Loader]) -> None:
        self._loaders = loaders
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        self._tasks = [
            asyncio.create_task(asyncio.to_thread(loader.run), name=f"loader {number}")
            for number, loader in enumerate(self._loaders, start=1)
        ]

    async def stop(self) -> None:
        for loader in self._loaders:
            loader.stop()
        await asyncio.gather(*self._tasks)
        for loader in self._loaders:
            loader.close()

    async def wait(self) -> None:
        await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)


class WorkerComponent:
    """The worker for queued and periodic jobs."""

    def __init__(self, installation: Installation, context: Context) -> None:
        from teiten.automation.worker import Worker

        self._worker = Worker(installation.database_url, context)
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._task = asyncio.create_task(self._worker.run(), name="worker")

    async def stop(self) -> None:
        """Ask the worker to end; one that was only starting may not hear the first time."""
        while self._task is not None and not self._task.done():
            self._task.cancel()
            await asyncio.wait({self._task}, timeout=_WORKER_STOP_SECONDS)

    async def wait(self) -> None:
        if self._task is not None:
            await asyncio.shield(self._task)


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers: the process stops all of its parts itself."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        # uvicorn leaves the process when it cannot bind; we want to say why and stop the rest.
        with contextlib.suppress(SystemExit):
            await super().serve(sockets)


@contextlib.asynccontextmanager
async def running(components: Sequence[Component]) -> AsyncIterator[None]:
    """Start in order, stop in reverse order whatever happens."""
    async with contextlib.AsyncExitStack() as stack:
        for component in components:
            stack.push_async_callback(_stop, component)
            await component.start()
        yield


async def _stop(component: Component) -> None:
    part = type(component).__name__
    try:
        await asyncio.wait_for(component.stop(), _STOP_SECONDS)
    except asyncio.TimeoutError:
        _log.error("a part does not stop; the others go on stopping", extra={"part": part})
    except Exception:  # noqa: BLE001  # a part that fails to stop must not keep the others running
        _log.exception("a part did not stop cleanly", extra={"part": part})


def allow_open_files() -> int:
    """Raise the number of open files that this process may have, as far as it may, and give it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = _WANTED_FILES if hard == resource.RLIM_INFINITY else min(_WANTED_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
        soft = most
    if soft != resource.RLIM_INFINITY and soft < _FEWEST_FILES:
        _log.warning(
            "few files may be open at once; raise the hard limit (ulimit -Hn)",
            extra={"limit": soft, "wanted": _FEWEST_FILES},
        )
    return soft


async def serve(components: Sequence[Component], *, ready: Callable[[], None]) -> None:
    """Run until SIGINT or SIGTERM, or until a part ends by itself.

    Raises:
        CliError: when a part ended by itself.
    """
    allow_open_files()
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    async with running(components):
        ready()
        waits = {asyncio.create_task(part.wait(), name=type(part).__name__): part for part in components}
        asked = asyncio.create_task(stop.wait())
        done, _ = await asyncio.wait({*waits, asked}, return_when=asyncio.FIRST_COMPLETED)
        for task in {*waits, asked} - done:
            task.cancel()
        for task in done - {asked}:
            task.result()
            raise CliError(f"{task.get_name()} ended by itself; its last log lines say why")
