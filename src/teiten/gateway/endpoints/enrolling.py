"""``POST /v1/enrol``: bind a public key to a sensor, once."""

from __future__ import annotations

import dataclasses
import re

from aiohttp import web

from teiten.gateway import pacing, requests
from teiten.gateway.authenticating import Desk
from teiten.gateway.bodies import read_body
from teiten.gateway.errors import Refusal
from teiten.gateway.routing import Reply, Route
from teiten.protocol import enrolment, signature
from teiten.protocol.enrolment import EnrolAnswer, GatewayKey
from teiten.protocol.errors import MessageError, SignatureError


async def enrol(desk: Desk, request: web.BaseRequest, _match: re.Match[str]) -> Reply:
    """Bind a public key to a sensor, once."""
    peer = desk.peer_of(request)
    with desk.knocks.one_of(peer):
        body = await read_unsigned(desk, request, at_most=enrolment.MAX_REQUEST_BYTES)
        try:
            asked = enrolment.read_request(body)
            enrolment.verify_possession(asked)
        except (MessageError, SignatureError) as error:
            raise Refusal(400, error.code, str(error)) from error
        desk.check_time(asked.created_s)
        desk.paces.check(pacing.ENROLMENTS, asked.token_id)
        with desk.knocks.deciding():
            answer = await desk.doors.enrol.enrol(asked, peer=peer)
        desk.paces.spend(pacing.ENROLMENTS, asked.token_id)
    return 201, complete_answer(desk, answer)


async def read_unsigned(desk: Desk, request: web.BaseRequest, *, at_most: int) -> bytes:
    """Read the small body of a request that no known key could sign yet, and check its digest.

    Raises:
        Refusal: with the rule that it breaks.
    """
    length = requests.length_of(request, at_most=at_most)
    body = await read_body(request, length, seconds=desk.config.receive_seconds)
    try:
        signature.check_digest(signature.parse_digest(requests.signed_fields(request).content_digest), body)
    except SignatureError as error:
        raise Refusal(400, error.code, str(error)) from error
    return body


def complete_answer(desk: Desk, answer: EnrolAnswer) -> bytes:
    """Put the gateway's own key and the time into an answer."""
    known = GatewayKey(desk.signer.key_id, desk.signer.public_key)
    return dataclasses.replace(answer, gateway_keys=(known,), server_time_us=desk.clock.now_us()).to_json()


ROUTE = Route("enrol", "POST", re.compile(r"/v1/enrol"), "/v1/enrol", enrol)
