from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path

import pytest

from teiten.foundation.clock import FixedClock, SystemClock
from teiten.protocol import batch, enrolment, keys
from teiten.protocol.header import Watched
from teiten.protocol.heartbeat import Heartbeat
from teiten.protocol.sensor_config import SensorConfig
from teiten.protocol.testing import make_columns
from teiten.sensor.connection import make_context, parse_address, parse_pin
from teiten.sensor.errors import (
    BusyError,
    ClockSkewError,
    ConflictError,
    DeclarationError,
    NotEnrolledError,
    RefusedError,
    StandingError,
    UntrustedError,
    UplinkError,
)
from teiten.sensor.sealing import BatchDraft, SealedBatch, SealingIdentity, seal_batch
from teiten.sensor.testing import SENSOR, FakeGateway
from teiten.sensor.uplink import Uplink

START_US = 1_795_230_000_000_000


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[FakeGateway]:
    server = FakeGateway(tmp_path, SystemClock())
    server.start()
    yield server
    server.stop()


@pytest.fixture
def identity(gateway: FakeGateway) -> SealingIdentity:
    key = keys.generate_key()
    gateway.sensor_key = keys.public_bytes(key)
    return SealingIdentity(SENSOR, 1, 1, key)


@pytest.fixture
def uplink(gateway: FakeGateway, identity: SealingIdentity) -> Iterator[Uplink]:
    made = Uplink(gateway.address, SystemClock(), identity=identity, gateway_keys=gateway.gateway_keys)
    yield made
    made.close()


def make_sealed(identity: SealingIdentity, seq: int = 1, rows: int = 5, seed: int = 1) -> SealedBatch:
    draft = BatchDraft(
        START_US,
        START_US + 300_000_000,
        boot_id="0123456789abcdef",
        watched=(Watched("192.0.2.7/32", "silent"),),
        dataset="simulated",
        excluded=2,
        payload_bytes=64,
    )
    return seal_batch(identity, draft, columns=make_columns(rows, start_us=START_US, seed=seed), seq=seq)


def make_beat(counter: int = 1) -> Heartbeat:
    return Heartbeat(counter, "0123456789abcdef", "0.1.0", 5, None, 0, 0, 0, 0, 0, 0, "", None, 1)


@pytest.mark.requirement("R1.2")
def test_it_works(gateway: FakeGateway, uplink: Uplink, identity: SealingIdentity) -> None:
    sealed = make_sealed(identity, seq=3)

    issued = uplink.send(sealed)

    assert (issued.sensor, issued.epoch, issued.seq, issued.digest) == (SENSOR, 1, 3, sealed.digest)
    decoded = batch.decode(gateway.batches[1, 3][1])
    assert (decoded.header.rows, decoded.header.captured, decoded.header.excluded) == (5, 7, 2)


def test_a_repeat_gets_the_same_receipt(uplink: Uplink, identity: SealingIdentity) -> None:
    sealed = make_sealed(identity)

    assert uplink.send(sealed) == uplink.send(sealed)


def test_one_connection_serves_many_batches(
    gateway: FakeGateway, uplink: Uplink, identity: SealingIdentity
) -> None:
    for seq in range(1, 6):
        uplink.send(make_sealed(identity, seq=seq))

    assert gateway.arrivals == [1, 2, 3, 4, 5]


def test_a_lost_answer_on_a_kept_connection_is_asked_for_again(
    gateway: FakeGateway, uplink: Uplink, identity: SealingIdentity
) -> None:
    uplink.send(make_sealed(identity, seq=1))
    gateway.plan.append((0, "", {}))

    uplink.send(make_sealed(identity, seq=2))

    assert gateway.arrivals == [1, 2, 2]


def test_another_batch_under_the_same_number_is_a_conflict(uplink: Uplink, identity: SealingIdentity) -> None:
    uplink.send(make_sealed(identity, seed=1))

    with pytest.raises(ConflictError, match="409"):
        uplink.send(make_sealed(identity, seed=2))


