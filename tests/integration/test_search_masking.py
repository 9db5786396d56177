"""A member gets nothing from which a sensor or its address follows, whatever they ask."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from teiten.portal.api.encoding import to_json
from teiten.search import language
from teiten.search.dimensions import DIMENSIONS
from teiten.search.errors import NotPermitted, QueryError
from teiten.search.fields import FIELDS
from teiten.search.formats import FORMATS
from teiten.search.masking import PERMISSIONS
from teiten.search.query import Query, for_period
from teiten.search.visibility import for_role
from teiten.traffic.columns import COLUMNS

sys.path.insert(0, str(Path(__file__).parent))
from search_fixtures import (
    FIRST,
    IP_ID,
    NOW,
    PAYLOAD,
    PAYLOAD_HASH,
    TCP_ACK,
    TCP_SEQ,
    VLAN,
    World,
    open_world,
)

pytestmark = pytest.mark.requirement("R0.1", "R3.1")

MEMBER, ANALYST = for_role("member"), for_role("analyst")
ALL_COLUMNS = tuple(column.name for column in COLUMNS)
#: How each secret would look in JSON, CSV or hexadecimal.
SECRETS = {
    "sensor": [str(FIRST + number) for number in range(1, 8)],
    "destination": [*(f"192.0.2.{last}" for last in range(1, 8)), "2001:db8::", "c00002"],
    "sequence": [str(TCP_SEQ), f"{TCP_SEQ:08x}"],
    "acknowledgement": [str(TCP_ACK), f"{TCP_ACK:08x}"],
    "identification": [str(IP_ID), f"{IP_ID:04x}"],
    "vlan": [str(VLAN)],
    "payload": [PAYLOAD.hex(), PAYLOAD.hex().upper(), "secret!"],
    "payload hash": [f"{PAYLOAD_HASH:016x}", str(PAYLOAD_HASH)],
}


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with open_world() as made:
        yield made


def last(text: str = "", **choices: Any) -> Query:
    return replace(for_period("live", "24h", now=NOW), filters=language.parse(text), **choices)


def find_leaks(text: str) -> list[str]:
    return [what for what, forms in SECRETS.items() if any(form in text for form in forms)]


def list_calls(world: World) -> dict[str, Callable[[Any], Any]]:
    search, query = world.search, last("protocol = tcp or protocol = udp")
    calls: dict[str, Callable[[Any], Any]] = {
        "totals": lambda viewer: search.totals(viewer, query),
        "series": lambda viewer: search.series(viewer, query, dimension="region"),
        "facets": lambda viewer: search.facets(viewer, query, dimensions=list(DIMENSIONS)[:20], limit=50),
        "more facets": lambda viewer: search.facets(
            viewer, query, dimensions=list(DIMENSIONS)[20:], limit=50
        ),
        "rows": lambda viewer: search.rows(viewer, query, columns=ALL_COLUMNS, limit=1_000),
        "source": lambda viewer: search.source(viewer, query, source="240.0.0.0/16"),
        "sensors": lambda viewer: search.sensors(viewer, query),
        "basis": lambda viewer: search.basis(viewer, query),
        "datasets": search.datasets,
        "complete": lambda viewer: search.complete(viewer, "sensor = "),
        "fields": search.fields,
    }
    for dimension, declared in DIMENSIONS.items():
        if declared.permission == "open":
            calls[f"top {dimension}"] = lambda viewer, by=dimension: search.top(  # type: ignore[misc]
                viewer, query, dimension=by, limit=1_000, sparks=False
            )
    return calls


def test_no_answer_to_a_member_holds_a_secret(world: World) -> None:
    for name, call in list_calls(world).items():
        text = to_json(call(MEMBER))
        assert find_leaks(_without_figures(text)) == [], name


def _without_figures(text: str) -> str:
    """Leave out plain measurements, which may hold any digits by chance."""
    plain = json.loads(text)
    return json.dumps(_drop(plain))


def _drop(value: Any) -> Any:
    if isinstance(value, dict):
        dropped = {"values", "spark", "sparks", "previous_sparks", "strip", "references", "next_page", "cost"}
        return {key: _drop(part) for key, part in value.items() if key not in dropped}
    if isinstance(value, list):
        return [_drop(part) for part in value]
    return None if isinstance(value, float) else value


def test_the_test_would_see_a_leak(world: World) -> None:
    rows = to_json(world.search.rows(ANALYST, last(), columns=ALL_COLUMNS, limit=1_000))

    assert find_leaks(rows) == [
        "sensor",
        "destination",
        "sequence",
        "acknowledgement",
        "identification",
        "vlan",
        "payload",
        "payload hash",
    ]


def test_a_packets_header_is_rebuilt_without_them(world: World) -> None:
    rows = world.search.rows(MEMBER, last("protocol = tcp and ip_version = 4"), limit=20)

    for reference in rows.references:
        packet = world.search.packet(MEMBER, reference)
        states = {part.name: part.state for part in packet.parts}
        assert find_leaks(to_json(packet)) == []
        assert states["dst_addr"] == states["ip_id"] == states["tcp_seq"] == states["tcp_ack"] == "masked"
        assert packet.payload is None
        assert packet.header[16:20] == bytes(4)


def test_references_do_not_tell_the_batch(world: World) -> None:
    rows = world.search.rows(MEMBER, last(), limit=2)

    assert len(set(rows.references)) == 2
    assert find_leaks(" ".join(rows.references)) == []
    with pytest.raises(QueryError):
        world.search.packet(ANALYST, rows.references[0])
    clear = world.search.rows(ANALYST, last(), limit=1).references[0]
    with pytest.raises(QueryError):
        world.search.packet(MEMBER, clear)


@pytest.mark.parametrize("file_format", list(FORMATS))
def test_files_are_masked_too(world: World, file_format: Any) -> None:
    for columns in (None, ALL_COLUMNS):
        made = world.search.export(MEMBER, last(), file_format=file_format, columns=columns)
        rows = read_file(file_format, b"".join(made))

        assert len(rows) == made.start.rows > 500
        assert find_leaks(json.dumps(rows, default=str)) == []
    analyst = world.search.export(ANALYST, last(), file_format=file_format, columns=ALL_COLUMNS)
    assert "destination" in find_leaks(json.dumps(read_file(file_format, b"".join(analyst)), default=str))


def read_file(file_format: str, data: bytes) -> list[dict[str, Any]]:
    if file_format == "parquet":
        return pq.read_table(io.BytesIO(data)).to_pylist()
    if file_format == "arrow":
        return pa.ipc.open_stream(data).read_all().to_pylist()
    if file_format == "ndjson":
        return [json.loads(line) for line in data.decode().splitlines()]
    import csv

    return list(csv.DictReader(io.StringIO(data.decode())))


@pytest.mark.parametrize("name", [name for name, field in FIELDS.items() if field.permission != "open"])
def test_what_is_masked_is_neither_filtered_nor_split_by(world: World, name: str) -> None:
    value = {"dst_addr": "192.0.2.1", "payload_hash": "0" * 16}.get(name, "1")
    narrowed = last(f"country = CN or not ({name} = {value} or ttl = 3)")
    search = world.search
    calls: list[Callable[[], Any]] = [
        lambda: search.totals(MEMBER, narrowed),
        lambda: search.series(MEMBER, narrowed),
        lambda: search.top(MEMBER, narrowed, dimension="country"),
        lambda: search.facets(MEMBER, narrowed),
        lambda: search.rows(MEMBER, narrowed),
        lambda: search.basis(MEMBER, narrowed),
        lambda: search.sensors(MEMBER, narrowed),
        lambda: search.export(MEMBER, narrowed, file_format="csv"),
    ]
    if FIELDS[name].is_dimension:
        calls += [
            lambda: search.series(MEMBER, last(), dimension=name),
            lambda: search.top(MEMBER, last(), dimension=name),
        ]

    for call in calls:
        with pytest.raises(NotPermitted, match=name):
            call()


def test_a_masked_facet_is_named_not_shown(world: World) -> None:
    answer = world.search.facets(MEMBER, last(), dimensions=["sensor", "dst_addr", "country"])

    assert answer.masked == ("sensor", "dst_addr")
    assert [facet.dimension for facet in answer.facets] == ["country"]


def test_members_see_regions_instead_of_sensors(world: World) -> None:
    answer = world.search.sensors(MEMBER, last())
    page = world.search.source(MEMBER, last(), source="240.0.0.0/16")

    assert (answer.sensors, answer.masked) == ((), ("sensors",))
    assert [region.region for region in answer.regions] == ["kanto", "kinki", "kyushu"]
    assert {seen.sensor for seen in page.seen_by} == {None}
    with pytest.raises(NotPermitted):
        world.search.sensors(MEMBER, last(), sensor=FIRST + 1)
    with pytest.raises(NotPermitted, match="live"):
        world.search.live(MEMBER, last())


def test_every_column_has_a_permission() -> None:
    assert set(PERMISSIONS) == set(ALL_COLUMNS)
    for role in ("operator", "analyst"):
        assert all(for_role(role).grants(permission) for permission in PERMISSIONS.values())


def test_an_unknown_role_sees_nothing() -> None:
    with pytest.raises(NotPermitted, match="known roles"):
        for_role("guest")
