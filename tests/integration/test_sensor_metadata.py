"""Public addresses from the metadata services of AWS, Google Cloud and Azure.

A real HTTP server holds 169.254.169.254 in a network namespace; the questions come from the sensor's
namespace over a veth, and their answers arrive at the observed address.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))

from sensor_wire import (
    Wire,
    command,
    enter,
    make_state,
    needs_wire,
    open_wire,
    read_batches,
    read_status,
    stop,
    wait_until,
)
from teiten.foundation.clock import SystemClock
from teiten.protocol import keys
from teiten.protocol.heartbeat import StatedAddress
from teiten.sensor.config import SensorConfig
from teiten.sensor.errors import MetadataError
from teiten.sensor.metadata import PROVIDERS, MetadataService
from teiten.sensor.sending import open_book
from teiten.sensor.state import GatewaySettings, StateFolder
from teiten.sensor.stated_addresses import METADATA_HOST, METADATA_PORT, AddressBook
from teiten.sensor.testing import FakeGateway

pytestmark = [*needs_wire(), pytest.mark.requirement("R1.1")]

#: (status, headers, body) of a path; a callable speaks for itself.
Answer = tuple[int, dict[str, str], bytes] | Callable[[BaseHTTPRequestHandler], None]
MAC = "0e:49:61:0f:c3:77"
MACS = "/latest/meta-data/network/interfaces/macs/"
GCP_PATH = "/computeMetadata/v1/instance/network-interfaces/?recursive=true"
AZURE_PATH = "/metadata/instance/network?api-version=2021-02-01"
BALANCER_PATH = "/metadata/loadbalancer?api-version=2020-10-01"


class Provider(ThreadingHTTPServer):
    """Answers as it is told; anything else is 404."""

    daemon_threads = True
    answers: dict[tuple[str, str], Answer]
    asked: list[tuple[str, str, dict[str, str]]]

    def handle_error(self, *_: Any) -> None:
        """A client that gives up is part of the tests."""


class Handler(BaseHTTPRequestHandler):
    server: Provider

    def log_message(self, *_: Any) -> None:
        """Tests read attributes, not logs."""

    def do_GET(self) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.server.asked.append((self.command, self.path, headers))
        answer = self.server.answers.get((self.command, self.path), (404, {}, b"no such thing"))
        if callable(answer):
            answer(self)
            return
        status, fields, body = answer
        self.send_response(status)
        for name, value in fields.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_PUT(self) -> None:
        self.do_GET()


@pytest.fixture(scope="module")
def wire() -> Iterator[Wire]:
    with open_wire() as opened:
        command("ip", "-n", opened.scanner, "addr", "add", f"{METADATA_HOST}/32", "dev", "v0")
        command(
            "ip", "-n", opened.host, "route", "add", f"{METADATA_HOST}/32", "dev", "v1", "src", "192.0.2.2"
        )
        yield opened


@pytest.fixture(scope="module")
def server(wire: Wire) -> Iterator[Provider]:
    made = inside(wire.scanner, lambda: Provider((METADATA_HOST, METADATA_PORT), Handler))
    thread = threading.Thread(target=made.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield made
    made.shutdown()
    made.server_close()
    thread.join()


@pytest.fixture
def provider(server: Provider) -> Provider:
    server.answers, server.asked = {}, []
    return server


def inside(namespace: str, work: Callable[[], Any]) -> Any:
    """Do something in a thread that has entered a namespace."""
    done: list[Any] = []

    def run() -> None:
        enter(namespace)
        try:
            done.append(work())
        except MetadataError as error:
            done.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    return done[0]


def ask(wire: Wire, name: str) -> AddressBook:
    """Ask once, as the sending process does, from the sensor's namespace."""
    book = open_book(SensorConfig(metadata=name), MetadataService(SystemClock()))  # type: ignore[arg-type]
    inside(wire.host, book.ask_once)
    return book


def text(body: str) -> Answer:
    return 200, {}, body.encode()


