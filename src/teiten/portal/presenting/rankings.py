"""Rankings as tables: each value leads to its page, each number to the rows behind it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.utils.translation import gettext as _

from teiten.portal.naming.groups import name_dimension, name_group
from teiten.portal.presenting.comparing import compare_fairly
from teiten.portal.presenting.pivots import narrow_by, page_of
from teiten.portal.screen import Screen
from teiten.search.answers import Top
from teiten.search.basis import NotCounted
from teiten.search.query import Metric


@dataclass(frozen=True)
class Ranking:
    """A table of the most frequent values."""

    title: str
    file: str
    rows: list[dict[str, Any]]
    others: dict[str, Any]
    distinct: int
    column: str
    unit: str
    dimension: str
    #: Ports of the list whose rates rest on fewer sensors.
    not_counted: tuple[NotCounted, ...] = ()


def rank(top: Top, screen: Screen, *, comparable: bool, within: str = "") -> Ranking:
    """Give a ranking with its bars, and what each value leads to.

    Args:
        top: the answer.
        screen: whose question the values' pages carry on.
        comparable: whether counts may be compared with the previous period.
        within: a condition that holds for all of the numbers, beside the question's own filter.
    """
    most = max((row.figure.value or 0.0 for row in top.rows), default=0.0)
    rows = []
    for row in top.rows:
        name, small = name_group(row.group, screen.language)
        both = " and ".join(part for part in (within, row.group.condition) if part)
        rows.append(
            {
                "row": row,
                "figure": compare_fairly(row.figure, top.metric, comparable=comparable),
                "name": name,
                "small": small,
                "bar": (row.figure.value or 0.0) / most if most else 0.0,
                "url": page_of(screen, row.group),
                "rows_url": narrow_by(screen, both),
            }
        )
    others = compare_fairly(top.others.figure, top.metric, comparable=comparable)
    return Ranking(
        title=name_list(top.dimension),
        file=f"teiten-{top.dimension}",
        rows=rows,
        others={"count": top.others.count, "figure": others, "spark": top.others.spark},
        distinct=top.distinct,
        column=name_dimension(top.dimension),
        unit=name_unit(top.metric),
        dimension=top.dimension,
        not_counted=top.basis.not_counted if top.metric == "rate" and top.dimension == "dst_port" else (),
    )


def name_list(dimension: str) -> str:
    """Give the heading of a list of a dimension's values."""
    names = {
        "dst_port": _("Destination ports"),
        "country": _("Countries and areas"),
        "asn": _("AS"),
        "hint": _("Tools"),
        "nature": _("Nature"),
        "src_addr": _("Sources"),
        "tcp_fp": _("Fingerprints"),
        "probe": _("Probes"),
        "payload_hash": _("Payloads"),
        "actor": _("Actors"),
        "region": _("Sensor regions"),
    }
    return names.get(dimension, dimension)


def name_unit(metric: Metric) -> str:
    """Give the short unit that heads a column."""
    return {"hosts": _("hosts"), "packets": _("packets"), "rate": _("/ address-day")}[metric]
