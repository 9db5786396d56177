"""Bodies that are being received: how many bytes in all and of one sensor, and how slowly they may come.

A body counts whole from its beginning, because whoever states a length may send it. One
sensor sends one thing at a time; what it left half sent before its line broke still counts.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from aiohttp import web

from teiten.gateway import metrics
from teiten.gateway.errors import Refusal

#: Slower than this on average (4 kbit/s), after the silence that is borne, is no line that a batch comes on.
FLOOR_BYTES_PER_SECOND = 500


class Bodies:
    """What is in memory, or may be in a moment.

    Args:
        most: bytes in all.
        most_of_one: bytes of one sensor, when it has more than one body.
    """

    def __init__(self, *, most: int, most_of_one: int) -> None:
        self._most = most
        self._most_of_one = most_of_one
        self._bytes = 0
        self._by_sensor: Counter[int] = Counter()

    @contextmanager
    def holding(self, length: int, sensor: int) -> Iterator[None]:
        """Hold a body's bytes against the limits while it is being handled.

        Raises:
            Refusal: 503 when too much is held already, in all or for this sensor.
        """
        if self._bytes + length > self._most:
            raise Refusal(503, "gateway_busy", "too many bodies are being received at once; come back later")
        held = self._by_sensor[sensor]
        if held and held + length > self._most_of_one:
            raise Refusal(
                503, "sensor_busy", f"{held} bytes of this sensor are being received; come back later"
            )
        self._count(sensor, length)
        try:
            yield
        finally:
            self._count(sensor, -length)

    def _count(self, sensor: int, change: int) -> None:
        self._bytes += change
        self._by_sensor[sensor] += change
        if not self._by_sensor[sensor]:
            del self._by_sensor[sensor]
        metrics.INFLIGHT_BYTES.set(self._bytes)


async def read_body(request: web.BaseRequest, length: int, *, seconds: float) -> bytes:
    """Read exactly the stated bytes, however long that takes while they come.

    Args:
        request: whose body it is.
        length: as stated.
        seconds: how long nothing may come.

    Raises:
        Refusal: 400 when the connection ends early, 408 when bytes do not come, or too slowly.
    """
    loop = asyncio.get_running_loop()
    began, received, parts = loop.time(), 0, []
    try:
        while received < length:
            least = began + seconds + received / FLOOR_BYTES_PER_SECOND
            async with asyncio.timeout_at(min(least, loop.time() + seconds)):
                part = await request.content.readany()
            if not part:
                raise Refusal(400, "body_truncated", f"the body ended after {received} of {length} bytes")
            received += len(part)
            parts.append(part)
    except ConnectionError as error:
        raise Refusal(
            400, "body_truncated", f"the connection ended before {length} bytes had come"
        ) from error
    except TimeoutError as error:
        raise Refusal(
            408,
            "body_slow",
            f"{received} of {length} bytes had come when nothing did for {seconds:g} s, or too little",
        ) from error
    return b"".join(parts)