def aws() -> dict[tuple[str, str], Answer]:
    return {
        ("PUT", "/latest/api/token"): text("AQAEAL=="),
        ("GET", MACS): text(f"{MAC}/\n"),
        ("GET", f"{MACS}{MAC}/ipv4-associations/"): text("198.51.100.7\n198.51.100.8"),
        ("GET", f"{MACS}{MAC}/ipv4-associations/198.51.100.7"): text("10.0.0.5"),
        ("GET", f"{MACS}{MAC}/ipv4-associations/198.51.100.8"): text("10.0.0.6"),
    }


def gcp(body: object) -> dict[tuple[str, str], Answer]:
    flavor = {"Metadata-Flavor": "Google", "Content-Type": "application/json"}
    return {("GET", GCP_PATH): (200, flavor, json.dumps(body).encode())}


GCP = [
    {
        "accessConfigs": [{"externalIp": "198.51.100.7", "type": "ONE_TO_ONE_NAT"}],
        "ip": "10.128.0.2",
        "mac": "42:01:0a:80:00:02",
    },
    {"accessConfigs": [{"externalIp": "", "type": "ONE_TO_ONE_NAT"}], "ip": "192.168.1.3"},
]
AZURE = {
    "interface": [
        {
            "ipv4": {
                "ipAddress": [
                    {"privateIpAddress": "10.1.0.4", "publicIpAddress": "198.51.100.7"},
                    {"privateIpAddress": "10.1.0.5", "publicIpAddress": ""},
                ],
                "subnet": [{"address": "10.1.0.0", "prefix": "24"}],
            },
            "ipv6": {"ipAddress": []},
            "macAddress": "000D3A328570",
        }
    ]
}
BALANCER = {
    "loadbalancer": {
        "publicIpAddresses": [{"frontendIpAddress": "198.51.100.8", "privateIpAddress": "10.1.0.5"}],
        "inboundRules": [],
    }
}


def azure(network: object = AZURE, balancer: object = None) -> dict[tuple[str, str], Answer]:
    answers = {("GET", AZURE_PATH): text(json.dumps(network))}
    return answers | ({("GET", BALANCER_PATH): text(json.dumps(balancer))} if balancer else {})


def learnt(local: str, public: str) -> StatedAddress:
    return StatedAddress(local, public, "metadata")


def test_aws_tells_each_public_address_with_its_local_one(wire: Wire, provider: Provider) -> None:
    provider.answers = aws()

    book = ask(wire, "aws")

    assert (book.stated, book.error) == (
        (learnt("10.0.0.5", "198.51.100.7"), learnt("10.0.0.6", "198.51.100.8")), ""
    )  # fmt: skip
    assert provider.asked[0][:2] == ("PUT", "/latest/api/token")
    assert provider.asked[0][2]["x-aws-ec2-metadata-token-ttl-seconds"] == "60"
    assert {asked[2]["x-aws-ec2-metadata-token"] for asked in provider.asked[1:]} == {"AQAEAL=="}


def test_aws_without_a_public_address_tells_none(wire: Wire, provider: Provider) -> None:
    provider.answers = {key: value for key, value in aws().items() if "associations" not in key[1]}

    book = ask(wire, "aws")

    assert (book.stated, book.error) == ((), "")


def test_gcp_tells_the_nat_of_each_interface(wire: Wire, provider: Provider) -> None:
    provider.answers = gcp(GCP)

    book = ask(wire, "gcp")

    assert (book.stated, book.error) == ((learnt("10.128.0.2", "198.51.100.7"),), "")
    assert provider.asked[0][2]["metadata-flavor"] == "Google"


@pytest.mark.parametrize("balancer", [None, BALANCER])
def test_azure_tells_basic_and_standard_addresses(
    wire: Wire, provider: Provider, balancer: dict[str, object] | None
) -> None:
    provider.answers = azure(balancer=balancer)

    book = ask(wire, "azure")

    expected = [learnt("10.1.0.4", "198.51.100.7")]
    assert (book.stated, book.error) == (
        tuple(expected + ([learnt("10.1.0.5", "198.51.100.8")] if balancer else [])), ""
    )  # fmt: skip
    assert all(asked[2]["metadata"] == "true" for asked in provider.asked)


