"""Fetch files of the repository over HTTP(S), in bounded time and space.

The server is deliberately not verified here: everything fetched is believed only for
the repository's signatures, and a sensor that slept through a change of the gateway's
pins must still be able to learn the new ones from ``gateway.json``. What a man in the
middle can do is hold files back; that is what expiry of metadata is for.
"""

from __future__ import annotations

import http.client
import ssl
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

from tuf.api import exceptions
from tuf.ngclient.fetcher import FetcherInterface

from teiten.foundation.clock import Clock

_CHUNK_BYTES = 1 << 16


class Fetcher(FetcherInterface):
    """HTTP for the TUF client, with a floor under its speed.

    Args:
        folder: where a file stands until it has been verified.
        clock: for speed.
        timeout_seconds: longest silence.
        min_bytes_per_second: slower than this on average, after one timeout, is too slow.
    """

    def __init__(
        self, folder: Path, clock: Clock, *, timeout_seconds: float, min_bytes_per_second: int
    ) -> None:
        self._folder = folder
        self._clock = clock
        self._timeout_seconds = timeout_seconds
        self._min_bytes_per_second = min_bytes_per_second

    @contextmanager
    def download_file(self, url: str, max_length: int) -> Iterator[IO[bytes]]:
        """Download into the launcher's own folder (the disk that was checked), then give the file."""
        taken = 0
        with tempfile.TemporaryFile(dir=self._folder) as file:
            for chunk in self.fetch(url):
                taken += len(chunk)
                if taken > max_length:
                    raise exceptions.DownloadLengthMismatchError(
                        f"{url} sends more than the {max_length} bytes that it may have"
                    )
                file.write(chunk)
            file.seek(0)
            yield file

    def _fetch(self, url: str) -> Iterator[bytes]:
        parts = urlsplit(url)
        connection = self._connect(parts.scheme, parts.hostname or "", parts.port)
        response = None
        try:
            connection.request("GET", parts.path, headers={"Accept-Encoding": "identity"})
            response = connection.getresponse()
            _check_status(url, response.status)
        except BaseException as error:
            connection.close()
            if response is not None:
                response.close()
            if isinstance(error, TimeoutError):
                raise exceptions.SlowRetrievalError(f"{url} is not answered") from error
            raise
        return self._read(connection, response, url)

    def _connect(self, scheme: str, host: str, port: int | None) -> http.client.HTTPConnection:
        if scheme == "http":
            return http.client.HTTPConnection(host, port, timeout=self._timeout_seconds)
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE  # signatures decide, see above
        return http.client.HTTPSConnection(host, port, timeout=self._timeout_seconds, context=context)

    def _read(
        self, connection: http.client.HTTPConnection, response: http.client.HTTPResponse, url: str
    ) -> Iterator[bytes]:
        began, taken = self._clock.monotonic(), 0
        try:
            # ``read1``: what has come, not what was asked for, so that a trickle is seen as one.
            while chunk := response.read1(_CHUNK_BYTES):
                taken += len(chunk)
                yield chunk
                spent = self._clock.monotonic() - began
                if spent > self._timeout_seconds and taken < spent * self._min_bytes_per_second:
                    raise exceptions.SlowRetrievalError(f"{url} comes at {taken / spent:.0f} bytes a second")
        except TimeoutError as error:
            raise exceptions.SlowRetrievalError(f"{url} stopped coming after {taken} bytes") from error
        except (OSError, http.client.HTTPException) as error:
            raise exceptions.DownloadError(f"{url} broke off: {error}") from error
        finally:
            response.close()
            connection.close()


def _check_status(url: str, status: int) -> None:
    if status != http.client.OK:
        raise exceptions.DownloadHTTPError(f"{url} is answered with {status}", status)
