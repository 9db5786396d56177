"""One packet in words: addresses, header fields, options, and its header byte by byte."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.utils.translation import gettext as _

from teiten.portal.naming import codes
from teiten.portal.naming.countries import name_country
from teiten.portal.naming.groups import name_hint, name_nature
from teiten.portal.naming.regions import name_region
from teiten.portal.naming.sensors import name_sensor
from teiten.portal.presenting.pivots import narrow_by
from teiten.portal.screen import Screen
from teiten.search.answers import Cell, HeaderPart, Packet

_BYTES_PER_LINE = 16
#: Says that the ports are real, which nearly all are.
_ORDINARY_MARK = "has_ports"
_LAYER_CLASS = {"ip": "h1", "transport": "h2", "options": "h3", "payload": "hp"}
_INITIAL_TTLS = (32, 64, 128, 255)


@dataclass(frozen=True)
class Fact:
    """A field of the packet: name, value, and where the value leads."""

    name: str
    value: str
    url: str = ""
    note: str = ""
    is_masked: bool = False
    is_mono: bool = False


@dataclass(frozen=True)
class ByteRun:
    """Bytes side by side that look alike."""

    text: str
    css: str


def describe_packet(packet: Packet, screen: Screen) -> dict[str, Any]:
    """Give everything the drawer shows."""
    fields = packet.fields
    at = fields.get("observed_at")
    return {
        "packet": packet,
        "at": f"{screen.instants.day(at)} {screen.instants.millisecond(at)} {screen.instants.zone_word(at)}" if isinstance(at, datetime) else "",
        "place": _describe_place(packet),
        "verdict": _list_verdicts(packet, screen),
        "facts": _list_facts(packet, screen),
        "hex": dump_bytes(packet.header, packet.parts),
        "size": len(packet.header),
        "payload": dump_bytes(packet.payload, ()) if packet.payload else [],
        "payload_text": write_letters(packet.payload or b""),
        "is_payload_masked": "payload" in packet.masked and bool(fields.get("payload_length")),
        "is_place_masked": "dst_addr" in packet.masked,
        "has_recomputed": any(part.state == "recomputed" for part in packet.parts),
        "has_unknown": any(part.state == "unknown" for part in packet.parts),
        "source": str(fields.get("src_addr") or ""),
        "source_url": screen.url_of("source", None, str(fields.get("src_addr") or "0.0.0.0")),  # noqa: S104 - an address of a page, nothing is bound
        "keep": narrow_by(screen, f"src_addr = {fields['src_addr']}") if fields.get("src_addr") else "",
        "leave_out": narrow_by(screen, f"src_addr != {fields['src_addr']}") if fields.get("src_addr") else "",
    }  # fmt: skip


def _describe_place(packet: Packet) -> str:
    fields = packet.fields
    if fields.get("sensor") is None:
        return ""
    words = {
        "sensor": name_sensor(int(str(fields["sensor"]))),
        "epoch": fields.get("epoch"),
        "batch": fields.get("batch_seq"),
        "row": fields.get("row"),
    }
    return _("sensor %(sensor)s · epoch %(epoch)s · batch %(batch)s · row %(row)s") % words


def _list_verdicts(packet: Packet, screen: Screen) -> list[Fact]:
    fields = packet.fields
    nature = codes.word_of("nature", fields.get("nature"))
    facts = [
        Fact(_("Nature"), name_nature(nature), narrow_by(screen, f"nature = {nature}") if nature else "")
    ]
    tools = [Fact(_("Tool"), name_hint(hint), narrow_by(screen, f"hint = {hint}")) for hint in packet.hints]
    facts += tools or [Fact(_("Tool"), _("No known tool"))]
    facts.append(
        Fact(
            _("Rules"), f"v{fields.get('rule_version', '?')}", note=_("per packet: a coincidence is possible")
        )
    )
    is_survey = fields.get("survey") in (True, 1, "yes")
    facts.append(Fact(_("Actor"), _("Survey scanner") if is_survey else _("Other than survey")))
    facts.append(Fact(_("Source"), _("unverified"), note=_("a sender can forge it")))
    return facts


def _list_facts(packet: Packet, screen: Screen) -> list[Fact]:
    fields = packet.fields
    protocol = codes.name_protocol(fields.get("protocol"))
    facts = [
        _address_fact(_("Source"), "src_addr", "src_port", packet, screen),
        _address_fact(_("Destination"), "dst_addr", "dst_port", packet, screen),
        _place_fact(fields, screen),
        Fact(
            _("Protocol"), protocol.upper(), narrow_by(screen, f"protocol = {protocol}") if protocol else ""
        ),
        Fact("TTL · DF", _describe_ttl(fields)),
    ]
    if protocol == "tcp":
        facts += _list_tcp_facts(packet, screen)
    if protocol.startswith("icmp"):
        facts.append(Fact(_("ICMP type and code"), f"{fields.get('icmp_type')} / {fields.get('icmp_code')}"))
    facts += [
        _plain_fact("IP ID", "ip_id", packet),
        Fact(
            _("Length"),
            f"{fields.get('total_length')} B",
            note=_("payload %(size)s B") % {"size": fields.get("payload_length")},
        ),
        Fact(_("Sensor region"), name_region(str(fields.get("region") or ""), screen.language)),
    ]
    unusual = [mark for mark in packet.marks if mark != _ORDINARY_MARK]
    if unusual:
        facts.append(Fact(_("Header marks"), ", ".join(unusual)))
    return facts


def _list_tcp_facts(packet: Packet, screen: Screen) -> list[Fact]:
    fields = packet.fields
    fingerprint = str(fields.get("tcp_fp") or "")
    facts = [
        Fact(_("Flags"), " ".join(flag.upper() for flag in packet.flags) or "—"),
        Fact(_("Window"), str(fields.get("tcp_window"))),
        _plain_fact("seq", "tcp_seq", packet),
        _plain_fact("ack", "tcp_ack", packet),
        Fact(_("Options"), ", ".join(packet.options) or "—", is_mono=True),
    ]
    if fingerprint:
        facts.append(
            Fact(_("Fingerprint"), fingerprint, narrow_by(screen, f'tcp_fp = "{fingerprint}"'), is_mono=True)
        )
    return facts


def _plain_fact(name: str, column: str, packet: Packet) -> Fact:
    if column in packet.masked:
        return Fact(name, "", is_masked=True)
    return Fact(name, str(packet.fields.get(column)), is_mono=True)


def _address_fact(name: str, address: str, port: str, packet: Packet, screen: Screen) -> Fact:
    number = packet.fields.get(port)
    note = f":{number}" if number else ""
    if address in packet.masked:
        return Fact(name, "", note=note, is_masked=True)
    text = str(packet.fields.get(address))
    url = (
        screen.url_of("source", None, text)
        if address == "src_addr"
        else narrow_by(screen, f"dst_addr = {text}")
    )
    return Fact(name, text, url, note=note, is_mono=True)


def _place_fact(fields: Any, screen: Screen) -> Fact:
    country, asn = str(fields.get("country") or ""), fields.get("asn")
    text = " · ".join(
        part
        for part in (f"AS{asn}" if asn else "", name_country(country, screen.language) if country else "")
        if part
    )
    return Fact(
        _("AS · country or area"), text or _("Unknown"), narrow_by(screen, f"asn = {asn}") if asn else ""
    )


def _describe_ttl(fields: Any) -> str:
    ttl: Cell = fields.get("ttl")
    if not isinstance(ttl, int):
        return "—"
    initial = next((start for start in _INITIAL_TTLS if ttl <= start), 255)
    fragment = _("DF set") if fields.get("ip_df") in (True, 1, "yes") else _("DF not set")
    return _("%(ttl)s, initially %(initial)s · %(fragment)s") % {
        "ttl": ttl,
        "initial": initial,
        "fragment": fragment,
    }


def write_letters(content: bytes) -> str:
    """Write bytes as the letters they are in ASCII, a dot for all others."""
    return "".join(chr(byte) if 32 <= byte < 127 else "·" for byte in content)


def dump_bytes(content: bytes | None, parts: tuple[HeaderPart, ...]) -> list[dict[str, Any]]:
    """Lay bytes out in lines of sixteen, in runs by layer and state; masked bytes are never shown as zeros."""
    looks = _looks_of(len(content or b""), parts)
    lines = []
    for start in range(0, len(content or b""), _BYTES_PER_LINE):
        line = (content or b"")[start : start + _BYTES_PER_LINE]
        lines.append(
            {"offset": f"{start:04x}", "runs": _runs_of(line, looks[start : start + _BYTES_PER_LINE])}
        )
    return lines


def _looks_of(length: int, parts: tuple[HeaderPart, ...]) -> list[str]:
    looks = [""] * length
    for part in parts:
        css = _LAYER_CLASS[part.layer]
        look = {"masked": "x", "recomputed": f"{css} ck", "unknown": "u", "plain": css}[part.state]
        looks[part.start : part.end] = [look] * (min(part.end, length) - part.start)
    return looks


def _runs_of(line: bytes, looks: list[str]) -> list[ByteRun]:
    runs: list[ByteRun] = []
    for byte, look in zip(line, looks, strict=True):
        text = {"x": "··", "u": "??"}.get(look, f"{byte:02x}")
        if runs and runs[-1].css == look:
            runs[-1] = ByteRun(f"{runs[-1].text} {text}", look)
        else:
            runs.append(ByteRun(text, look))
    return runs
