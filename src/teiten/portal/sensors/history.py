"""What a sensor's own page adds to the drawer: heartbeat, keys, update, commands, alarms, history, and what may be done."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.utils.translation import gettext as _

from teiten.accounts.models import User
from teiten.fleet import selectors
from teiten.fleet.alarms.selectors import alarms_visible_to
from teiten.fleet.models import Sensor, SensorEvent, SensorHealth
from teiten.fleet.rollouts.models import RolloutKind, RolloutTarget
from teiten.fleet.selectors import SensorRow
from teiten.portal import frame

_MOST = 20
_LONGEST = 80


def describe_more(sensor: Sensor, row: SensorRow, viewer: User) -> dict[str, Any]:
    """Give what stands beside the calendar on a sensor's own page."""
    events = selectors.events_visible_to(viewer, sensor_id=sensor.pk)
    alarms = alarms_visible_to(viewer, open_only=False, with_parts=True).filter(sensor=sensor)
    targets = RolloutTarget.objects.filter(sensor=sensor).select_related("rollout").order_by("-pk")
    return {
        "heartbeat": _list_heartbeat(SensorHealth.objects.filter(sensor=sensor).first(), row),
        "keys": list(sensor.keys.order_by("-key_no")[:_MOST]),
        "tokens": list(sensor.enrolment_tokens.order_by("-created_at")[:5]),
        "history": [_describe_event(event) for event in events[:_MOST]],
        "alarms": list(alarms[:_MOST]),
        "commands": list(targets.filter(kind=RolloutKind.COMMAND)[:_MOST]),
        "updates": list(targets.filter(kind=RolloutKind.UPDATE)[:5]),
    }


def _list_heartbeat(health: SensorHealth | None, row: SensorRow) -> list[tuple[str, str]]:
    """Give what the newest heartbeat said, as label and value."""
    if health is None:
        return []
    ring, disk = row.ring_fill_permille, row.disk_free_bytes
    head = f"{row.audit_records:,} · {row.audit_head[:12]}" if row.audit_records else "—"
    return [
        (_("Version"), row.software or "—"),
        (_("Release"), _("%(n)s (%(state)s)") % {"n": row.release, "state": _name_update(row.update_state)} if row.release else "—"),
        (_("Ring, fullest lately"), "—" if ring is None else f"{ring / 10:.1f} %"),
        (_("Free disk"), "—" if disk is None else f"{disk / 2**30:,.1f} GiB"),
        (_("Clock"), "—" if row.clock_offset_us is None else f"{row.clock_offset_us / 1e6:+.3f} s"),
        (_("From address"), health.peer or "—"),
        (_("Heartbeat number"), f"{health.counter:,}"),
        (_("Its own audit chain"), head),
        *([(_("Update"), row.update_detail)] if row.update_detail else []),
        *([(_("Last error"), row.last_error)] if row.last_error else []),
    ]  # fmt: skip


def _describe_event(event: SensorEvent) -> dict[str, Any]:
    return {
        "at": event.at,
        "what": event.get_kind_display(),
        "who": event.actor.display_name if event.actor else "",
        "detail": _tell(event.detail),
    }


def _name_update(state: str) -> str:
    """Say what the launcher says of itself."""
    return {
        "steady": _("steady"),
        "trying": _("on trial"),
        "rolled_back": _("rolled back"),
        "blocked": _("blocked"),
    }.get(state, state or "—")


def _tell(facts: Mapping[str, Any]) -> str:
    """Write what an event recorded: the reason first, periods as periods, other facts with their names."""
    left = dict(facts)
    parts = [str(left.pop("reason", "")), _tell_period(left)]
    names = {
        "was": "", "entry": _("entry"), "token": _("token"), "key_no": _("key"), "epoch": _("epoch"), "peer": _("from"),
        "name": _("name"), "dataset": _("data set"), "region": _("region"), "batches": _("batches"), "cidr": _("network"),
        "public": _("public address"), "local": _("local address"), "release": _("release"), "code": _("code"),
    }  # fmt: skip
    words = {"planned": _("planned"), "ended": _("ended early"), "cancelled": _("cancelled")}
    for name, value in left.items():
        label, text = names.get(name, name), words.get(str(value), _write(value))
        parts.append(f"{label} {text}" if label else text)
    return " · ".join(part for part in parts if part)


def _tell_period(facts: dict[str, Any]) -> str:
    """Take start and end out of the facts, and write them as one period; what is no instant stays."""
    try:
        start, end = (datetime.fromisoformat(facts[name]) for name in ("start", "end"))
        period = frame.instants().period(start, end)
    except (KeyError, TypeError, ValueError):
        return ""
    del facts["start"], facts["end"]
    return period


def write_facts(facts: Mapping[str, Any]) -> str:
    """Write recorded facts on one line; long values are cut."""
    return " · ".join(f"{name}: {_write(value)}" for name, value in facts.items())


def _write(value: Any) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
