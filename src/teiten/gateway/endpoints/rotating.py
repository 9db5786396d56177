"""``POST /v1/keys/rotate``: the old key brings in the next one."""

from __future__ import annotations

import re

from aiohttp import web

from teiten.gateway import pacing
from teiten.gateway.authenticating import Desk
from teiten.gateway.errors import Refusal
from teiten.gateway.routing import Reply, Route
from teiten.protocol import rotation
from teiten.protocol.errors import MessageError, SignatureError


async def rotate(desk: Desk, request: web.BaseRequest, _match: re.Match[str]) -> Reply:
    """Replace the key that signed the request; the same request again gets the same answer."""
    door = desk.doors.rotate
    if door is None:
        raise Refusal(404, "not_offered", "this gateway does not rotate keys")
    sender, body = await desk.read_message(
        request, pace=pacing.ROTATIONS, at_most=rotation.MAX_REQUEST_BYTES, superseded=True
    )
    try:
        asked = rotation.read_request(body)
        rotation.verify_proof(asked)
    except (MessageError, SignatureError) as error:
        raise Refusal(400, error.code, str(error)) from error
    if asked.sensor != sender.identity.sensor:
        raise Refusal(400, "rotate_request.sensor", "sensor must be the one that signed the request")
    answer = await door.rotate(sender.identity, asked, peer=desk.peer_of(request))
    return 200, answer.to_json()


ROUTE = Route("rotate", "POST", re.compile(r"/v1/keys/rotate"), "/v1/keys/rotate", rotate)
