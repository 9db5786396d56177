"""Store and landing as the automation's jobs ask for them: facts that can be written as JSON."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date, datetime, timezone
from typing import TYPE_CHECKING, Any

from teiten.cli.installation import Installation
from teiten.cli.survey_doors import SurveyCounts
from teiten.landing import expiry
from teiten.store import check, erasing, exclusion, partitions, rebuild, retention
from teiten.store.exclusion import Exclusion
from teiten.store.holding import Hold
from teiten.traffic.addresses import parse_prefix, to_text

if TYPE_CHECKING:
    # Django's models can be imported only once Django has been set up.
    from teiten.custody.holding import StandingHold

_FIRST_AT = datetime(1970, 1, 2, tzinfo=timezone.utc)


class _StandingHolds(Sequence[Hold]):
    """The holds that stand whenever one looks: a hold that is ordered while retention runs counts at once."""

    def __init__(self, list_holds: Callable[[], Sequence[StandingHold]]) -> None:
        self._list_holds = list_holds

    def __getitem__(self, index: Any) -> Any:
        return self._read()[index]

    def __len__(self) -> int:
        return len(self._read())

    def __iter__(self) -> Iterator[Hold]:
        return iter(self._read())

    def _read(self) -> list[Hold]:
        return [Hold(one.dataset, one.start_at, one.end_at, one.reason) for one in self._list_holds()]


class StoreMaintenance(SurveyCounts):
    """What changes or counts much, in the process that owns the store."""

    def rebuild(self, day: date) -> Mapping[str, Any]:
        """Make the roll-ups of one day anew, for every data set that has it."""
        days = [one for one in partitions.list_days(self._store.connections) if one.day == day]
        return {"rows": {one.dataset: rebuild.rebuild_day(self._store, one) for one in days}}

    def check(self, day: date | None) -> Mapping[str, Any]:
        """Compare raw rows with every roll-up."""
        return {"differences": [one.message for one in check.check_all(self._store, day=day)]}

    def apply_retention(self, list_holds: Callable[[], Sequence[StandingHold]]) -> Mapping[str, Any]:
        """Delete what is past its term, but nothing of a held day."""
        config = self._store.config
        terms = retention.terms_from(config, config.read_dataset_days())
        removed = retention.apply(self._store, terms, held=_StandingHolds(list_holds))
        return {
            "removed": [f"{one.day.dataset} {one.day.day} {one.table}: {one.rows} rows" for one in removed]
        }

    def count_rows(
        self,
        *,
        network: str | None,
        sensors: Sequence[int] | None,
        start_at: datetime | None,
        end_at: datetime,
        dataset: str | None,
    ) -> Mapping[str, Any]:
        """Count the packets that an erasure or exclusion would touch."""
        first, last = map(_as_ipv6, parse_prefix(network)) if network else ("", "")
        values = {
            "dataset": dataset or "",
            "start": start_at or _FIRST_AT,
            "end": end_at,
            "sensors": ",".join(map(str, sensors or ())),
            "first": first,
            "last": last,
        }
        answer = self._store.query("rows_to_touch", values, role="maintenance")
        return {"rows": int(answer["rows"][0].as_py())}

    def erase_address(
        self, *, network: str, start_at: datetime | None, end_at: datetime, dataset: str | None
    ) -> Mapping[str, Any]:
        """Erase every packet in which an address occurs; holds were asked before, address by address."""
        return erasing.erase_address(
            self._store, network=network, start=start_at, end=end_at, dataset=dataset
        )

    def erase_sensors(
        self, *, sensors: Sequence[int], start_at: datetime | None, end_at: datetime, dataset: str | None
    ) -> Mapping[str, Any]:
        """Erase everything that sensors observed."""
        return erasing.erase_sensors(
            self._store, sensors=sensors, start=start_at, end=end_at, dataset=dataset
        )

    def exclude_sensor(
        self, *, dataset: str, sensor: int, start_at: datetime, end_at: datetime
    ) -> Mapping[str, Any]:
        """Set a sensor's batches of a period aside."""
        return exclusion.exclude_sensor(
            self._store, dataset=dataset, sensor=sensor, start=start_at, end=end_at
        )

    def include_sensor(
        self,
        *,
        dataset: str,
        sensor: int,
        start_at: datetime,
        end_at: datetime,
        standing: Sequence[tuple[datetime, datetime]],
    ) -> Mapping[str, Any]:
        """Take a sensor's batches back in."""
        return exclusion.include_sensor(
            self._store,
            dataset=dataset,
            sensor=sensor,
            start=start_at,
            end=end_at,
            standing=[Exclusion(dataset, sensor, *period) for period in standing],
        )


class LandingMaintenance:
    """Expiry of old segments and ledger days."""

    def __init__(self, installation: Installation) -> None:
        self._installation = installation

    def expire(self, *, held_from: date | None) -> Mapping[str, Any]:
        """Delete what is past its term, but nothing that landed on or after ``held_from``."""
        installation = self._installation
        days = installation.landing_config.keep_days
        if held_from is not None:
            today = installation.clock.now().astimezone(timezone.utc).date()
            days = max(days, (today - held_from).days)
        done = expiry.expire(
            installation.landing_config, installation.database_url, installation.clock, days=days
        )
        return {"days": list(done.days), "segments": len(done.segments), "kept": list(done.kept)}


def _as_ipv6(address: bytes) -> str:
    """Write an address as the store reads it, IPv4 in its mapped form."""
    text = to_text(address)
    return text if ":" in text else f"::ffff:{text}"
