"""Listen for sensors: a cap on connections, short patience, and a log that strangers cannot flood."""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Awaitable, Callable
from typing import cast

from aiohttp import web

from teiten.foundation.clock import Clock
from teiten.foundation.logs import OncePer
from teiten.gateway import metrics
from teiten.gateway.config import GatewayConfig

#: A stranger that stalls its TLS handshake for longer is cut off.
_HANDSHAKE_SECONDS = 10.0
#: A peer that does not answer our end of TLS holds 300 KiB for so long.
_SHUTDOWN_SECONDS = 2.0
_LINGER_SECONDS = 3.0
_BACKLOG = 1024
#: A head longer than this is none of ours.
_MAX_FIELD_BYTES = 4096

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


class CappedSite(web.BaseSite):
    """A listener that turns connections away beyond a number."""

    def __init__(
        self, runner: web.ServerRunner, host: str, port: int, *, ssl_context: ssl.SSLContext, most: int
    ) -> None:
        super().__init__(runner, ssl_context=ssl_context, backlog=_BACKLOG)
        self._host = host
        self._port = port
        self._most = most

    @property
    def name(self) -> str:
        return f"https://{self._host}:{self._port}"

    async def start(self) -> None:
        await super().start()
        self._server = await asyncio.get_running_loop().create_server(
            self._make_protocol,
            self._host,
            self._port,
            ssl=self._ssl_context,
            backlog=self._backlog,
            ssl_handshake_timeout=_HANDSHAKE_SECONDS,
            ssl_shutdown_timeout=_SHUTDOWN_SECONDS,
        )

    def _make_protocol(self) -> asyncio.BaseProtocol:
        server = cast(web.Server, self._runner.server)
        open_now = len(server.connections)
        metrics.CONNECTIONS.set(open_now)
        if open_now >= self._most:
            metrics.CONNECTIONS_REFUSED.inc()
            return _TurnedAway()
        return server()


class _TurnedAway(asyncio.Protocol):
    """A connection beyond the cap: its sensor comes back later."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        cast(asyncio.Transport, transport).abort()


class _Quiet(logging.Filter):
    """Counts what is no HTTP and lets one line of it through in 10 s, without its traceback."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock
        self._once = OncePer(10.0)

    def filter(self, record: logging.LogRecord) -> bool:
        metrics.MALFORMED.inc()
        record.exc_info = None
        return self._once.is_due("malformed", self._clock.monotonic())


def make_runner(config: GatewayConfig, handler: Handler, clock: Clock) -> web.ServerRunner:
    """Make the HTTP side of the sensor listener."""
    logger = logging.getLogger("teiten.gateway.http")
    for old in list(logger.filters):
        logger.removeFilter(old)
    logger.addFilter(_Quiet(clock))
    server = web.Server(
        handler,
        access_log=None,
        logger=logger,
        keepalive_timeout=config.keepalive_seconds,
        max_line_size=_MAX_FIELD_BYTES,
        max_field_size=_MAX_FIELD_BYTES,
        # Long enough for a refusal to be read by a sensor that is still sending.
        lingering_time=_LINGER_SECONDS,
        # A batch is bytes to us; nothing is unpacked before it is believed.
        auto_decompress=False,
    )
    return web.ServerRunner(server, handle_signals=False, shutdown_timeout=config.drain_seconds)
