"""Packets as table rows: every cell a reader can pivot on, and what is masked said so."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from teiten.portal.naming.countries import name_country
from teiten.portal.naming.groups import name_hint, name_nature
from teiten.portal.naming.regions import name_region
from teiten.portal.screen import Screen
from teiten.search.answers import Cell, Rows


@dataclass(frozen=True)
class PacketRow:
    """One packet in a list."""

    reference: str
    url: str
    at: str
    day: str
    src_addr: str
    src_url: str
    asn: str
    country: str
    country_name: str
    protocol: str
    port: str
    nature: str
    tools: str
    tcp_fp: str
    region: str
    #: None when the viewer may not see it.
    sensor: str | None


def describe_rows(rows: Rows, screen: Screen) -> dict[str, Any]:
    """Give a page of packets, and the address of the next."""
    packets = [
        describe_row(dict(zip(rows.columns, row, strict=True)), reference, screen)
        for row, reference in zip(rows.rows, rows.references, strict=True)
    ]
    following = screen.url_of("packets", None, page=rows.next_page) if rows.next_page else ""
    return {"rows": packets, "answer": rows, "next": following, "masked": rows.masked}


def describe_row(cells: dict[str, Cell], reference: str, screen: Screen) -> PacketRow:
    """Turn one packet's cells into words."""
    at = cells["observed_at"]
    source = str(cells.get("src_addr") or "")
    protocol = str(cells.get("protocol") or "")
    country = str(cells.get("country") or "")
    sensor = cells.get("sensor")
    return PacketRow(
        reference=reference,
        url=screen.url_of("packet", None, ref=reference),
        at=screen.instants.millisecond(at) if isinstance(at, datetime) else "",
        day=screen.instants.day(at) if isinstance(at, datetime) else "",
        src_addr=source,
        src_url=screen.url_of("source", None, source) if source else "",
        asn=f"AS{cells['asn']}" if cells.get("asn") else "",
        country=country,
        country_name=name_country(country, screen.language) if country else "",
        protocol=protocol.upper(),
        port=_write_port(cells, protocol),
        nature=name_nature(str(cells.get("nature") or "")),
        tools=name_tools(cells.get("hint", cells.get("hints"))),
        tcp_fp=str(cells.get("tcp_fp") or ""),
        region=name_region(str(cells.get("region") or ""), screen.language),
        sensor=None if sensor is None else str(sensor),
    )


def name_tools(cell: Cell) -> str:
    """Name the tools whose marks a packet carries; empty for none."""
    word = str(cell or "")
    return "" if word in ("", "none", "0") else name_hint(word)


def _write_port(cells: dict[str, Cell], protocol: str) -> str:
    if protocol in ("icmp", "icmpv6"):
        return (
            f"{cells.get('icmp_type')}/{cells.get('icmp_code')}"
            if cells.get("icmp_type") is not None
            else "—"
        )
    return str(cells.get("dst_port") or "—")
