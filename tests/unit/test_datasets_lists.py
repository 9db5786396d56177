"""Survey lists: what is read, what is refused, what an import changes."""

from __future__ import annotations

import contextlib
import ipaddress
import json
from datetime import datetime, timedelta, timezone

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from teiten.datasets.entries import StatedEntry
from teiten.datasets.errors import DatasetsInputError
from teiten.datasets.merging import HeldEntry, merge
from teiten.datasets.reading import Defaults, read_list
from teiten.foundation.clock import to_us
from teiten.traffic import addresses
from teiten.traffic.survey import FOREVER_US, SurveyNetwork, SurveyTable

pytestmark = pytest.mark.requirement("R2.2")
HEADER = "network,owner,valid_from,valid_to,source\n"
DAY = datetime(2026, 11, 20, tzinfo=timezone.utc)
WARNINGLIST = {
    "name": "Example Research IP ranges used for scanning",
    "version": 20261120,
    "description": "Published ranges",
    "type": "cidr",
    "matching_attributes": ["ip-src", "ip-dst"],
    "list": ["192.0.2.7", "198.51.100.0/24", "2001:db8:1::/48"],
}


def read(content: str | dict, **defaults):
    text = json.dumps(content) if isinstance(content, dict) else content
    return read_list(text.encode(), file="list.txt", defaults=Defaults(**defaults))


def test_it_works() -> None:
    stated = read(HEADER + "192.0.2.7,Example,2026-11-01,2026-12-01,a page\n2001:db8::/32,Other,,,\n")

    assert stated.format == "csv"
    assert [(one.network, one.owner, one.valid_from, one.valid_to) for one in stated.entries] == [
        (
            "192.0.2.7/32",
            "Example",
            datetime(2026, 11, 1, tzinfo=timezone.utc),
            datetime(2026, 12, 1, tzinfo=timezone.utc),
        ),
        ("2001:db8::/32", "Other", None, None),
    ]


def test_a_warninglist_is_read_with_its_name_as_owner() -> None:
    stated = read(WARNINGLIST)

    assert (stated.format, stated.title, stated.version) == ("misp", WARNINGLIST["name"], "20261120")
    assert [one.network for one in stated.entries] == ["192.0.2.7/32", "198.51.100.0/24", "2001:db8:1::/48"]
    assert {one.owner for one in stated.entries} == {WARNINGLIST["name"]}
    assert {one.owner for one in read(WARNINGLIST, owner="Example", valid_from=DAY).entries} == {"Example"}
    assert {one.valid_from for one in read(WARNINGLIST, valid_from=DAY).entries} == {DAY}


