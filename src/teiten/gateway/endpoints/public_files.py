"""``GET /tuf/…``: the public part of the update repository, as files.

Nobody is authenticated: what is in it proves itself by its own signatures, and a sensor
that knows no key of this gateway any more must reach it. Names are strict, so that no
path leads out of the folder, and downloads are few at once and short, so that strangers
cannot keep batches from coming in; who is cut off asks for the rest (``Range``, RFC 9110
section 14). Any web server may serve the same folder instead.
"""

from __future__ import annotations

import asyncio
import os
import re
import socket
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from aiohttp import web

from teiten.gateway.answers import refusal_body
from teiten.gateway.authenticating import Desk
from teiten.gateway.errors import Refusal
from teiten.gateway.peers import find_site
from teiten.gateway.routing import Reply, Route

_METADATA = re.compile(r"/tuf/(metadata/(?:[1-9][0-9]{0,8}\.(?:root|snapshot|targets)|timestamp)\.json)")
_TARGET = re.compile(
    r"/tuf/((?:targets/(?:bundles/)?|packages/)[0-9a-f]{64}\.[A-Za-z0-9][A-Za-z0-9._-]{0,120})"
)
#: Versioned files never change; the timestamp is what clients ask for news.
_FOR_EVER, _NEVER = "public, max-age=31536000, immutable", "no-cache"
#: Longest time of one download; the launcher goes on where it was cut off.
_DOWNLOAD_SECONDS = 1_800.0
_CHUNK_BYTES = 1 << 18
#: So much must be taken within so long: 4 kbit/s.
_SLICE_BYTES, _SLICE_SECONDS = 1 << 15, 60.0
#: The rest of a file, from here on; other forms are answered with the whole.
_REST = re.compile(r"bytes=([0-9]{1,12})-")
_MAX_DOWNLOADS = 128
_MAX_DOWNLOADS_A_PEER = 8


class Downloads:
    """How many files go out now, in all and to each peer."""

    def __init__(self) -> None:
        self._by_peer: Counter[str] = Counter()

    @contextmanager
    def one_for(self, peer: str) -> Iterator[None]:
        """Count one download while it lasts; an IPv6 site (/64) is one peer.

        Raises:
            Refusal: 503 when there are too many.
        """
        peer = find_site(peer) or peer
        if self._by_peer.total() >= _MAX_DOWNLOADS or self._by_peer[peer] >= _MAX_DOWNLOADS_A_PEER:
            raise Refusal(503, "downloads_busy", "too many files are being fetched at once; come back later")
        self._by_peer[peer] += 1
        try:
            yield
        finally:
            self._by_peer[peer] -= 1
            if not self._by_peer[peer]:
                del self._by_peer[peer]


_downloads = Downloads()


async def send_file(desk: Desk, request: web.BaseRequest, match: re.Match[str]) -> Reply:
    """Send one file of the repository, or the rest of it."""
    folder = desk.doors.releases
    path = None if folder is None else folder / match[1]
    if path is None or not path.is_file():
        refusal = Refusal(404, "unknown_file", f"the repository has no {match[1]}")
        if match[1].endswith(".root.json"):
            # Every client asks for the next root each time, and is glad that there is none: no news for the log.
            return refusal.status, refusal_body(refusal)
        raise refusal
    with _downloads.one_for(desk.peer_of(request)):
        return await _send(request, path)


async def _send(request: web.BaseRequest, path: Path) -> web.StreamResponse:
    # Not ``FileResponse``: it sends when the handler has returned, where nothing bounds its time.
    try:
        async with asyncio.timeout(_DOWNLOAD_SECONDS):
            with path.open("rb") as file:
                response = _begin(request, path, size=os.fstat(file.fileno()).st_size)
                file.seek(_find_start(request))
                await response.prepare(request)
                while chunk := await asyncio.to_thread(file.read, _CHUNK_BYTES):
                    await _write(response, memoryview(chunk))
    except FileNotFoundError as error:
        raise Refusal(404, "unknown_file", f"the repository has no {path.name} any more") from error
    except TimeoutError as error:
        if request.transport is not None:
            request.transport.abort()
        raise Refusal(408, "download_slow", f"{path.name} was fetched too slowly") from error
    except ConnectionError as error:
        raise Refusal(400, "download_left", f"{path.name} was not fetched to its end") from error
    return response


def _begin(request: web.BaseRequest, path: Path, *, size: int) -> web.StreamResponse:
    """Make the head of the answer.

    Raises:
        Refusal: 416 when nothing is left to be sent.
    """
    start = _find_start(request)
    if start and start >= size:
        raise Refusal(416, "range_beyond_end", f"{path.name} has {size} bytes")
    caching = _NEVER if path.name == "timestamp.json" else _FOR_EVER
    kind = "application/json" if path.suffix == ".json" else "application/octet-stream"
    response = web.StreamResponse(headers={"Cache-Control": caching, "Content-Type": kind})
    if start:
        response.set_status(206)
        response.headers["Content-Range"] = f"bytes {start}-{size - 1}/{size}"
    response.content_length = size - start
    _keep_little_unsent(request)
    return response


def _find_start(request: web.BaseRequest) -> int:
    asked = _REST.fullmatch(request.headers.get("Range", ""))
    return int(asked[1]) if asked else 0


def _keep_little_unsent(request: web.BaseRequest) -> None:
    """Have the kernel take little ahead: it would swallow megabytes, and a slow reader would look like a dead one."""
    wire = None if request.transport is None else request.transport.get_extra_info("socket")
    if wire is not None:
        wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, _SLICE_BYTES)


async def _write(response: web.StreamResponse, chunk: memoryview) -> None:
    while chunk:
        async with asyncio.timeout(_SLICE_SECONDS):
            await response.write(bytes(chunk[:_SLICE_BYTES]))
        chunk = chunk[_SLICE_BYTES:]


METADATA = Route("tuf_metadata", "GET", _METADATA, "/tuf/metadata/{name}", send_file)
TARGET = Route("tuf_target", "GET", _TARGET, "/tuf/targets/{name}", send_file, has_parts=True)
