"""``POST /v1/recover``: an administrator's token gives a sensor a new key and a new epoch."""

from __future__ import annotations

import re

from aiohttp import web

from teiten.gateway import pacing
from teiten.gateway.authenticating import Desk
from teiten.gateway.endpoints.enrolling import complete_answer, read_unsigned
from teiten.gateway.errors import Refusal
from teiten.gateway.routing import Reply, Route
from teiten.protocol import recovery
from teiten.protocol.errors import MessageError, SignatureError


async def recover(desk: Desk, request: web.BaseRequest, _match: re.Match[str]) -> Reply:
    """Bind a new key to a sensor that exists."""
    door = desk.doors.recover
    if door is None:
        raise Refusal(404, "not_offered", "this gateway does not recover sensors")
    peer = desk.peer_of(request)
    with desk.knocks.one_of(peer):
        body = await read_unsigned(desk, request, at_most=recovery.MAX_REQUEST_BYTES)
        try:
            asked = recovery.read_request(body)
            recovery.verify_possession(asked)
        except (MessageError, SignatureError) as error:
            raise Refusal(400, error.code, str(error)) from error
        desk.check_time(asked.created_s)
        desk.paces.check(pacing.ENROLMENTS, asked.token_id)
        with desk.knocks.deciding():
            answer = await door.recover(asked, peer=peer)
        desk.paces.spend(pacing.ENROLMENTS, asked.token_id)
    return 201, complete_answer(desk, answer)


ROUTE = Route("recover", "POST", re.compile(r"/v1/recover"), "/v1/recover", recover)
