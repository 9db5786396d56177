"""Whole payloads, where sensors sent them: one a hash, sensor and day, under a permission of their own."""

from __future__ import annotations

from typing import Any

from teiten.foundation.clock import from_us
from teiten.search import cells, dimensions, periods
from teiten.search.answers_news import Examples, PayloadExample
from teiten.search.coverage import observe
from teiten.search.desk import Desk
from teiten.search.dimensions import get_dimension
from teiten.search.errors import NotPermitted
from teiten.search.fields import FIELDS
from teiten.search.masking import check_column
from teiten.search.periods import DAY, Window
from teiten.search.predicates import Binding
from teiten.search.query import Query
from teiten.search.ranking import check_limit
from teiten.search.references import RowPlace
from teiten.search.tables import PAYLOAD_EXAMPLES
from teiten.search.values import parse_value
from teiten.search.visibility import Visibility

MOST_EXAMPLES = 50


def answer_examples(
    desk: Desk, visibility: Visibility, query: Query, *, payload_hash: str, limit: int
) -> Examples:
    """See :meth:`teiten.search.service.Search.examples`."""
    started = desk.clock.monotonic()
    check_column(visibility, "payload", "payload")
    if visibility.is_guarded:
        raise NotPermitted(
            "a whole payload is one packet of one sensor, which members are not shown;"
            " ask the operator for an analyst's role",
            field="payload_hash",
        )
    check_limit(limit, most=MOST_EXAMPLES)
    value = parse_value(FIELDS["payload_hash"], payload_hash)
    window = periods.lay_out(query, step_seconds=DAY, zone=desk.zone)
    rows = _read(desk, visibility, query, window, value=int(value), limit=limit)  # type: ignore[arg-type]  # a hash is a number
    return Examples(
        payload_hash=payload_hash.lower(),
        examples=tuple(_make_example(desk, visibility, query, row) for row in rows),
        masked=() if visibility.may_see_sensor else ("sensor",),
        basis=observe(desk, visibility, query, window).basis,
        cost=desk.cost_of(PAYLOAD_EXAMPLES, window, started, call="examples"),
    )


def _read(
    desk: Desk, visibility: Visibility, query: Query, window: Window, *, value: int, limit: int
) -> list[dict[str, Any]]:
    binding = Binding()
    own = ""
    if visibility.bound_to:
        own = f" AND sensor IN {binding.bind('Array(UInt32)', sorted(visibility.bound_to))}"
    statement = (
        "SELECT toUnixTimestamp64Micro(observed_at) AS observed_us, sensor, epoch, batch_seq, row, src_addr,"  # noqa: S608 - declared names, bound values
        f" protocol, dst_port, payload_length, hex(payload) AS payload_hex FROM {PAYLOAD_EXAMPLES.name} FINAL"
        f" WHERE dataset = {binding.bind('String', query.dataset)}"
        f" AND day BETWEEN {binding.bind('Date', window.first_day)} AND {binding.bind('Date', window.last_day)}"
        f" AND payload_hash = {binding.bind('UInt64', value)}{own}"
        f" ORDER BY observed_us DESC, sensor, epoch, batch_seq, row LIMIT {binding.bind('UInt32', limit)}"
    )
    return desk.select(visibility, statement, binding.parameters).to_pylist()


def _make_example(desk: Desk, visibility: Visibility, query: Query, row: dict[str, Any]) -> PayloadExample:
    place = RowPlace(
        row["observed_us"], row["sensor"], row["epoch"], row["batch_seq"], row["row"], query.dataset
    )
    return PayloadExample(
        reference=desk.references.write(visibility, place),
        observed_at=from_us(row["observed_us"]),
        sensor=row["sensor"] if visibility.may_see_sensor else None,
        source=cells.write_address(row["src_addr"]),
        port=dimensions.describe(get_dimension("dst_port"), (row["dst_port"], row["protocol"])),
        payload_length=row["payload_length"],
        payload=bytes.fromhex(row["payload_hex"]),
    )
