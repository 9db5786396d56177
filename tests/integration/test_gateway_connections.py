"""Connections to the gateway: whose they are, how many, how long; and HTTP in forms that hide something."""

from __future__ import annotations

import os
import socket
import ssl
import struct
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import psycopg
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from teiten.cli.embedded import create_database
from teiten.foundation.clock import FixedClock
from teiten.gateway import knocking, listener, peers
from teiten.gateway.config import GatewayConfig
from teiten.gateway.errors import GatewayStartError, Refusal
from teiten.gateway.testing import AUTHORITY, Answer, HonestSensor, RawClient, RunningGateway, run_gateway
from teiten.landing.log import LandingLog
from teiten.landing.testing import SIGNING_KEY, make_config, start_ledger
from teiten.protocol import seal, signature
from teiten.protocol.heartbeat import Heartbeat

pytestmark = pytest.mark.requirement("R1.2", "R2.1")

SENSOR = HonestSensor(Ed25519PrivateKey.from_private_bytes(bytes(range(1, 33))))
NOW = datetime(2026, 11, 21, 3, 0, tzinfo=timezone.utc)
GONE = (ConnectionError, ssl.SSLError, OSError)
SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
BEAT = Heartbeat(1, "boot-aaaaaaaa", "0.1.0", 5, None, 0, 0, 0, 0, 0, 0, "", None, 1)


def proxied(address: str, *, command: int = 0x21, extra: bytes = b"") -> bytes:
    """Write what a proxy says of a client (PROXY protocol 2.2, section 2.2)."""
    if ":" in address:
        family, parts = 0x21, socket.inet_pton(socket.AF_INET6, address) * 2
    else:
        family, parts = 0x11, socket.inet_aton(address) * 2
    rest = parts + struct.pack(">HH", 50_000, 8443) + extra
    return SIGNATURE + struct.pack(">BBH", command, family, len(rest)) + rest


@contextmanager
def open_house(folder: Path, url: str, clock: FixedClock, **settings: Any) -> Iterator[RunningGateway]:
    start_ledger(url)
    landing = LandingLog(make_config(folder / "landing"), url, clock, signing_key=SIGNING_KEY)
    config = GatewayConfig(port=0, metrics_port=0, authority=AUTHORITY, **settings)
    with run_gateway(
        landing, config=config, signing_key=SIGNING_KEY, key_dir=folder / "keys", clock=clock
    ) as gateway:
        gateway.doors.add(7, SENSOR.public_key)
        yield gateway


def connect(port: int, before: bytes = b"") -> RawClient:
    """Open a connection that begins with ``before``."""
    client = RawClient(port)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    plain = socket.create_connection(("127.0.0.1", port), timeout=10)
    client._socket = wire = context.wrap_socket(plain, do_handshake_on_connect=False)
    try:
        # Beneath TLS, where a proxy speaks.
        socket.socket.sendall(wire, before)
        wire.do_handshake()
    except BaseException:
        client.close()
        raise
    return client


def beat(client: RawClient, clock: FixedClock) -> str:
    """Beat twice under one counter: the refusal of the second names the peer."""
    made = SENSOR.sign("POST", "/v1/heartbeat", BEAT.to_json(), created_s=clock.now_us() // 1_000_000)
    client.send(made.method, made.target, made.as_list(), made.body)
    return str(client.send(made.method, made.target, made.as_list(), made.body).json()["message"])


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory, postgres_server_url: str) -> Iterator[int]:
    url = create_database(postgres_server_url, f"proxies_{os.getpid()}")
    settings: dict[str, Any] = {"trusted_proxies": ("127.0.0.0/8",), "max_connections_per_address": 2}
    with open_house(tmp_path_factory.mktemp("proxies"), url, FixedClock(NOW), **settings) as gateway:
        yield gateway.port


