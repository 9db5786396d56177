"""Packets as table rows: every cell a reader can pivot on, and what is masked said so."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from teiten.portal.naming import codes
from teiten.portal.naming.countries import name_country
from teiten.portal.naming.groups import name_hint, name_nature
from teiten.portal.naming.regions import name_region
from teiten.portal.naming.sensors import name_sensor
from teiten.portal.screen import Screen
from teiten.search.admission import DAYS_FROM
from teiten.search.answers import Cell, Rows

#: What a list of packets reads.
COLUMNS = (
    "observed_at", "src_addr", "asn", "country", "protocol", "dst_port", "icmp_type", "icmp_code", "nature", "hints",
    "region", "sensor",
)  # fmt: skip


@dataclass(frozen=True)
class PacketRow:
    """One packet in a list."""

    #: Empty, like ``url``, for a line of alike packets.
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
    region: str
    #: None when the viewer may not see it.
    sensor: str | None
    #: About how many packets the line stands for; None for a single packet.
    packets: int | None = None


def describe_rows(rows: Rows, screen: Screen) -> dict[str, Any]:
    """Give a page of packets, and the address of the next."""
    if rows.packets:
        packets = [
            describe_line(dict(zip(rows.columns, row, strict=True)), count, screen)
            for row, count in zip(rows.rows, rows.packets, strict=True)
        ]
    else:
        packets = [
            describe_row(dict(zip(rows.columns, row, strict=True)), reference, screen)
            for row, reference in zip(rows.rows, rows.references or ("",) * len(rows.rows), strict=True)
        ]
    following = screen.url_of("packets", None, page=rows.next_page) if rows.next_page else ""
    return {
        "rows": packets,
        "answer": rows,
        "next": following,
        "masked": rows.masked,
        "are_lines": screen.viewer.is_guarded,
    }


def describe_line(cells: dict[str, Cell], packets: int, screen: Screen) -> PacketRow:
    """Turn a line of alike packets into words: its time is a whole hour or day, its number is about."""
    at = cells["observed_at"]
    written = ""
    if isinstance(at, datetime):
        is_day = screen.instants.minute(at) == "00:00" and screen.query.length >= DAYS_FROM
        written = screen.instants.day(at) if is_day else screen.instants.moment(at)
    return replace(describe_row(cells, "", screen), at=written, packets=packets)


def describe_row(cells: dict[str, Cell], reference: str, screen: Screen) -> PacketRow:
    """Turn one packet's cells into words."""
    at = cells["observed_at"]
    source = str(cells.get("src_addr") or "")
    protocol = codes.name_protocol(cells.get("protocol"))
    country = str(cells.get("country") or "")
    sensor = cells.get("sensor")
    return PacketRow(
        reference=reference,
        url=screen.url_of("packet", None, ref=reference) if reference else "",
        at=screen.instants.millisecond(at) if isinstance(at, datetime) else "",
        day=screen.instants.day(at) if isinstance(at, datetime) else "",
        src_addr=source,
        src_url=screen.url_of("source", None, source) if source else "",
        asn=f"AS{cells['asn']}" if cells.get("asn") else "",
        country=country,
        country_name=name_country(country, screen.language) if country else "",
        protocol=protocol.upper(),
        port=_write_port(cells, protocol),
        nature=name_nature(codes.word_of("nature", cells.get("nature"))),
        tools=", ".join(name_hint(word) for word in codes.words_of("hint", cells.get("hints"))),
        region=name_region(str(cells.get("region") or ""), screen.language),
        sensor=name_sensor(sensor) if isinstance(sensor, int) else None,
    )


def _write_port(cells: dict[str, Cell], protocol: str) -> str:
    if protocol in ("icmp", "icmpv6"):
        return (
            f"{cells.get('icmp_type')}/{cells.get('icmp_code')}"
            if cells.get("icmp_type") is not None
            else "—"
        )
    return str(cells.get("dst_port") or "—")