@pytest.mark.parametrize(
    ("status", "code", "error"),
    [
        (403, "suspended", StandingError),
        (413, "too_large", RefusedError),
        (400, "seal.invalid", RefusedError),
        (410, "receipt_expired", RefusedError),
        (400, "body_truncated", UplinkError),
        (404, "unknown_path", UplinkError),
        (500, "bug", UplinkError),
        (401, "signature.invalid", UplinkError),
    ],
)
def test_each_refusal_says_what_to_do(
    gateway: FakeGateway,
    uplink: Uplink,
    identity: SealingIdentity,
    status: int,
    code: str,
    error: type[UplinkError],
) -> None:
    gateway.plan.append((status, code, {}))

    with pytest.raises(error, match=str(status)) as caught:
        uplink.send(make_sealed(identity))

    assert type(caught.value) is error


@pytest.mark.parametrize(
    ("status", "code"), [(410, "receipt_expired"), (409, "conflict"), (413, "too_large")]
)
def test_a_refusal_that_the_gateway_did_not_sign_gives_up_no_batch(
    gateway: FakeGateway, uplink: Uplink, identity: SealingIdentity, status: int, code: str
) -> None:
    gateway.signing_key = keys.generate_key()
    gateway.plan.append((status, code, {}))

    with pytest.raises(UntrustedError, match="not proven"):
        uplink.send(make_sealed(identity))


@pytest.mark.parametrize(("text", "seconds"), [("17", 17.0), ("never", 30.0), ("999999", 3600.0)])
def test_a_busy_gateway_says_how_long(
    gateway: FakeGateway, uplink: Uplink, identity: SealingIdentity, text: str, seconds: float
) -> None:
    gateway.plan.append((503, "busy", {"Retry-After": text}))

    with pytest.raises(BusyError) as caught:
        uplink.send(make_sealed(identity))

    assert caught.value.retry_after_seconds == seconds


def test_a_clock_skew_gives_an_offset_that_makes_the_next_request_good(
    gateway: FakeGateway, uplink: Uplink, identity: SealingIdentity
) -> None:
    gateway.skew_seconds = 4000

    with pytest.raises(ClockSkewError) as caught:
        uplink.send(make_sealed(identity))
    uplink.clock_offset_us = caught.value.offset_us

    assert abs(caught.value.offset_us - 4_000_000_000) < 5_000_000
    assert uplink.send(make_sealed(identity)).seq == 1


def test_a_clock_skew_that_is_not_signed_moves_nothing(
    gateway: FakeGateway, uplink: Uplink, identity: SealingIdentity
) -> None:
    gateway.skew_seconds = 4000
    gateway.signing_key = keys.generate_key()

    with pytest.raises(UntrustedError, match="not proven"):
        uplink.send(make_sealed(identity))


def test_a_receipt_of_an_unknown_key_is_none(
    gateway: FakeGateway, uplink: Uplink, identity: SealingIdentity
) -> None:
    gateway.signing_key = keys.generate_key()

    with pytest.raises(UntrustedError, match="no valid receipt"):
        uplink.send(make_sealed(identity))


def test_another_servers_key_is_not_spoken_to(gateway: FakeGateway, identity: SealingIdentity) -> None:
    address = parse_address(gateway.url, pins=("00" * 32,))
    uplink = Uplink(address, SystemClock(), identity=identity, gateway_keys=gateway.gateway_keys)

    with pytest.raises(UntrustedError, match=r"none of sensor\.pins"):
        uplink.send(make_sealed(identity))

    assert gateway.arrivals == []


def test_sensors_of_one_process_may_share_their_tls_but_not_their_trust(
    gateway: FakeGateway, identity: SealingIdentity
) -> None:
    shared = make_context(gateway.address)
    strict = parse_address(gateway.address.url, pins=("00" * 32,))
    given = {"identity": identity, "gateway_keys": gateway.gateway_keys, "context": shared}

    for seq in (1, 2):
        with Uplink(gateway.address, SystemClock(), **given) as uplink:
            uplink.send(make_sealed(identity, seq=seq))
    with (
        Uplink(strict, SystemClock(), **given) as uplink,
        pytest.raises(UntrustedError, match="nothing was sent"),
    ):
        uplink.send(make_sealed(identity, seq=3))

    assert shared.session_stats()["connect_good"] == 3
    assert gateway.arrivals == [1, 2]