class TestProxies:
    @pytest.mark.parametrize(
        ("header", "peer"),
        [
            (proxied("198.51.100.7"), "from 198.51.100.7"),
            (proxied("2001:db8::7", extra=b"\x04\x00\x03abc"), "from 2001:db8::7"),
            (proxied("::ffff:192.0.2.9"), "from 192.0.2.9"),
            (proxied("198.51.100.7", command=0x20), "from 127.0.0.1"),
        ],
    )
    def test_the_proxys_word_counts(self, port: int, clock: FixedClock, header: bytes, peer: str) -> None:
        with closing(connect(port, header)) as client:
            assert beat(client, clock).endswith(peer)

    @pytest.mark.parametrize(
        "header",
        [
            b"",
            b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n",
            SIGNATURE[:-1] + b"X" + proxied("192.0.2.1")[12:],
            proxied("192.0.2.1", command=0x22),
            SIGNATURE + struct.pack(">BBH", 0x21, 0x11, 4) + b"\xc0\x00\x02\x01",
            SIGNATURE + struct.pack(">BBH", 0x21, 0x31, 216) + bytes(216),
            SIGNATURE + struct.pack(">BBH", 0x21, 0x11, 65_535),
        ],
    )
    def test_a_proxy_that_says_nothing_we_know_is_cut(self, port: int, header: bytes) -> None:
        with pytest.raises(GONE):
            hear_one(port, header)

    def test_an_address_has_so_many_places(self, port: int, clock: FixedClock) -> None:
        with closing(connect(port, proxied("198.51.100.7"))) as first:
            second = connect(port, proxied("198.51.100.7"))
            with pytest.raises(GONE):
                connect(port, proxied("198.51.100.7"))
            with closing(connect(port, proxied("198.51.100.8"))) as other:
                beat(other, clock)
            second.close()
            wait_until(lambda: connect(port, proxied("198.51.100.7")).close())
            beat(first, clock)

    def test_an_ipv6_site_counts_as_one_address(self, port: int) -> None:
        with (
            closing(connect(port, proxied("2001:db8:1:1::1"))),
            closing(connect(port, proxied("2001:db8:1:1::2"))),
            closing(connect(port, proxied("2001:db8:1:2::1"))),
            pytest.raises(GONE),
        ):
            connect(port, proxied("2001:db8:1:1:ffff::3"))


def test_who_was_refused_too_often_waits_and_others_do_not(port: int) -> None:
    with closing(connect(port, proxied("203.0.113.5"))) as client:
        answers = [knock(client) for _ in range(knocking.MOST_REFUSALS + 1)]
        assert {answer.status for answer in answers[:-1]} == {400}
        assert (answers[-1].status, answers[-1].json()["error"]) == (429, "too_many_refusals")
        assert 1 <= int(answers[-1].fields["retry-after"]) <= 61
    with closing(connect(port, proxied("203.0.113.6"))) as other:
        assert knock(other).status == 400


def knock(client: RawClient) -> Answer:
    """Ask to be enrolled with nothing."""
    fields = {
        "Host": AUTHORITY,
        "Content-Length": "2",
        "Content-Digest": signature.format_digest(seal.digest_of(b"{}")),
    }
    return client.send("POST", "/v1/enrol", list(fields.items()), b"{}")


def test_the_times_of_refusals_pass() -> None:
    clock = FixedClock(NOW)
    knocks = knocking.Knocks(clock)

    def refuse() -> None:
        with knocks.one_of("203.0.113.5"):
            raise Refusal(403, "token_unknown", "no")

    for _ in range(knocking.MOST_REFUSALS):
        with pytest.raises(Refusal, match="no"):
            refuse()
    with pytest.raises(Refusal, match="come back"):
        refuse()
    with knocks.one_of("203.0.113.6"), knocks.one_of("127.0.0.1"):
        pass
    clock.advance(knocking.PERIOD_SECONDS)
    with knocks.one_of("203.0.113.5"):
        pass


def hear_one(port: int, before: bytes) -> None:
    """Connect, and wait for one byte."""
    with closing(connect(port, before)) as client:
        if not client.connect().recv(1):
            raise ConnectionResetError


def wait_until(attempt: Any) -> None:
    for _ in range(100):
        try:
            attempt()
        except GONE:
            time.sleep(0.05)
        else:
            return
    attempt()


def test_a_setting_that_is_no_network_is_named() -> None:
    with pytest.raises(GatewayStartError, match="trusted_proxies"):
        peers.TrustedProxies(["192.0.2.1/24"])


def test_who_is_no_proxy_cannot_say_who_he_is(tmp_path: Path, database_url: str, clock: FixedClock) -> None:
    with open_house(tmp_path, database_url, clock, trusted_proxies=("192.0.2.0/24",)) as gateway:
        with pytest.raises(GONE):
            connect(gateway.port, proxied("198.51.100.7"))
        with closing(connect(gateway.port)) as client:
            assert beat(client, clock).endswith("from 127.0.0.1")


