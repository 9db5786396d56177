"""The gateway as somebody without a key tries it, or somebody with another sensor's."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from teiten.foundation.clock import FixedClock
from teiten.gateway import knocking
from teiten.gateway.config import GatewayConfig
from teiten.gateway.endpoints import public_files
from teiten.gateway.errors import Refusal
from teiten.gateway.testing import AUTHORITY, Answer, HonestSensor, MadeRequest, RawClient, run_gateway
from teiten.landing.log import LandingLog
from teiten.landing.testing import SIGNING_KEY, make_config, start_ledger
from teiten.protocol import seal, signature

pytestmark = pytest.mark.requirement("R1.2", "R2.1")

SEVEN = HonestSensor(Ed25519PrivateKey.from_private_bytes(bytes(range(1, 33))))
EIGHT = HonestSensor(Ed25519PrivateKey.from_private_bytes(bytes(range(2, 34))), sensor=8)
#: Has a key of its own and says it is sensor 7.
IMPOSTOR = dataclasses.replace(EIGHT, sensor=7)
BODY = b"a batch, as far as a gateway knows"


@pytest.fixture
def port(tmp_path: Path, database_url: str, clock: FixedClock) -> Iterator[int]:
    start_ledger(database_url)
    landing = LandingLog(make_config(tmp_path / "landing"), database_url, clock, signing_key=SIGNING_KEY)
    config = GatewayConfig(
        port=0, metrics_port=0, authority=AUTHORITY, max_batch_bytes=1_000_000, max_inflight_bytes=1_000_000,
        receive_seconds=30.0,
    )  # fmt: skip
    with run_gateway(
        landing, config=config, signing_key=SIGNING_KEY, key_dir=tmp_path / "keys", clock=clock
    ) as gateway:
        gateway.doors.add(7, SEVEN.public_key)
        gateway.doors.add(8, EIGHT.public_key)
        yield gateway.port


def send(port: int, made: MadeRequest, body: bytes | None = None) -> Answer:
    with closing(RawClient(port)) as client:
        return client.send(made.method, made.target, made.as_list(), made.body if body is None else body)


def put(sensor: HonestSensor, clock: FixedClock, seq: int = 1, body: bytes = BODY) -> MadeRequest:
    return sensor.put(seq, body, created_s=clock.now_us() // 1_000_000)


def test_a_stranger_is_refused_before_a_byte_of_the_body_comes(port: int, clock: FixedClock) -> None:
    """The request's signature covers the body's digest: nobody's megabytes are waited for."""
    answer = send(port, put(IMPOSTOR, clock, body=bytes(900_000)), body=b"")

    assert (answer.status, answer.json()["error"]) == (401, "signature.invalid")


def test_strangers_cannot_keep_honest_sensors_out(port: int, clock: FixedClock) -> None:
    clients = [RawClient(port) for _ in range(5)]
    for client in clients:
        made = put(IMPOSTOR, clock, body=bytes(900_000))
        head = "".join(f"{name}: {value}\r\n" for name, value in made.as_list())
        client.connect().sendall(f"PUT {made.target} HTTP/1.1\r\n{head}\r\n".encode())
    answer = send(port, put(SEVEN, clock, body=bytes(900_000)))
    for client in clients:
        client.close()

    assert answer.status == 201


def test_another_sensors_sealed_batch_cannot_be_sent_as_ones_own(port: int, clock: FixedClock) -> None:
    """Sensor 8 has a batch of sensor 7, seal and all, and signs the request itself."""
    theirs, ours = put(SEVEN, clock), put(EIGHT, clock)
    stolen = dataclasses.replace(
        ours, fields={**ours.fields, seal.SEAL_FIELD: theirs.fields[seal.SEAL_FIELD]}
    )

    answer = send(port, stolen)

    assert (answer.status, answer.json()["error"]) == (400, "seal.invalid")


def test_a_recorded_request_lands_nothing_new(port: int, clock: FixedClock) -> None:
    made = put(SEVEN, clock)
    first = send(port, made)
    again = send(port, made)
    elsewhere = send(port, dataclasses.replace(made, target="/v1/batches/1/2"))
    clock.step(301)
    late = send(port, made)

    assert (first.status, again.status) == (201, 200)
    assert again.body == first.body
    assert (elsewhere.status, elsewhere.json()["error"]) == (401, "signature.invalid")
    assert (late.status, late.json()["error"]) == (401, "clock_skew")


def test_another_body_under_a_recorded_request_is_refused(port: int, clock: FixedClock) -> None:
    made = put(SEVEN, clock)

    answer = send(port, made, body=BODY[::-1])

    assert (answer.status, answer.json()["error"]) == (401, "digest.mismatch")
    assert send(port, made).status == 201


@pytest.mark.parametrize("attempt", range(3))
def test_an_honest_sensor_with_a_large_body_still_hears_why(
    port: int, clock: FixedClock, attempt: int
) -> None:
    """The refusal comes before the body is read; it must not be lost under a connection that is cut."""
    made = SEVEN.put(1 + attempt, bytes(900_000), created_s=clock.now_us() // 1_000_000 - 400)

    answer = send(port, made)

    assert (answer.status, answer.json()["error"]) == (401, "clock_skew")
    assert answer.json()["server_time_us"] == clock.now_us()


def test_strangers_who_only_begin_to_enrol_keep_nobody_from_enrolling(port: int, clock: FixedClock) -> None:
    """One address may hold 64 connections; each says that a body follows, and sends none."""
    clients = [RawClient(port) for _ in range(knocking.MOST_AT_ONCE)]
    for client in clients:
        client.connect().sendall(
            f"POST /v1/enrol HTTP/1.1\r\nHost: {AUTHORITY}\r\nContent-Length: 500\r\n\r\n".encode()
        )
    try:
        with closing(RawClient(port)) as honest:
            digest = signature.format_digest(seal.digest_of(b"{}"))
            fields = {"Host": AUTHORITY, "Content-Length": "2", "Content-Digest": digest}
            answer = honest.send("POST", "/v1/enrol", list(fields.items()), b"{}")
    finally:
        for client in clients:
            client.close()

    # It was read and judged, and not turned away for the others' sake.
    assert answer.status == 400


def test_an_ipv6_site_fetches_as_one_peer() -> None:
    downloads = public_files.Downloads()
    with ExitStack() as stack:
        for number in range(8):
            stack.enter_context(downloads.one_for(f"2001:db8::{number + 1}"))
        with pytest.raises(Refusal, match="too many files"), downloads.one_for("2001:db8::99"):
            pass
        with downloads.one_for("2001:db8:0:1::1"), downloads.one_for("192.0.2.1"):
            pass


@pytest.mark.parametrize("seq", [(1 << 48) + 1, (1 << 63) - 2, (1 << 63) - 1, 1 << 63])
def test_a_number_at_the_end_of_all_numbers_is_refused(port: int, clock: FixedClock, seq: int) -> None:
    """The ledger keeps ranges that end behind a number: behind 2^63-1 there is nothing, and the whole group fails."""
    answer = send(port, put(SEVEN, clock, seq))

    assert (answer.status, answer.json()["error"]) == (404, "unknown_path")
    assert send(port, put(SEVEN, clock, 1 << 48)).status == 201
    assert send(port, put(SEVEN, clock)).status == 201
