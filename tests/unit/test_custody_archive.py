"""The landing archive keeps what a hold names, beyond its own term."""

from __future__ import annotations

from datetime import date, datetime, timezone
from types import SimpleNamespace
from typing import Any

import pytest

from teiten.cli import doors
from teiten.foundation.clock import FixedClock

NOW = datetime(2026, 11, 21, 3, 0, tzinfo=timezone.utc)


@pytest.mark.requirement("R0.1")
@pytest.mark.parametrize(
    ("held_from", "days"),
    [
        (None, 90),
        (date(2026, 11, 1), 90),
        (date(2026, 11, 30), 90),
        (date(2026, 1, 1), 324),
        (date(1970, 1, 2), 20_777),
    ],
)
def test_segments_stay_from_the_first_held_day_on(
    monkeypatch: pytest.MonkeyPatch, held_from: date | None, days: int
) -> None:
    asked: list[int] = []

    def expire(_config: Any, _url: str, _clock: Any, *, days: int) -> Any:
        asked.append(days)
        return SimpleNamespace(days=(), segments=(), kept=())

    monkeypatch.setattr(doors.expiry, "expire", expire)
    installation: Any = SimpleNamespace(
        landing_config=SimpleNamespace(keep_days=90), database_url="", clock=FixedClock(NOW)
    )

    doors.LandingMaintenance(installation).expire(held_from=held_from)

    assert asked == [days]