def drip_into(wire: ssl.SSLSocket, drip: bytes) -> None:
    """Send a byte now and then until the other side has had enough."""
    wire.settimeout(0.1)
    for number in range(100):
        wire.sendall(drip[number % len(drip) : number % len(drip) + 1] if drip else b"")
        with suppress(TimeoutError):
            if not wire.recv(65_536):
                raise ConnectionResetError


@pytest.mark.parametrize("drip", [b"", b"P", b"POST /v1/heartbeat HTTP/1.1\r\n"])
def test_a_head_that_drips_in_is_cut(
    tmp_path: Path, database_url: str, clock: FixedClock, drip: bytes
) -> None:
    settings = {"receive_seconds": 0.4, "keepalive_seconds": 30.0}
    with open_house(tmp_path, database_url, clock, **settings) as gateway:
        with closing(connect(gateway.port)) as client:
            started = time.monotonic()
            with pytest.raises((ConnectionError, ssl.SSLError)):
                drip_into(client.connect(), drip)
        assert time.monotonic() - started < 5
        with closing(connect(gateway.port)) as client:
            beat(client, clock)


def test_patience_is_short_while_places_are(
    tmp_path: Path, database_url: str, clock: FixedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listener, "CROWDED_SECONDS", 0.3)
    settings = {"receive_seconds": 30.0, "max_connections": 4}
    with open_house(tmp_path, database_url, clock, **settings) as gateway, ExitStack() as stack:
        idle = [stack.enter_context(closing(connect(gateway.port))).connect() for _ in range(4)]
        idle[3].settimeout(5)
        with suppress(ConnectionError):
            assert idle[3].recv(1) == b"", "whoever came when places were short and said nothing is cut"
        idle[0].settimeout(0.5)
        with pytest.raises(TimeoutError):
            idle[0].recv(1)
        with closing(connect(gateway.port)) as sensor:
            beat(sensor, clock)


