"""Store and landing as the automation's jobs ask for them: facts that can be written as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any

from teiten.cli.installation import Installation
from teiten.landing import expiry
from teiten.store import check, partitions, rebuild, retention
from teiten.store.service import Store


class StoreMaintenance:
    """Rebuild, check and retention, in the process that owns the store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def rebuild(self, day: date) -> Mapping[str, Any]:
        """Make the roll-ups of one day anew, for every data set that has it."""
        days = [one for one in partitions.list_days(self._store.connections) if one.day == day]
        return {"rows": {one.dataset: rebuild.rebuild_day(self._store, one) for one in days}}

    def check(self, day: date | None) -> Mapping[str, Any]:
        """Compare raw rows with every roll-up."""
        return {"differences": [one.message for one in check.check_all(self._store, day=day)]}

    def apply_retention(self) -> Mapping[str, Any]:
        """Delete what is past its term."""
        config = self._store.config
        removed = retention.apply(self._store, retention.terms_from(config, config.read_dataset_days()))
        return {
            "removed": [f"{one.day.dataset} {one.day.day} {one.table}: {one.rows} rows" for one in removed]
        }


class LandingMaintenance:
    """Expiry of old segments and ledger days."""

    def __init__(self, installation: Installation) -> None:
        self._installation = installation

    def expire(self) -> Mapping[str, Any]:
        installation = self._installation
        done = expiry.expire(installation.landing_config, installation.database_url, installation.clock)
        return {"days": list(done.days), "segments": len(done.segments), "kept": list(done.kept)}
