"""The audit chain, without a database: every change breaks it, and heads find a cut end."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from teiten.accounts import chain, heads
from teiten.accounts.chain import BEGINNING, Entry, Link, find_break, link_entries
from teiten.accounts.errors import AuditHeadError
from teiten.protocol import keys

pytestmark = pytest.mark.requirement("R1.3", "R2.1")
ENTRIES = [
    Entry("sensor.suspended", f"sensor:{number}", actor="dana", facts={"n": number}) for number in range(8)
]


def make_links(entries: list[Entry] = ENTRIES) -> list[Link]:
    return list(link_entries(entries, after=0, previous=BEGINNING, at_us=1_700_000_000_000_000))


def test_it_works() -> None:
    links = make_links()

    assert find_break(links, after=0, previous=BEGINNING) is None
    assert find_break(links[3:], after=3, previous=links[2].digest) is None
    assert json.loads(links[0].content)["facts"] == {"n": 0}


@settings(max_examples=60, deadline=None)
@given(
    number=st.integers(0, 7),
    change=st.sampled_from(
        [
            {"content": '{"number":1}'},
            {"subject": "sensor:99"},
            {"kind": "sensor.resumed"},
            {"actor": "mallory"},
            {"at_us": 5},
            {"previous": b"\1" * 32},
            {"digest": b"\2" * 32},
        ]
    ),
)
def test_any_change_of_a_record_breaks_the_chain(number: int, change: dict[str, object]) -> None:
    links = make_links()
    links[number] = links[number]._replace(**change)

    found = find_break(links, after=0, previous=BEGINNING)

    # A changed digest shows at the record itself; nothing before it is accused.
    assert found is not None
    assert found.number == number + 1


@settings(max_examples=30, deadline=None)
@given(number=st.integers(0, 6))
def test_a_record_taken_out_is_found(number: int) -> None:
    links = make_links()
    del links[number]

    found = find_break(links, after=0, previous=BEGINNING)

    assert found is not None
    assert found.number == number + 2
    assert "missing" in found.why


def test_a_rewritten_record_with_a_right_digest_breaks_the_next() -> None:
    links = make_links()
    forged = next(
        link_entries(
            [Entry("sensor.resumed", "sensor:2", actor="dana", facts={})],
            after=2,
            previous=links[1].digest,
            at_us=links[2].at_us,
        )
    )
    links[2] = forged

    found = find_break(links, after=0, previous=BEGINNING)

    assert found is not None
    assert found.number == 4


def test_what_facts_may_hold_has_one_form() -> None:
    one = chain.write_content(Entry("a", "b", actor="", facts={"z": b"\1", "a": 1}), number=1, at_us=2)
    other = chain.write_content(Entry("a", "b", actor="", facts={"a": 1, "z": b"\1"}), number=1, at_us=2)

    assert one == other
    assert one.isascii()


def test_a_head_is_read_only_with_its_signature() -> None:
    key = keys.generate_key()
    head = heads.Head(8, digest=make_links()[-1].digest, at_us=5)
    line = heads.sign_head(head, key).to_line()

    assert heads.read_head(line) == head
    assert heads.read_head(line, public_key=keys.public_bytes(key)) == head
    with pytest.raises(AuditHeadError, match="not right"):
        heads.read_head(line.replace('"number":8', '"number":7'))
    with pytest.raises(AuditHeadError, match="expected"):
        heads.read_head(line, public_key=keys.public_bytes(keys.generate_key()))
    with pytest.raises(AuditHeadError, match="no signed head"):
        heads.read_head("{}")
