"""A statement that fails leaves nothing behind for the next one."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa
import pytest

from teiten.store.connections import Connections
from teiten.store.errors import BadQuery, StoreUnavailable
from teiten.store.service import Store
from teiten.store.testing import temporary_store

#: Blocks are written to the answer before one of them fails.
FAILING = "SELECT number, throwIf(number = 2000000) AS failed FROM numbers(3000000) SETTINGS max_threads = 1"


@pytest.fixture(scope="module")
def store() -> Iterator[Store]:
    with temporary_store() as opened:
        yield opened


def breaks(store: Store) -> None:
    with pytest.raises(BadQuery):
        store.select(FAILING)


@pytest.mark.requirement("R0.1")
def test_answer_after_a_failed_statement_is_its_own(store: Store) -> None:
    for number in range(5):
        breaks(store)
        assert store.select(f"SELECT {number} AS n").to_pylist() == [{"n": number}]


@pytest.mark.requirement("R0.1")
def test_client_of_a_failed_statement_is_not_lent_again(store: Store) -> None:
    store.select("SELECT 1 AS n")
    breaks(store)
    assert store.connections._idle["screen"] == []


@pytest.mark.requirement("R0.1")
@pytest.mark.parametrize(("bad", "is_answered"), [(1, True), (2, False)])
def test_unreadable_answer_is_asked_for_once_more(
    store: Store, monkeypatch: pytest.MonkeyPatch, *, bad: int, is_answered: bool
) -> None:
    plain, left = Connections._connect, bad

    def connect(self: Connections, *args: object) -> object:
        client = plain(self, *args)  # type: ignore[arg-type]  # passed on
        ask = client.query_arrow

        def query_arrow(*arguments: object, **named: object) -> pa.Table:
            nonlocal left
            left -= 1
            if left >= 0:
                raise pa.ArrowInvalid("Invalid flatbuffers message.")
            return ask(*arguments, **named)  # type: ignore[arg-type]  # passed on

        client.query_arrow = query_arrow  # type: ignore[method-assign,assignment]  # breaks it on purpose
        return client

    store.connections._idle.clear()
    monkeypatch.setattr(Connections, "_connect", connect)
    if is_answered:
        assert store.select("SELECT 7 AS n").to_pylist() == [{"n": 7}]
    else:
        with pytest.raises(StoreUnavailable, match="nobody can read"):
            store.select("SELECT 7 AS n")
    store.connections._idle.clear()
