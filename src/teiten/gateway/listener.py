"""Listen for sensors: a cap on connections, short patience, and a log that strangers cannot flood."""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Awaitable, Callable
from typing import Any, cast

from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from teiten.foundation.clock import Clock
from teiten.foundation.logs import OncePer
from teiten.gateway import metrics
from teiten.gateway.accepting import CROWDED_SECONDS, Acceptor, open_sockets
from teiten.gateway.config import GatewayConfig
from teiten.gateway.peers import Places, TrustedProxies

_LINGER_SECONDS = 3.0
_BACKLOG = 1024
#: A head longer than this is none of ours.
_MAX_FIELD_BYTES = 4096
_MAX_FIELDS = 64

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


class SensorConnection(RequestHandler):
    """HTTP on one connection, which knows whose it is and does not wait for ever for a head."""

    __slots__ = ("_find_patience", "_head_timer", "_leave", "peer")

    def __init__(self, server: web.Server, *, find_patience: Callable[[], float], **options: Any) -> None:
        super().__init__(server, **options)
        self._find_patience = find_patience
        self._head_timer: asyncio.TimerHandle | None = None
        self._leave: Callable[[], None] = lambda: None
        #: The sensor's address, also behind a proxy; empty in tests without a socket.
        self.peer = ""

    def admit(self, peer: str, leave: Callable[[], None]) -> None:
        """Learn whose connection it is, and whom to tell of its end."""
        self.peer, self._leave = peer, leave

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        # The time of an idle connection begins after its first request: on a slow line that takes its time.
        if self._keepalive_handle is not None:
            self._keepalive_handle.cancel()
            self._keepalive_handle = None
        self._watch_head()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._watch_head()

    def connection_lost(self, exc: BaseException | None) -> None:
        self._stop_watching()
        self._leave()
        super().connection_lost(exc)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer what is no HTTP without repeating it, and without saying what reads it."""
        del message
        self.logger.error("Error handling request from %s", self.peer or request.remote, exc_info=exc)
        if request.writer.output_size > 0:
            raise ConnectionError("an answer has begun already; the connection is broken")
        response = web.Response(
            status=status,
            body=b'{"error":"malformed","message":"this is no HTTP/1.1 request that this gateway takes"}',
            content_type="application/json",
            headers={"Server": "teiten"},
        )
        response.force_close()
        return response

    def _watch_head(self) -> None:
        """Give the head of the next request its time; bytes that drip in do not give it more."""
        if self._current_request is not None or self._messages:
            self._stop_watching()
        elif self._head_timer is None:
            self._head_timer = asyncio.get_running_loop().call_later(self._find_patience(), self._cut)

    def _stop_watching(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _cut(self) -> None:
        self._head_timer = None
        if self.transport is not None and self._current_request is None and not self._messages:
            metrics.SLOW_HEADS.inc()
            self.transport.abort()


class _SensorServer(web.Server):
    """Makes our kind of connections."""

    def __init__(self, handler: Handler, *, head_seconds: float, **options: Any) -> None:
        super().__init__(handler, **options)
        self._head_seconds = head_seconds
        #: Set once it listens.
        self.places: Places | None = None

    def __call__(self) -> SensorConnection:
        loop = asyncio.get_running_loop()
        return SensorConnection(self, find_patience=self._find_patience, loop=loop, **self._kwargs)

    def _find_patience(self) -> float:
        """Give the seconds that a head may take now."""
        is_crowded = self.places is not None and self.places.is_crowded
        return min(self._head_seconds, CROWDED_SECONDS) if is_crowded else self._head_seconds


class CappedSite(web.BaseSite):
    """A listener that turns connections away beyond a number, in all and from one address."""

    def __init__(
        self, runner: web.ServerRunner, config: GatewayConfig, *, ssl_context: ssl.SSLContext
    ) -> None:
        super().__init__(runner, ssl_context=ssl_context, backlog=_BACKLOG)
        self._config = config
        self._context = ssl_context
        self._proxies = TrustedProxies(config.trusted_proxies)

    @property
    def name(self) -> str:
        return f"https://{self._config.host}:{self._config.port}"

    async def start(self) -> None:
        await super().start()
        config, server = self._config, cast(_SensorServer, self._runner.server)
        places = Places(most=config.max_connections, most_per_address=config.max_connections_per_address)
        server.places = places
        self._server = Acceptor(
            await open_sockets(config.host, config.port, backlog=_BACKLOG),
            server,
            ssl_context=self._context,
            places=places,
            proxies=self._proxies,
        )


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
    server = _SensorServer(
        handler,
        head_seconds=config.receive_seconds,
        access_log=None,
        logger=logger,
        keepalive_timeout=config.keepalive_seconds,
        max_line_size=_MAX_FIELD_BYTES,
        max_field_size=_MAX_FIELD_BYTES,
        max_headers=_MAX_FIELDS,
        # Long enough for a refusal to be read by a sensor that is still sending.
        lingering_time=_LINGER_SECONDS,
        # A batch is bytes to us; nothing is unpacked before it is believed.
        auto_decompress=False,
    )
    return web.ServerRunner(server, handle_signals=False, shutdown_timeout=config.drain_seconds)
