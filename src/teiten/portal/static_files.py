"""Static files straight from the package, each kept by browsers for ever.

All of them are served below ``/static/<stamp>/``, where the stamp is a hash of
every file: a new release has new URLs, relative references in stylesheets hold,
and nothing has to be collected at installation.
"""

from __future__ import annotations

import gzip
import hashlib
import threading
from importlib.metadata import version
from pathlib import Path
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from whitenoise.middleware import WhiteNoiseMiddleware  # type: ignore[import-untyped]  # it has no types
from whitenoise.responders import StaticFile  # type: ignore[import-untyped]  # it has no types

#: Smaller files gain nothing from compression.
_COMPRESS_FROM_BYTES = 1024
_TEXT = ("text/", "application/javascript", "application/json", "image/svg+xml", "application/manifest+json")


def stamp_of(folder: Path) -> str:
    """Hash every file below ``folder``, and the version of the API pages that are served beside them."""
    total = hashlib.sha256(version("django-ninja").encode())
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            total.update(path.relative_to(folder).as_posix().encode())
            total.update(hashlib.sha256(path.read_bytes()).digest())
    return total.hexdigest()[:12]


class StampedFiles(WhiteNoiseMiddleware):  # type: ignore[misc]  # its base has no types
    """WhiteNoise over the finders, with everything immutable and text compressed once, in memory."""

    def __init__(self, get_response: Any) -> None:
        super().__init__(get_response)
        self._compressed: dict[str, bytes] = {}
        self._lock = threading.Lock()

    def immutable_file_test(self, path: str, url: str) -> bool:  # noqa: ARG002  # WhiteNoise's signature
        return not self.autorefresh and url.startswith(self.static_prefix)

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        static_file = (
            self.find_file(request.path_info) if self.autorefresh else self.files.get(request.path_info)
        )
        if static_file is None:
            response: HttpResponseBase = self.get_response(request)
            return response
        return self._answer(static_file, request)

    def _answer(self, static_file: StaticFile, request: HttpRequest) -> HttpResponse:
        """Serve from memory: an iterator over a file would be read in one go by ASGI anyway."""
        answer = static_file.get_response(request.method, request.META)
        content = b""
        if answer.file is not None:
            with answer.file:
                content = answer.file.read()
        response = HttpResponse(content, status=int(answer.status))
        del response["content-type"]
        for key, value in answer.headers:
            response[key] = value
        return self._compress(request, response)

    def _compress(self, request: HttpRequest, response: HttpResponse) -> HttpResponse:
        kind = response.get("Content-Type", "")
        is_whole = (
            response.status_code == HttpResponse.status_code and len(response.content) >= _COMPRESS_FROM_BYTES
        )
        if not (is_whole and kind.startswith(_TEXT)):
            return response
        response["Vary"] = "Accept-Encoding"
        if "gzip" in request.headers.get("Accept-Encoding", ""):
            response.content = self._gzip_once(request.path_info, response.content)
            response["Content-Encoding"] = "gzip"
            response["Content-Length"] = str(len(response.content))
        return response

    def _gzip_once(self, url: str, content: bytes) -> bytes:
        if self.autorefresh:
            return gzip.compress(content, compresslevel=1)
        with self._lock:
            if url not in self._compressed:
                self._compressed[url] = gzip.compress(content, compresslevel=6, mtime=0)
            return self._compressed[url]
