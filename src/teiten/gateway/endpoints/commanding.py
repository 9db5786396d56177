"""``GET /v1/commands`` and ``POST /v1/commands/{command_id}/result``: what operators signed, and what came of it.

The gateway reads neither: it hands on bytes that it could not have signed.
"""

from __future__ import annotations

import re

from aiohttp import web

from teiten.gateway import pacing, requests
from teiten.gateway.authenticating import Desk
from teiten.gateway.doors import CommandsDoor
from teiten.gateway.errors import Refusal
from teiten.gateway.routing import Reply, Route
from teiten.protocol import results
from teiten.protocol.commands import COMMAND_ID
from teiten.protocol.errors import ResultError


async def give_commands(desk: Desk, request: web.BaseRequest, _match: re.Match[str]) -> Reply:
    """Give what waits for the sensor that asks; it keeps waiting until it is answered or expires."""
    door = _door_of(desk)
    sender, _body = await desk.read_message(request, pace=pacing.COMMANDS)
    deliveries = await door.pending(sender.identity)
    return 200, b'{"commands":[' + b",".join(deliveries) + b"]}"


async def take_result(desk: Desk, request: web.BaseRequest, match: re.Match[str]) -> Reply:
    """Keep the first answer of a sensor; the same again is fine."""
    door = _door_of(desk)
    fields = request.headers.getall(results.SIGNATURE_FIELD, ())
    if len(fields) > 1:
        raise Refusal(400, "field_doubled", f"field {results.SIGNATURE_FIELD} must stand once")
    length = requests.length_of(request, at_most=results.MAX_RESULT_BYTES)
    sender = await desk.admit(request, pace=pacing.RESULTS)
    with desk.bodies.holding(length, sender.identity.sensor):
        body = await desk.read(request, length, sender)
        try:
            signature = results.parse_signature(fields[0] if fields else "")
        except ResultError as error:
            raise Refusal(400, error.code, str(error)) from error
        is_new = await door.take_result(sender.identity, match[1], body, signature)
    return (201 if is_new else 200), b'{"taken":true}'


def _door_of(desk: Desk) -> CommandsDoor:
    if desk.doors.commands is None:
        raise Refusal(404, "not_offered", "this gateway gives no commands")
    return desk.doors.commands


COMMANDS_ROUTE = Route("commands", "GET", re.compile(r"/v1/commands"), "/v1/commands", give_commands)
RESULT_ROUTE = Route(
    "result",
    "POST",
    re.compile(rf"/v1/commands/({COMMAND_ID.pattern})/result"),
    "/v1/commands/{command_id}/result",
    take_result,
)
