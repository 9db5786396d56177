"""`teiten sensor create --count`: a thousand sensors at once, all or none."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from teiten.cli import sensor_verbs
from teiten.fleet.config import FleetConfig
from teiten.fleet.errors import FleetInputError
from teiten.fleet.naming import name_sensors
from teiten.foundation.clock import FixedClock
from teiten.portal.testing import migrated_database

pytestmark = pytest.mark.requirement("R1.4", "R2.1")
CONFIG = FleetConfig()


@pytest.fixture(scope="module", autouse=True)
def database(postgres_server_url: str) -> Iterator[str]:
    with migrated_database(postgres_server_url) as url:
        yield url


def make(clock: FixedClock, names: list[str], **more: object) -> list[object]:
    return list(
        sensor_verbs.create_sensors(names=names, region="kanto", clock=clock, config=CONFIG, **more)  # type: ignore[arg-type]
    )


def test_a_thousand_sensors_are_what_single_ones_are(clock: FixedClock) -> None:
    from teiten.accounts.models import AuditRecord
    from teiten.fleet import services
    from teiten.fleet.models import EnrolmentToken, Sensor, SensorEvent

    one = sensor_verbs.create_sensor(name="single", region="kanto", clock=clock, config=CONFIG)
    made = make(clock, name_sensors("many", 1_000), needs_approval=True, cidr="192.0.2.0/24")

    assert len(made) == 1_000
    single, first = services.get_sensor("single"), services.get_sensor("many-0001")
    same = ("region_id", "organisation_id", "dataset", "state", "epoch", "window_seconds", "created_at")
    assert [getattr(single, name) for name in same] == [getattr(first, name) for name in same]
    assert (single.needs_approval, first.needs_approval) == (False, True)
    for sensor in (single, first):
        assert sensor.placements.count() == 1
        assert list(
            SensorEvent.objects.filter(sensor=sensor).order_by("id").values_list("kind", flat=True)
        ) == [
            "created",
            "token_issued",
        ]
    assert EnrolmentToken.objects.get(sensor=first).cidr == "192.0.2.0/24"
    assert one.token != made[0].text  # type: ignore[attr-defined]
    assert len({issued.text for issued in made}) == 1_000  # type: ignore[attr-defined]
    assert Sensor.objects.filter(name__startswith="many-").count() == 1_000
    numbers = [single.pk, *(issued.sensor.pk for issued in made)]  # type: ignore[attr-defined]
    subjects = {f"sensor:{number}" for number in numbers}
    recorded = AuditRecord.objects.filter(kind="sensor.created", subject__in=subjects)
    assert recorded.count() == len(subjects) == 1_001


def test_a_name_that_is_taken_makes_none(clock: FixedClock) -> None:
    from teiten.fleet.models import Sensor

    make(clock, ["late-0003"])
    before = Sensor.objects.count()

    with pytest.raises(FleetInputError, match="late-0003"):
        make(clock, name_sensors("late", 5))

    assert Sensor.objects.count() == before


@pytest.mark.parametrize(
    ("names", "more", "words"),
    [
        (["a b"], {}, "name"),
        (["fine", "-bad"], {}, "name"),
        (["x" * 65], {}, "name"),
        (["good"], {"cidr": "192.0.2.300"}, "cidr"),
    ],
)
def test_bad_values_make_none(
    clock: FixedClock, names: list[str], more: dict[str, object], words: str
) -> None:
    from teiten.fleet.models import Sensor

    before = Sensor.objects.count()

    with pytest.raises(FleetInputError, match=words):
        make(clock, names, **more)

    assert Sensor.objects.count() == before


@pytest.mark.parametrize("count", [0, -1, 10_001])
def test_a_count_out_of_range_is_refused(count: int) -> None:
    with pytest.raises(FleetInputError, match="count"):
        name_sensors("x", count)


def test_names_sort_as_they_are_counted() -> None:
    assert name_sensors("x", 1) == ["x"]
    names = name_sensors("x", 10_000)
    assert (names[0], names[-1], names == sorted(names)) == ("x-00001", "x-10000", True)
    assert name_sensors("x", 2) == ["x-0001", "x-0002"]


def test_two_who_make_the_same_names_at_once_make_them_once(
    clock: FixedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    from teiten.fleet import making
    from teiten.fleet.models import Sensor

    make(clock, ["twice-1", "twice-2"])
    # The other's sensors appear after the names were found free.
    monkeypatch.setattr(making, "_refuse_taken", lambda _: None)
    with pytest.raises(FleetInputError, match="name: somebody else has made sensors of these names"):
        make(clock, ["twice-2", "twice-3"])
    assert Sensor.objects.filter(name__startswith="twice-").count() == 2
