"""Answers: JSON, signed with the gateway's key over the request they answer."""

from __future__ import annotations

import contextlib
import json

from aiohttp import web
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from teiten.foundation.clock import Clock
from teiten.gateway.errors import Refusal
from teiten.protocol import keys, signature
from teiten.protocol.errors import SignatureError
from teiten.protocol.signature import Echo, SignedFields


class Signer:
    """Signs what the gateway says."""

    def __init__(self, private_key: Ed25519PrivateKey, clock: Clock) -> None:
        self._private_key = private_key
        self._clock = clock
        self.public_key = keys.public_bytes(private_key)
        self.key_id = keys.gateway_key_id(self.public_key)

    def answer(self, status: int, body: bytes, fields: SignedFields, headers: dict[str, str]) -> web.Response:
        """Make a response, signed unless the request gave nothing to cover."""
        echo = _find_echo(fields)
        signed: dict[str, str] = {}
        if echo is not None:
            signed = signature.sign_response(
                self._private_key,
                key_id=self.key_id,
                status=status,
                body=body,
                echo=echo,
                created_s=self._clock.now_us() // 1_000_000,
            ).as_headers()
        return web.Response(
            status=status,
            body=body,
            content_type="application/json",
            headers={"Server": "teiten", **headers, **signed},
        )


def refusal_body(refusal: Refusal) -> bytes:
    """Write a refusal as JSON: error, message, then the facts."""
    return json.dumps({"error": refusal.code, "message": str(refusal), **refusal.facts}).encode()


def _find_echo(fields: SignedFields) -> Echo | None:
    """Cover the request's signature; failing that its digest; failing that nothing."""
    with contextlib.suppress(SignatureError):
        return signature.echo_signature(fields)
    with contextlib.suppress(SignatureError):
        return signature.echo_digest(fields.content_digest)
    return None
