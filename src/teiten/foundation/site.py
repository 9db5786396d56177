"""What the whole installation has in common: its folder, its zone, its language, its database."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal


@dataclass(frozen=True)
class SiteConfig:
    """Section ``[site]``."""

    #: Folder for everything that Teiten writes: databases, landing log, keys.
    data_dir: Path = Path("data")
    #: IANA zone whose midnight begins a day, on screens and in daily roll-ups.
    zone: str = "Asia/Tokyo"
    #: Language of a screen before its reader has chosen one.
    language: Literal["ja", "en"] = "ja"


@dataclass(frozen=True)
class DatabaseConfig:
    """Section ``[database]``."""

    #: PostgreSQL URL; without one the embedded server in ``data_dir`` is used.
    url: str | None = None
