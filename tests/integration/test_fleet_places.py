"""Where sensors stand, which public addresses are theirs, and planned maintenance: histories that cannot contradict themselves."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable
from datetime import datetime, timedelta, timezone

import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from teiten.fleet import periods
from teiten.fleet.config import FleetConfig
from teiten.fleet.errors import FleetInputError, SensorUnknownError
from teiten.fleet.sites import Site
from teiten.foundation.clock import FixedClock
from teiten.portal.testing import Cast

pytestmark = pytest.mark.requirement("R1.1", "R2.1")
HOUR = timedelta(hours=1)
ELSEWHERE = Site(country="JP", asn=64500, provider="Example Net", kind="isp", mode="answering")


@pytest.fixture
def make(cast: Cast, clock: FixedClock) -> Callable[..., object]:
    from teiten.fleet import services

    def make_sensor(name: str, dataset: str = "live"):
        region = services.find_or_create_region(code="kanto", name_ja="関東", name_en="Kanto")
        made = services.create_sensor(
            name=name,
            region=region,
            organisation=cast.alpha,
            dataset=dataset,
            act=act_at(clock),
            config=FleetConfig(),
        )
        return made.sensor

    return make_sensor


def act_at(clock: FixedClock):
    from teiten.fleet.services import Act

    return Act(clock.now())


def region_of(code: str):
    from teiten.fleet import services

    return services.find_or_create_region(code=code, name_ja=code, name_en=code)


def state(sensor, clock: FixedClock, public: str, **more):
    from teiten.fleet import addressing

    return addressing.state_address(sensor, public=public, act=act_at(clock), **more)


def list_entries(sensor) -> list[tuple[str, str, str, datetime, datetime | None]]:
    from teiten.fleet import addressing

    rows = reversed(addressing.list_addresses(sensor))
    return [(str(row.local), str(row.public), row.known_by, row.valid_from, row.valid_to) for row in rows]


def test_it_works(make: Callable[..., object], clock: FixedClock) -> None:
    from teiten.fleet import placing
    from teiten.fleet.models import Sensor

    sensor = make("TK-1")
    opened = clock.now()
    clock.advance(3600)

    placing.place_sensor(sensor, region=region_of("kansai"), site=ELSEWHERE, act=act_at(clock))

    rows = [
        (row.region_id, row.kind, row.valid_from, row.valid_to) for row in placing.list_placements(sensor)
    ]
    assert rows == [("kansai", "isp", clock.now(), None), ("kanto", "other", opened, clock.now())]
    assert Sensor.objects.get(pk=sensor.pk).region_id == "kansai"
    assert sensor.events.filter(kind="placed").count() == 1


def test_the_same_place_again_changes_nothing(make: Callable[..., object], clock: FixedClock) -> None:
    from teiten.fleet import placing

    sensor = make("TK-1")
    clock.advance(60)

    kept = placing.place_sensor(sensor, region=region_of("kanto"), site=Site(), act=act_at(clock))

    assert kept.valid_to is None
    assert placing.list_placements(sensor).count() == 1


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"since": -7200}, "placement .* of TK-1 .* began; placements do not overlap"),
        ({"since": 0}, "do not overlap"),
        ({"since": 7200}, "lies in the future"),
        ({"country": "Japan"}, "^country: "),
        ({"kind": "moon"}, "^kind: "),
        ({"mode": "loud"}, "^mode: "),
        ({"asn": -1}, "^__all__: |^asn: |asn"),
    ],
)
def test_a_placement_that_cannot_be(
    make: Callable[..., object], clock: FixedClock, change: dict[str, object], rule: str
) -> None:
    from teiten.fleet import placing

    sensor, opened = make("TK-1"), clock.now()
    clock.advance(3600)
    words = dict(change)
    since = opened + timedelta(seconds=words.pop("since", 3600))  # type: ignore[arg-type]

    with pytest.raises(FleetInputError, match=rule):
        placing.place_sensor(
            sensor,
            region=region_of("kansai"),
            site=dataclasses.replace(ELSEWHERE, **words),
            act=act_at(clock),
            since=since,
        )

    assert placing.list_placements(sensor).get().valid_to is None, "nothing was changed"


def test_an_address_changes_and_the_history_stays(make: Callable[..., object], clock: FixedClock) -> None:
    sensor, first = make("TK-1"), clock.now()
    state(sensor, clock, "203.0.113.7", local="10.0.0.5")
    clock.advance(3600)
    second = clock.now()

    state(sensor, clock, "203.0.113.9", local="10.0.0.5")

    assert list_entries(sensor) == [
        ("10.0.0.5/32", "203.0.113.7/32", "configured", first, second),
        ("10.0.0.5/32", "203.0.113.9/32", "configured", second, None),
    ]
    sensor.refresh_from_db()
    assert sensor.state == "token_issued", "no clone alarm"


def test_an_address_without_nat_is_succeeded_by_word(make: Callable[..., object], clock: FixedClock) -> None:
    sensor, first = make("TK-1"), clock.now()
    state(sensor, clock, "2001:db8:7::/56")
    state(sensor, clock, "203.0.113.7")
    clock.advance(60)

    state(sensor, clock, "203.0.113.8", is_successor=True)

    assert {(public, end) for _, public, _, _, end in list_entries(sensor)} == {
        ("2001:db8:7::/56", clock.now()),
        ("203.0.113.7/32", clock.now()),
        ("203.0.113.8/32", None),
    }
    assert first < clock.now()


@pytest.mark.parametrize(
    ("words", "rule"),
    [
        ({"public": "203.0.113.300"}, "public: '203.0.113.300' is no address"),
        ({"public": "203.0.113.7/24"}, "has host bits set"),
        ({"public": "0.0.0.0/0"}, "wider than /8"),
        ({"public": "2001::/16"}, "wider than /32"),
        ({"public": "192.168.3.4"}, "cannot be reached from the Internet"),
        ({"public": "240.0.0.1"}, "cannot be reached from the Internet"),
        ({"public": "203.0.113.7", "local": "10.0.0.0/24"}, "differ in size"),
        ({"public": "2001:db8::1", "local": "10.0.0.5"}, "differ in size"),
        ({"public": "203.0.113.7", "until": -1}, "to: the period ends .* not after it starts"),
        ({"public": "203.0.113.7", "until": 0}, "not after it starts"),
    ],
)
def test_an_address_that_cannot_be(
    make: Callable[..., object], clock: FixedClock, words: dict[str, object], rule: str
) -> None:
    sensor = make("TK-1")
    if "until" in words:
        words = {**words, "until": clock.now() + timedelta(seconds=int(str(words["until"])))}

    with pytest.raises(FleetInputError, match=rule):
        state(sensor, clock, **words)

    assert list_entries(sensor) == []


def test_a_simulated_sensor_may_have_a_simulated_address(
    make: Callable[..., object], clock: FixedClock
) -> None:
    assert state(make("SIM-1", "simulated"), clock, "240.1.2.3").pk


def test_periods_of_one_local_address_do_not_overlap(make: Callable[..., object], clock: FixedClock) -> None:
    sensor, now = make("TK-1"), clock.now()
    first = state(sensor, clock, "203.0.113.7", local="10.0.0.5", since=now + HOUR, until=now + 2 * HOUR)

    with pytest.raises(
        FleetInputError, match=rf"overlaps entry {first.pk}: 10.0.0.5 as 203.0.113.7.*--end {first.pk}"
    ):
        state(
            sensor, clock, "203.0.113.8/31", local="10.0.0.4/31", since=now, until=now + timedelta(hours=1.5)
        )
    state(sensor, clock, "203.0.113.9", local="10.0.0.5", since=now, until=now + HOUR)

    assert len(list_entries(sensor)) == 2, "half-open periods touch"


def test_no_public_address_is_claimed_by_two_sensors(make: Callable[..., object], clock: FixedClock) -> None:
    one, other = make("TK-1"), make("TK-2")
    first = state(one, clock, "203.0.113.0/28")

    with pytest.raises(
        FleetInputError, match=rf"claimed by sensor TK-1 \(entry {first.pk}.*address TK-1 --end {first.pk}"
    ):
        state(other, clock, "203.0.113.7", local="10.0.0.5")
    assert list_entries(other) == []
    clock.advance(60)
    from teiten.fleet import addressing

    addressing.end_address(first.pk, sensor=one, act=act_at(clock))
    state(other, clock, "203.0.113.7", local="10.0.0.5")

    assert len(list_entries(other)) == 1


def test_of_two_claims_at_once_one_wins(
    make: Callable[..., object], clock: FixedClock, database: str
) -> None:
    """Two connections that never heard of our services: the database itself lets only one through."""
    sensors = [make("TK-1").pk, make("TK-2").pk]
    insert = (
        "INSERT INTO fleet_observedaddress (sensor_id, local, public, valid_from, known_by, note)"
        " VALUES (%s, '10.0.0.5', '203.0.113.7', now(), 'configured', '')"
    )
    outcomes: list[str] = []
    with psycopg.connect(database) as first, psycopg.connect(database) as second:
        first.execute(insert, [sensors[0]])

        def claim() -> None:
            try:
                second.execute(insert, [sensors[1]])
                second.commit()
                outcomes.append("written")
            except psycopg.errors.ExclusionViolation as error:
                outcomes.append(error.diag.constraint_name or "")

        rival = threading.Thread(target=claim)
        rival.start()
        rival.join(0.3)
        assert rival.is_alive(), "the second claim waits for the first"
        first.commit()
        rival.join(10)

    assert outcomes == ["observed_address_public_once"]
    with psycopg.connect(database) as connection:
        assert connection.execute("SELECT count(*) FROM fleet_observedaddress").fetchone() == (1,)


@pytest.mark.parametrize(
    ("statement", "constraint"),
    [
        (
            (
                "INSERT INTO fleet_sensorplacement (sensor_id, valid_from, region_id, country, asn, provider, kind, mode)"
                " VALUES (%(s)s, now(), 'kanto', '', 0, '', 'isp', 'silent')"
            ),
            "placement_no_overlap",
        ),
        (
            (
                "INSERT INTO fleet_maintenance (sensor_id, start_at, end_at, reason)"
                " SELECT %(s)s, now() + h, now() + h + '2 hours', 'x' FROM unnest(ARRAY['0 h'::interval, '1 h']) AS h"
            ),
            "maintenance_no_overlap",
        ),
        (
            (
                "INSERT INTO fleet_observedaddress (sensor_id, local, public, valid_from, known_by, note)"
                " SELECT %(s)s, l, p, now(), 'gateway', '' FROM (VALUES ('10.0.0.0/31'::cidr, '203.0.113.0/31'::cidr),"
                " ('10.0.0.1', '203.0.113.9')) AS t (l, p)"
            ),
            "observed_address_no_overlap",
        ),
        (
            (
                "INSERT INTO fleet_observedaddress (sensor_id, local, public, valid_from, known_by, note)"
                " VALUES (%(s)s, '10.0.0.0/31', '203.0.113.0/32', now(), 'gateway', '')"
            ),
            "observed_address_same_length",
        ),
        (
            "INSERT INTO fleet_maintenance (sensor_id, start_at, end_at, reason) VALUES (%(s)s, now(), now(), 'x')",
            "maintenance_ends_after_start",
        ),
    ],
)
def test_the_database_refuses_what_the_services_would(
    make: Callable[..., object], database: str, statement: str, constraint: str
) -> None:
    sensor = make("TK-1").pk
    with psycopg.connect(database) as connection, pytest.raises(psycopg.errors.IntegrityError) as refused:
        connection.execute(statement, {"s": sensor})

    assert refused.value.diag.constraint_name == constraint


def test_an_entry_ends_or_is_withdrawn(make: Callable[..., object], clock: FixedClock) -> None:
    from teiten.fleet import addressing

    sensor = make("TK-1")
    wrong = state(sensor, clock, "203.0.113.7")
    clock.advance(60)

    addressing.end_address(wrong.pk, sensor=sensor, act=act_at(clock), until=wrong.valid_from)
    assert list_entries(sensor) == []
    right = state(sensor, clock, "203.0.113.8")
    clock.advance(60)
    addressing.end_address(right.pk, sensor=sensor, act=act_at(clock))

    with pytest.raises(FleetInputError, match=r"ended at .* already"):
        addressing.end_address(right.pk, sensor=sensor, act=act_at(clock))
    with pytest.raises(SensorUnknownError, match="no address entry 999"):
        addressing.end_address(999, sensor=sensor, act=act_at(clock))
    assert sensor.events.filter(kind="addressed").count() == 4


def test_maintenance_is_planned_and_taken_back(make: Callable[..., object], clock: FixedClock) -> None:
    from teiten.fleet import maintaining

    sensor, now = make("TK-1"), clock.now()

    def plan(start: datetime, end: datetime, reason: str = "new router"):
        return maintaining.plan_maintenance(sensor, start=start, end=end, reason=reason, act=act_at(clock))

    first = plan(now + HOUR, now + 3 * HOUR)
    plan(now + 3 * HOUR, now + 4 * HOUR)
    with pytest.raises(
        FleetInputError, match=rf"overlaps maintenance {first.pk} of TK-1 .*new router.*--cancel {first.pk}"
    ):
        plan(now + 2 * HOUR, now + 5 * HOUR)
    with pytest.raises(FleetInputError, match="not after it starts"):
        plan(now + HOUR, now)
    with pytest.raises(FleetInputError, match="say why"):
        plan(now + 8 * HOUR, now + 9 * HOUR, " ")
    clock.advance(7200)
    maintaining.cancel_maintenance(first.pk, sensor=sensor, act=act_at(clock))

    spans = [(row.start_at, row.end_at) for row in maintaining.list_maintenance(sensor)]
    assert spans == [(now + 3 * HOUR, now + 4 * HOUR), (now + HOUR, now + 2 * HOUR)]
    clock.advance(86_400)
    with pytest.raises(FleetInputError, match="was over"):
        maintaining.cancel_maintenance(first.pk, sensor=sensor, act=act_at(clock))


def test_revisions_grow_with_every_change(make: Callable[..., object], clock: FixedClock) -> None:
    from teiten.fleet import addressing
    from teiten.fleet.models import SensorFacts

    one, other = make("TK-1"), make("TK-2")
    read = lambda: dict(SensorFacts.objects.values_list("sensor_id", "revision"))  # noqa: E731
    before = read()

    entry = state(one, clock, "203.0.113.7")
    addressing.end_address(entry.pk, sensor=one, act=act_at(clock), until=entry.valid_from)

    assert before == {one.pk: 1, other.pk: 2}
    assert read() == {one.pk: 4, other.pk: 2}


Instants = st.integers(0, 20).map(lambda hour: datetime(2026, 11, 21, tzinfo=timezone.utc) + hour * HOUR)
Spans = st.tuples(Instants, st.none() | Instants).filter(lambda span: span[1] is None or span[0] < span[1])


@settings(max_examples=60)
@given(one=Spans, other=Spans)
def test_overlap_is_sharing_an_instant(one: tuple, other: tuple) -> None:
    hours = [datetime(2026, 11, 21, tzinfo=timezone.utc) + hour * HOUR for hour in range(22)]
    inside = [
        {hour for hour in hours if hour >= start and (end is None or hour < end)}
        for start, end in (one, other)
    ]

    assert periods.overlap(one, other) == periods.overlap(other, one) == bool(inside[0] & inside[1])


def test_a_sensor_of_before_stands_where_its_region_says(
    make: Callable[..., object], clock: FixedClock, database: str
) -> None:
    from django.core.management import call_command

    sensor = make("TK-1")
    try:
        call_command("migrate", "fleet", "0001_initial", verbosity=0)
        with psycopg.connect(database) as connection:
            assert connection.execute("SELECT to_regclass('fleet_sensorplacement')").fetchone() == (None,)
    finally:
        # All rooms: what stands on the fleet's tables went with them.
        call_command("migrate", verbosity=0)

    with psycopg.connect(database) as connection:
        rows = connection.execute(
            "SELECT p.sensor_id, p.region_id, p.valid_from = s.created_at, p.valid_to, f.revision"
            " FROM fleet_sensorplacement AS p JOIN fleet_sensor AS s ON s.id = p.sensor_id"
            " JOIN fleet_sensorfacts AS f ON f.sensor_id = s.id"
        ).fetchall()
    assert rows == [(sensor.pk, "kanto", True, None, 1)]
