"""An alarm in plain words: what it is about, and the one figure that matters."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from django.utils.translation import gettext as _

from teiten.fleet.alarms.models import Alarm, AlarmKind
from teiten.fleet.health import Condition
from teiten.portal import frame
from teiten.portal.naming.regions import name_region
from teiten.portal.sensors.history import write_facts
from teiten.portal.sensors.states import StateMark, mark_of

#: The state whose mark an alarm carries.
_CONDITIONS: dict[str, Condition] = {
    AlarmKind.SILENT: Condition.SILENT,
    AlarmKind.MASS_SILENCE: Condition.SILENT,
    AlarmKind.DROPPING: Condition.DROPPING,
    AlarmKind.SKEWED: Condition.SKEWED,
    AlarmKind.GAPPED: Condition.GAPPED,
    AlarmKind.CLONED: Condition.QUARANTINED,
    AlarmKind.RING_FULL: Condition.RING_FULL,
    AlarmKind.DISK_LOW: Condition.DISK_LOW,
    AlarmKind.UPDATE_FAILED: Condition.UPDATE_FAILED,
    AlarmKind.CHAIN_BROKEN: Condition.QUARANTINED,
    AlarmKind.TOKEN_REUSED: Condition.QUARANTINED,
    AlarmKind.CANARY_LOST: Condition.SILENT,
    AlarmKind.WITHDRAWN: Condition.WITHDRAWN,
}


def mark_kind(kind: str) -> StateMark:
    """Give the mark of an alarm's kind: the sensor's state that it stands for."""
    return mark_of(_CONDITIONS.get(kind, Condition.REVOKED))


def name_group(group: str) -> str:
    """Say what a group of sensors has in common: ``asn 64512`` is AS64512."""
    what, _space, code = group.partition(" ")
    if what == "asn" and code:
        return f"AS{code}"
    if what == "region" and code:
        return _("region %(name)s") % {"name": name_region(code, frame.language())}
    if what == "org" and code:
        return _("organisation %(code)s") % {"code": code}
    return _("the whole fleet") if group == "fleet" else group


def describe_detail(alarm: Alarm) -> str:
    """Say what is behind an alarm; what does not have the form that its kind should have is told as it is."""
    detail: Mapping[str, Any] = alarm.detail
    describe = _DETAILS.get(alarm.kind)
    if describe is None or not detail:
        return write_facts(detail)
    try:
        return describe(detail)
    except (KeyError, TypeError, ValueError, OverflowError):
        return write_facts(detail)


def _tell_silence(detail: Mapping[str, Any]) -> str:
    if detail["heard_at"] is None:
        return _("never heard")
    return _("last heard %(at)s") % {"at": frame.instants().full(datetime.fromisoformat(detail["heard_at"]))}


_DETAILS: dict[str, Callable[[Mapping[str, Any]], str]] = {
    AlarmKind.SILENT: _tell_silence,
    AlarmKind.MASS_SILENCE: lambda detail: (
        _("%(silent)s of %(all)s sensors")
        % {"silent": f"{detail['sensors']:,}", "all": f"{detail['expected']:,}"}
    ),
    AlarmKind.DROPPING: lambda detail: (
        _("%(share)s of the packets") % {"share": f"{detail['share'] * 100:.2f} %"}
    ),
    AlarmKind.SKEWED: lambda detail: f"{detail['offset_us'] / 1e6:+,.1f} s",
    AlarmKind.GAPPED: lambda detail: (
        _("%(count)s batches missing") % {"count": f"{detail['missing_batches']:,}"}
    ),
    AlarmKind.RING_FULL: lambda detail: _("%(share)s full") % {"share": f"{detail['permille'] / 10:.1f} %"},
    AlarmKind.DISK_LOW: lambda detail: (
        _("%(size)s free") % {"size": f"{detail['free_bytes'] / 2**30:,.1f} GiB"}
    ),
    AlarmKind.UPDATE_FAILED: lambda detail: " · ".join(
        str(part)
        for part in (_("release %(n)s") % {"n": detail["release"]}, detail["why"] or detail["state"])
    ),
}
