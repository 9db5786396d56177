"""Instants as people read them, always in the installation's zone and always saying which."""

from __future__ import annotations

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_WEEKDAYS = {"ja": "月火水木金土日", "en": ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")}


class Instants:
    """Writes instants in one zone and one language."""

    def __init__(self, zone: ZoneInfo, language: str) -> None:
        self.zone = zone
        self.is_japanese = language.startswith("ja")

    def local(self, at: datetime) -> datetime:
        return at.astimezone(self.zone)

    def zone_word(self, at: datetime) -> str:
        return self.local(at).strftime("%Z")

    def minute(self, at: datetime) -> str:
        """``12:00``."""
        return self.local(at).strftime("%H:%M")

    def second(self, at: datetime) -> str:
        """``12:01:33``."""
        return self.local(at).strftime("%H:%M:%S")

    def millisecond(self, at: datetime) -> str:
        """``12:01:33.204``."""
        local = self.local(at)
        return f"{local:%H:%M:%S}.{local.microsecond // 1000:03d}"

    def date(self, at: datetime) -> str:
        """``2026-11-21``, or ``21 Nov 2026``."""
        local = self.local(at)
        return (
            f"{local:%Y-%m-%d}"
            if self.is_japanese
            else f"{local.day} {_MONTHS[local.month - 1]} {local.year}"
        )

    def day(self, at: datetime) -> str:
        """``11-21``, or ``21 Nov``."""
        local = self.local(at)
        return f"{local:%m-%d}" if self.is_japanese else f"{local.day} {_MONTHS[local.month - 1]}"

    def weekday(self, at: datetime) -> str:
        return _WEEKDAYS["ja" if self.is_japanese else "en"][self.local(at).weekday()]

    def moment(self, at: datetime) -> str:
        """``11-21 12:00``, or ``21 Nov 12:00``."""
        return f"{self.day(at)} {self.minute(at)}"

    def full(self, at: datetime) -> str:
        """``2026-11-21 12:00 JST``."""
        return f"{self.date(at)} {self.minute(at)} {self.zone_word(at)}"

    def period(self, start: datetime, end: datetime) -> str:
        """``2026-11-14 12:00 – 11-21 12:00 JST``."""  # noqa: RUF002 - a range
        return f"{self.date(start)} {self.minute(start)} – {self.moment(end)} {self.zone_word(end)}"  # noqa: RUF001 - a range

    def wall_ms(self, at: datetime) -> int:
        """Give the wall clock's reading as if it were UTC, in ms.

        The browser draws its time axes in UTC, so that every viewer sees the
        installation's time and not that of their own machine.
        """
        local = self.local(at)
        seconds = int(local.timestamp()) + int((local.utcoffset() or timedelta(0)).total_seconds())
        return seconds * 1000 + local.microsecond // 1000


def month_names(language: str) -> tuple[str, ...]:
    """Give the twelve months as short labels."""
    return tuple(f"{month}月" for month in range(1, 13)) if language == "ja" else _MONTHS


def weekday_names(language: str) -> tuple[str, ...]:
    """Give the days of the week from Monday on."""
    return tuple(_WEEKDAYS["ja" if language == "ja" else "en"])
