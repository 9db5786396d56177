"""Which ports of a sensor the world reaches, as canaries tell: one tile a port, by address and protocol."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby

from django.conf import settings
from django.utils.translation import gettext as _
from django.utils.translation import pgettext

from teiten.accounts.models import User
from teiten.fleet.canary.selectors import ReachRow, reachability_visible_to
from teiten.portal.naming.instants import Instants
from teiten.portal.sensors.states import SHAPES, StateMark

_PROTOCOLS = {6: "TCP", 17: "UDP"}
#: More tiles than these are no picture; those that are in order are left out first.
_MOST_TILES = 400


@dataclass(frozen=True)
class Tile:
    """One port."""

    port: int
    mark: StateMark
    #: Share of all canaries that arrived.
    share: float
    #: The whole story in words.
    title: str


@dataclass(frozen=True)
class Band:
    """The ports of one protocol at one address."""

    address: str
    protocol: str
    tiles: tuple[Tile, ...]
    #: Ports that the newest canary reached, and all that were tried.
    reached: int
    total: int


@dataclass(frozen=True)
class Reachability:
    """What the picture shows."""

    bands: tuple[Band, ...]
    legend: tuple[StateMark, ...]
    reached: int
    total: int
    #: When a canary was last sent to it, as words; empty without one.
    tried: str
    left_out: int


def describe_reach(sensor: int, viewer: User, instants: Instants) -> Reachability:
    """Give the picture of one sensor; without a canary it has no bands."""
    rows = reachability_visible_to(viewer, config=settings.TEITEN_FLEET, sensor_id=sensor)
    shown = _choose(rows)
    bands = tuple(
        _lay_out(address, protocol, list(group), rows, instants)
        for (address, protocol), group in groupby(shown, key=lambda row: (row.address, row.protocol))
    )
    return Reachability(
        bands=bands,
        legend=tuple(_marks().values()),
        reached=_count_reached(rows),
        total=len(rows),
        tried=instants.full(max(row.last_tried_at for row in rows)) if rows else "",
        left_out=len(rows) - len(shown),
    )


def _choose(rows: Sequence[ReachRow]) -> list[ReachRow]:
    """Leave out what is in order where there is too much of it; by address, protocol, port."""
    kept: Iterable[ReachRow] = rows
    if len(rows) > _MOST_TILES:
        kept = sorted(rows, key=lambda row: (-row.lost_in_row, row.port))[:_MOST_TILES]
    return sorted(kept, key=lambda row: (row.address, row.protocol, row.port))


def _lay_out(
    address: str, protocol: int, shown: Sequence[ReachRow], rows: Sequence[ReachRow], instants: Instants
) -> Band:
    whole = [row for row in rows if (row.address, row.protocol) == (address, protocol)]
    marks = _marks()
    tiles = tuple(_draw(row, marks[_state_of(row)], instants) for row in shown)
    return Band(address, _PROTOCOLS.get(protocol, str(protocol)), tiles, _count_reached(whole), len(whole))


def _draw(row: ReachRow, mark: StateMark, instants: Instants) -> Tile:
    title = _("%(protocol)s %(port)s: %(state)s. %(arrived)s of %(sent)s arrived, last %(at)s") % {
        "protocol": _PROTOCOLS.get(row.protocol, row.protocol),
        "port": row.port,
        "state": mark.word,
        "arrived": f"{row.arrived:,}",
        "sent": f"{row.sent:,}",
        "at": instants.full(row.last_arrived_at) if row.last_arrived_at else _("never"),
    }
    return Tile(row.port, mark, row.arrived / row.sent if row.sent else 0.0, title)


def _state_of(row: ReachRow) -> str:
    return "dark" if row.is_unreachable else "lost" if row.lost_in_row else "arrived"


def _marks() -> dict[str, StateMark]:
    return {
        "arrived": StateMark("rc-ok", SHAPES["st-w"], pgettext("canary", "arrived")),
        "lost": StateMark("rc-lost", SHAPES["st-s"], _("the newest was lost")),
        "dark": StateMark("rc-dark", SHAPES["st-q"], _("not reachable")),
    }


def _count_reached(rows: Sequence[ReachRow]) -> int:
    return sum(row.lost_in_row == 0 for row in rows)
