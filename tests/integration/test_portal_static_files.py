"""Static files: served from the package, kept for ever, compressed once."""

from __future__ import annotations

import gzip
from collections.abc import Iterator

import pytest

from teiten.portal.testing import client_of, migrated_database

pytestmark = pytest.mark.requirement("R3.1")


@pytest.fixture(autouse=True)
def database(postgres_server_url: str) -> Iterator[None]:
    with migrated_database(postgres_server_url):
        yield


def url_of(name: str) -> str:
    from django.templatetags.static import static

    return static(name)


CSS = "portal/css/base.css"


def test_it_works_and_is_kept_for_ever() -> None:
    answer = client_of().get(url_of(CSS))

    assert answer.status_code == 200
    assert answer["Content-Type"].startswith("text/css")
    assert "immutable" in answer["Cache-Control"]
    assert "Access-Control-Allow-Origin" not in answer
    assert answer["Content-Security-Policy"]
    assert not answer.cookies


def test_text_is_compressed_for_those_who_can_read_it() -> None:
    plain = client_of().get(url_of(CSS))
    packed = client_of().get(url_of(CSS), headers={"Accept-Encoding": "gzip, br"})

    assert packed["Content-Encoding"] == "gzip"
    assert gzip.decompress(packed.content) == plain.content
    assert packed["Content-Length"] == str(len(packed.content))
    assert "Accept-Encoding" in packed["Vary"]


def test_a_browser_that_has_it_gets_nothing() -> None:
    etag = client_of().get(url_of(CSS))["ETag"]

    answer = client_of().get(url_of(CSS), headers={"If-None-Match": etag, "Accept-Encoding": "gzip"})

    assert (answer.status_code, answer.content) == (304, b"")


def test_a_part_is_not_compressed() -> None:
    answer = client_of().get(url_of(CSS), headers={"Range": "bytes=0-9", "Accept-Encoding": "gzip"})

    assert (answer.status_code, len(answer.content)) == (206, 10)
    assert "Content-Encoding" not in answer


def test_the_api_pages_have_their_files_here() -> None:
    assert client_of().get(url_of("ninja/swagger-ui.css")).status_code == 200


@pytest.mark.parametrize(
    "path", ["/static/{stamp}/../settings.py", "/static/000000000000/portal/css/base.css"]
)
def test_nothing_else_is_served(path: str) -> None:
    stamp = url_of("x").split("/")[2]

    assert client_of().get(path.format(stamp=stamp)).status_code == 404


def test_pending_migrations_are_named(postgres_server_url: str, database_url: str) -> None:
    from teiten.portal import boot
    from teiten.portal.boot import connect_django

    assert boot.list_pending_migrations() == []
    connect_django(database_url)

    pending = boot.list_pending_migrations()

    assert "accounts.0001_initial" in pending
    assert "fleet.0001_initial" in pending
