"""The record of what a request gives away: written before the answer leaves, or nothing leaves.

A file is written down before its first byte and again when it ends, also when the
client has gone; that end comes from whatever thread drops the file, so that one thread
of our own writes it.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

from django.db import DatabaseError, connections
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase

from teiten.accounts.models import User
from teiten.custody import disclosures
from teiten.custody.disclosures import Recipient
from teiten.custody.models import Channel
from teiten.foundation.clock import Clock
from teiten.portal import services
from teiten.search.recording import Disclosed

_log = logging.getLogger(__name__)
_writer = ThreadPoolExecutor(1, thread_name_prefix="disclosures")
_ATTRIBUTE = "teiten_disclosures"


class RequestRecorder:
    """What one request gives to one person."""

    def __init__(self, user: User, channel: Channel, clock: Clock) -> None:
        self.user = user
        self.clock = clock
        self.channel = channel
        self.pending: list[Disclosed] = []

    def give(self, disclosed: Disclosed) -> None:
        """Note what an answer holds; from any thread."""
        self.pending.append(disclosed)

    def open_file(self, disclosed: Disclosed) -> _OpenFile:
        """Write down that a file begins."""
        return _OpenFile(_writer.submit(self._begin, disclosed).result(), self.clock)

    def _begin(self, disclosed: Disclosed) -> int:
        tlp = services.search_config().tlp_of(disclosed.level)
        try:
            recipient = Recipient(self.user, Channel.EXPORT)
            row = disclosures.record(recipient, disclosed, tlp=tlp, at=self.clock.now(), is_file=True)
            return row.pk
        finally:
            connections.close_all()

    def write_down(self, response: HttpResponseBase) -> None:
        """Append what was given, with the hash of the answer's bytes where they are data and no screen."""
        is_data = self.channel is Channel.API and isinstance(response, HttpResponse)
        digest = hashlib.sha256(response.content).hexdigest() if is_data else ""  # type: ignore[attr-defined]  # checked beside it
        waiting, self.pending = self.pending, []
        for disclosed in waiting:
            channel = Channel.LIVE if disclosed.call == "live" else self.channel
            disclosures.record(
                Recipient(self.user, channel),
                disclosed,
                tlp=services.search_config().tlp_of(disclosed.level),
                at=self.clock.now(),
                sha256=digest,
            )


class _OpenFile:
    def __init__(self, disclosure_id: int, clock: Clock) -> None:
        self._disclosure_id = disclosure_id
        self._clock = clock

    def close(self, *, is_whole: bool, byte_count: int, sha256: str) -> None:
        waiting = _writer.submit(self._write, is_whole=is_whole, byte_count=byte_count, sha256=sha256)
        with suppress(RuntimeError):  # no event loop here: wait, so that the end is there when the file is
            asyncio.get_running_loop()
            return
        waiting.result()

    def _write(self, *, is_whole: bool, byte_count: int, sha256: str) -> None:
        try:
            disclosures.record_end(
                self._disclosure_id,
                at=self._clock.now(),
                is_whole=is_whole,
                byte_count=byte_count,
                sha256=sha256,
            )
        except DatabaseError as error:  # the begin is on record; without an end the file counts as broken off
            _log.error(
                "The end of a file was not written down.",
                extra={"disclosure": self._disclosure_id, "reason": str(error)},
            )
        finally:
            connections.close_all()


def recorder_of(request: HttpRequest, user: User, *, clock: Clock) -> RequestRecorder:
    """Give the record of a request; :func:`write_down` appends it."""
    recorder: RequestRecorder | None = getattr(request, _ATTRIBUTE, None)
    if recorder is None:
        is_api = request.path_info.startswith("/api/")
        recorder = RequestRecorder(user, Channel.API if is_api else Channel.PAGE, clock)
        setattr(request, _ATTRIBUTE, recorder)
    return recorder


def write_down(request: HttpRequest, response: HttpResponseBase) -> None:
    """Append what a request gave away, before its answer leaves."""
    recorder: RequestRecorder | None = getattr(request, _ATTRIBUTE, None)
    if recorder is not None and recorder.pending:
        recorder.write_down(response)
