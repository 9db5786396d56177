"""Members who probe, and compare answers: each test is an attack that once worked."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from teiten.portal.testing import Cast, client_of, make_cast, migrated_database
from teiten.search import language
from teiten.search.answers_places import SensorGroup
from teiten.search.breadth import tell_seen
from teiten.search.errors import NotPermitted, QueryError
from teiten.search.query import Query, for_period
from teiten.search.visibility import Visibility, for_viewer
from teiten.store import writer
from teiten.store.testing import make_coverage, make_packets

sys.path.insert(0, str(Path(__file__).parent))
import probing_fixtures as probes
from probing_fixtures import BROAD, BROAD_PORT, CODER_PORT, HOUR, SENSORS, open_probed_world
from search_fixtures import NOW, START, World

pytestmark = pytest.mark.requirement("R0.1")

SECRET = b"s" * 32
MEMBER = for_viewer("member", organisation_id=1, secret=SECRET)
OTHER = for_viewer("member", organisation_id=2, secret=SECRET)
#: Houses two sensors.
HOST = for_viewer("member", organisation_id=3, secret=SECRET, own_sensors=SENSORS[:2])
ANALYST = for_viewer("analyst")
#: A port that reached one sensor, and one that reached none.
HIT, MISS = 61_101, 61_102
#: Reached one sensor on Thursday and everybody on Friday.
EARLY_PORT, EARLY = 61_200, HOUR - timedelta(days=1)
#: From the broad scanner, to a port that everybody else scans.
CROSSED = 23


def plant() -> list[dict[str, Any]]:
    probe = probes._packet
    return [
        probe(100, SENSORS[3], src_addr="203.0.113.50", dst_port=HIT, country="ZX", asn=65_530),
        probe(101, SENSORS[3], src_addr=BROAD, dst_port=CROSSED),
        *(
            probe(120 + n, sensor, src_addr=BROAD, dst_port=BROAD_PORT + 1)
            for n, sensor in enumerate(SENSORS[2:])
        ),
        probe(140, SENSORS[4], src_addr=BROAD, dst_port=EARLY_PORT, observed_at=EARLY),
        *(
            probe(141 + n, sensor, src_addr=BROAD, dst_port=EARLY_PORT)
            for n, sensor in enumerate(SENSORS[:3])
        ),
    ]


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with open_probed_world() as made:
        block = writer.BlockRows(
            block="00000000-0000-0000-0000-0000000000aa",
            composed_at_us=made.clock.now_us(),
            packets=make_packets(*plant()),
            coverage=make_coverage(),
        )
        writer.insert_block(made.store, block)
        yield made


def last(text: str = "", period: str = "24h", **choices: Any) -> Query:
    return replace(for_period("live", period, now=NOW), filters=language.parse(text), **choices)


def count(world: World, viewer: Visibility, text: str, *, hours: tuple[int, int]) -> float | None:
    start, end = hours
    query = last(text).within(HOUR - timedelta(hours=start), HOUR + timedelta(hours=end))
    return world.search.totals(viewer, query).packets.value


#: With a probe, and without it: what tells them apart tells whether it arrived.
PAIRS = [
    ("", f"not dst_port = {HIT}"),
    ("protocol = tcp", f"protocol = tcp and not dst_port in ({HIT}, {MISS})"),
    ("", "country != ZX"),
    (f"src_addr = {BROAD}", f"src_addr = {BROAD} and dst_port != {CROSSED}"),
    (f"src_addr = {BROAD}", f"src_addr = {BROAD} and not (dst_port = {CROSSED} and protocol = tcp)"),
    ("", f"not (src_addr = {BROAD} and dst_port = {CROSSED})"),
    (f"dst_port = {BROAD_PORT}", f"dst_port in ({BROAD_PORT}, {HIT})"),
    ("country = CN", f"country = CN or dst_port = {HIT}"),
    ("asn = 64501", f"asn = 64501 or (src_addr = {BROAD} and dst_port = {CROSSED}) or asn = 65530"),
]


@pytest.mark.parametrize(("plain", "probed"), PAIRS)
def test_a_condition_on_one_probe_changes_no_figure(world: World, plain: str, probed: str) -> None:
    for hours in ((0, 1), (2, 3), (6, 6)):
        assert count(world, MEMBER, plain, hours=hours) == count(world, MEMBER, probed, hours=hours), hours


@pytest.mark.parametrize(("plain", "probed"), PAIRS)
def test_the_test_would_see_the_probe(world: World, plain: str, probed: str) -> None:
    assert count(world, ANALYST, plain, hours=(6, 6)) != count(world, ANALYST, probed, hours=(6, 6))


@pytest.mark.parametrize("join", ["dst_port in ({})", "dst_port = {}"])
def test_probes_are_not_joined_until_they_stand_on_enough(world: World, join: str) -> None:
    """One probe for each candidate, and then subsets of them asked about at leisure."""
    ports = [str(CODER_PORT + number) for number in range(1, 7)]
    text = join.format(", ".join(ports)) if "in" in join else " or ".join(join.format(port) for port in ports)

    assert count(world, ANALYST, text, hours=(8, 8)) == 6
    assert count(world, MEMBER, text, hours=(8, 8)) == 0


def test_what_many_sensors_saw_can_be_left_out(world: World) -> None:
    whole, less = (count(world, MEMBER, text, hours=(6, 6)) for text in ("", "dst_port != 23"))

    assert 0 < (less or 0) < (whole or 0)


def test_probes_are_not_joined_within_an_alternative(world: World) -> None:
    for text in (
        "(protocol = tcp and dst_port in (62001, 62002, 62003)) or asn = 5",
        "asn = 5 or (protocol = tcp and (dst_port = 62001 or dst_port = 62002))",
    ):
        with pytest.raises(QueryError, match="each alternative"):
            world.search.totals(MEMBER, last(text))


@pytest.mark.parametrize("text", [f"dst_port <= {HIT}", f"not dst_port = {HIT}..{MISS}", "asn > 65529"])
def test_a_range_whose_edge_could_be_moved_is_refused(world: World, text: str) -> None:
    with pytest.raises(NotPermitted, match="range"):
        world.search.totals(MEMBER, last(text))


@pytest.mark.parametrize("viewer", [MEMBER, HOST])
def test_a_flood_of_one_sensor_raises_no_count_of_the_basis(world: World, viewer: Visibility) -> None:
    for text in ("", "region = kinki", "region != kanto"):
        basis = world.search.basis(viewer, last(text))
        assert (basis.captured_packets, basis.kernel_drops, basis.excluded_packets) == (0, 0, 0)
        assert basis.kernel_drop_share is None


def test_coverage_of_fewer_than_k_sensors_is_not_told(world: World) -> None:
    few = world.search.totals(MEMBER, last("region = kinki")).basis

    assert (few.sensors_seen, few.sensors_known, few.covered_address_days, few.gaps) == (0, 0, 0, ())
    assert not any((*few.strip.sensors, *few.strip.covered_address_days))
    assert world.search.totals(MEMBER, last("region = kanto")).basis.sensors_seen == 3
    assert world.search.totals(HOST, last("region = kanto")).basis.sensors_seen == 0


def test_a_region_of_few_sensors_is_neither_compared_nor_listed(world: World) -> None:
    few = SensorGroup(regions=frozenset({"kinki"}))
    compared = world.search.compare(MEMBER, last(), one=few, other=None, dimension="dst_port")

    assert (compared.one.sensors, compared.one.covered_address_days, compared.one.rate) == (0, 0, None)
    assert world.search.sensors(MEMBER, last("region = kinki")).sensors == ()
    assert [each.sensor for each in world.search.sensors(HOST, last("region = kanto")).sensors] == SENSORS[:2]
    assert len(world.search.sensors(MEMBER, last("region in (kanto, kinki)")).sensors) == 3


def test_news_are_dated_by_the_day_on_which_enough_sensors_saw_them(world: World) -> None:
    query = last().within(START, NOW)
    news = world.search.news(
        MEMBER, replace(query, start=NOW - timedelta(days=3)), dimension="dst_port", days=1
    )
    first = {item.groups[0].key: item.first_seen_at for item in news.items}

    assert first.get(f"{EARLY_PORT}/tcp") == first.get(f"{BROAD_PORT}/tcp") is not None


@pytest.mark.parametrize("text", [f"src_addr = {BROAD}", f"dst_port = {BROAD_PORT}"])
@pytest.mark.parametrize("own", [1, 2, 3, 4])
def test_own_sensors_move_no_step_of_breadth(world: World, text: str, own: int) -> None:
    """Own sensors that one probes oneself would shift the edge of a step, until one more of others shows."""
    query = last(text).within(HOUR, HOUR + timedelta(hours=1))
    host = for_viewer("member", organisation_id=3, secret=SECRET, own_sensors=SENSORS[-own:])
    analysed, told = (world.search.breadth(viewer, query) for viewer in (ANALYST, host))
    others = len(SENSORS) - own

    assert analysed.sensors_seen == len(SENSORS)
    wanted = tell_seen(
        host, seen=others, covered=told.sensors_covered, seen_in={"kanto"}, covered_in={"kanto", "kinki"}
    )
    assert (told.share, told.sensors_seen, told.only_here) == (wanted.share, None, None)
    assert (told.share is None) == (others < host.least_sensors)


def test_pseudonyms_of_two_recipients_share_what_is_told_with_k_others(world: World) -> None:
    for viewer in (MEMBER, OTHER, HOST):
        told = [
            (each.region, each.share)
            for each in world.search.sensors(viewer, last(period="7d")).sensors
            if each.sensor is None and each.share is not None
        ]
        assert all(told.count(each) >= viewer.least_sensors for each in told)
        regions = [
            each.region for each in world.search.sensors(viewer, last()).sensors if each.sensor is None
        ]
        assert all(regions.count(region) >= viewer.least_sensors for region in regions if region)
        for row in world.search.sensors(viewer, last()).regions:
            assert row.sensors_known >= viewer.least_sensors


@pytest.fixture
def cast(postgres_server_url: str, world: World, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cast]:
    with migrated_database(postgres_server_url):
        from teiten.portal import middleware, services

        monkeypatch.setattr(middleware, "clock", world.clock)
        services.set_search(world.search)
        yield make_cast(NOW)


#: Call of the API → what it needs besides the question.
API = {
    "totals": {},
    "top": {"by": "country"},
    "rows": {"columns": "observed_at,protocol,dst_port"},
    "export": {"format": "csv", "columns": "observed_at,protocol,dst_port"},
    "breadth": {},
}


@pytest.mark.parametrize("name", API)
def test_the_api_answers_alike_with_and_without_one_probe(cast: Cast, name: str) -> None:
    start, end = (
        f"{(HOUR + timedelta(hours=hours)).isoformat()}".replace("+00:00", "Z") for hours in (-2, 2)
    )
    asked = {"dataset": "live", "period": "custom", "start": start, "end": end, **API[name]}
    told = []
    for text in ("", f"dst_port != {HIT}", "country != ZX"):
        answer = client_of(cast.alice).get(f"/api/v1/{name}", {**asked, **({"q": text} if text else {})})
        assert answer.status_code == 200, answer.content
        headers = {key: value for key, value in answer.items() if key in ("Content-Length", "ETag")}
        told.append((headers, _read(answer, text)))

    assert [each[1] for each in told[1:]] == [told[0][1]] * 2
    if name == "export":
        assert [each[0] for each in told[1:]] == [told[0][0]] * 2


def _read(answer: Any, text: str) -> Any:
    if answer.streaming:
        import asyncio

        async def gather() -> bytes:
            return b"".join([bytes(piece) async for piece in answer])

        return asyncio.run(gather()) if answer.is_async else b"".join(answer)
    value = answer.json()
    for part in ("cost", "query", "next_page"):
        value.pop(part, None)
    return value


def test_the_api_refuses_a_member_ranges_by_name(cast: Cast) -> None:
    for user, status in ((cast.alice, 403), (cast.ann, 200)):
        answer = client_of(user).get(
            "/api/v1/totals", {"dataset": "live", "period": "24h", "q": f"dst_port <= {HIT}"}
        )
        assert answer.status_code == status
    page = client_of(cast.alice).get(
        "/explore/", {"dataset": "live", "period": "24h", "q": f"dst_port <= {HIT}"}
    )
    assert page.status_code < 500
