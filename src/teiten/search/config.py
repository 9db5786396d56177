"""Settings of the search room."""

from __future__ import annotations

from dataclasses import dataclass

from teiten.foundation.errors import SettingsError

_TLP = ("CLEAR", "GREEN", "AMBER", "AMBER+STRICT", "RED")


@dataclass(frozen=True)
class SearchConfig:
    """Limits and choices of a search."""

    #: Raw rows that one question of a member may read.
    member_max_rows: int = 300_000_000
    #: Raw rows that one question of an analyst or operator may read.
    analyst_max_rows: int = 3_000_000_000
    #: Rows in one page of packets at most.
    max_page_rows: int = 1_000
    #: Rows of one export at most.
    max_export_rows: int = 20_000_000
    #: Counts of rows stop here and are shown as "10,000+".
    count_limit: int = 10_000
    #: A sensor whose newest window is older than this is silent, seconds.
    silent_after_seconds: int = 900
    #: A silent sensor is no longer expected after this, days.
    forget_after_days: int = 30
    #: Statements that run at once on the store.
    parallel_statements: int = 4
    #: For how long an answer about the newest windows is reused, seconds.
    freshness_cache_seconds: float = 5.0
    #: Key of sealed references, 64 hexadecimal digits; empty: a new one at each start.
    reference_key: str = ""
    #: Sensors of others that every figure given to a member stands on, 2 to 5.
    least_sensors: int = 3
    #: How far behind now a member's data end, seconds.
    member_delay_seconds: int = 3_600
    #: How members see sensors: pseudonym, or aggregate (not at all).
    member_level: str = "pseudonym"
    #: TLP that data with real sensors carry: CLEAR, GREEN, AMBER, AMBER+STRICT or RED.
    tlp_real: str = "AMBER"
    #: TLP that members' data carry.
    tlp_members: str = "AMBER"

    def __post_init__(self) -> None:
        if not 2 <= self.least_sensors <= 5:
            raise SettingsError(f"search.least_sensors must be 2 to 5, not {self.least_sensors}")
        if self.member_delay_seconds < 0:
            raise SettingsError("search.member_delay_seconds must be 0 or more")
        if self.member_level not in ("pseudonym", "aggregate"):
            raise SettingsError(
                f"search.member_level must be pseudonym or aggregate, not {self.member_level!r}"
            )
        for name in ("tlp_real", "tlp_members"):
            if getattr(self, name) not in _TLP:
                raise SettingsError(
                    f"search.{name} must be one of {', '.join(_TLP)}, not {getattr(self, name)!r}"
                )

    def tlp_of(self, level: str) -> str:
        """Give the TLP that data of a disclosure level carry."""
        return self.tlp_real if level == "real" else self.tlp_members
