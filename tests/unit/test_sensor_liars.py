"""What may answer in the gateway's place, or spoil its answers: none of it is believed, each is said in a line."""

from __future__ import annotations

import contextlib
import gzip
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from teiten.foundation.clock import FixedClock, SystemClock
from teiten.protocol import keys
from teiten.protocol.heartbeat import Heartbeat
from teiten.sensor import line
from teiten.sensor.connection import parse_address, spki_digest
from teiten.sensor.errors import BusyError, ClockSkewError, UntrustedError, UplinkError
from teiten.sensor.sealed import SealingIdentity
from teiten.sensor.testing import SENSOR, FakeGateway, make_certificate
from teiten.sensor.uplink import Uplink

pytestmark = pytest.mark.requirement("R1.2")

#: Given the connection once a request has come.
Lie = Callable[[ssl.SSLSocket], None]
BEAT = Heartbeat(1, "0123456789abcdef", "0.1.0", 5, None, 0, 0, 0, 0, 0, 0, "", None, 1)
YEAR_SECONDS = 31_557_600
PAGE = b"<html><h1>Welcome! Please accept our terms.</h1></html>"


class Liar:
    """Has the gateway's own key, as a proxy that ends TLS for it, and answers as it is told."""

    def __init__(self, folder: Path, *, at: datetime | None = None) -> None:
        certificate = make_certificate(folder, at or SystemClock().now())
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(folder / "gateway.pem")
        self.pin = spki_digest(certificate).hex()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"https://127.0.0.1:{self._listener.getsockname()[1]}"
        self.lie: Lie = close
        self.is_plain = False
        self.requests = 0
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()

    def _serve(self) -> None:
        while True:
            try:
                plain, _ = self._listener.accept()
            except OSError:
                return
            with contextlib.suppress(OSError), plain:
                if self.is_plain:
                    plain.recv(100)
                    plain.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
                    continue
                with self._context.wrap_socket(plain, server_side=True) as secure:
                    secure.recv(65_536)
                    self.requests += 1
                    self.lie(secure)


def close(_connection: ssl.SSLSocket) -> None:
    """Answer nothing."""


def say(text: bytes) -> Lie:
    return lambda connection: connection.sendall(text)


def answer(status: str, *fields: str, body: bytes = PAGE) -> Lie:
    lines = [f"HTTP/1.1 {status}", *fields, f"Content-Length: {len(body)}", "", ""]
    return say("\r\n".join(lines).encode() + body)


def reset(connection: ssl.SSLSocket) -> None:
    """Break off in the middle of an answer."""
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def drip(connection: ssl.SSLSocket) -> None:
    """Send a head that never ends."""
    with contextlib.suppress(OSError):
        connection.sendall(b"HTTP/1.1 200 OK\r\nX-A: ")
        for _ in range(200):
            connection.sendall(b"x")
            time.sleep(0.02)


@pytest.fixture(scope="module")
def the_liar(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Liar]:
    liar = Liar(tmp_path_factory.mktemp("liar"))
    yield liar
    liar.close()


@pytest.fixture
def liar(the_liar: Liar) -> Liar:
    the_liar.lie, the_liar.is_plain, the_liar.requests = close, False, 0
    return the_liar


def make_uplink(url: str, pin: str, *, silence_seconds: float = 5.0) -> Uplink:
    return Uplink(
        parse_address(url, pins=(pin,), timeout_seconds=silence_seconds),
        SystemClock(),
        identity=SealingIdentity(SENSOR, 1, 1, keys.generate_key()),
        gateway_keys={"gw": keys.public_bytes(keys.generate_key())},
    )


