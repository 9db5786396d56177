"""The states of sensors on the screen: colour, shape and word together, never colour alone."""

from __future__ import annotations

from dataclasses import dataclass

from django.utils.translation import gettext as _

from teiten.fleet.health import Condition

#: Shapes in a box of 14 by 14, by the class that colours them.
SHAPES: dict[str, str] = {
    "st-w": "M1 1h12v12h-12z",
    "st-s": "M1 1h12v12h-12zM2.4 2.4v9.2h9.2v-9.2z",
    "st-g": "M1 1h12v3.8h-12zM1 9.2h12v3.8h-12z",
    "st-d": "M1 1h12L7 13z",
    "st-c": "M7 1L13 7L7 13L1 7z",
    "st-q": "M1 1h3.6L7 4.6L9.4 1h3.6L9.2 7L13 13h-3.6L7 9.4L4.6 13h-3.6L4.8 7z",
    "st-o": "M7 1a6 6 0 1 0 .01 0zM7 2.4a4.6 4.6 0 1 1-.01 0z",
}
_CLASSES: dict[Condition, str] = {
    Condition.WATCHING: "st-w",
    Condition.SILENT: "st-s",
    Condition.GAPPED: "st-g",
    Condition.DROPPING: "st-d",
    Condition.SKEWED: "st-c",
    Condition.RING_FULL: "st-d",
    Condition.DISK_LOW: "st-d",
    Condition.UPDATE_FAILED: "st-c",
    Condition.QUARANTINED: "st-q",
    Condition.MAINTENANCE: "st-o",
    Condition.WAITING: "st-o",
    Condition.PENDING_APPROVAL: "st-o",
    Condition.PAUSED: "st-o",
    Condition.SUSPENDED: "st-o",
    Condition.WITHDRAWN: "st-o",
    Condition.REVOKED: "st-o",
}
#: The order in which states are shown; those that do not send come last.
ORDER = (
    Condition.WATCHING,
    Condition.SILENT,
    Condition.GAPPED,
    Condition.DROPPING,
    Condition.SKEWED,
    Condition.RING_FULL,
    Condition.DISK_LOW,
    Condition.UPDATE_FAILED,
    Condition.QUARANTINED,
    Condition.MAINTENANCE,
    Condition.WAITING,
    Condition.PENDING_APPROVAL,
    Condition.PAUSED,
    Condition.SUSPENDED,
    Condition.WITHDRAWN,
    Condition.REVOKED,
)
#: States that are shown only when a sensor is in them.
RARE = frozenset(ORDER[ORDER.index(Condition.RING_FULL) :]) - {Condition.QUARANTINED}


@dataclass(frozen=True)
class StateMark:
    """How a state is drawn and called."""

    css: str
    shape: str
    word: str


def mark_of(condition: Condition) -> StateMark:
    """Give a state's mark."""
    css = _CLASSES[condition]
    return StateMark(css, SHAPES[css], name_state(condition))


def name_state(condition: Condition) -> str:
    """Give a state's word."""
    return {
        Condition.WATCHING: _("Watching"),
        Condition.SILENT: _("Silent"),
        Condition.GAPPED: _("Gaps"),
        Condition.DROPPING: _("Dropping"),
        Condition.SKEWED: _("Clock off"),
        Condition.RING_FULL: _("Ring nearly full"),
        Condition.DISK_LOW: _("Disk low"),
        Condition.UPDATE_FAILED: _("Update failed"),
        Condition.QUARANTINED: _("Quarantined"),
        Condition.MAINTENANCE: _("Maintenance"),
        Condition.WAITING: _("Waiting"),
        Condition.PENDING_APPROVAL: _("Waiting for approval"),
        Condition.PAUSED: _("Paused by its host"),
        Condition.SUSPENDED: _("Suspended"),
        Condition.WITHDRAWN: _("Withdrawn by its host"),
        Condition.REVOKED: _("Revoked"),
    }[condition]
