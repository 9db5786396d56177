"""Ports by day as the bubble chart takes them."""

from __future__ import annotations

from datetime import date, datetime, timedelta, timezone
from typing import Any

from django.utils.translation import gettext as _

from teiten.search.answers import PortDay, SourcePage

MOST_PORTS = 10
MOST_DAYS = 30
#: Days before that decide whether a port is new.
_NEW_DAYS = 14


def describe_bubbles(page: SourcePage) -> dict[str, Any]:
    """Give the last days' ports, most packets first, and the days' coverage."""
    calendar = page.calendar[-MOST_DAYS:]
    days = [day.day for day in calendar]
    totals: dict[str, int] = {}
    for cell in page.ports_by_day:
        totals[cell.group.label] = totals.get(cell.group.label, 0) + cell.packets
    ports = sorted(totals, key=lambda port: (-totals[port], port))[:MOST_PORTS]
    place = {day: index for index, day in enumerate(days)}
    cells = [
        {
            "day": place[cell.day],
            "port": ports.index(cell.group.label),
            "packets": cell.packets,
            "isNew": cell.is_new,
        }
        for cell in page.ports_by_day
        if cell.day in place and cell.group.label in ports
    ]
    return {
        "data": {
            "days": [_midnight_ms(day) for day in days],
            "ports": ports,
            "coverage": [day.coverage if day.packets is not None else None for day in calendar],
            "cells": cells,
            "words": {"packets": _("packets"), "isNew": _("new in the last 14 days")},
        },
        "days": len(days),
        "table": [
            (cell.day, cell.group.label, cell.packets, is_known_new(page, cell)) for cell in page.ports_by_day
        ],
        "description": _("Bubble chart of packets by port and day. Most to: %(ports)s.")
        % {"ports": ", ".join(ports[:5])},
    }


def is_known_new(page: SourcePage, cell: PortDay) -> bool:
    """Tell whether a port is new: only days that were watched can say that it was not there before."""
    before = [day for day in page.calendar if timedelta(0) < cell.day - day.day <= timedelta(days=_NEW_DAYS)]
    return cell.is_new and sum(1 for day in before if day.packets is not None) >= _NEW_DAYS / 2


def _midnight_ms(day: date) -> int:
    return int(datetime(day.year, day.month, day.day, tzinfo=timezone.utc).timestamp() * 1000)
