"""Bodies on their way: how slowly they may come, and how many of one sensor."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from aiohttp import StreamReader
from aiohttp.base_protocol import BaseProtocol

from teiten.gateway import bodies
from teiten.gateway.bodies import Bodies, read_body
from teiten.gateway.errors import Refusal

pytestmark = pytest.mark.requirement("R1.2", "R2.1")


def read_dripping(parts: list[bytes], *, every: float, length: int, seconds: float) -> bytes:
    """Read a body of which a part comes now and then; then nothing comes any more."""

    async def run() -> bytes:
        loop = asyncio.get_running_loop()
        protocol = BaseProtocol(loop)
        protocol.transport = asyncio.Transport()
        content = StreamReader(protocol, 1 << 16, loop=loop)

        async def drip() -> None:
            for part in parts:
                content.feed_data(part)
                await asyncio.sleep(every)

        dripping = asyncio.create_task(drip())
        try:
            request: Any = SimpleNamespace(content=content)
            return await read_body(request, length, seconds=seconds)
        finally:
            dripping.cancel()

    return asyncio.run(run())


def test_a_body_may_take_longer_than_silence_is_borne() -> None:
    parts = [bytes(100)] * 6

    assert read_dripping(parts, every=0.05, length=600, seconds=0.15) == bytes(600)


@pytest.mark.parametrize("parts", [[], [bytes(500)]])
def test_silence_ends_it(parts: list[bytes]) -> None:
    with pytest.raises(Refusal, match=r"of 600 bytes had come when nothing did for 0\.1 s") as caught:
        read_dripping(parts, every=0, length=600, seconds=0.1)
    assert (caught.value.status, caught.value.code) == (408, "body_slow")


def test_a_drip_ends_it_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "FLOOR_BYTES_PER_SECOND", 1_000)

    with pytest.raises(Refusal, match="or too little"):
        read_dripping([b"x"] * 100, every=0.02, length=1_000_000, seconds=0.1)


def test_one_sensor_holds_no_more_than_one_largest_body() -> None:
    held = Bodies(most=1_000, most_of_one=100)

    with held.holding(90, 7):
        with pytest.raises(Refusal, match="90 bytes of this sensor") as caught, held.holding(20, 7):
            pass
        assert (caught.value.status, caught.value.code) == (503, "sensor_busy")
        with held.holding(10, 7), held.holding(90, 8):
            pass
    with held.holding(500, 7):
        pass


def test_all_of_them_have_a_limit() -> None:
    held = Bodies(most=150, most_of_one=100)

    with held.holding(100, 7), pytest.raises(Refusal, match="too many bodies"), held.holding(51, 8):
        pass
    with held.holding(150, 8):
        pass