HTML = (
    200,
    {"Content-Type": "text/html", "Metadata-Flavor": "Google"},
    b"<html>Sign in to the network</html>",
)
HUGE = (200, {"Metadata-Flavor": "Google"}, b" " * 70_000)
MOVED = (302, {"Location": "http://192.0.2.1/"}, b"")
AWAY = (503, {}, b"")
BINARY = (200, {"Metadata-Flavor": "Google"}, b"\xff\xfe\x00")
FIRST_PATHS = {"aws": ("PUT", "/latest/api/token"), "gcp": ("GET", GCP_PATH), "azure": ("GET", AZURE_PATH)}


@pytest.mark.parametrize("name", PROVIDERS)
@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (HTML, "the answer is no"),
        (HUGE, "longer than 65536 bytes"),
        (MOVED, "status 302, not 200"),
        (AWAY, "status 503, not 200"),
        (BINARY, "the answer is no"),
    ],
)
def test_a_wrong_answer_is_named_and_nothing_is_stated(
    wire: Wire, provider: Provider, name: str, answer: Answer, reason: str
) -> None:
    provider.answers = {FIRST_PATHS[name]: answer}

    book = ask(wire, name)

    assert book.stated == ()
    assert reason in book.error
    assert len(provider.asked) == 1


@pytest.mark.parametrize(
    ("name", "answers", "reason"),
    [
        ("aws", aws() | {("GET", f"{MACS}{MAC}/ipv4-associations/"): text("10.9.9.9"),
                         ("GET", f"{MACS}{MAC}/ipv4-associations/10.9.9.9"): text("10.0.0.5")}, "10.9.9.9 is no public address"),
        ("aws", aws() | {("GET", MACS): text("../../iam/security-credentials/")}, "the answer is no list"),
        ("aws", aws() | {("GET", f"{MACS}{MAC}/ipv4-associations/198.51.100.8"): text("10.0.0.5")}, "two public addresses"),
        ("aws", aws() | {("GET", MACS): text("\n".join([MAC] * 65))}, "at most 64"),
        ("gcp", {("GET", GCP_PATH): text(json.dumps(GCP))}, "no header Metadata-Flavor: Google"),
        ("gcp", gcp([{"ip": "10.0.0.1", "accessConfigs": [{"externalIp": "192.168.0.1"}]}]), "192.168.0.1 is no public"),
        ("gcp", gcp([{"ip": "10.0.0.1", "accessConfigs": [{"externalIp": "fe80::1"}]}]), "both must be IPv4 or both IPv6"),
        ("gcp", gcp([{"ip": "here", "accessConfigs": [{"externalIp": "198.51.100.7"}]}]), "does not appear to be"),
        ("gcp", gcp([{"ip": 7, "accessConfigs": [{"externalIp": 3325256711}]}]), "does not appear to be"),
        ("gcp", gcp({"ip": "10.0.0.1"}), "another form than documented"),
        ("gcp", gcp([7]), "another form than documented"),
        ("gcp", gcp([{"accessConfigs": [{"externalIp": "198.51.100.7"}]}]), "another form than documented"),
        ("gcp", {("GET", GCP_PATH): (200, {"Metadata-Flavor": "Google"}, b"[" * 60_000)}, "the answer is no JSON"),
        ("azure", azure([]), ""),
        ("azure", azure("words"), "another form than documented"),
        ("azure", azure({"interface": [{"ipv4": []}]}), "another form than documented"),
        ("azure", azure(balancer={"loadbalancer": {"publicIpAddresses": [
            {"frontendIpAddress": "100.64.0.1", "privateIpAddress": "10.1.0.5"}]}}), "100.64.0.1 is no public"),
        ("azure", azure(balancer={"other": 1}), "another form than documented"),
    ],
)  # fmt: skip
def test_an_answer_that_breaks_a_rule_is_named_and_nothing_is_stated(
    wire: Wire, provider: Provider, name: str, answers: dict[tuple[str, str], Answer], reason: str
) -> None:
    provider.answers = answers

    book = ask(wire, name)

    assert book.stated == ()
    assert (reason in book.error) if reason else not book.error


