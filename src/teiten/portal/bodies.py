"""Bound what anybody may send to the portal, before Django sees it.

Under ASGI Django writes a whole body to a temporary file before it asks who sent it,
whatever its length and however slowly it comes: a stranger could fill the disk. Forms
here have some hundred bytes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import Any, TypeAlias

Message: TypeAlias = Mapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
Application: TypeAlias = Callable[[dict[str, Any], Receive, Send], Awaitable[None]]
#: Gives how many bytes a request may have where it may have more than others; asked only for those that do.
Allowance: TypeAlias = Callable[[Message], Awaitable["int | None"]]

MOST_BYTES = 256 * 1024
#: In which a body must have come in.
MOST_SECONDS = 30.0


class _BodyError(Exception):
    """A body that nobody reads to its end."""

    def __init__(self, status: HTTPStatus, message: str) -> None:
        super().__init__(message)
        self.status = status


def bounded(
    inner: Application,
    *,
    most_bytes: int = MOST_BYTES,
    seconds: float = MOST_SECONDS,
    allowance: Allowance | None = None,
) -> Application:
    """Give ``inner`` whole bodies only, and answer 413 or 408 in its place for others."""

    async def application(scope: dict[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await inner(scope, receive, send)
            return
        try:
            async with asyncio.timeout(seconds):
                whole = await _read(scope, receive, await _limit(scope, most_bytes, allowance))
        except TimeoutError:
            await _refuse(send, HTTPStatus.REQUEST_TIMEOUT, f"the body did not come within {seconds:g} s")
        except _BodyError as error:
            await _refuse(send, error.status, str(error))
        else:
            await inner(scope, _replay(whole, receive), send)

    return application


async def _limit(scope: Message, most_bytes: int, allowance: Allowance | None) -> int:
    """Give how many bytes this request may have; nobody is asked about one that says it is small."""
    stated = dict(scope["headers"]).get(b"content-length", b"")
    if allowance is None or not stated.isdigit() or int(stated) <= most_bytes:
        return most_bytes
    return await allowance(scope) or most_bytes


async def _read(scope: Message, receive: Receive, most_bytes: int) -> Message:
    """Give the body as one message, or the client's going away."""
    stated = dict(scope["headers"]).get(b"content-length", b"0")
    if stated.isdigit() and int(stated) > most_bytes:
        raise _too_large(most_bytes)
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return message
        body += message.get("body", b"")
        if len(body) > most_bytes:
            raise _too_large(most_bytes)
        if not message.get("more_body", False):
            return {"type": "http.request", "body": bytes(body), "more_body": False}


def _too_large(most_bytes: int) -> _BodyError:
    return _BodyError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"the body has more than {most_bytes} bytes")


def _replay(first: Message, receive: Receive) -> Receive:
    waiting = [first]

    async def give() -> Message:
        return waiting.pop() if waiting else await receive()

    return give


async def _refuse(send: Send, status: HTTPStatus, message: str) -> None:
    headers = [
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"x-content-type-options", b"nosniff"),
        (b"connection", b"close"),
    ]
    await send({"type": "http.response.start", "status": int(status), "headers": headers})
    await send({"type": "http.response.body", "body": f"{status.value} {message}\n".encode()})
