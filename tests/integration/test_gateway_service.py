"""The gateway over real TLS: honest sensors get receipts, everything else a named refusal."""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
import json
import os
import socket
import ssl
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import datetime, timezone
from pathlib import Path

import psycopg
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from teiten.foundation.clock import FixedClock
from teiten.gateway import knocking, pacing, tls
from teiten.gateway.config import GatewayConfig
from teiten.gateway.endpoints import batches
from teiten.gateway.errors import GatewayStartError
from teiten.gateway.pacing import Pace
from teiten.gateway.testing import (
    AUTHORITY,
    Answer,
    HonestSensor,
    MadeRequest,
    RawClient,
    RunningGateway,
    run_gateway,
)
from teiten.landing import ledger, migrations
from teiten.landing.errors import LandingFull, ReceiptExpired
from teiten.landing.log import LandingLog
from teiten.landing.testing import GATEWAY_KEYS, SIGNING_KEY, make_config, start_ledger
from teiten.protocol import enrolment, heartbeat, keys, receipt, seal, signature
from teiten.protocol.sensor_config import SensorConfig

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(1, 33)))
CLONE = Ed25519PrivateKey.from_private_bytes(bytes(range(2, 34)))
SENSOR = HonestSensor(KEY)
BODY = b"a batch, as far as a gateway knows"
CONFIG = GatewayConfig(
    port=0, metrics_port=0, authority=AUTHORITY, max_batch_bytes=100_000, receive_seconds=1.0
)
NOW_S = 1_795_230_000


@pytest.fixture
def clock(clock: FixedClock) -> FixedClock:
    clock.step(NOW_S - clock.now_us() / 1_000_000)
    return clock


@pytest.fixture(scope="module")
def module_url(postgres_server_url: str) -> str:
    """One database for all tests here; making one for each would cost more than the tests."""
    from teiten.cli.embedded import create_database

    return create_database(postgres_server_url, f"gateway_{os.getpid()}")


@pytest.fixture
def url(module_url: str) -> str:
    start_ledger(module_url)
    return module_url


@pytest.fixture
def landing(tmp_path: Path, url: str, clock: FixedClock) -> LandingLog:
    return LandingLog(make_config(tmp_path / "landing"), url, clock, signing_key=SIGNING_KEY)


@pytest.fixture
def running(landing: LandingLog, tmp_path: Path, clock: FixedClock) -> Iterator[RunningGateway]:
    with run_gateway(
        landing, config=CONFIG, signing_key=SIGNING_KEY, key_dir=tmp_path / "keys", clock=clock
    ) as gateway:
        gateway.doors.add(SENSOR.sensor, SENSOR.public_key)
        yield gateway


@pytest.fixture
def client(running: RunningGateway) -> Iterator[RawClient]:
    with closing(RawClient(running.port)) as client:
        yield client


@pytest.fixture(scope="module")
def quiet_url(postgres_server_url: str) -> str:
    """A ledger in which nothing ever lands."""
    from teiten.cli.embedded import create_database

    url = create_database(postgres_server_url, f"gateway_quiet_{os.getpid()}")
    migrations.migrate(url)
    return url