def stall(handler: BaseHTTPRequestHandler) -> None:
    time.sleep(3.0)


def drip(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.end_headers()
    for _ in range(40):
        handler.wfile.write(b" ")
        handler.wfile.flush()
        time.sleep(0.1)


@pytest.mark.parametrize(("answer", "reason"), [(stall, "imeout"), (drip, "longer than 2 s")])
def test_a_slow_answer_is_given_up(wire: Wire, provider: Provider, answer: Answer, reason: str) -> None:
    provider.answers = {("PUT", "/latest/api/token"): answer}
    started = time.monotonic()

    book = ask(wire, "aws")

    assert time.monotonic() - started < 3.0
    assert reason in book.error


def test_the_last_answer_stands_while_the_service_is_away(
    wire: Wire, provider: Provider, caplog: pytest.LogCaptureFixture
) -> None:
    provider.answers = aws()
    book = ask(wire, "aws")
    before = book.stated
    provider.answers = {}

    for _ in range(3):
        inside(wire.host, book.ask_once)

    assert (book.stated, bool(book.error)) == (before, True)
    warnings = [record for record in caplog.records if record.levelname == "WARNING"]
    assert len(warnings) == 1
    provider.answers = aws()
    inside(wire.host, book.ask_once)
    assert book.error == ""


def test_nobody_there_is_an_error_and_no_more(wire: Wire) -> None:
    found = inside(
        wire.host, lambda: PROVIDERS["aws"](MetadataService(SystemClock(), host="127.0.0.1", port=9))
    )

    assert isinstance(found, MetadataError)
    assert "ConnectionRefusedError" in str(found)


@pytest.mark.requirement("R1.3")
def test_a_sensor_states_its_addresses_and_keeps_the_talk_out_of_its_record(
    wire: Wire, provider: Provider, tmp_path: Path
) -> None:
    provider.answers = gcp(GCP)
    gateway: FakeGateway = inside(wire.host, lambda: FakeGateway(tmp_path, SystemClock()))
    state = make_state(
        tmp_path,
        gateway=GatewaySettings(gateway.url, "", (gateway.pin,), ""),
        settings='heartbeat_seconds = 0.3\nmetadata = "gcp"\npublic_addresses = ["192.0.2.2=203.0.113.9"]',
    )
    folder = StateFolder(state)
    gateway.sensor_key = keys.public_bytes(folder.make_key())
    identity = folder.read_json("identity.json")
    identity["gateway_keys"] = {name: keys.to_text(key) for name, key in gateway.gateway_keys.items()}
    folder.write_json("identity.json", identity)
    gateway.start()
    try:
        words = ("--config", str(state / "sensor.toml"), "--observed", "192.0.2.2/32")
        sensor = wire.start_sensor(state, *words, verb="run")
        wait_until(lambda: any(len(beat.addresses) == 2 for beat in gateway.beats))
        wait_until(lambda: read_status(state)["packets"]["solicited"] >= 3)
        assert stop(sensor) == 0
    finally:
        gateway.stop()

    assert gateway.beats[-1].addresses == (
        StatedAddress("192.0.2.2", "203.0.113.9", "configured"),
        learnt("10.128.0.2", "198.51.100.7"),
    )
    assert f"{METADATA_HOST}/32 tcp from 80" in read_status(state)["exclusion"]
    assert folder.read_json("sending.json")["public_addresses"] == [
        "192.0.2.2=203.0.113.9 (configured)",
        "10.128.0.2=198.51.100.7 (metadata)",
    ]
    assert sum(item.header.rows for item in read_batches(state)) == 0
