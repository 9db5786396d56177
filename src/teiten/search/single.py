"""One packet, found by its reference."""

from __future__ import annotations

from typing import Any

from teiten.foundation.clock import from_us
from teiten.search import cells, lines, rebuilding
from teiten.search.answers import Packet
from teiten.search.coverage import observe
from teiten.search.desk import Desk
from teiten.search.errors import NotFound, NotPermitted
from teiten.search.fields import names_of
from teiten.search.masking import choose_columns, mask_batch
from teiten.search.packets import write_columns
from teiten.search.predicates import Binding
from teiten.search.query import Query
from teiten.search.references import RowPlace
from teiten.search.tables import HOUR, PACKETS
from teiten.search.visibility import Visibility
from teiten.traffic.columns import COLUMNS

_ALL = tuple(column.name for column in COLUMNS)
_NOT_FIELDS = ("payload", "tcp_options")


def answer_packet(desk: Desk, visibility: Visibility, reference: str) -> tuple[Packet, RowPlace]:
    """See :meth:`teiten.search.service.Search.packet`; gives the packet's identity beside it."""
    started = desk.clock.monotonic()
    visibility, place = _admit(desk, visibility, reference)
    shown, masked = choose_columns(visibility, _ALL)
    row = _read(desk, visibility, place, shown)
    bits = {name: _words(name, row[column]) for name, column in _BIT_FIELDS.items()}
    header, parts = rebuilding.rebuild_header(row, masked)
    at = from_us(place.observed_us // (HOUR * 1_000_000) * HOUR * 1_000_000)
    query = Query(
        place.dataset,
        at,
        from_us(place.observed_us // (HOUR * 1_000_000) * HOUR * 1_000_000 + HOUR * 1_000_000),
    )
    window = lines.plan_for(desk, query, step_seconds=HOUR, needs_hosts=False).window
    readable = {name: _readable(name, value) for name, value in row.items() if name not in _NOT_FIELDS}
    packet = Packet(
        reference=reference,
        fields=readable,
        hints=bits["hint"],
        marks=bits["parse_marks"],
        flags=bits["tcp_flags"],
        options=rebuilding.read_options(row["tcp_options"] or b""),
        header=header,
        parts=parts,
        payload=row["payload"],
        masked=masked,
        basis=observe(desk, visibility, query, window).basis,
        cost=desk.cost_of(PACKETS, window, started, call="packet"),
    )
    return packet, place


def _admit(desk: Desk, visibility: Visibility, reference: str) -> tuple[Visibility, RowPlace]:
    """Read a reference; a member opens packets of the own organisation's sensors only.

    Raises:
        QueryError: when it is no reference.
        NotPermitted: for any other packet of a member, whether it is there or not.
    """
    if not visibility.is_guarded:
        return visibility, desk.references.read(visibility, reference)
    own = visibility.for_own_sensors()
    place = desk.references.read(own, reference)
    if place.sensor not in visibility.own_sensors:
        raise NotPermitted(
            f"a {visibility.role} may open packets of sensors of the own organisation only: a single packet"
            " would tell which sensor a marked one reached; search for lines of alike packets, or ask the"
            " operator for an analyst's role",
            field="reference",
        )
    return own, place


_BIT_FIELDS = {"hint": "hints", "parse_marks": "parse_marks", "tcp_flags": "tcp_flags"}


def _read(desk: Desk, visibility: Visibility, place: RowPlace, columns: tuple[str, ...]) -> dict[str, Any]:
    """Give column → value of the packet; bytes as bytes, masked columns None.

    Raises:
        NotFound: when the store does not have it.
    """
    binding = Binding()
    statement = (
        f"SELECT {write_columns(columns)} FROM {PACKETS.name}"  # noqa: S608 - declared names, bound values
        f" WHERE dataset = {binding.bind('String', place.dataset)}"
        f" AND observed_at = {binding.instant(place.observed_us)}"
        f" AND sensor = {binding.bind('UInt32', place.sensor)} AND epoch = {binding.bind('UInt32', place.epoch)}"
        f" AND batch_seq = {binding.bind('UInt64', place.batch_seq)} AND row = {binding.bind('UInt32', place.row)}"
        " LIMIT 1"
    )
    table = desk.select(visibility, statement, binding.parameters)
    if not table.num_rows:
        raise NotFound(
            "this packet is not in the store: it was removed by retention or with its data set; search again",
            field="reference",
        )
    batch = mask_batch(visibility, cells.combine(table))
    values = {name: batch.column(index)[0].as_py() for index, name in enumerate(batch.schema.names)}
    for name in _NOT_FIELDS:
        values[name] = None if values.get(name) is None else bytes.fromhex(values[name])
    return {name: values.get(name) for name in _ALL}


def _readable(name: str, value: Any) -> Any:
    if isinstance(value, bytes):
        return cells.write_address(value)
    return f"{value:016x}" if name == "payload_hash" and value is not None else value


def _words(field: str, value: int | None) -> tuple[str, ...]:
    return tuple(word for word, bit in names_of(field).items() if value and value & bit)
