from __future__ import annotations

import asyncio
import gc
import ssl
from asyncio.sslproto import SSLProtocol
from datetime import datetime, timezone
from pathlib import Path

import pytest

from teiten.gateway import tls


@pytest.mark.requirement("R2.1")
def test_an_open_connection_sets_little_memory_aside(tmp_path: Path) -> None:
    context = tls.server_context(
        *tls.make_self_signed(tmp_path, host="localhost", now=datetime(2026, 11, 21, tzinfo=timezone.utc))
    )

    sizes = asyncio.run(measure_buffers(context))

    assert sizes
    assert max(sizes) <= 32 * 1024


async def measure_buffers(context: ssl.SSLContext) -> list[int]:
    """Open one connection and give the bytes that each of its ends set aside."""
    accepted = asyncio.Event()
    server = await asyncio.start_server(lambda *_: accepted.set(), "127.0.0.1", 0, ssl=context)
    trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
    async with server:
        _, writer = await asyncio.open_connection(*server.sockets[0].getsockname(), ssl=trusting)
        await accepted.wait()
        sizes = [len(one._ssl_buffer) for one in gc.get_objects() if isinstance(one, SSLProtocol)]
        writer.close()
        await writer.wait_closed()
    return sizes
