"""Who received data on this address, or from this sensor?

The log knows questions, not rows. So a row of the log is kept when its question could
have matched: its filter is taken with the address (or sensor) put in and everything
else left open. Where packets are still in the store, the question is asked again for
this subject alone, and the answer is yes or no; where they are gone, it stays open.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from ipaddress import IPv4Network, IPv6Network, ip_network

from teiten.custody.errors import CustodyInputError
from teiten.custody.models import Disclosure
from teiten.search import url
from teiten.search.conditions import AllOf, AnyOf, Condition, Expression, Not, any_of, where
from teiten.search.errors import SearchError
from teiten.search.query import Query

#: Rows of the log that one question looks through, newest first.
MOST_CONSIDERED = 20_000
#: Questions that are asked again of the store.
MOST_VERIFIED = 50

#: Tells whether a question has any packet; None when the store no longer has that period, or does not answer.
Verify = Callable[[Query], bool | None]


@dataclass(frozen=True)
class Subject:
    """An address or prefix, or a sensor."""

    network: IPv4Network | IPv6Network | None = None
    sensor: int | None = None

    def __str__(self) -> str:
        if self.network is None:
            return f"S-{self.sensor}"
        is_host = self.network.prefixlen == self.network.max_prefixlen
        return str(self.network.network_address if is_host else self.network)


@dataclass(frozen=True)
class Receipt:
    """One disclosure that held, or may have held, data on the subject."""

    disclosure: Disclosure
    #: The store was asked: True it held some; None it could not be asked.
    is_verified: bool | None
    #: Broke off on the way: only part of it may have arrived.
    is_whole: bool


@dataclass(frozen=True)
class Receipts:
    """Everybody who received data on a subject, newest first."""

    subject: Subject
    receipts: tuple[Receipt, ...]
    #: Rows of the log that were looked through.
    considered: int
    #: There are older ones beyond the limit.
    is_cut: bool


def read_subject(text: str) -> Subject:
    """Read ``192.0.2.1``, ``2001:db8::/48`` or ``S-12``.

    Raises:
        CustodyInputError: when it is neither address, prefix nor sensor.
    """
    wanted = text.strip()
    number = wanted[2:] if wanted[:2].upper() == "S-" else ""
    if number.isdecimal() and int(number) <= 0xFFFFFFFF:
        return Subject(sensor=int(number))
    try:
        return Subject(network=ip_network(wanted, strict=False))
    except ValueError:
        raise CustodyInputError(
            "subject",
            f"{wanted[:80]!r} is no address, prefix or sensor; write 192.0.2.1, 2001:db8::/48 or S-12",
        ) from None


def who_received(
    subject: Subject,
    *,
    start: datetime | None = None,
    end: datetime | None = None,
    verify: Verify | None = None,
) -> Receipts:
    """List the disclosures that held data on ``subject``, newest first.

    Args:
        subject: an address, prefix or sensor.
        start: only data observed from then on; None: of all times.
        end: only data observed before.
        verify: asks the store again; None leaves everything unverified.
    """
    rows = Disclosure.objects.select_related("user", "organisation", "end", "payload_reason").order_by(
        "-at", "-pk"
    )
    rows = rows.filter(end_at__gt=start) if start else rows
    rows = rows.filter(start_at__lt=end) if end else rows
    found = list(rows[: MOST_CONSIDERED + 1])
    receipts: list[Receipt] = []
    asked = 0
    for row in found[:MOST_CONSIDERED]:
        query = narrow_to(row, subject)
        if query is None:
            continue
        may_ask = verify is not None and asked < MOST_VERIFIED
        is_verified = verify(query) if verify is not None and may_ask else None
        asked += may_ask
        if is_verified is not False:
            receipts.append(Receipt(row, is_verified, _is_whole(row)))
    return Receipts(subject, tuple(receipts), min(len(found), MOST_CONSIDERED), len(found) > MOST_CONSIDERED)


def narrow_to(row: Disclosure, subject: Subject) -> Query | None:
    """Give a logged question narrowed to the subject; None when it cannot have matched."""
    try:
        query = url.decode(row.query, now=row.at)
    except SearchError:  # a field of an older version: it may have matched
        query = Query(row.dataset, row.start_at, row.end_at)
    if subject.sensor is not None:
        return _narrow_to_sensor(row, query, subject.sensor)
    network = subject.network
    if network is None or (row.source and not ip_network(row.source).overlaps(network)):
        return None
    known = {"src_addr": network, "dst_addr": network} if row.level == "real" else {"src_addr": network}
    if not any(may_match(query.filters, {field: value}) for field, value in known.items()):
        return None
    about = any_of([where(field, "=", value) for field, value in known.items()])
    return query if about is None else query.narrow(about)


def _narrow_to_sensor(row: Disclosure, query: Query, sensor: int) -> Query | None:
    if row.sensors and sensor not in row.sensors:
        return None
    if not may_match(query.filters, {"sensor": sensor}):
        return None
    return replace(query).narrow(where("sensor", "=", sensor))


def may_match(expression: Expression | None, known: dict[str, object]) -> bool:
    """Tell whether a packet with the ``known`` values could match, whatever else it holds."""
    return _judge(expression, known) is not False


def _judge(expression: Expression | None, known: dict[str, object]) -> bool | None:
    """Give True or False where the known values decide, None where other values do."""
    if expression is None:
        return True
    if isinstance(expression, Condition):
        return _judge_condition(expression, known)
    if isinstance(expression, Not):
        part = _judge(expression.part, known)
        return None if part is None else not part
    parts = [_judge(part, known) for part in expression.parts]
    decisive = isinstance(expression, AnyOf)
    if decisive in parts:
        return decisive
    return None if None in parts else isinstance(expression, AllOf)


def _judge_condition(condition: Condition, known: dict[str, object]) -> bool | None:
    value = known.get(condition.field)
    if value is None:
        return None
    if isinstance(value, IPv4Network | IPv6Network):
        found = _is_in_networks(value, condition)
    else:
        found = value in condition.values if condition.operator in ("=", "!=", "in", "not in") else None
    if found is None:
        return None
    return found != (condition.operator in ("!=", "not in"))


def _is_in_networks(network: IPv4Network | IPv6Network, condition: Condition) -> bool | None:
    """Tell whether all of the network is among the values (True), none of it (False), or some (None)."""
    values = [value for value in condition.values if isinstance(value, IPv4Network | IPv6Network)]
    same = [value for value in values if value.version == network.version]
    if any(network.subnet_of(value) for value in same):  # type: ignore[arg-type]  # of one version
        return True
    return None if any(value.overlaps(network) for value in same) else False


def _is_whole(row: Disclosure) -> bool:
    end = getattr(row, "end", None) if row.is_file else None
    return not row.is_file or (end is not None and end.is_whole)
