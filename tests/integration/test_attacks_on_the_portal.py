"""The portal over real HTTP as a stranger tries it: bodies, patience, names, paths, forms, levels."""

from __future__ import annotations

import asyncio
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from teiten.cli.components import PortalComponent
from teiten.cli.portal_connections import PatientForAWhile
from teiten.portal.bodies import bounded
from teiten.portal.config import PortalConfig
from teiten.portal.testing import Cast, client_of, make_cast, migrated_database
from teiten.store.errors import StoreUnavailable

sys.path.insert(0, str(Path(__file__).parent))
from search_fixtures import FIRST, NOW, World, open_world
from test_search_masking import SECRETS

pytestmark = pytest.mark.requirement("R3.1")

FORM = "Content-Type: application/x-www-form-urlencoded"


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with open_world() as made:
        yield made


@pytest.fixture
def cast(postgres_server_url: str, world: World, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cast]:
    with migrated_database(postgres_server_url):
        from teiten.portal import middleware, services

        monkeypatch.setattr(middleware, "clock", world.clock)
        services.set_search(world.search)
        yield make_cast(NOW)


@pytest.fixture
def port(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """The portal as `teiten up` serves it, with less patience."""
    monkeypatch.setattr(PatientForAWhile, "head_seconds", 0.5)
    monkeypatch.setattr(PatientForAWhile, "most_connections", 5)
    with socket.create_server(("127.0.0.1", 0)) as free:
        number = int(free.getsockname()[1])
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    part = PortalComponent(PortalConfig(port=number))
    asyncio.run_coroutine_threadsafe(part.start(), loop).result(20)
    yield number
    asyncio.run_coroutine_threadsafe(part.stop(), loop).result(20)
    asyncio.run_coroutine_threadsafe(loop.shutdown_default_executor(), loop).result(20)
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


def talk(port: int, text: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall(text)
        return read_to_end(connection)


def read_to_end(connection: socket.socket) -> bytes:
    received = b""
    try:
        while part := connection.recv(65_536):
            received += part
    except ConnectionResetError:
        pass
    return received


def ask(port: int, target: str, *lines: str, method: str = "GET", host: str = "localhost") -> bytes:
    head = "\r\n".join([f"{method} {target} HTTP/1.1", f"Host: {host}", "Connection: close", *lines])
    return talk(port, f"{head}\r\n\r\n".encode())


def status_of(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


def test_a_body_that_is_too_large_is_refused_unread(port: int) -> None:
    answer = ask(port, "/sign-in/", FORM, "Content-Length: 100000000000", method="POST")

    assert status_of(answer) == 413
    assert b"262144 bytes" in answer


def test_a_body_without_a_stated_length_is_bounded_too(port: int) -> None:
    head = f"POST /sign-in/ HTTP/1.1\r\nHost: localhost\r\n{FORM}\r\nTransfer-Encoding: chunked\r\n\r\n"
    chunk = b"10000\r\n" + bytes(65_536) + b"\r\n"

    answer = talk(port, head.encode() + chunk * 5)

    assert status_of(answer) == 413


def test_a_body_that_comes_too_slowly_is_given_up() -> None:
    sent: list[Any] = []

    async def never() -> dict[str, Any]:
        await asyncio.sleep(60)
        raise AssertionError

    async def inner(*_: Any) -> None:
        raise AssertionError("half a body must not reach the portal")

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "headers": [(b"content-length", b"10")]}
    asyncio.run(bounded(inner, seconds=0.05)(scope, never, send))

    assert sent[0]["status"] == 408


def test_a_head_that_never_ends_is_given_up(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=20) as slow:
        slow.sendall(b"GET / HTTP/1.1\r\n")
        started = time.monotonic()
        assert read_to_end(slow) == b""
        assert time.monotonic() - started < 10
    with socket.create_connection(("127.0.0.1", port), timeout=20) as silent:
        assert read_to_end(silent) == b""


def test_connections_beyond_the_cap_are_turned_away_and_the_portal_recovers(port: int) -> None:
    held = [socket.create_connection(("127.0.0.1", port), timeout=20) for _ in range(8)]
    assert all(read_to_end(one) == b"" for one in held)
    for one in held:
        one.close()

    assert status_of(ask(port, "/sign-in/")) == 200


@pytest.mark.parametrize(("hard", "expected"), [(20_000, 16_384), (700, 700)])
def test_a_process_takes_the_files_that_strangers_might_use_up(hard: int, expected: int) -> None:
    script = (
        "import resource\n"
        f"resource.setrlimit(resource.RLIMIT_NOFILE, (256, {hard}))\n"
        "from teiten.cli.components import allow_open_files\n"
        "print(allow_open_files(), *resource.getrlimit(resource.RLIMIT_NOFILE))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True
    )

    assert done.stdout.split() == [str(expected), str(expected), str(hard)]
    assert ("few files" in done.stderr) == (expected < 4_096)


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example", "localhost:80@evil.example", ""])
def test_another_name_is_refused(port: int, host: str) -> None:
    answer = ask(port, "/sign-in/", host=host)

    assert status_of(answer) == 400
    assert b"evil.example" not in answer


@pytest.mark.parametrize(
    "target",
    [
        "/static/../settings.py", "/static/..%2f..%2fsettings.py", "/static/%2e%2e/%2e%2e/settings.py",
        "/static//etc/passwd", "/static/%00", "/static/x/portal/..%5c..%5csettings.py", "//evil.example/",
        "/sources/..%2f..%2f..%2fetc%2fpasswd", "/%ff%fe", "/sensors/99999999999999999999/",
    ],
)  # fmt: skip
def test_tricks_with_paths_find_nothing(port: int, target: str) -> None:
    answer = ask(port, target)

    assert status_of(answer) in (301, 302, 400, 404)
    assert b"SECRET_KEY" not in answer
    assert b"root:" not in answer
    location = [line for line in answer.split(b"\r\n") if line.lower().startswith(b"location:")]
    assert not any(b"//evil" in line for line in location)


@pytest.mark.parametrize(
    "target",
    [
        "/", "/explore/", "/explore/packets/", "/explore/packet/?ref=live~910001-1-1-1@1", "/explore/export/",
        "/explore/complete/?text=sensor+%3D", "/explore/find/?for=1", "/sources/240.0.0.3", "/sensors/",
        "/sensors/910001/", "/live/", "/live/feed/", "/me/", "/me/password/", "/api/v1/docs",
        "/api/v1/openapi.json",
    ],
)  # fmt: skip
def test_a_stranger_is_sent_to_sign_in(port: int, target: str) -> None:
    answer = ask(port, target)

    assert status_of(answer) in (302, 401)
    assert status_of(answer) == 401 or b"location: /sign-in/?next=" in answer.lower()


@pytest.mark.parametrize(
    "target", ["/sign-out/", "/language/", "/me/password/", "/me/sessions/end/", "/sign-in/"]
)
def test_a_form_without_its_token_changes_nothing(cast: Cast, target: str) -> None:
    from django.test import Client

    browser = Client(enforce_csrf_checks=True)
    browser.force_login(cast.alice, backend="teiten.accounts.backend.UserBackend")

    refused = browser.post(target, {"language": "en", "user_id": "alice", "password": "x"})
    crossing = browser.post(target, {}, headers={"origin": "https://evil.example"})

    assert (refused.status_code, crossing.status_code) == (403, 403)
    assert browser.get("/me/").status_code == 200


@pytest.mark.parametrize("method", ["post", "put", "delete", "patch"])
def test_pages_and_api_only_read(cast: Cast, method: str) -> None:
    browser = client_of(cast.alice)

    for target in ("/", "/explore/", "/sensors/", "/api/v1/totals", "/api/v1/export"):
        assert getattr(browser, method)(target).status_code in (403, 405), target


def test_nul_bytes_and_broken_text_are_refused_not_a_fault(cast: Cast) -> None:
    browser = client_of()
    browser.raise_request_exception = False

    assert browser.post("/sign-in/", {"user_id": "a\0b", "password": "c\0d"}).status_code in (400, 401)
    assert browser.post(
        "/sign-in/", {"user_id": "alice", "password": "c", "next": "\0//evil"}
    ).status_code in (400, 401)
    assert browser.post("/language/", {"language": "\0", "next": "https://evil.example/"}).status_code < 500
    assert browser.get("/api/v1/totals", headers={"authorization": "Bearer \0"}).status_code == 401
    assert browser.get("/api/v1/totals", headers={"authorization": "Bearer tto_\xe9"}).status_code == 401
    browser.cookies["teiten-session"] = "\xe9" * 5_000
    assert browser.get("/").status_code == 302


@pytest.mark.requirement("R0.1")
@pytest.mark.parametrize(
    "extra", ["level=real", "visibility=analyst", "role=operator", "organisation=1", "may_see_sensor=1"]
)
def test_nobody_chooses_a_level_in_the_url(cast: Cast, extra: str) -> None:
    browser = client_of(cast.alice)

    for target in (
        "/",
        "/explore/",
        "/sensors/",
        "/sources/240.0.0.3",
        "/api/v1/rows",
        "/api/v1/export",
        "/explore/export/",
    ):
        assert browser.get(f"{target}?{extra}").status_code == 400, target


@pytest.mark.requirement("R0.1")
def test_a_member_is_not_told_what_the_store_says(
    world: World, cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise StoreUnavailable("SELECT dst_addr FROM packets at /srv/teiten/store")

    monkeypatch.setattr(world.store, "select", refuse)

    member = client_of(cast.alice).get("/api/v1/totals", {"q": "asn = 9"})
    analyst = client_of(cast.ann).get("/api/v1/totals", {"q": "asn = 9"})

    assert (member.status_code, analyst.status_code) == (503, 503)
    assert b"packets" not in member.content
    assert b"/srv" not in client_of(cast.alice).get("/explore/?q=asn+%3D+9").content
    assert b"/srv" in analyst.content
    assert int(member["Retry-After"]) >= 1


@pytest.mark.parametrize("sensor", ["-1", "4294967296", "99999999999999999999999"])
def test_a_sensor_that_cannot_be_is_a_bad_question(cast: Cast, sensor: str) -> None:
    answer = client_of(cast.ann).get("/api/v1/sensors", {"sensor": sensor})

    assert (answer.status_code, answer.json()["field"]) == (400, "sensor")
    assert "0 to 4294967295" in answer.json()["message"]


def find_secrets(text: str) -> dict[str, list[str]]:
    """Find what a member must not see; digits only where they stand alone."""
    found = {}
    for what, forms in SECRETS.items():
        shown = [form for form in forms if re.search(rf"(?<![0-9a-zA-Z#.]){re.escape(form)}(?![0-9])", text)]
        if shown:
            found[what] = shown
    return found


@pytest.mark.requirement("R0.1")
def test_no_page_shows_a_member_a_secret(cast: Cast) -> None:
    browser = client_of(cast.alice)
    asked = {"dataset": "live", "period": "24h"}
    for target in (
        "/",
        "/explore/",
        "/explore/packets/",
        "/sensors/",
        "/sources/240.0.0.3",
        "/sources/240.0.0.0/16",
    ):
        for more in (
            {},
            {"metric": "hosts", "survey": "without"},
            {"metric": "packets", "q": "protocol = tcp"},
        ):
            answer = browser.get(target, {**asked, **more})
            assert answer.status_code == 200, target
            assert find_secrets(answer.content.decode()) == {}, target

    page = browser.get("/explore/", asked).content.decode()
    assert not re.search(r"[?&;]ref=", page), "a line is no packet"


@pytest.mark.requirement("R0.1")
def test_the_same_page_shows_an_analyst_what_it_hides(cast: Cast) -> None:
    page = client_of(cast.ann).get("/explore/", {"dataset": "live", "period": "24h"})

    assert "sensor" in find_secrets(page.content.decode())


@pytest.mark.requirement("R0.1")
def test_a_filter_on_a_source_page_is_no_oracle(cast: Cast) -> None:
    """The page of a source shows all of it, so that a filter by a destination answers nothing."""
    browser = client_of(cast.alice)
    plain = browser.get("/api/v1/source", {"source": "240.0.0.0/16"}).json()

    for guess in ("dst_addr = 192.0.2.1", f"sensor = {FIRST + 1}", "vlan = 3999", "ip_id = 1"):
        told = browser.get("/api/v1/source", {"source": "240.0.0.0/16", "q": guess})
        if told.status_code == 200:
            assert told.json()["packets"] == plain["packets"], guess
        else:
            assert told.status_code == 403


@pytest.mark.requirement("R0.1")
@pytest.mark.parametrize("reference", [f"live~{FIRST + 1}-1-1-1@1795143600000000", "x.AAAA", "x.", "", "x.é"])
def test_a_member_cannot_name_a_packet_by_its_batch(cast: Cast, reference: str) -> None:
    browser = client_of(cast.alice)

    # The same whether the packet is there or not.
    expected = 403 if reference.startswith("live~") else 400
    assert browser.get("/api/v1/packet", {"reference": reference}).status_code == expected
    assert browser.get("/explore/packet/", {"ref": reference}).status_code == expected
    assert browser.get("/api/v1/rows", {"page": reference}).status_code == (200 if not reference else 400)
