"""Settings of the store: where it is, its zone, and what each role may use."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from teiten.foundation.errors import SettingsError

#: Who asks: a loading block, a person at a screen, a long export, an operator's command.
Role: TypeAlias = Literal["loader", "screen", "export", "maintenance"]

GIB = 1 << 30


@dataclass(frozen=True)
class StoreConfig:
    """``[store]`` in the settings file."""

    #: URL of a ClickHouse server, ``http://user:password@host:8123/``; None for the embedded store.
    url: str | None = None
    #: Folder of the embedded store; used when ``url`` is None.
    path: str | None = None
    #: Name of the database inside the store.
    database: str = "teiten"
    #: Zone whose days and hours the roll-ups have; fixed for the life of the data.
    zone: str = "Asia/Tokyo"
    #: Memory that one insert of the loader may use.
    loader_memory_bytes: int = 4 * GIB
    #: Time that one insert may take.
    loader_seconds: int = 300
    #: Memory that one query of a screen or the API may use.
    screen_memory_bytes: int = 3 * GIB
    #: Time after which a screen's query is stopped.
    screen_seconds: int = 20
    #: Memory that one export may use.
    export_memory_bytes: int = 3 * GIB
    #: Time after which an export is stopped.
    export_seconds: int = 600
    #: Memory for migrations, retention, rebuild and check.
    maintenance_memory_bytes: int = 6 * GIB
    #: Time that one step of maintenance may take.
    maintenance_seconds: int = 3_600
    #: Days of roll-ups and coverage kept by hour, counted from arrival.
    hourly_days: int = 90
    #: Days of roll-ups kept by day, counted from arrival.
    daily_days: int = 3_650
    #: Days of raw packets kept when a data set has no term of its own, counted from arrival.
    raw_days: int = 90
    #: Days for which captured payload bytes and payload examples are kept, counted from arrival; at most as long as raw packets.
    payload_days: int = 90
    #: Terms of single data sets, ``NAME=DAYS``, for example ``simulated=30`` or ``import:old-capture=3650``.
    dataset_days: tuple[str, ...] = ()

    def read_dataset_days(self) -> dict[str, int]:
        """Give data set → days for those that have a term of their own.

        Raises:
            SettingsError: naming the entry that is not ``NAME=DAYS``.
        """
        terms = {}
        for entry in self.dataset_days:
            name, _, days = entry.rpartition("=")
            if not name or not days.isdecimal() or int(days) < 1:
                raise SettingsError(f"store.dataset_days: {entry!r} must be NAME=DAYS, such as simulated=30")
            terms[name] = int(days)
        return terms

    def limits_of(self, role: Role) -> dict[str, int]:
        """Give ClickHouse's limits for one statement of ``role``."""
        memory, seconds = {
            "loader": (self.loader_memory_bytes, self.loader_seconds),
            "screen": (self.screen_memory_bytes, self.screen_seconds),
            "export": (self.export_memory_bytes, self.export_seconds),
            "maintenance": (self.maintenance_memory_bytes, self.maintenance_seconds),
        }[role]
        return {"max_memory_usage": memory, "max_execution_time": seconds}
