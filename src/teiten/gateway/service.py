"""The gateway: authenticate, land, receipt. It never decompresses or parses a batch.

Order of checks, cheapest first, and nothing is read before its length is known:
path and fields, length, who (key id), body, digest and request signature, state
and epoch, seal, landing. Every answer is signed and covers the request.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
import time
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from pathlib import Path

from aiohttp import web
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from teiten.foundation import metrics as foundation_metrics
from teiten.foundation.clock import Clock
from teiten.foundation.logs import OncePer
from teiten.gateway import metrics, requests, tls
from teiten.gateway.answers import Signer, refusal_body
from teiten.gateway.config import GatewayConfig
from teiten.gateway.doors import DoorClosed, Doors
from teiten.gateway.endpoints import Endpoints
from teiten.gateway.errors import GatewayStartError, Refusal
from teiten.landing.log import LandingLog

_log = logging.getLogger(__name__)


class Gateway:
    """The one door that sensors talk to."""

    def __init__(
        self,
        config: GatewayConfig,
        *,
        doors: Doors,
        landing: LandingLog,
        signing_key: Ed25519PrivateKey,
        key_dir: Path,
        clock: Clock,
    ) -> None:
        self._config = config
        self._clock = clock
        self._key_dir = key_dir
        self._signer = Signer(signing_key, clock)
        self._endpoints = Endpoints(config, doors=doors, landing=landing, signer=self._signer, clock=clock)
        self._once = OncePer(10.0)
        self._connections = 0
        self._runners: list[web.AppRunner] = []
        self._is_ready = False

    @property
    def public_key(self) -> bytes:
        """32 raw bytes; sensors check receipts and answers with it."""
        return self._signer.public_key

    @property
    def port(self) -> int:
        """The port that sensors reach, also when the system chose it (``gateway.port = 0``)."""
        return int(self._runners[0].addresses[0][1])

    def certificate(self) -> tuple[Path, Path]:
        """Give the certificate and key in use, making a self-signed pair when none is set."""
        config = self._config
        if config.tls_certificate is not None and config.tls_key is not None:
            return config.tls_certificate, config.tls_key
        host = self._endpoints.authority.rsplit(":", 1)[0].strip("[]")
        return tls.make_self_signed(self._key_dir, host=host, now=self._clock.now())

    async def start(self) -> None:
        """Open both listeners.

        Raises:
            GatewayStartError: when a key or an address cannot be used.
        """
        context = tls.server_context(*self.certificate())
        await self._listen(
            self._sensor_app(),
            self._config.host,
            self._config.port,
            ssl_context=context,
            setting="gateway.port",
        )
        await self._listen(
            self._local_app(),
            self._config.metrics_host,
            self._config.metrics_port,
            setting="gateway.metrics_port",
        )
        self._is_ready = True
        _log.info("gateway listens", extra={"host": self._config.host, "port": self._config.port})

    async def stop(self) -> None:
        """Let running requests finish, then close both listeners."""
        self._is_ready = False
        for runner in reversed(self._runners):
            await runner.cleanup()
        self._runners.clear()

    async def _listen(
        self,
        app: web.Application,
        host: str,
        port: int,
        *,
        setting: str,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        runner = web.AppRunner(
            app,
            access_log=None,
            keepalive_timeout=self._config.keepalive_seconds,
            handle_signals=False,
            shutdown_timeout=10.0,
        )
        await runner.setup()
        self._runners.append(runner)
        site = web.TCPSite(
            runner,
            host,
            port,
            ssl_context=ssl_context,
            backlog=1024,
        )
        try:
            await site.start()
        except OSError as error:
            await self.stop()
            raise GatewayStartError(
                f"cannot listen on {host}:{port} ({error.strerror}); free it or change {setting}"
            ) from error

    def _sensor_app(self) -> web.Application:
        app = web.Application(client_max_size=self._config.max_batch_bytes + 1)
        app.router.add_route("*", "/{anything:.*}", self._serve)
        return app

    def _local_app(self) -> web.Application:
        app = web.Application()
        app.router.add_get("/healthz", self._healthz)
        app.router.add_get("/metrics", self._metrics)
        return app

    async def _serve(self, request: web.Request) -> web.Response:
        started = time.perf_counter()
        fields = requests.signed_fields(request)
        endpoint, handle = self._route(request)
        headers: dict[str, str] = {}
        try:
            requests.check_fields(request)
            status, body = await handle(request)
            outcome = "ok"
        except (Refusal, DoorClosed) as error:
            refusal = (
                error if isinstance(error, Refusal) else Refusal(503, "database_unavailable", str(error))
            )
            status, body, outcome = refusal.status, refusal_body(refusal), refusal.code
            self._note(request, refusal)
        if status == HTTPStatus.SERVICE_UNAVAILABLE:
            headers["Retry-After"] = str(self._config.retry_seconds)
        metrics.REQUESTS.labels(endpoint, outcome).inc()
        metrics.SECONDS.labels(endpoint).observe(time.perf_counter() - started)
        response = self._signer.answer(status, body, fields, headers)
        if outcome != "ok" and not request.content.is_eof():
            # What was not read must not be taken for the next request.
            response.force_close()
        return response

    def _route(
        self, request: web.Request
    ) -> tuple[str, Callable[[web.Request], Awaitable[tuple[int, bytes]]]]:
        key = (request.method, request.raw_path)
        if key == ("POST", requests.ENROL_PATH):
            return "enrol", self._endpoints.enrol
        if key == ("POST", requests.HEARTBEAT_PATH):
            return "heartbeat", self._endpoints.heartbeat
        if request.method == "PUT":
            return "batch", self._endpoints.batch
        return "other", self._endpoints.refuse_path

    def _note(self, request: web.Request, refusal: Refusal) -> None:
        """Log a refusal, at most once in 10 s for each code."""
        if self._once.is_due(refusal.code, self._clock.monotonic()):
            _log.warning(
                "request refused",
                extra={
                    "code": refusal.code,
                    "status": refusal.status,
                    "reason": str(refusal),
                    "peer": request.remote,
                },
            )

    async def _healthz(self, _request: web.Request) -> web.Response:
        trouble = await self._endpoints.find_trouble()
        is_well = self._is_ready and trouble is None
        return web.json_response({"ready": is_well, "trouble": trouble}, status=200 if is_well else 503)

    async def _metrics(self, _request: web.Request) -> web.Response:
        return web.Response(
            body=await asyncio.to_thread(foundation_metrics.render),
            headers={"Content-Type": foundation_metrics.CONTENT_TYPE},
        )