def test_an_unknown_authority_is_not_spoken_to(gateway: FakeGateway, identity: SealingIdentity) -> None:
    uplink = Uplink(parse_address(gateway.url), SystemClock(), identity=identity)

    with pytest.raises(UntrustedError, match="not trusted"):
        uplink.send(make_sealed(identity))


def test_a_given_authority_is_enough(gateway: FakeGateway, identity: SealingIdentity, tmp_path: Path) -> None:
    address = parse_address(gateway.url, ca_file=tmp_path / "gateway.pem")
    uplink = Uplink(address, SystemClock(), identity=identity, gateway_keys=gateway.gateway_keys)

    assert uplink.send(make_sealed(identity)).seq == 1
    uplink.close()


def test_a_gateway_that_is_down_says_so(gateway: FakeGateway, identity: SealingIdentity) -> None:
    address = dataclasses.replace(gateway.address, url="https://127.0.0.1:1")
    uplink = Uplink(address, SystemClock(), identity=identity)

    with pytest.raises(UplinkError, match=r"https://127.0.0.1:1 cannot be reached: Connection refused"):
        uplink.send(make_sealed(identity))


def test_a_heartbeat_brings_configuration_and_clock(gateway: FakeGateway, uplink: Uplink) -> None:
    gateway.config = SensorConfig(4, live=True, window_seconds=60)
    gateway.skew_seconds = 100

    answer = uplink.heartbeat(make_beat())

    assert answer.config == SensorConfig(4, live=True, window_seconds=60)
    assert gateway.beats[0].counter == 1
    assert uplink.clock_offset_us is not None
    assert abs(uplink.clock_offset_us - 100_000_000) < 5_000_000


def test_enrolment_may_be_repeated_with_the_same_key_only(gateway: FakeGateway) -> None:
    facts = enrolment.Facts("test", "none", "3", "0.1.0")

    def enrol(key: object) -> enrolment.EnrolAnswer:
        request = enrolment.make_request(
            gateway.token,
            key,
            facts=facts,
            created_s=1,
            nonce="n" * 22,  # type: ignore[arg-type]
        )
        with Uplink(gateway.address, SystemClock()) as uplink:
            return uplink.enrol(request)

    key = keys.generate_key()
    assert enrol(key).sensor == enrol(key).sensor == SENSOR
    with pytest.raises(ConflictError, match="token_used"):
        enrol(keys.generate_key())


def test_without_identity_nothing_is_sent(gateway: FakeGateway) -> None:
    with pytest.raises(NotEnrolledError, match="enrol"):
        Uplink(gateway.address, SystemClock()).heartbeat(make_beat())


def test_a_pin_is_read_in_each_form() -> None:
    raw = bytes(range(32))

    assert parse_pin(raw.hex()) == raw
    assert parse_pin("sha256/AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=") == raw


@pytest.mark.parametrize("text", ["", "sha256/", "zz" * 32, "AAEC"])
def test_a_wrong_pin_names_itself(text: str) -> None:
    with pytest.raises(DeclarationError, match="SHA-256"):
        parse_pin(text)


@pytest.mark.parametrize("url", ["http://192.0.2.1", "192.0.2.1:8443", "https://", "https://192.0.2.1/x"])
def test_a_wrong_gateway_url_names_itself(url: str) -> None:
    with pytest.raises(DeclarationError, match="https://HOST"):
        parse_address(url)


def test_the_authority_leaves_out_the_ordinary_port() -> None:
    assert parse_address("https://Gate.Example").authority == "gate.example"
    assert parse_address("https://[2001:db8::1]:8443").authority == "[2001:db8::1]:8443"


def test_time_comes_from_the_clock(gateway: FakeGateway, identity: SealingIdentity) -> None:
    clock = FixedClock(datetime(2001, 1, 1, tzinfo=timezone.utc))
    uplink = Uplink(gateway.address, clock, identity=identity, gateway_keys=gateway.gateway_keys)

    with pytest.raises(ClockSkewError):
        uplink.send(make_sealed(identity))
    uplink.close()