@pytest.mark.parametrize(
    ("row", "rule"),
    [
        ("0.0.0.0/0,Example,,,", "line 2: 0.0.0.0/0 is too broad; an IPv4 entry is /8 or longer"),
        ("240.0.0.0/4,Example,,,", "line 2: 240.0.0.0/4 is too broad"),
        ("2001::/15,Example,,,", r"line 2: .*did you mean 2000::/15"),
        ("2000::/15,Example,,,", "line 2: 2000::/15 is too broad; an IPv6 entry is /16 or longer"),
        ("::/0,Example,,,", "line 2: ::/0 is too broad"),
        ("192.0.2.1/24,Example,,,", "line 2: .* did you mean 192.0.2.0/24"),
        ("scanner.example.org,Example,,,", "line 2: 'scanner.example.org' is no address and no prefix"),
        ("::ffff:192.0.2.0/120,Example,,,", "line 2: .*write it as IPv4"),
        ("fe80::1%eth0,Example,,,", "line 2: .*names an interface"),
        ("192.0.2.7,,,,", "line 2: the owner is missing"),
        ("192.0.2.7,Example,2026-11-02,2026-11-01,", "line 2: validity is reversed"),
        ("192.0.2.7,Example,2026-11-02,2026-11-02,", "line 2: validity is reversed"),
        ("192.0.2.7,Example,yesterday,,", "line 2: 'yesterday' is no day"),
        ("192.0.2.7,Example,", "line 2: has 3 fields, 5 are needed"),
        ("192.0.2.7,Exa\x07mple,,,", "line 2: the owner holds control characters"),
        (f"192.0.2.7,{'x' * 101},,,", "line 2: the owner has 101 characters"),
        (
            "192.0.2.7,Example,,,\n192.0.2.7/32,Other,,,",
            "line 3: 192.0.2.7/32 is a duplicate: line 2 holds it at the same time",
        ),
        (
            "192.0.2.7,Example,2026-11-01,2026-11-10,\n192.0.2.7,Example,2026-11-09,,",
            "line 3: 192.0.2.7/32 is a duplicate",
        ),
        ('192.0.2.7,"Example,,,', "is no CSV"),
        ("", "holds no entry"),
    ],
)
def test_a_bad_line_is_refused_with_its_number_and_the_rule(row: str, rule: str) -> None:
    with pytest.raises(DatasetsInputError, match=rule):
        read(HEADER + row + "\n")


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"type": "hostname"}, "type: 'hostname' names no networks"),
        ({"type": None}, "type: None names no networks"),
        ({"list": ["scanner.example.org"]}, "entry 1: 'scanner.example.org' is no address"),
        ({"list": ["192.0.2.7", "0.0.0.0/0"]}, "entry 2: 0.0.0.0/0 is too broad"),
        ({"list": ["192.0.2.7", 7]}, "entry 2: 7 is no text"),
        ({"list": ["192.0.2.7", "192.0.2.7/32"]}, "entry 2: .*duplicate: entry 1"),
        ({"list": []}, "holds no entry"),
        ({"list": {"192.0.2.7": True}}, "list: must be an array"),
        ({"version": "2026"}, "version: must be a whole number"),
        ({"version": True}, "version: must be a whole number"),
        ({"name": ""}, "the name is missing"),
        ({"name": 5}, "name: must be a text"),
    ],
)
def test_a_bad_warninglist_is_refused_with_its_entry_and_the_rule(change: dict, rule: str) -> None:
    with pytest.raises(DatasetsInputError, match=rule):
        read({**WARNINGLIST, **change})


@pytest.mark.parametrize("content", [b"\xff\xfe", b"{", b"{}", b"[]", b"{" * 100_000, b"", b"network\n"])
def test_what_is_no_list_is_refused(content: bytes) -> None:
    with pytest.raises(DatasetsInputError, match=r"list\.txt"):
        read_list(content, file="list.txt", defaults=Defaults(owner="Example"))


@given(content=st.binary(max_size=200))
@settings(max_examples=50, deadline=None)
def test_no_bytes_break_the_reader(content: bytes) -> None:
    for head in (b"", HEADER.encode(), b'{"list":'):
        with contextlib.suppress(DatasetsInputError):
            read_list(head + content, file="list.txt", defaults=Defaults(owner="Example"))


def test_a_network_may_change_hands_within_a_list() -> None:
    stated = read(HEADER + "192.0.2.7,New,2026-11-10,,\n192.0.2.7,Old,2026-11-01,2026-11-10,\n")

    assert len(stated.entries) == 2


# What an import changes.

NETWORKS = ["192.0.2.0/28", "192.0.2.0/30", "192.0.2.4/32", "2001:db8::/48"]
days = st.integers(0, 12).map(lambda number: DAY + timedelta(days=number))
stated_entries = st.lists(
    st.builds(
        StatedEntry,
        network=st.sampled_from(NETWORKS),
        owner=st.sampled_from(["Example", "Other"]),
        valid_from=st.one_of(st.none(), days),
        valid_to=st.one_of(st.none(), days.map(lambda day: day + timedelta(days=20))),
    ),
    max_size=6,
    unique_by=lambda one: (one.network, one.owner),
)


