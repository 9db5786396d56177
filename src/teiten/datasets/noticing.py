"""Annotations that the observatory writes itself: its rules changed, sensors were added."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from django.db.models import Count

from teiten.datasets.annotating import note_once
from teiten.datasets.config import DatasetsConfig
from teiten.datasets.models import AnnotationKind
from teiten.fleet.models import SensorEvent, SensorEventKind
from teiten.traffic.rules import RULE_VERSION

#: Complete days that are looked at, so that an outage of the worker leaves no gap.
_DAYS_BACK = 7


def notice(*, now: datetime, zone: str, config: DatasetsConfig) -> Mapping[str, int]:
    """Write what is new, each thing once; gives how many of each kind."""
    return {"rules": _note_rules(now), "sensors": _note_sensors(now, zone, config)}


def _note_rules(now: datetime) -> int:
    """Note the first start with this version of the rules: hints before and after it differ."""
    return note_once(
        f"rules:{RULE_VERSION}",
        at=now,
        kind=AnnotationKind.RULE,
        text_ja=f"判定規則 第{RULE_VERSION}版の使用を開始",
        text_en=f"Rules version {RULE_VERSION} in use from here",
    )


def _note_sensors(now: datetime, zone: str, config: DatasetsConfig) -> int:
    today = now.astimezone(ZoneInfo(zone)).date()
    days = [today - timedelta(days=number) for number in range(1, _DAYS_BACK + 1)]
    return sum(_note_sensors_of(day, zone, config) for day in days)


def _note_sensors_of(day: date, zone: str, config: DatasetsConfig) -> int:
    start_at = datetime.combine(day, time(), tzinfo=ZoneInfo(zone))
    events = SensorEvent.objects.filter(
        kind=SensorEventKind.ENROLLED, at__gte=start_at, at__lt=start_at + timedelta(days=1)
    )
    added = events.values("sensor__dataset").annotate(sensors=Count("sensor", distinct=True))
    return sum(
        note_once(
            f"sensors:{row['sensor__dataset']}:{day}",
            at=start_at,
            kind=AnnotationKind.SENSORS,
            text_ja=f"センサー{row['sensors']}台を追加",
            text_en=f"{row['sensors']} sensors added",
            dataset=row["sensor__dataset"],
        )
        for row in added.order_by("sensor__dataset")
        if row["sensors"] >= config.noted_sensors
    )