@pytest.mark.parametrize(
    ("lie", "kind", "said"),
    [
        (answer("200 OK", "Content-Type: text/html"), UntrustedError, "not proven"),
        (answer("200 OK", "Content-Encoding: gzip", body=gzip.compress(b"{}")), UntrustedError, "not proven"),
        (answer("301 Moved", "Location: https://elsewhere.example/"), UplinkError, "answered 301"),
        (answer("302 Found", "Location: http://192.0.2.1/login"), UplinkError, "answered 302"),
        (answer("407 Proxy Authentication Required"), UplinkError, "answered 407"),
        (answer("413 Content Too Large"), UntrustedError, "413.* is not proven"),
        (answer("421 Misdirected Request"), UplinkError, "answered 421"),
        (answer("502 Bad Gateway"), UplinkError, "answered 502"),
        (
            answer("500 Oops", body=b'{"error": "a\\nb", "message": "' + b"x\\n" * 9_000 + b'"}'),
            UplinkError,
            "a b: x x",
        ),
        (answer("511 Network Authentication Required"), UplinkError, "answered 511"),
        (answer("200 OK", body=b"[" * 100_000), UntrustedError, "not proven"),
        (say(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf"), UplinkError, "cannot be reached"),
        (say(b"HTTP/1.1 200 OK\r\n\r\n" + bytes(2 << 20)), UplinkError, "too long"),
        (say(b"SSH-2.0-OpenSSH_9\r\n"), UplinkError, "cannot be reached"),
        (close, UplinkError, "without response"),
        (reset, UplinkError, "cannot be reached"),
    ],
)
def test_nothing_is_believed_and_each_is_said_in_a_line(
    liar: Liar, lie: Lie, kind: type[UplinkError], said: str
) -> None:
    liar.lie = lie
    uplink = make_uplink(liar.url, liar.pin)

    with pytest.raises(kind, match=said) as caught:
        uplink.heartbeat(BEAT)
    uplink.close()

    assert type(caught.value) is kind
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300
    assert liar.requests == 1, "it is not asked again at once"


@pytest.mark.parametrize(
    ("told", "wait"),
    [
        ("60", 60),
        ("300", 300),
        ("86400", 300),
        ("9" * 400, 300),
        ("0", 0),
        ("-5", 30),
        ("soon", 30),
        ("", 30),
        ("Wed, 21 Oct 2065 07:28:00 GMT", 30),
    ],
)
def test_who_cannot_prove_to_be_the_gateway_delays_us_little(liar: Liar, told: str, wait: float) -> None:
    liar.lie = answer("503 Service Unavailable", f"Retry-After: {told}")
    uplink = make_uplink(liar.url, liar.pin)

    with pytest.raises(BusyError) as caught:
        uplink.heartbeat(BEAT)
    uplink.close()

    assert caught.value.retry_after_seconds == wait


@pytest.mark.parametrize(
    ("years", "said"),
    [(11, "not yet valid; check this host's clock"), (-11, "expired; check this host's clock")],
)
def test_a_certificate_of_another_time_points_to_the_clock(tmp_path: Path, years: int, said: str) -> None:
    liar = Liar(tmp_path, at=SystemClock().now() + timedelta(days=years * 366))
    try:
        address = parse_address(liar.url, ca_file=tmp_path / "gateway.pem", timeout_seconds=5.0)
        with pytest.raises(UntrustedError, match=said):
            Uplink(
                address, SystemClock(), identity=SealingIdentity(SENSOR, 1, 1, keys.generate_key())
            ).heartbeat(BEAT)
    finally:
        liar.close()


def test_what_speaks_no_tls_is_called_that(liar: Liar) -> None:
    liar.is_plain = True

    with pytest.raises(UplinkError, match="speaks no TLS; something on the way may answer in its place"):
        make_uplink(liar.url, liar.pin).heartbeat(BEAT)


def test_an_answer_that_never_ends_is_left(liar: Liar, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(line, "_ANSWER_SECONDS", -0.5)
    liar.lie = drip
    began = time.monotonic()

    with pytest.raises(UplinkError, match="did not answer"):
        make_uplink(liar.url, liar.pin, silence_seconds=1.0).heartbeat(BEAT)

    assert time.monotonic() - began < 3


def test_a_gateway_that_takes_and_never_answers_is_left(liar: Liar) -> None:
    released = threading.Event()
    liar.lie = lambda _connection: released.wait(10)  # type: ignore[assignment,return-value]
    began = time.monotonic()
    try:
        with pytest.raises(UplinkError, match=r"did not answer in 0\.4 s"):
            make_uplink(liar.url, liar.pin, silence_seconds=0.4).heartbeat(BEAT)
        assert time.monotonic() - began < 2
    finally:
        released.set()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[FakeGateway]:
    made = FakeGateway(tmp_path, SystemClock())
    made.start()
    yield made
    made.stop()


def make_honest(server: FakeGateway, clock: FixedClock, *, offset_us: int | None = None) -> Uplink:
    key = keys.generate_key()
    server.sensor_key = keys.public_bytes(key)
    identity = SealingIdentity(SENSOR, 1, 1, key)
    return Uplink(
        server.address,
        clock,
        identity=identity,
        gateway_keys=server.gateway_keys,
        clock_offset_us=offset_us,
    )


@pytest.mark.parametrize("years", [-56, 14])
def test_a_clock_that_is_set_while_a_heartbeat_flies_gives_the_whole_offset(
    server: FakeGateway, years: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = FixedClock(SystemClock().now())
    uplink = make_honest(server, clock)
    exchange = uplink._connection.exchange

    def exchange_and_step(*given: object, **named: object) -> object:
        answered = exchange(*given, **named)  # type: ignore[arg-type]
        clock.step(years * YEAR_SECONDS)
        return answered

    monkeypatch.setattr(uplink._connection, "exchange", exchange_and_step)
    uplink.heartbeat(BEAT)
    uplink.close()

    assert uplink.clock_offset_us is not None
    assert abs(uplink.clock_offset_us + years * YEAR_SECONDS * 1_000_000) < 30_000_000


@pytest.mark.parametrize(("known_years", "years"), [(-14, -56), (56, 300)])
def test_an_offset_of_before_the_clock_was_set_stops_nobody(
    server: FakeGateway, known_years: int, years: int
) -> None:
    clock = FixedClock(SystemClock().now())
    clock.step(years * YEAR_SECONDS)
    uplink = make_honest(server, clock, offset_us=known_years * YEAR_SECONDS * 1_000_000)

    with pytest.raises(ClockSkewError) as caught:
        uplink.heartbeat(BEAT)
    uplink.clock_offset_us = caught.value.offset_us
    uplink.heartbeat(BEAT)
    uplink.close()

    assert len(server.beats) == 1