class Kept:
    """A list as it is kept, in memory."""

    def __init__(self) -> None:
        self.rows: dict[int, HeldEntry] = {}
        self.number = 0

    def take(self, stated, now: datetime) -> None:
        done = merge(self.rows.values(), stated, now=now)
        for number in done.drop:
            del self.rows[number]
        for number in done.close:
            self._change(number, valid_to=now)
        for number, entry in done.change:
            self._change(number, valid_to=entry.valid_to)
        for entry, start_at in sorted(done.add, key=lambda one: (one[0].network, one[0].owner)):
            self.number += 1
            self.rows[self.number] = HeldEntry(
                self.number, entry.network, entry.owner, start_at, entry.valid_to
            )

    def _change(self, number: int, *, valid_to) -> None:
        row = self.rows[number]
        self.rows[number] = HeldEntry(row.id, row.network, row.owner, row.valid_from, valid_to)

    def said(self) -> set:
        return {(row.network, row.owner, row.valid_from, row.valid_to) for row in self.rows.values()}


@given(imports=st.lists(stated_entries, min_size=1, max_size=4), data=st.data())
@settings(max_examples=60, deadline=None)
def test_merging_does_not_depend_on_the_order_of_entries(imports, data) -> None:
    one, other = Kept(), Kept()
    for number, stated in enumerate(imports):
        now = DAY + timedelta(days=3 * number, hours=7)
        one.take(stated, now)
        other.take(data.draw(st.permutations(stated)), now)

    assert one.said() == other.said()


@given(imports=st.lists(stated_entries, min_size=1, max_size=4))
@settings(max_examples=60, deadline=None)
def test_taking_the_same_list_twice_changes_nothing(imports) -> None:
    kept = Kept()
    now = DAY
    for number, stated in enumerate(imports):
        now = DAY + timedelta(days=3 * number, hours=7)
        kept.take(stated, now)
    before = kept.said()
    again = merge(kept.rows.values(), imports[-1], now=now)

    assert (again.add, again.change, again.close, again.drop) == ([], [], [], [])
    assert kept.said() == before


@given(imports=st.lists(stated_entries, min_size=1, max_size=4))
@settings(max_examples=60, deadline=None)
def test_what_held_still_holds_for_its_time_and_only_what_is_named_holds_now(imports) -> None:
    kept = Kept()
    for number, stated in enumerate(imports):
        now = DAY + timedelta(days=3 * number, hours=7)
        held_before = [row for row in kept.rows.values() if row.valid_from < now]
        kept.take(stated, now)

        for row in held_before:
            assert kept.rows[row.id].valid_from == row.valid_from
        holding = {
            (row.network, row.owner)
            for row in kept.rows.values()
            if row.valid_from <= now and (row.valid_to is None or row.valid_to > now)
        }
        named = {(one.network, one.owner) for one in stated}
        assert holding <= named
        for one in stated:
            if one.valid_from is None:
                assert (one.network, one.owner) in holding or one.valid_to is not None


@given(imports=st.lists(stated_entries, min_size=1, max_size=3))
@settings(max_examples=40, deadline=None)
def test_lookups_equal_a_naive_model(imports) -> None:
    kept = Kept()
    for number, stated in enumerate(imports):
        kept.take(stated, DAY + timedelta(days=3 * number))
    rows = sorted(kept.said(), key=str)
    table = SurveyTable(
        [
            SurveyNetwork(
                network, owner, to_us(start_at), FOREVER_US if end_at is None else to_us(end_at), "test"
            )
            for network, owner, start_at, end_at in rows
        ]
    )
    asked = ["192.0.2.0", "192.0.2.4", "192.0.2.9", "192.0.2.99", "2001:db8::7", "2001:db8:1::"]
    times = [DAY + timedelta(days=number) for number in range(-1, 30, 3)]
    packed = addresses.from_texts([text for text in asked for _ in times])
    known, _ = table.lookup(packed, np.array([to_us(at) for _ in asked for at in times], np.int64))

    def naive(text: str, at: datetime) -> bool:
        address = ipaddress.ip_address(text)
        return any(
            address in ipaddress.ip_network(network) and start_at <= at and (end_at is None or at < end_at)
            for network, _, start_at, end_at in rows
        )

    assert known.tolist() == [naive(text, at) for text in asked for at in times]
