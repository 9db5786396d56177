"""The page ``docs/columns.md``, made from the declarations.

Print it with ``python -m teiten.traffic.columns_page``.
"""

from __future__ import annotations

import sys

from teiten.traffic.columns import COLUMNS, Column, Origin
from teiten.traffic.marks import ParseMark

_MARK_MEANING = {
    ParseMark.NO_IP: "Neither IPv4 nor IPv6, or shorter than the fixed IP header; other columns are 0.",
    ParseMark.BAD_IP_HEADER: "IPv4 header length below 20 bytes or beyond the packet.",
    ParseMark.BAD_TOTAL_LENGTH: "Stated IP length below the header, or beyond what was on the wire.",
    ParseMark.RESERVED_BIT: "The reserved bit of IPv4 is set (RFC 3514).",
    ParseMark.IP_OPTIONS: "IPv4 options are present.",
    ParseMark.EXTENSION_HEADERS: "IPv6 extension headers are present.",
    ParseMark.BAD_EXTENSION_CHAIN: "The extension chain runs past the packet's bytes, or is too long.",
    ParseMark.LATER_FRAGMENT: "A later fragment: no transport header here.",
    ParseMark.SHORT_TRANSPORT: "The transport header is not wholly there.",
    ParseMark.BAD_DATA_OFFSET: "TCP data offset below 20 bytes or beyond the packet.",
    ParseMark.BAD_UDP_LENGTH: "UDP length below 8 or beyond the IP packet.",
    ParseMark.CUT: "The capture holds fewer bytes than the packet had; options, payload and hash cover those.",
    ParseMark.HAS_PORTS: "The port columns hold real ports.",
    ParseMark.STACKED_VLAN: "More than one VLAN tag; the column holds the outer one.",
}
_ORIGINS: tuple[tuple[Origin, str, str], ...] = (
    ("wire", "Read from the packet", "The sensor reads these and sends them in the batch."),
    (
        "identity",
        "Where the packet was seen",
        "The same for every packet of a batch, from its header and place.",
    ),
    ("derived", "Computed by the loader", "Computed from the others, under the rule version in the row."),
)
_HEAD = """\
# Packet columns

This page is made from `src/teiten/traffic/columns.py`; `make docs` writes it anew. Addresses are
IPv6 with IPv4 mapped (`::ffff:a.b.c.d`), instants are microseconds in UTC, and a number that a
packet does not have is 0. A field that is not wholly among the packet's own captured bytes is 0.
"""


def render() -> str:
    """Give the page as Markdown."""
    parts = [_HEAD]
    for origin, title, text in _ORIGINS:
        rows = [_render_column(column) for column in COLUMNS if column.origin == origin]
        parts.append(_render_section(title, text, rows))
    parts.append(_render_marks())
    return "\n".join(parts)


def _render_section(title: str, text: str, rows: list[str]) -> str:
    head = "| column | meaning | unit | Arrow | ClickHouse | source |\n|---|---|---|---|---|---|"
    return f"## {title}\n\n{text}\n\n{head}\n" + "\n".join(rows) + "\n"


def _render_column(column: Column) -> str:
    types = f"`{column.arrow_type}` | `{column.clickhouse_type}`"
    return f"| `{column.name}` | {column.meaning} | {column.unit} | {types} | {column.source} |"


def _render_marks() -> str:
    rows = [f"| {bit.value} | `{bit.name}` | {_MARK_MEANING[bit]} |" for bit in ParseMark]
    return "## Bits of `parse_marks`\n\n| bit | name | meaning |\n|---|---|---|\n" + "\n".join(rows) + "\n"


if __name__ == "__main__":
    sys.stdout.write(render())
