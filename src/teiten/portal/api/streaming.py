"""Files that flow to the client piece by piece, in bounded memory, under ASGI too.

Django collects a synchronous iterator as a whole before it sends anything under
ASGI; so there each piece is fetched in a thread while the event loop goes on.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

from asgiref.sync import sync_to_async
from django.core.handlers.asgi import ASGIRequest
from django.http import HttpRequest, StreamingHttpResponse

from teiten.search.exports import Export


def respond_with_file(request: HttpRequest, made: Export) -> StreamingHttpResponse:
    """Give an export as a download, with what it rests on in ``Teiten-*`` headers."""
    pieces = iter(made)
    content = _fetch_in_thread(pieces) if isinstance(request, ASGIRequest) else pieces
    response = StreamingHttpResponse(content, content_type=made.start.media_type)
    response["Content-Disposition"] = f'attachment; filename="{made.start.file_name}"'
    response["X-Accel-Buffering"] = "no"
    response["Teiten-Rows"] = str(made.start.rows)
    for name, value in made.start.metadata.items():
        response[_header_of(name)] = value
    return response


async def _fetch_in_thread(pieces: Iterator[bytes]) -> AsyncIterator[bytes]:
    def take() -> bytes | None:
        return next(pieces, None)

    fetch = sync_to_async(take, thread_sensitive=False)
    while (piece := await fetch()) is not None:
        yield piece


def _header_of(name: str) -> str:
    """``teiten.coverage_share`` → ``Teiten-Coverage-Share``."""
    return "-".join(part.capitalize() for part in name.replace("_", ".").split("."))
