"""Accept connections: a place in all and for its address, a proxy's word, TLS, and then HTTP.

An own loop instead of asyncio's: what a proxy sends stands in front of the TLS handshake,
and a connection that is turned away costs no handshake.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
import ssl
import struct
from collections.abc import Callable, Sequence
from typing import Protocol, cast

from teiten.foundation.logs import OncePer
from teiten.gateway import metrics, peers
from teiten.gateway.peers import Places, ProxyHeaderError, TrustedProxies

_log = logging.getLogger(__name__)

#: A stranger that stalls its TLS handshake for longer is cut off. By satellite, or where every fifth packet is
#: lost, one takes a dozen seconds.
HANDSHAKE_SECONDS = 30.0
#: The same, and for the first head, while places are short: strangers who only hold them must not keep sensors out.
CROWDED_SECONDS = 5.0
#: A peer that does not answer our end of TLS holds 60 KiB for so long.
SHUTDOWN_SECONDS = 2.0
#: A proxy sends its header at once.
PROXY_SECONDS = 5.0
#: Without a file descriptor left, accepting begins again after a while.
_PAUSE_SECONDS = 1.0
#: What no other connection can have either; every other error is of the one connection (accept(2)).
_SHORT_OF = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
_TOLD_SECONDS = 60.0
#: Closes at once, without keeping the connection's state.
_RESET = struct.pack("ii", 1, 0)


class Served(Protocol):
    """The HTTP side of one connection."""

    def admit(self, peer: str, leave: Callable[[], None]) -> None:
        """Learn whose connection it is, and whom to tell of its end."""


class Acceptor(asyncio.AbstractServer):
    """Listens on sockets and hands connections over, as an asyncio server does."""

    def __init__(
        self,
        sockets: Sequence[socket.socket],
        make_protocol: Callable[[], Served],
        *,
        ssl_context: ssl.SSLContext,
        places: Places,
        proxies: TrustedProxies,
    ) -> None:
        self.sockets = tuple(sockets)
        self._make_protocol = make_protocol
        self._ssl_context = ssl_context
        self._places = places
        self._proxies = proxies
        self._loop = asyncio.get_running_loop()
        self._once = OncePer(_TOLD_SECONDS)
        self._arriving: set[asyncio.Task[None]] = set()
        self._listening = [self._loop.create_task(self._listen(one)) for one in self.sockets]

    def close(self) -> None:
        """Take no more connections; those that are being served stay."""
        for task in (*self._listening, *self._arriving):
            task.cancel()
        for one in self.sockets:
            one.close()

    async def wait_closed(self) -> None:
        await asyncio.gather(*self._listening, *self._arriving, return_exceptions=True)

    def get_loop(self) -> asyncio.AbstractEventLoop:
        return self._loop

    async def start_serving(self) -> None:
        """Do nothing: it serves from its making on."""

    async def serve_forever(self) -> None:
        await asyncio.gather(*self._listening)

    def is_serving(self) -> bool:
        return any(not task.done() for task in self._listening)

    async def _listen(self, listener: socket.socket) -> None:
        while True:
            try:
                connection, address = await self._loop.sock_accept(listener)
            except OSError as error:
                if self._once.is_due(error.strerror or "", self._loop.time()):
                    _log.error("no connection can be accepted now", extra={"reason": error.strerror})
                await asyncio.sleep(_PAUSE_SECONDS if error.errno in _SHORT_OF else 0)
                continue
            self._admit(connection, peers.plain_address(address[0]))

    def _admit(self, connection: socket.socket, peer: str) -> None:
        leave = self._places.take()
        metrics.CONNECTIONS.set(self._places.taken)
        if leave is None:
            _turn_away(connection, "all")
            return
        connection.settimeout(0)
        task = self._loop.create_task(self._arrive(connection, peer, leave))
        self._arriving.add(task)
        task.add_done_callback(self._arriving.discard)

    async def _arrive(self, connection: socket.socket, peer: str, leave: Callable[[], None]) -> None:
        """Bring a connection to where HTTP begins."""
        try:
            address = await self._find_peer(connection, peer)
            leave_address = self._places.take_for(address)
            if leave_address is None:
                _turn_away(connection, "address")
            else:
                await self._hand_over(connection, address, _both(leave, leave_address))
                return
        except (OSError, ProxyHeaderError, asyncio.IncompleteReadError) as error:
            # TLS errors and TimeoutError are OSErrors.
            metrics.HANDSHAKES_FAILED.labels(type(error).__name__).inc()
        except BaseException:
            leave()
            raise
        leave()

    async def _find_peer(self, connection: socket.socket, peer: str) -> str:
        """Give the address that counts; a connection without one is closed."""
        if peer not in self._proxies:
            return peer
        try:
            async with asyncio.timeout(PROXY_SECONDS):
                return await self._read_proxied(connection, peer)
        except BaseException:
            connection.close()
            raise

    async def _hand_over(self, connection: socket.socket, peer: str, leave: Callable[[], None]) -> None:
        """Give the socket to asyncio, which closes it whatever happens."""
        protocol = self._make_protocol()
        protocol.admit(peer, leave)
        try:
            await self._loop.connect_accepted_socket(
                lambda: cast(asyncio.BaseProtocol, protocol),
                connection,
                ssl=self._ssl_context,
                ssl_handshake_timeout=CROWDED_SECONDS if self._places.is_crowded else HANDSHAKE_SECONDS,
                ssl_shutdown_timeout=SHUTDOWN_SECONDS,
            )
        except BaseException:
            leave()
            raise

    async def _read_proxied(self, connection: socket.socket, proxy: str) -> str:
        head = await self._read_exactly(connection, peers.HEAD_BYTES)
        rest = await self._read_exactly(connection, peers.read_head(head))
        return peers.read_peer(head, rest, proxy=proxy)

    async def _read_exactly(self, connection: socket.socket, size: int) -> bytes:
        """Read so many bytes and not one more: what follows belongs to TLS."""
        received = b""
        while len(received) < size:
            part = await self._loop.sock_recv(connection, size - len(received))
            if not part:
                raise asyncio.IncompleteReadError(received, size)
            received += part
        return received


async def open_sockets(host: str, port: int, *, backlog: int) -> list[socket.socket]:
    """Listen on every address of ``host``; empty: on all of this machine.

    Raises:
        OSError: when an address cannot be had; none is kept.
    """
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    opened: list[socket.socket] = []
    try:
        for family, kind, number, _name, address in dict.fromkeys(found):
            one = socket.socket(family, kind, number)
            opened.append(one)
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            one.bind(address)
            one.listen(backlog)
            one.settimeout(0)
    except OSError:
        for one in opened:
            one.close()
        raise
    return opened


def _turn_away(connection: socket.socket, why: str) -> None:
    """Cut a connection beyond the cap: its sensor comes back later."""
    metrics.CONNECTIONS_REFUSED.labels(why).inc()
    try:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    finally:
        connection.close()


def _both(one: Callable[[], None], other: Callable[[], None]) -> Callable[[], None]:
    def call() -> None:
        one()
        other()

    return call
