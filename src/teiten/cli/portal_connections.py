"""Connections of the portal: a cap on their number, and an end to those that never ask anything."""

from __future__ import annotations

import asyncio
from typing import Any, ClassVar

from uvicorn.protocols.http.h11_impl import H11Protocol


class PatientForAWhile(H11Protocol):
    """uvicorn's HTTP/1.1, which by itself waits for ever for the head of a request."""

    #: Beyond it connections are turned away; a process may hold 1,024 files, and others need theirs.
    most_connections: ClassVar[int] = 400
    #: In which the head of a request must have come in.
    head_seconds: ClassVar[float] = 20.0

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._giving_up: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn declares it
        """Take the connection, unless there are too many."""
        super().connection_made(transport)
        if len(self.connections) > self.most_connections:
            transport.abort()
            return
        self._watch()

    def data_received(self, data: bytes) -> None:
        """Note whether the head is complete with it."""
        super().data_received(data)
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._rest()
        super().connection_lost(exc)

    @property
    def _is_waiting(self) -> bool:
        """Whether the client has not sent the whole head of a request (h11's state IDLE)."""
        return str(self.conn.their_state) == "IDLE"

    def _watch(self) -> None:
        """Wait for the rest of a head, but not anew for every byte of it."""
        if not self._is_waiting:
            self._rest()
        elif self._giving_up is None:
            self._giving_up = self.loop.call_later(self.head_seconds, self._give_up)

    def _rest(self) -> None:
        if self._giving_up is not None:
            self._giving_up.cancel()
            self._giving_up = None

    def _give_up(self) -> None:
        self._giving_up = None
        if self._is_waiting:
            self.transport.abort()
