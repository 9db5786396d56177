"""Names of the values that screens list: ports, countries, AS, tools, natures."""

from __future__ import annotations

from django.utils.translation import gettext as _
from django.utils.translation import pgettext

from teiten.portal.naming.countries import name_country
from teiten.portal.naming.regions import name_region
from teiten.portal.naming.sensors import name_sensor
from teiten.search.answers import Group
from teiten.search.plain_syns import ANY_WINDOW


def name_dimension(dimension: str) -> str:
    """Give the name of a dimension as a heading."""
    names = {
        "src_addr": _("Source"),
        "dst_addr": _("Destination"),
        "dst_port": _("Destination port"),
        "src_port": _("Source port"),
        "protocol": _("Protocol"),
        "ip_version": _("IP version"),
        "country": _("Country or area"),
        "asn": _("AS"),
        "region": _("Sensor region"),
        "sensor": _("Sensor"),
        "nature": _("Nature"),
        "hint": _("Tool"),
        "tcp_fp": _("Fingerprint tcp_fp"),
        "survey": _("Survey scanners"),
        "actor": _("Actor"),
        "probe": _("Probe"),
        "validity": _("Source validity"),
        "answering": _("Mode"),
        "src_prefix": _("Prefix"),
        "tcp_flags": _("TCP flags"),
        "ttl": _("TTL"),
        "payload_hash": _("Payload hash"),
    }
    return names.get(dimension, dimension)


def name_group(group: Group | None, language: str) -> tuple[str, str]:
    """Give a value's main text and the smaller text beside it."""
    if group is None:
        return _("Others"), ""
    if group.dimension == "hint":
        return name_hint(group.key), ""
    if group.key in ("unknown", ""):
        return _("Unknown"), ""
    if group.dimension == "country":
        return name_country(group.key, language), group.key
    return _name_word(group, language) or group.label, group.name or ""


def _name_word(group: Group, language: str) -> str:
    """Give the name of a value that is a word of ours, else nothing."""
    if group.dimension == "region":
        return name_region(group.key, language)
    if group.dimension == "nature":
        return name_nature(group.key)
    if group.dimension == "sensor" and group.key.isdecimal():
        return name_sensor(int(group.key))
    if group.dimension == "tcp_fp" and group.key == "none":
        return _("No fingerprint")
    if group.dimension == "tcp_fp" and group.key == ANY_WINDOW:
        return _("Any window, no TCP options")
    return _name_axis(group)


def _name_axis(group: Group) -> str:
    """Give the name of a value of one of the axes that are words."""
    words = {
        ("survey", "yes"): _("Survey scanners"),
        ("survey", "no"): _("Other than survey"),
        ("survey", "none"): _("Other than survey"),
        ("survey", "listed"): _("Survey scanner by a list"),
        ("survey", "behaviour"): _("Survey scanner by behaviour"),
        ("answering", "yes"): name_mode("answering"),
        ("answering", "no"): name_mode("silent"),
        ("probe", "none"): _("No known probe"),
        ("actor", "none"): _("No known actor"),
        ("validity", "ordinary"): _("Ordinary"),
        ("validity", "bogon"): _("Bogon"),
        ("validity", "spoof_suspect"): _("Spoof suspect"),
    }
    return words.get((group.dimension, group.key), "")


def name_mode(mode: str) -> str:
    """Give the name of a way of watching; a silent *sensor* is another thing than a sensor of the silent mode."""
    return {"silent": pgettext("mode", "Silent"), "answering": pgettext("mode", "Answering")}.get(mode, mode)


def name_nature(key: str) -> str:
    """Give the name of a nature; the keys are those of ``traffic.nature``."""
    names = {
        "scan": pgettext("nature", "Scan"),
        "backscatter": pgettext("nature", "Backscatter"),
        "udp_probe": pgettext("nature", "UDP probe"),
        "reflection": pgettext("nature", "Reflection trigger"),
        "reflection_trigger": pgettext("nature", "Reflection trigger"),
        "residual": pgettext("nature", "Residual"),
        "malformed": pgettext("nature", "Malformed"),
    }
    return names.get(key, key)


def name_hint(key: str) -> str:
    """Give a tool's name; it is a likeness, never a certainty."""
    if key in ("none", "0", ""):
        return _("No known tool")
    parts = [_HINTS.get(word, word) for word in key.split("+") if word != _UNASKED]
    if not parts:
        return _("Not computable")
    return _("%(tool)s-like") % {"tool": " + ".join(parts)}


#: No tool: a rule that needs the public destination could not be asked.
_UNASKED = "not_computable"
#: By the words of ``traffic.hints.Hint``.
_HINTS = {
    "mirai": "Mirai",
    "zmap_old": "ZMap ≤ 4.0",
    "zmap_new": "ZMap ≥ 4.1",
    "masscan_old": "Masscan",
    "masscan_new": "Masscan 1.3",
    "nmap_syn": "Nmap SYN",
}
