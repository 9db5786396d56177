"""The gateway: authenticate, land, receipt. It never decompresses or parses a batch.

Order of checks, cheapest first, and nothing is read before its length and its sender
are known: path and fields, length, who (key id), request signature and time, state
and epoch, seal, body and its digest, landing. Every answer is signed and covers the request.
"""

from __future__ import annotations

import asyncio
import logging
import time
from http import HTTPStatus
from pathlib import Path

from aiohttp import web
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from teiten.foundation import metrics as foundation_metrics
from teiten.foundation.clock import Clock
from teiten.foundation.logs import OncePer
from teiten.gateway import listener, metrics, requests, tls
from teiten.gateway.answers import Signer, refusal_body
from teiten.gateway.authenticating import Desk
from teiten.gateway.config import GatewayConfig
from teiten.gateway.doors import DoorClosed, Doors
from teiten.gateway.endpoints.table import find_route
from teiten.gateway.errors import GatewayStartError, Refusal
from teiten.gateway.routing import Reply
from teiten.landing.log import LandingLog

_log = logging.getLogger(__name__)

_BUG = Refusal(500, "internal", "the gateway failed; its log says why")


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
        self._desk = Desk(config, doors=doors, landing=landing, signer=self._signer, clock=clock)
        self._once = OncePer(10.0)
        self._runners: list[web.BaseRunner] = []
        self._is_ready = False

    @property
    def public_key(self) -> bytes:
        """32 raw bytes; sensors check receipts and answers with it."""
        return self._signer.public_key

    @property
    def port(self) -> int:
        """The port that sensors reach, also when the system chose it (``gateway.port = 0``)."""
        return int(self._runners[0].addresses[0][1])

    @property
    def local_port(self) -> int:
        """The port of ``/healthz`` and ``/metrics``."""
        return int(self._runners[1].addresses[0][1])

    def certificate(self) -> tuple[Path, Path]:
        """Give the certificate and key in use, making a self-signed pair when none is set."""
        config = self._config
        if config.tls_certificate is not None and config.tls_key is not None:
            return config.tls_certificate, config.tls_key
        host = self._desk.authority.rsplit(":", 1)[0].strip("[]")
        return tls.make_self_signed(self._key_dir, host=host, now=self._clock.now())

    async def start(self) -> None:
        """Open both listeners.

        Raises:
            GatewayStartError: when a key or an address cannot be used.
        """
        await self._listen_for_sensors()
        await self._listen_for_operators()
        self._is_ready = True
        _log.info("gateway listens", extra={"host": self._config.host, "port": self._config.port})

    async def stop(self) -> None:
        """Let running requests finish, then close both listeners."""
        self._is_ready = False
        for runner in reversed(self._runners):
            await runner.cleanup()
        self._runners.clear()

    async def _listen(self, site: web.BaseSite, where: str, setting: str) -> None:
        try:
            await site.start()
        except OSError as error:
            await self.stop()
            raise GatewayStartError(
                f"cannot listen on {where} ({error.strerror}); free it or change {setting}"
            ) from error

    async def _listen_for_sensors(self) -> None:
        config = self._config
        context = tls.server_context(*self.certificate())
        runner = listener.make_runner(config, self._serve, self._clock)
        await runner.setup()
        self._runners.append(runner)
        site = listener.CappedSite(runner, config, ssl_context=context)
        await self._listen(site, f"{config.host}:{config.port}", "gateway.port")

    async def _listen_for_operators(self) -> None:
        host, port = self._config.metrics_host, self._config.metrics_port
        app = web.Application()
        app.router.add_get("/healthz", self._healthz)
        app.router.add_get("/metrics", self._metrics)
        runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=1.0)
        await runner.setup()
        self._runners.append(runner)
        await self._listen(web.TCPSite(runner, host, port), f"{host}:{port}", "gateway.metrics_port")

    async def _serve(self, request: web.BaseRequest) -> web.StreamResponse:
        started = time.perf_counter()
        route, match = find_route(request.method, request.raw_path)
        headers: dict[str, str] = {}
        outcome = "ok"
        try:
            requests.check_fields(request, may_ask_part=route.has_parts)
            reply = await route.endpoint(self._desk, request, match)
        except (Refusal, DoorClosed) as error:
            refusal = self._note(request, error)
            reply, outcome = (refusal.status, refusal_body(refusal)), refusal.code
            if refusal.status in (HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.TOO_MANY_REQUESTS):
                wait_seconds = refusal.retry_after_seconds or self._config.retry_seconds
                headers["Retry-After"] = str(wait_seconds)
        except Exception:  # noqa: BLE001  a request is a process boundary: a bug in one must not end the others
            _log.exception("a request failed", extra={"endpoint": route.name})
            reply, outcome = (500, refusal_body(_BUG)), _BUG.code
        metrics.REQUESTS.labels(route.name, outcome).inc()
        metrics.SECONDS.labels(route.name).observe(time.perf_counter() - started)
        return self._respond(request, reply, headers)

    def _respond(self, request: web.BaseRequest, reply: Reply, headers: dict[str, str]) -> web.StreamResponse:
        """Sign status and body; a file goes out as it is."""
        if isinstance(reply, web.StreamResponse):
            response = reply
        else:
            status, body = reply
            response = self._signer.answer(status, body, requests.signed_fields(request), headers)
        if not request.content.is_eof():
            # What was not read must not be taken for the next request.
            response.force_close()
        return response

    def _note(self, request: web.BaseRequest, error: Refusal | DoorClosed) -> Refusal:
        """Log a refusal, at most once in 10 s for each code."""
        refusal = error if isinstance(error, Refusal) else Refusal(503, "database_unavailable", str(error))
        if self._once.is_due(refusal.code, self._clock.monotonic()):
            _log.warning(
                "request refused",
                extra={
                    "code": refusal.code,
                    "status": refusal.status,
                    "reason": str(refusal),
                    "peer": self._desk.peer_of(request),
                },
            )
        return refusal

    async def _healthz(self, _request: web.Request) -> web.Response:
        trouble = await self._desk.landing.find_trouble()
        is_well = self._is_ready and trouble is None
        return web.json_response({"ready": is_well, "trouble": trouble}, status=200 if is_well else 503)

    async def _metrics(self, _request: web.Request) -> web.Response:
        return web.Response(
            body=await asyncio.to_thread(foundation_metrics.render),
            headers={"Content-Type": foundation_metrics.CONTENT_TYPE},
        )