@pytest.fixture(scope="module")
def quiet(quiet_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    """One gateway for all requests that are refused."""
    folder = tmp_path_factory.mktemp("quiet")
    clock = FixedClock(datetime.fromtimestamp(NOW_S, tz=timezone.utc))
    landing = LandingLog(make_config(folder / "landing"), quiet_url, clock, signing_key=SIGNING_KEY)
    with run_gateway(
        landing, config=CONFIG, signing_key=SIGNING_KEY, key_dir=folder / "keys", clock=clock
    ) as gateway:
        gateway.doors.add(SENSOR.sensor, SENSOR.public_key)
        yield gateway


@pytest.fixture
def stranger(quiet: RunningGateway) -> Iterator[RawClient]:
    with closing(RawClient(quiet.port)) as client:
        yield client


def send(client: RawClient, made: MadeRequest, **changes: str | None) -> Answer:
    """Send a request with some fields changed, or left out when None."""
    fields = {**made.fields, **{name.replace("_", "-"): value for name, value in changes.items()}}
    kept = [(name, value) for name, value in fields.items() if value is not None]
    return client.send(made.method, made.target, kept, made.body)


def put(seq: int = 1, body: bytes = BODY, *, created_s: int = NOW_S, epoch: int = 1) -> MadeRequest:
    return SENSOR.put(seq, body, created_s=created_s, epoch=epoch)


def test_what_is_kept_back_of_a_suspected_sensor_is_bounded_sooner(
    client: RawClient, running: RunningGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its batches stay on the disk until somebody has looked."""
    monkeypatch.setattr(batches, "OUTAGE_SECONDS", 0.2)
    taken = [send(client, put(seq, bytes(20_000))).status for seq in (1, 2)]
    running.doors.change(7, state="quarantined")
    taken += [send(client, put(seq, bytes(20_000))).status for seq in (3, 4)]

    assert taken == [201, 201, 201, 429]


def check_signed(answer: Answer, made: MadeRequest) -> None:
    signature.verify_response(
        GATEWAY_KEYS,
        answer.signed,
        status=answer.status,
        body=answer.body,
        echo=signature.echo_signature(made.signed),
    )


def count_rows(url: str) -> int:
    with psycopg.connect(url) as connection:
        return connection.execute("SELECT count(*) FROM landing.batches").fetchone()[0]


class TestBatches:
    @pytest.mark.requirement("R1.2", "R2.1")
    def test_it_works(self, client: RawClient, url: str) -> None:
        first, again = send(client, put()), send(client, put(created_s=NOW_S + 5))

        assert (first.status, again.status) == (201, 200)
        assert first.body == again.body
        check_signed(first, put())
        check_signed(again, put(created_s=NOW_S + 5))
        digest = hashlib.sha256(BODY).digest()
        receipt.verify(GATEWAY_KEYS, first.body, sensor=7, epoch=1, seq=1, digest=digest)
        with psycopg.connect(url) as connection:
            row = connection.execute(
                "SELECT sensor, key_no, seq, digest, seal, state FROM landing.batches"
            ).fetchone()
        assert row[:4] == (7, 1, 1, digest)
        seal.verify(SENSOR.public_key, row[4], sensor=7, key_no=1, epoch=1, seq=1, digest=digest)

    @pytest.mark.requirement("R2.1")
    def test_a_hundred_concurrent_repeats_get_one_receipt(self, running: RunningGateway, url: str) -> None:
        def one(_: int) -> bytes:
            with closing(RawClient(running.port)) as client:
                return send(client, put()).body

        with ThreadPoolExecutor(20) as pool:
            bodies = list(pool.map(one, range(100)))

        assert len(set(bodies)) == 1
        assert count_rows(url) == 1

    @pytest.mark.requirement("R2.1")
    def test_the_same_number_with_other_content_is_a_clone_alarm(
        self, client: RawClient, url: str, clock: FixedClock
    ) -> None:
        send(client, put())

        answer = send(client, put(body=b"other"))

        assert (answer.status, answer.json()["error"]) == (409, "sequence_conflict")
        check_signed(answer, put(body=b"other"))
        with psycopg.connect(url) as connection:
            assert [one.kind for one in ledger.list_alarms(connection, since=clock.now())] == [
                "sequence_conflict"
            ]
        assert count_rows(url) == 1

    def test_an_empty_body_is_a_body(self, client: RawClient) -> None:
        assert send(client, put(body=b"")).status == 201

    def test_many_requests_use_one_connection(self, client: RawClient) -> None:
        first = client.connect()
        assert [send(client, put(seq)).status for seq in range(1, 6)] == [201] * 5
        assert client.connect() is first

    def test_an_expired_receipt_is_said(self, client: RawClient, landing: LandingLog) -> None:
        async def refuse(_: object) -> None:
            raise ReceiptExpired("long ago")

        landing.land = refuse
        answer = send(client, put())

        assert (answer.status, answer.json()["error"]) == (410, "receipt_expired")


def without_seal_of(made: MadeRequest, other: MadeRequest) -> MadeRequest:
    return dataclasses.replace(made, fields={**made.fields, seal.SEAL_FIELD: other.fields[seal.SEAL_FIELD]})


@pytest.mark.requirement("R2.1")
@pytest.mark.parametrize(
    ("made", "status", "code"),
    [
        (without_seal_of(put(1), put(2)), 400, "seal.invalid"),
        (without_seal_of(put(1), put(1, b"other")), 400, "seal.invalid"),
        (without_seal_of(put(1), HonestSensor(CLONE).put(1, BODY, created_s=NOW_S)), 400, "seal.invalid"),
        (dataclasses.replace(put(), fields={**put().fields, "Batch-Seal": "x"}), 400, "seal.form"),
        (dataclasses.replace(put(), target="/v1/batches/1/2"), 401, "signature.invalid"),
        (dataclasses.replace(put(), target="/v1/batches/2/1"), 401, "signature.invalid"),
        (dataclasses.replace(put(), body=BODY[::-1]), 401, "digest.mismatch"),
        (HonestSensor(CLONE).put(1, BODY, created_s=NOW_S), 401, "signature.invalid"),
        (HonestSensor(KEY, sensor=8).put(1, BODY, created_s=NOW_S), 401, "unknown_key"),
        (HonestSensor(KEY, key_no=2).put(1, BODY, created_s=NOW_S), 401, "unknown_key"),
        (
            HonestSensor(KEY, authority="other.example").put(1, BODY, created_s=NOW_S),
            401,
            "signature.invalid",
        ),
        (put(created_s=NOW_S - 301), 401, "clock_skew"),
        (put(created_s=NOW_S + 301), 401, "clock_skew"),
        (put(epoch=2), 403, "epoch_unknown"),
        (put(body=b"x" * 100_001), 413, "too_large"),
    ],
)
def test_a_wrong_batch_is_refused_by_name(
    stranger: RawClient, quiet_url: str, made: MadeRequest, status: int, code: str
) -> None:
    answer = send(stranger, made)

    assert (answer.status, answer.json()["error"]) == (status, code)
    check_signed(answer, made)
    assert count_rows(quiet_url) == 0


def test_clock_skew_tells_the_time_in_a_signed_answer(stranger: RawClient) -> None:
    made = put(created_s=NOW_S - 3600)

    answer = send(stranger, made)

    assert answer.json()["server_time_us"] == NOW_S * 1_000_000
    check_signed(answer, made)


def test_a_signature_for_another_authority_is_told_ours(stranger: RawClient) -> None:
    answer = send(stranger, HonestSensor(KEY, authority="other.example").put(1, BODY, created_s=NOW_S))

    assert AUTHORITY in answer.json()["message"]


@pytest.mark.parametrize("state", ["suspended", "revoked"])
def test_a_sensor_that_may_not_send_is_told_so(
    client: RawClient, running: RunningGateway, url: str, state: str
) -> None:
    running.doors.change(7, state=state)

    answer = send(client, put())

    assert (answer.status, answer.json()["error"]) == (403, f"sensor_{state}")
    assert count_rows(url) == 0


def test_a_suspected_clone_lands_but_is_held(client: RawClient, running: RunningGateway, url: str) -> None:
    running.doors.change(7, state="quarantined")

    assert send(client, put()).status == 201
    with psycopg.connect(url) as connection:
        assert ledger.count_states(connection)["held"].batches == 1


TARGETS = [
    "/v1/batches//1",
    "//v1/batches/1/1",
    "/v1/batches/1/1/",
    "/v1/batches/1/01",
    "/v1/batches/1/%31",
    "/v1/batches/1/+1",
    "/v1/batches/1/-1",
    "/v1/batches/1/1?x=1",
    "/v1/batches/1/1?",
    "/v1/batches/1/1#x",
    "/v1/../v1/batches/1/1",
    "/v1/batches/0/1",
    "/v1/batches/1/0",
    "/v1/batches/4294967296/1",
    "/v1/batches/1/9223372036854775808",
    "/v1/batches/1/99999999999999999999",
    "/V1/batches/1/1",
    "/v1/batches/1/1;a",
    f"https://{AUTHORITY}/v1/batches/1/1",
    "/",
    "*",
]


@pytest.mark.requirement("R2.1")
@pytest.mark.parametrize("target", TARGETS)
def test_a_path_in_another_form_is_refused(stranger: RawClient, quiet_url: str, target: str) -> None:
    answer = send(
        stranger, SENSOR.sign("PUT", target, BODY, created_s=NOW_S), Batch_Seal=put().fields["Batch-Seal"]
    )

    assert answer.status in (400, 404)
    assert count_rows(quiet_url) == 0


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE", "HEAD", "put"])
def test_another_method_is_refused(stranger: RawClient, quiet_url: str, method: str) -> None:
    made = put()
    stranger.connect().sendall(
        f"{method} {made.target} HTTP/1.1\r\nHost: {AUTHORITY}\r\nContent-Length: 0\r\n\r\n".encode()
    )

    assert stranger.connect().recv(100).split()[1] in (b"404", b"405", b"400")
    assert count_rows(quiet_url) == 0


@pytest.mark.parametrize(
    "name", ["Content-Length", "Content-Digest", "Signature", "Signature-Input", "Batch-Seal", "Host"]
)
def test_a_doubled_field_is_refused(stranger: RawClient, quiet_url: str, name: str) -> None:
    made = put()

    answer = stranger.send(made.method, made.target, [*made.as_list(), (name, made.fields[name])], made.body)

    assert answer.status == 400
    assert count_rows(quiet_url) == 0


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Transfer-Encoding", "chunked"),
        ("Transfer-Encoding", "identity"),
        ("Content-Encoding", "zstd"),
        ("Content-Encoding", "gzip"),
        ("Expect", "100-continue"),
    ],
)
def test_a_field_that_changes_the_body_is_refused(
    stranger: RawClient, quiet_url: str, name: str, value: str
) -> None:
    made = put()

    answer = stranger.send(made.method, made.target, [*made.as_list(), (name, value)], made.body)

    assert answer.status == 400
    assert count_rows(quiet_url) == 0


@pytest.mark.parametrize(
    "name", ["Content-Digest", "Signature", "Signature-Input", "Batch-Seal", "Content-Length"]
)
def test_a_missing_field_is_refused(stranger: RawClient, quiet_url: str, name: str) -> None:
    made = put() if name != "Content-Length" else dataclasses.replace(put(), body=b"")

    answer = send(stranger, made, **{name: None})

    assert answer.status in (400, 401, 411)
    assert answer.json()["error"] in (
        "digest.form",
        "signature.form",
        "signature.input",
        "seal.form",
        "length_required",
    )
    assert count_rows(quiet_url) == 0


@pytest.mark.parametrize("value", ["-1", "1e3", "0x10", "9" * 30, "+5", "5 5"])
def test_a_malformed_length_is_refused(stranger: RawClient, quiet_url: str, value: str) -> None:
    answer = send(stranger, put(), Content_Length=value)

    assert answer.status in (400, 411, 413)
    assert count_rows(quiet_url) == 0


def test_a_body_is_not_read_before_its_length_is_known_to_fit(stranger: RawClient) -> None:
    made = put()
    fields = [(name, value) for name, value in made.as_list() if name != "Content-Length"]

    answer = stranger.send("PUT", made.target, [*fields, ("Content-Length", "100000000000")])

    assert (answer.status, answer.json()["error"]) == (413, "too_large")


def test_a_body_that_ends_early_stores_nothing(running: RunningGateway, url: str) -> None:
    made = put()
    client = RawClient(running.port)
    head = "".join(f"{name}: {value}\r\n" for name, value in made.as_list())
    client.connect().sendall(f"PUT {made.target} HTTP/1.1\r\n{head}\r\n".encode() + made.body[:5])
    client.close()

    with closing(RawClient(running.port)) as other:
        assert send(other, put(2)).status == 201
    assert count_rows(url) == 1


def test_a_body_that_comes_too_slowly_is_given_up(client: RawClient) -> None:
    made = put()
    head = "".join(f"{name}: {value}\r\n" for name, value in made.as_list())
    client.connect().sendall(f"PUT {made.target} HTTP/1.1\r\n{head}\r\n".encode() + made.body[:5])

    answer = client.read()

    assert (answer.status, answer.json()["error"]) == (408, "body_slow")


def test_noise_instead_of_http_is_survived(running: RunningGateway, caplog: pytest.LogCaptureFixture) -> None:
    for noise in [
        b"\x00\xff\xfe\r\n\r\n",
        b"SSH-2.0-x\r\n\r\n",
        b"GET\r\n\r\n",
        b"A" * 20_000 + b"\r\n\r\n",
    ] * 3:
        with closing(RawClient(running.port)) as client:
            client.connect().sendall(noise)
            client.connect().recv(100)
    with closing(socket.create_connection(("127.0.0.1", running.port), timeout=5)) as plain:
        plain.sendall(b"GET / HTTP/1.1\r\n\r\n")
        plain.recv(100)

    with closing(RawClient(running.port)) as client:
        assert send(client, put()).status == 201
    assert sum(record.name == "teiten.gateway.http" for record in caplog.records) <= 1


class TestTrouble:
    def test_a_full_landing_tells_when_to_come_back(self, client: RawClient, landing: LandingLog) -> None:
        async def refuse(_: object) -> None:
            raise LandingFull("the disk is full", retry_after_seconds=77)

        landing.land = refuse
        answer = send(client, put())

        assert (answer.status, answer.json()["error"]) == (503, "landing_full")
        assert answer.fields["retry-after"] == "77"
        check_signed(answer, put())

    def test_a_closed_control_database_tells_when_to_come_back(
        self, client: RawClient, running: RunningGateway
    ) -> None:
        running.doors.is_closed = True

        answer = send(client, put())

        assert (answer.status, answer.json()["error"]) == (503, "database_unavailable")
        assert int(answer.fields["retry-after"]) > 0

    def test_a_bug_is_an_answer_and_a_line(
        self, client: RawClient, landing: LandingLog, caplog: pytest.LogCaptureFixture
    ) -> None:
        async def fail(_: object) -> None:
            raise ZeroDivisionError

        landing.land = fail
        answer = send(client, put())

        assert (answer.status, answer.json()["error"]) == (500, "internal")
        assert "a request failed" in caplog.text

    def test_too_many_bodies_at_once_are_refused(
        self, landing: LandingLog, tmp_path: Path, clock: FixedClock
    ) -> None:
        config = dataclasses.replace(CONFIG, max_inflight_bytes=10)
        with run_gateway(
            landing, config=config, signing_key=SIGNING_KEY, key_dir=tmp_path / "keys", clock=clock
        ) as gateway:
            gateway.doors.add(7, SENSOR.public_key)
            with closing(RawClient(gateway.port)) as client:
                answer = send(client, put())

        assert (answer.status, answer.json()["error"]) == (503, "gateway_busy")

    def test_connections_beyond_the_cap_are_turned_away(
        self, landing: LandingLog, tmp_path: Path, clock: FixedClock
    ) -> None:
        config = dataclasses.replace(CONFIG, max_connections=2)
        with run_gateway(
            landing, config=config, signing_key=SIGNING_KEY, key_dir=tmp_path / "keys", clock=clock
        ) as gateway:
            gateway.doors.add(7, SENSOR.public_key)
            first, second, third = (RawClient(gateway.port) for _ in range(3))
            assert send(first, put(1)).status == 201
            assert send(second, put(2)).status == 201
            with pytest.raises((ConnectionError, ssl.SSLError, OSError)):
                send(third, put(3))
            first.close()
            third.close()
            deadline = time.monotonic() + 5
            while time.monotonic() < deadline:
                try:
                    assert send(third, put(3)).status == 201
                    break
                except (ConnectionError, ssl.SSLError, OSError):
                    third.close()
                    time.sleep(0.05)
            third.close()
            second.close()

    def test_an_idle_connection_is_closed(
        self, landing: LandingLog, tmp_path: Path, clock: FixedClock
    ) -> None:
        config = dataclasses.replace(CONFIG, keepalive_seconds=0.2)
        with (
            run_gateway(
                landing, config=config, signing_key=SIGNING_KEY, key_dir=tmp_path / "keys", clock=clock
            ) as gateway,
            closing(RawClient(gateway.port)) as silent,
            closing(RawClient(gateway.port)) as used,
        ):
            gateway.doors.add(7, SENSOR.public_key)
            send(used, put())

            assert used.connect().recv(10) == b""
            assert silent.connect().recv(10) == b""

    def test_stopping_lets_a_request_finish(
        self, landing: LandingLog, tmp_path: Path, clock: FixedClock
    ) -> None:
        land = landing.land

        async def slowly(arrival: object) -> object:
            await asyncio.sleep(0.3)
            return await land(arrival)

        landing.land = slowly
        with ThreadPoolExecutor(1) as pool:
            with run_gateway(
                landing, config=CONFIG, signing_key=SIGNING_KEY, key_dir=tmp_path / "keys", clock=clock
            ) as gateway:
                gateway.doors.add(7, SENSOR.public_key)
                client = RawClient(gateway.port)
                client.connect()
                waiting = pool.submit(send, client, put())
                time.sleep(0.1)
            assert waiting.result().status == 201
            client.close()

    def test_a_taken_port_is_named(
        self, running: RunningGateway, landing: LandingLog, tmp_path: Path, clock: FixedClock
    ) -> None:
        from teiten.gateway.service import Gateway

        config = dataclasses.replace(CONFIG, port=running.port)
        other = Gateway(
            config,
            doors=running.doors.as_doors(),
            landing=landing,
            signing_key=SIGNING_KEY,
            key_dir=tmp_path / "keys",
            clock=clock,
        )

        with pytest.raises(GatewayStartError, match=r"gateway\.port"):
            asyncio.run(other.start())


class TestTls:
    def test_only_tls_1_3_is_spoken(self, running: RunningGateway) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        with (
            closing(socket.create_connection(("127.0.0.1", running.port), timeout=5)) as plain,
            pytest.raises((ssl.SSLError, ConnectionError)),
        ):
            context.wrap_socket(plain)

    def test_the_pin_is_of_the_key_and_survives_a_restart(self, tmp_path: Path, clock: FixedClock) -> None:
        first = tls.make_self_signed(tmp_path / "keys", host="gateway.example", now=clock.now())
        pin = tls.pin_of(first[0])

        again = tls.make_self_signed(tmp_path / "keys", host="gateway.example", now=clock.now())

        assert tls.pin_of(again[0]) == pin
        assert first[1].stat().st_mode & 0o777 == 0o600
        assert (tmp_path / "keys").stat().st_mode & 0o777 == 0o700

    def test_a_broken_certificate_is_named(self, tmp_path: Path) -> None:
        (tmp_path / "tls.crt").write_text("nothing")
        (tmp_path / "tls.key").write_text("nothing")

        with pytest.raises(GatewayStartError, match=r"gateway\.tls_certificate"):
            tls.server_context(tmp_path / "tls.crt", tmp_path / "tls.key")

    def test_an_unwritable_folder_is_named(self, tmp_path: Path, clock: FixedClock) -> None:
        (tmp_path / "file").write_text("")

        with pytest.raises(GatewayStartError, match="cannot be written"):
            tls.make_self_signed(tmp_path / "file", host="gateway.example", now=clock.now())


class TestLocalListener:
    def get(self, running: RunningGateway, path: str) -> tuple[int, str]:
        url = f"http://127.0.0.1:{running.gateway.local_port}{path}"
        try:
            with urllib.request.urlopen(url, timeout=5) as response:
                return response.status, response.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def test_health_says_ready_or_why_not(self, running: RunningGateway) -> None:
        assert self.get(running, "/healthz") == (200, json.dumps({"ready": True, "trouble": None}))

    def test_health_names_the_trouble(self, running: RunningGateway, landing: LandingLog) -> None:
        landing._pressure.note_disk_error(OSError(28, "No space left on device"))

        status, text = self.get(running, "/healthz")

        assert status == 503
        assert "No space left" in json.loads(text)["trouble"]

    def test_metrics_count_outcomes(self, running: RunningGateway, client: RawClient) -> None:
        def read() -> float:
            for line in self.get(running, "/metrics")[1].splitlines():
                if line.startswith('teiten_gateway_requests_total{endpoint="batch",outcome="seal.form"}'):
                    return float(line.split()[-1])
            return 0.0

        before = read()
        send(client, put(), Batch_Seal="x")

        assert read() == before + 1

    def test_nothing_of_it_is_on_the_sensors_side(self, client: RawClient) -> None:
        for path in ("/metrics", "/healthz"):
            assert client.send("GET", path, [("Host", AUTHORITY), ("Content-Length", "0")]).status == 404


BEAT = heartbeat.Heartbeat(
    counter=1,
    boot_id="W2k9x3Qa0Zf",
    software="0.1.0",
    uptime_s=60,
    clock_offset_us=None,
    captured=0,
    kernel_drops=0,
    excluded=0,
    spool_batches=0,
    spool_bytes=0,
    disk_free_bytes=1,
    last_error="",
    last_window_end_us=None,
    config_version=1,
)


class TestHeartbeat:
    def beat(self, client: RawClient, body: bytes, **changes: str) -> tuple[MadeRequest, Answer]:
        made = SENSOR.sign("POST", "/v1/heartbeat", body, created_s=NOW_S)
        return made, send(client, made, **changes)

    @pytest.mark.requirement("R1.3")
    def test_it_works(self, client: RawClient, running: RunningGateway) -> None:
        made, answer = self.beat(client, BEAT.to_json())

        check_signed(answer, made)
        told = heartbeat.read_answer(answer.body)
        assert told == heartbeat.HeartbeatAnswer(NOW_S * 1_000_000, SensorConfig())
        assert running.doors.beats[7] == BEAT

    def test_a_replay_is_refused(self, client: RawClient) -> None:
        self.beat(client, BEAT.to_json())
        _, answer = self.beat(client, BEAT.to_json())

        assert (answer.status, answer.json()["error"]) == (409, "heartbeat_stale")

    def test_a_bad_field_is_named(self, client: RawClient) -> None:
        _, answer = self.beat(client, BEAT.to_json().replace(b'"uptime_s":60', b'"uptime_s":-1'))

        assert (answer.status, answer.json()["error"]) == (400, "heartbeat.uptime_s")

    def test_a_flood_is_told_to_wait_without_a_question_to_the_database(
        self, client: RawClient, running: RunningGateway, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(pacing, "HEARTBEATS", Pace("heartbeats", 0.5, 4))
        beats = [dataclasses.replace(BEAT, counter=BEAT.counter + number) for number in range(4)]
        taken = [self.beat(client, one.to_json())[1].status for one in beats[:2]]
        running.doors.is_closed = True

        made, answer = self.beat(client, beats[2].to_json())

        assert taken == [200, 200]
        assert (answer.status, answer.json()["error"]) == (429, "too_many_requests")
        assert 1 <= int(answer.fields["retry-after"]) <= 5
        check_signed(answer, made)

    def test_a_large_one_is_refused_unread(self, client: RawClient) -> None:
        _, answer = self.beat(client, b" " * 20_000)

        assert answer.status == 413

    def test_a_suspended_sensor_may_still_say_how_it_is(
        self, client: RawClient, running: RunningGateway
    ) -> None:
        running.doors.change(7, state="suspended")

        assert self.beat(client, BEAT.to_json())[1].status == 200

    def test_a_revoked_one_may_not(self, client: RawClient, running: RunningGateway) -> None:
        running.doors.change(7, state="revoked")

        assert self.beat(client, BEAT.to_json())[1].json()["error"] == "sensor_revoked"


TOKEN = enrolment.make_token("k7f2", bytes(range(32)))
FACTS = enrolment.Facts("debian 12", "x86_64", "3.11.7", "0.1.0")


class TestEnrolment:
    @pytest.fixture(autouse=True)
    def token(self, running: RunningGateway) -> None:
        running.doors.tokens["k7f2"] = TOKEN.secret

    def ask(
        self,
        client: RawClient,
        key: Ed25519PrivateKey = KEY,
        *,
        created_s: int = NOW_S,
        token: enrolment.Token = TOKEN,
    ) -> tuple[str, Answer]:
        body = enrolment.make_request(token, key, facts=FACTS, created_s=created_s, nonce="A" * 22).to_json()
        digest = signature.format_digest(seal.digest_of(body))
        fields = [("Host", AUTHORITY), ("Content-Length", str(len(body))), ("Content-Digest", digest)]
        return digest, client.send("POST", "/v1/enrol", fields, body)

    @pytest.mark.requirement("R1.2")
    def test_it_works(self, client: RawClient) -> None:
        digest, answer = self.ask(client)

        signature.verify_response(
            GATEWAY_KEYS, answer.signed, status=201, body=answer.body, echo=signature.echo_digest(digest)
        )
        told = enrolment.read_answer(answer.body)
        assert (told.sensor, told.key_no, told.epoch) == (99, 1, 1)
        assert {key.key_id: key.public_key for key in told.gateway_keys} == GATEWAY_KEYS
        enrolled = HonestSensor(KEY, sensor=99)
        assert send(client, enrolled.put(1, BODY, created_s=NOW_S)).status == 201

    def test_a_lost_answer_is_given_again(self, client: RawClient) -> None:
        assert self.ask(client)[1].body == self.ask(client)[1].body

    def test_one_token_is_asked_for_so_often_and_its_haste_is_no_neighbours(
        self, client: RawClient, running: RunningGateway, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Each repeat costs a transaction; a refusal of it must not keep out who enrols beside it."""
        monkeypatch.setattr(pacing, "ENROLMENTS", Pace("uses of one token", 1 / 60, 180))
        monkeypatch.setattr(knocking, "MOST_REFUSALS", 2)
        answers = [self.ask(client)[1].status for _ in range(6)]
        running.doors.tokens["k8"] = TOKEN.secret
        beside = enrolment.make_token("k8", TOKEN.secret)

        assert answers == [201, 201, 201, 429, 429, 429]
        assert self.ask(client, CLONE, token=beside)[1].status == 201

    def test_a_token_that_somebody_else_names_stays_usable(
        self, client: RawClient, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Whoever knows a token's id, and not its secret, uses up nothing of it."""
        monkeypatch.setattr(pacing, "ENROLMENTS", Pace("uses of one token", 1 / 60, 60))
        forged = enrolment.make_token("k7f2", bytes(32))
        for _ in range(3):
            assert self.ask(client, CLONE, token=forged)[1].status == 403

        assert self.ask(client)[1].status == 201

    def test_the_same_token_with_another_key_is_refused(self, client: RawClient) -> None:
        self.ask(client)

        answer = self.ask(client, CLONE)[1]

        assert (answer.status, answer.json()["error"]) == (409, "token_used")

    def test_a_wrong_secret_is_refused(self, client: RawClient) -> None:
        answer = self.ask(client, token=enrolment.make_token("k7f2", bytes(32)))[1]

        assert (answer.status, answer.json()["error"]) == (403, "token_proof")

    def test_a_wrong_clock_is_told_the_time(self, client: RawClient) -> None:
        answer = self.ask(client, created_s=0)[1]

        assert (answer.status, answer.json()["error"]) == (401, "clock_skew")
        assert answer.json()["server_time_us"] == NOW_S * 1_000_000

    def test_a_key_that_is_not_held_is_refused(self, client: RawClient) -> None:
        body = json.loads(
            enrolment.make_request(TOKEN, KEY, facts=FACTS, created_s=NOW_S, nonce="A" * 22).to_json()
        )
        body["public_key"] = keys.to_text(keys.public_bytes(CLONE))
        text = json.dumps(body).encode()
        digest = signature.format_digest(seal.digest_of(text))
        fields = [("Host", AUTHORITY), ("Content-Length", str(len(text))), ("Content-Digest", digest)]

        answer = client.send("POST", "/v1/enrol", fields, text)

        assert (answer.status, answer.json()["error"]) == (400, "enrol_request.signature")
