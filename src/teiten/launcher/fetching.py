"""Fetch files of the repository over HTTP(S), in bounded time and space, on lines that break.

The server is deliberately not verified here: everything fetched is believed only for
the repository's signatures, and a sensor that slept through a change of the gateway's
pins must still be able to learn the new ones from ``gateway.json``. What a man in the
middle can do is hold files back; that is what expiry of metadata is for.

A target is named by its digest and never changes. What has come of a large one stays when
its download breaks off, and the next goes on there (``Range``, RFC 9110 section 14); 17 MB
need 40 minutes at 64 kbit/s, and few such lines hold for so long. Whatever has come is
verified whole at the end, and a file that is wrong is begun anew.
"""

from __future__ import annotations

import contextlib
import http.client
import re
import socket
import ssl
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

from tuf.api import exceptions
from tuf.ngclient.fetcher import FetcherInterface

from teiten.foundation.clock import Clock

#: End of the name of a file of which more is to come.
PART_SUFFIX = ".part"
_CHUNK_BYTES = 1 << 16
#: A try that brought less is not worth another one now, nor its beginning worth keeping.
_WORTH_BYTES = 1 << 16
#: Tries in one look for updates.
_TRIES = 20
#: IPv6's least MTU without headers: larger segments vanish in tunnels that tell nobody (RFC 8200 section 5).
_SEGMENT_BYTES = 1_220
#: A target's file name begins with its digest.
_NAMED_BY_DIGEST = re.compile(r"[0-9a-f]{64}\.[A-Za-z0-9._-]+")


@dataclass
class _Download:
    """One file that comes, from some byte on."""

    connection: http.client.HTTPConnection
    response: http.client.HTTPResponse
    url: str

    @property
    def is_rest(self) -> bool:
        """Whether it is what was asked for, not the whole file again."""
        return self.response.status == http.client.PARTIAL_CONTENT

    def close(self) -> None:
        self.response.close()
        self.connection.close()


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
        part = self._choose_part(url)
        try:
            with tempfile.TemporaryFile(dir=self._folder) if part is None else part.open("a+b") as file:
                self._bring(url, file, most=max_length)
                file.seek(0)
                yield file
        except exceptions.DownloadError as error:
            is_wrong = isinstance(error, exceptions.DownloadLengthMismatchError)
            if part is not None and (is_wrong or part.stat().st_size < _WORTH_BYTES):
                part.unlink()
            raise
        except BaseException:
            # It was wrong, or the disk is full: what is there is of no use.
            _remove(part)
            raise
        _remove(part)

    def _choose_part(self, url: str) -> Path | None:
        """Give where a target's beginning is kept; beginnings of others are removed."""
        name = urlsplit(url).path.rpartition("/")[2]
        if _NAMED_BY_DIGEST.fullmatch(name) is None:
            return None
        chosen = self._folder / f"{name}{PART_SUFFIX}"
        for part in self._folder.glob(f"*{PART_SUFFIX}"):
            if part != chosen:
                part.unlink(missing_ok=True)
        return chosen

    def _bring(self, url: str, file: IO[bytes], *, most: int) -> None:
        """Fetch what is missing of a file, in as many tries as bring something."""
        for tries_left in reversed(range(_TRIES)):
            start = file.seek(0, 2)
            try:
                self._take(url, file, most=most)
            except exceptions.DownloadLengthMismatchError:
                raise
            except exceptions.DownloadError:
                if file.seek(0, 2) - start < _WORTH_BYTES or not tries_left:
                    raise
            else:
                return

    def _take(self, url: str, file: IO[bytes], *, most: int) -> None:
        start = file.seek(0, 2)
        if start >= most > 0:
            # Whole already, but for the verification that is to come.
            return
        with contextlib.closing(self._ask(url, start=start)) as download:
            taken = start if download.is_rest else 0
            file.truncate(taken)
            for chunk in self._read(download):
                taken += len(chunk)
                if taken > most:
                    raise exceptions.DownloadLengthMismatchError(
                        f"{url} sends more than the {most} bytes that it may have"
                    )
                file.write(chunk)

    def _fetch(self, url: str) -> Iterator[bytes]:
        download = self._ask(url)
        with contextlib.closing(download):
            yield from self._read(download)

    def _ask(self, url: str, *, start: int = 0) -> _Download:
        """Ask for a file from a byte on; the whole may come all the same.

        Raises:
            DownloadError: when it is not answered, or with something else.
        """
        parts = urlsplit(url)
        fields = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={start}-"} if start else {})
        connection = self._connect(parts.scheme, parts.hostname or "", parts.port)
        try:
            connection.request("GET", parts.path, headers=fields)
            response = connection.getresponse()
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            if isinstance(error, TimeoutError):
                raise exceptions.SlowRetrievalError(f"{url} is not answered") from error
            raise exceptions.DownloadError(f"{url} cannot be fetched") from error
        download = _Download(connection, response, url)
        try:
            _check_status(url, response, start=start)
        except BaseException:
            download.close()
            raise
        return download

    def _connect(self, scheme: str, host: str, port: int | None) -> http.client.HTTPConnection:
        kind = _Plain if scheme == "http" else _Secure
        return kind(host, port, timeout=self._timeout_seconds)

    def _read(self, download: _Download) -> Iterator[bytes]:
        """Give what comes, until all of it has."""
        url, response = download.url, download.response
        left = response.length
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
        if left is not None and taken < left:
            raise exceptions.DownloadError(f"{url} broke off after {taken} of {left} bytes")


class _Plain(http.client.HTTPConnection):
    """HTTP in small segments."""

    def connect(self) -> None:
        self.sock = _open_socket(self.host, self.port, self.timeout or 0.0)


class _Secure(http.client.HTTPSConnection):
    """The same in TLS, whoever is at the other end: signatures decide, see above."""

    def connect(self) -> None:
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        plain = _open_socket(self.host, self.port, self.timeout or 0.0)
        try:
            self.sock = context.wrap_socket(plain, server_hostname=self.host)
        except BaseException:
            plain.close()
            raise


def _open_socket(host: str, port: int, seconds: float) -> socket.socket:
    """Connect to the first address that answers.

    Raises:
        OSError: of the last one, when none does.
    """
    failure: OSError = OSError(f"{host} has no address")
    for family, kind, number, _name, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
        wire = socket.socket(family, kind, number)
        try:
            wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, _SEGMENT_BYTES)
            wire.settimeout(seconds)
            wire.connect(address)
        except OSError as error:
            wire.close()
            failure = error
        else:
            return wire
    raise failure


def _check_status(url: str, response: http.client.HTTPResponse, *, start: int) -> None:
    if response.status == http.client.OK:
        return
    if start and response.status == http.client.PARTIAL_CONTENT:
        if not (response.getheader("Content-Range") or "").startswith(f"bytes {start}-"):
            raise exceptions.DownloadError(f"{url} is answered with another part than was asked for")
        return
    raise exceptions.DownloadHTTPError(f"{url} is answered with {response.status}", response.status)


def _remove(part: Path | None) -> None:
    if part is not None:
        part.unlink(missing_ok=True)
