"""``POST /v1/heartbeat``: record how a sensor is, and tell it what it should know."""

from __future__ import annotations

import dataclasses
import re

from aiohttp import web

from teiten.gateway import pacing
from teiten.gateway.authenticating import Desk
from teiten.gateway.errors import Refusal
from teiten.gateway.routing import Reply, Route
from teiten.protocol import heartbeat
from teiten.protocol.errors import MessageError
from teiten.protocol.standing import Standing


async def beat(desk: Desk, request: web.BaseRequest, _match: re.Match[str]) -> Reply:
    """Record a heartbeat and answer it."""
    sender, body = await desk.read_message(request, pace=pacing.HEARTBEATS)
    try:
        said = heartbeat.read_heartbeat(body)
    except MessageError as error:
        raise Refusal(400, error.code, str(error)) from error
    answer = await desk.doors.heartbeat.heartbeat(sender.identity, said, peer=desk.peer_of(request))
    return 200, dataclasses.replace(
        answer, server_time_us=desk.clock.now_us(), standing=_STANDINGS.get(sender.identity.state)
    ).to_json()


_STANDINGS: dict[str, Standing] = {
    "pending_approval": "pending_approval",
    "suspended": "suspended",
    "quarantined": "quarantined",
}


ROUTE = Route("heartbeat", "POST", re.compile(r"/v1/heartbeat"), "/v1/heartbeat", beat)
