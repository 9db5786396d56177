"""What the tests of custody share: sensors, and a store that remembers what it was asked."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

NOW = datetime(2026, 11, 21, 3, 0, tzinfo=timezone.utc)
DAY = timedelta(days=1)


class RecordingStore:
    """A custody store that remembers what it was asked, and can fail."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.fails_with: BaseException | None = None
        self.found = 7

    def count_rows(self, **what: Any) -> dict[str, int]:
        return {"rows": self.found}

    def erase_address(self, **what: Any) -> dict[str, int]:
        return self._do("erase_address", what)

    def erase_sensors(self, **what: Any) -> dict[str, int]:
        return self._do("erase_sensors", what)

    def exclude_sensor(self, **what: Any) -> dict[str, int]:
        return self._do("exclude_sensor", what)

    def include_sensor(self, **what: Any) -> dict[str, int]:
        return self._do("include_sensor", what)

    def _do(self, name: str, what: dict[str, Any]) -> dict[str, int]:
        self.asked.append((name, what))
        if self.fails_with is not None:
            raise self.fails_with
        return {"rows": self.found, "batches": self.found}


def act_of(user: Any = None, at: datetime = NOW) -> Any:
    from teiten.fleet.services import Act

    return Act(at, user)


def make_sensor(name: str, organisation: Any, *, dataset: str = "live") -> Any:
    from teiten.fleet import services
    from teiten.fleet.config import FleetConfig

    region = services.find_or_create_region(code="kanto", name_ja="関東", name_en="Kanto")
    return services.create_sensor(
        name=name,
        region=region,
        organisation=organisation,
        dataset=dataset,
        act=act_of(),
        config=FleetConfig(),
    ).sensor
