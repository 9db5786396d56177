"""Every page of the portal, as a member who probes: no secret, no mark, and a hit that looks like a miss."""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from teiten.portal.testing import Cast, client_of, make_cast, migrated_database

sys.path.insert(0, str(Path(__file__).parent))
from probing_fixtures import CODER, NOBODY, NOBODY_PORT, SINGLE, SINGLE_PORT, open_probed_world
from search_fixtures import FIRST, NOW, World
from test_search_masking import find_leaks

pytestmark = pytest.mark.requirement("R0.1", "R3.1")

#: Route → what stands in its gaps: for a probe that hit one sensor, and for one that hit none.
PAGES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "port": ({"key": f"{SINGLE_PORT}/tcp"}, {"key": f"{NOBODY_PORT}/tcp"}),
    "fingerprint": ({"key": "31337:2-4-8-1-3:1337:9"}, {"key": "31338:2-4-8-1-3:1337:9"}),
    "probe": ({"key": "marked-probe"}, {"key": "marked-never"}),
    "country": ({"key": "ZZ"}, {"key": "XZ"}),
    "as": ({"key": "65533"}, {"key": "65532"}),
    "actor": ({"key": "marked-actor"}, {"key": "marked-never"}),
    "source": ({"source": SINGLE}, {"source": NOBODY}),
}
#: Routes with gaps whose pages are the same for everybody, or refuse a member.
OTHERS: dict[str, dict[str, Any]] = {
    "payload": {"key": "fedcba9876543211"},
    "tool": {"key": "mirai"},
    "nature": {"key": "scan"},
    "withdraw-note": {"number": 1},
    "withdraw-name": {"number": 1},
    "names": {"kind": "tcp_fp", "value": "31337:2-4-8-1-3:1337:9"},
    "sensor": {"sensor": FIRST + 1},
    "survey-list": {"name": "nothing"},
    "act-on-sensor": {"sensor": FIRST + 1, "action": "suspend"},
    "acknowledge-alarm": {"number": 1},
    "command": {"command_id": "NOTHING"},
    "start-command": {"command_id": "NOTHING"},
    "stop-command": {"command_id": "NOTHING"},
    "rollout": {"number": 1},
    "move-rollout": {"number": 1},
    "cancel-maintenance": {"sensor": FIRST + 1, "number": 1},
    "host": {"code": "beta"},
    "add-contact": {"code": "beta"},
    "remove-contact": {"code": "beta", "number": 1},
    "agree-classes": {"code": "beta"},
}
#: Pages whose question a filter narrows: asked about a hit and a miss by filter.
NARROWED = ("overview", "explore", "packets", "sensors", "compare")
ASKED = {"dataset": "live", "period": "24h"}


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with open_probed_world() as made:
        yield made


@pytest.fixture
def cast(postgres_server_url: str, world: World, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cast]:
    with migrated_database(postgres_server_url):
        from teiten.portal import middleware, services

        monkeypatch.setattr(middleware, "clock", world.clock)
        services.set_search(world.search)
        yield make_cast(NOW)


def list_routes() -> dict[str, list[str]]:
    """Give each named route of the portal with the names of its gaps."""
    from teiten.portal.testing import start_django_for_tests

    start_django_for_tests()
    from django.urls import get_resolver

    def walk(patterns: Any) -> Iterator[tuple[str, list[str]]]:
        for pattern in patterns:
            if hasattr(pattern, "url_patterns"):
                if "api" not in str(pattern.pattern):
                    yield from walk(pattern.url_patterns)
            elif pattern.name:
                yield pattern.name, re.findall(r"<\w+:(\w+)>", str(pattern.pattern))

    return dict(walk(get_resolver().url_patterns))


def test_every_page_with_a_gap_is_tried_here() -> None:
    assert {name for name, gaps in list_routes().items() if gaps} == {*PAGES, *OTHERS}


def test_no_page_holds_a_secret_or_a_mark(cast: Cast) -> None:
    from django.urls import reverse

    client = client_of(cast.alice)
    for name, gaps in list_routes().items():
        if name in (
            "sign-out",
            "rules",
        ):  # the rules name numbers of public tools (ZMap's 54321), not of packets
            continue
        values = (OTHERS[name] if name in OTHERS else PAGES[name][0]) if gaps else {}
        asked = {**ASKED, "format": "csv"} if name == "export" else ASKED
        response = client.get(reverse(name, kwargs=values), asked)
        assert response.status_code < 500, name
        content = read(response)
        if name == "export":
            from teiten.custody.models import DisclosureEnd

            assert DisclosureEnd.objects.get().is_whole
        # A page may repeat what it was asked about.
        assert find_leaks(_without(content.decode(errors="replace"), values)) == [], name


@pytest.mark.parametrize("name", PAGES)
def test_the_page_of_a_probe_that_hit_looks_like_one_that_did_not(cast: Cast, name: str) -> None:
    from django.urls import reverse

    client = client_of(cast.alice)
    hit, miss = PAGES[name]
    pages = [
        _without(client.get(reverse(name, kwargs=values), ASKED).content.decode(), values)
        for values in (hit, miss)
    ]

    assert pages[0] == pages[1]


@pytest.mark.parametrize("name", NARROWED)
def test_a_filter_by_a_probe_that_hit_looks_like_one_that_did_not(cast: Cast, name: str) -> None:
    from django.urls import reverse

    client = client_of(cast.alice)
    for hit, miss in (
        (f"src_addr = {SINGLE}", f"src_addr = {NOBODY}"),
        (f"src_addr = {CODER} and dst_port = 62001", f"src_addr = {CODER} and dst_port = 62009"),
    ):
        pages = [
            _without(client.get(reverse(name), {**ASKED, "q": text}).content.decode(), {"q": text})
            for text in (hit, miss)
        ]
        assert pages[0] == pages[1], hit


def test_counts_of_capture_stand_on_no_members_page(cast: Cast) -> None:
    """Nothing stands behind them but the sensor that was flooded."""
    from django.urls import reverse

    told = []
    for user in (cast.alice, cast.ann):
        page = client_of(user).get(reverse("overview"), ASKED, headers={"accept-language": "en"})
        told.append([word in page.content.decode() for word in ("Kernel drops", "Excluded (own traffic)")])

    assert told == [[False, False], [True, True]]


def test_an_analyst_sees_the_difference(cast: Cast) -> None:
    """Otherwise the pages above would be equal because they show nothing at all."""
    from django.urls import reverse

    pages = [
        _without(client_of(cast.ann).get(reverse("source", kwargs=values), ASKED).content.decode(), values)
        for values in PAGES["source"]
    ]

    assert pages[0] != pages[1]


def read(response: Any) -> bytes:
    if not response.streaming:
        return bytes(response.content)

    async def collect() -> bytes:
        return b"".join([piece async for piece in response.streaming_content])

    return asyncio.run(collect())


def _without(text: str, values: dict[str, Any]) -> str:
    """Take out what a page repeats of its address, in any of its spellings, and what changes each time."""
    text = re.sub(r'(csrfmiddlewaretoken" value=|CSRFToken": )"[^"]*"', "", text)
    for value in values.values():
        for word in re.findall(r"[\w.:-]+", str(value)):
            if len(word) > 1 and word not in ("and", "src_addr", "dst_port", "tcp"):
                text = text.replace(word.replace(":", "%3A"), "VALUE").replace(word, "VALUE")
    return text