def test_a_slow_first_request_is_not_taken_for_an_idle_connection(
    tmp_path: Path, database_url: str, clock: FixedClock
) -> None:
    made = SENSOR.sign("POST", "/v1/heartbeat", BEAT.to_json(), created_s=clock.now_us() // 1_000_000)
    head = f"{made.method} {made.target} HTTP/1.1\r\n" + "".join(f"{k}: {v}\r\n" for k, v in made.as_list())
    with (
        open_house(tmp_path, database_url, clock, keepalive_seconds=0.1) as gateway,
        closing(connect(gateway.port)) as client,
    ):
        time.sleep(0.3)
        client.connect().sendall(head.encode()[:50])
        time.sleep(0.3)
        client.connect().sendall(head.encode()[50:] + b"\r\n" + made.body)
        assert client.read().status == 200


PUT = SENSOR.put(1, b"a batch", created_s=int(NOW.timestamp()))


def raw(line: str, *extra: str, end: str = "\r\n", body: bytes = PUT.body) -> bytes:
    """Write an honest batch request with another first line and more fields."""
    fields = [f"{name}: {value}" for name, value in PUT.fields.items()]
    return end.join([line, *fields, *extra, "", ""]).encode() + body


LINE = f"PUT {PUT.target} HTTP/1.1"
FORMS = {
    "chunked": raw(LINE, "Transfer-Encoding: chunked", body=b"7\r\na batch\r\n0\r\n\r\n"),
    "chunked and hidden": raw(LINE, "Transfer-Encoding : chunked"),
    "chunked twice": raw(LINE, "Transfer-Encoding: chunked, chunked"),
    "two lengths": raw(LINE, "Content-Length: 0"),
    "list of lengths": raw(LINE).replace(b"Content-Length: 7", b"Content-Length: 7, 7"),
    "folded": raw(LINE, "X-A: b", " Transfer-Encoding: chunked"),
    "space before colon": raw(LINE).replace(b"Content-Digest:", b"Content-Digest :"),
    "bare line feeds": raw(LINE, end="\n"),
    "bare carriage returns": raw(LINE, "X-A: b\rContent-Length: 0"),
    "zero byte": raw(LINE, "X-A: b\0c"),
    "expect": raw(LINE, "Expect: 100-continue"),
    "upgrade": raw(LINE, "Connection: Upgrade", "Upgrade: h2c"),
    "two hosts": raw(LINE, "Host: other.example"),
    "trailer": raw(LINE, "Trailer: Signature"),
    "absolute form": raw(f"PUT https://{AUTHORITY}{PUT.target} HTTP/1.1"),
    "authority form": raw(f"CONNECT {AUTHORITY} HTTP/1.1"),
    "dots": raw("PUT /v1/./batches/1/1 HTTP/1.1"),
    "encoded dots": raw("PUT /v1/%2e%2e/v1/batches/1/1 HTTP/1.1"),
    "encoded slash": raw("PUT /v1/batches/1%2F1 HTTP/1.1"),
    "encoded slash, lower case": raw("PUT /v1/batches/1%2f1 HTTP/1.1"),
    "backslash": raw("PUT /v1\\batches/1/1 HTTP/1.1"),
    "upper case": raw("PUT /v1/Batches/1/1 HTTP/1.1"),
    "no ASCII": raw(LINE).replace(b"/batches/1/1", "/batches/\u00b9/1".encode()),
    "very long path": raw("PUT /v1/batches/1/" + "1" * 9000 + " HTTP/1.1"),
    "very long field": raw(LINE, "X-A: " + "b" * 9000),
    "very many fields": raw(LINE, *(f"X-{number}: b" for number in range(200))),
    "HTTP/2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "HTTP/0.9": b"GET /v1/heartbeat\r\n\r\n",
    "HTTP/3.7": raw(f"PUT {PUT.target} HTTP/3.7"),
}


@pytest.fixture(scope="module")
def quiet(tmp_path_factory: pytest.TempPathFactory, postgres_server_url: str) -> Iterator[tuple[int, str]]:
    """One gateway for all requests that are refused: its port and its database."""
    url = create_database(postgres_server_url, f"forms_{os.getpid()}")
    with open_house(tmp_path_factory.mktemp("forms"), url, FixedClock(NOW), receive_seconds=1.0) as gateway:
        yield gateway.port, url


def count_rows(url: str) -> int:
    with psycopg.connect(url) as connection:
        row = connection.execute("SELECT count(*) FROM landing.batches").fetchone()
    return int(row[0]) if row else 0


def speak(port: int, said: bytes) -> bytes:
    """Say something and hear all that comes back until the end."""
    with closing(connect(port)) as client:
        wire = client.connect()
        wire.settimeout(5)
        heard = b""
        with suppress(ConnectionError, ssl.SSLError):
            wire.sendall(said)
            while part := wire.recv(65_536):
                heard += part
                if b"close" not in heard.lower():
                    break
        return heard


@pytest.mark.parametrize("form", sorted(FORMS))
def test_a_form_that_hides_something_is_refused(quiet: tuple[int, str], form: str) -> None:
    port, url = quiet

    heard = speak(port, FORMS[form])

    assert heard == b"" or heard.split()[1] in (b"400", b"404", b"405", b"411", b"413", b"431", b"505")
    assert count_rows(url) == 0


def test_what_follows_a_refused_request_is_no_request(quiet: tuple[int, str]) -> None:
    port, url = quiet
    hidden = raw(LINE)

    heard = speak(port, raw("PUT /v1/other HTTP/1.1", body=b"") + hidden)

    assert heard.count(b"Bad Request") == 1
    assert count_rows(url) == 0


def test_what_is_only_unusual_is_handled(tmp_path: Path, database_url: str) -> None:
    old = raw(f"PUT {PUT.target} HTTP/1.0").replace(f"Host: {AUTHORITY}".encode(), b"Host: 10.0.0.1")
    with open_house(tmp_path, database_url, FixedClock(NOW)) as gateway:
        heard = speak(gateway.port, old)
        behind = speak(gateway.port, raw(LINE) + b"what a proxy left behind\r\n\r\n")

        assert heard.split()[1] == b"201"
        assert behind.split()[1] in (b"200", b"400")
        assert count_rows(database_url) == 1


def test_what_is_no_http_gets_a_word_that_tells_nothing(quiet: tuple[int, str]) -> None:
    heard = speak(quiet[0], b"\x00 secret noise\r\n\r\n")

    assert heard.split()[1] == b"400"
    assert b'"malformed"' in heard
    assert b"aiohttp" not in heard
    assert b"noise" not in heard
