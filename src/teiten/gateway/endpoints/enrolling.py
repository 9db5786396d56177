"""``POST /v1/enrol``: bind a public key to a sensor, once."""

from __future__ import annotations

import dataclasses
import re

from aiohttp import web

from teiten.gateway import requests
from teiten.gateway.authenticating import Desk
from teiten.gateway.errors import Refusal
from teiten.gateway.routing import Reply, Route
from teiten.protocol import enrolment, signature
from teiten.protocol.enrolment import GatewayKey
from teiten.protocol.errors import MessageError, SignatureError


async def enrol(desk: Desk, request: web.BaseRequest, _match: re.Match[str]) -> Reply:
    """Bind a public key to a sensor, once."""
    length = requests.length_of(request, at_most=enrolment.MAX_REQUEST_BYTES)
    body = await requests.read_body(request, length, seconds=desk.config.receive_seconds)
    try:
        signature.check_digest(signature.parse_digest(requests.signed_fields(request).content_digest), body)
        asked = enrolment.read_request(body)
        enrolment.verify_possession(asked)
    except (MessageError, SignatureError) as error:
        raise Refusal(400, error.code, str(error)) from error
    desk.check_time(asked.created_s)
    answer = await desk.doors.enrol.enrol(asked, peer=request.remote or "")
    known = GatewayKey(desk.signer.key_id, desk.signer.public_key)
    return 201, dataclasses.replace(
        answer, gateway_keys=(known,), server_time_us=desk.clock.now_us()
    ).to_json()


ROUTE = Route("enrol", "POST", re.compile(r"/v1/enrol"), "/v1/enrol", enrol)
