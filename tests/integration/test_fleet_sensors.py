"""What people see of the fleet, what the loader reads of it, and how sensors are moved."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta, timezone

import psycopg
import pytest

from teiten.fleet.config import FleetConfig
from teiten.foundation.clock import FixedClock
from teiten.portal.testing import Cast

pytestmark = pytest.mark.requirement("R2.1", "R3.1")
CONFIG = FleetConfig()


@pytest.fixture
def landing(database: str) -> Iterator[psycopg.Connection]:
    from teiten.landing import migrations, partitions

    migrations.migrate(database)
    with psycopg.connect(database, autocommit=True) as connection:
        for day in (20, 21):
            connection.execute(
                partitions.create_statement(datetime(2026, 11, day, tzinfo=timezone.utc).date())
            )
        yield connection
        connection.execute("DROP SCHEMA landing CASCADE")


def make_sensor(cast: Cast, clock: FixedClock, name: str, *, organisation=None, state="active", **health):
    from teiten.fleet import services
    from teiten.fleet.models import SensorHealth
    from teiten.fleet.services import Act

    region = services.find_or_create_region(code="kanto", name_ja="関東", name_en="Kanto")
    sensor = services.create_sensor(
        name=name,
        region=region,
        organisation=organisation or cast.alpha,
        dataset="live",
        tags=["b", "a", "b"],
        act=Act(clock.now()),
        config=CONFIG,
    ).sensor
    services.add_key(sensor, public_key=name.encode().ljust(32, b"."), at=clock.now())
    sensor.state, sensor.enrolled_at = state, clock.now() - timedelta(days=1)
    sensor.save()
    if health:
        facts = {"counter": 1, "boot_id": "a", "booted_at": clock.now(), "software": "0.1.0", **health}
        SensorHealth.objects.create(sensor=sensor, **{"heartbeat_at": clock.now(), **facts})
    return sensor


def rows_for(viewer, clock: FixedClock):
    from teiten.fleet import selectors

    return selectors.sensor_states(viewer, now=clock.now(), config=CONFIG)


def test_it_works(cast: Cast, clock: FixedClock) -> None:
    from teiten.fleet import selectors
    from teiten.fleet.health import Condition

    make_sensor(cast, clock, "TK-001", clock_offset_us=5, spool_batches=2, last_error="eth0 down")
    make_sensor(cast, clock, "TK-002", recent_captured=100, recent_drops=50)
    make_sensor(cast, clock, "TK-003")

    rows = rows_for(cast.dana, clock)

    assert [(row.name, row.condition.value) for row in rows] == [
        ("TK-001", "watching"),
        ("TK-002", "dropping"),
        ("TK-003", "silent"),
    ]
    assert (rows[0].organisation, rows[0].region, rows[0].spool_batches) == ("alpha", "kanto", 2)
    assert rows[0].last_error == "eth0 down"
    counted = selectors.count_conditions(rows)
    assert counted[Condition.WATCHING] == counted[Condition.SILENT] == 1
    assert list(counted) == list(Condition)


def test_it_costs_few_queries_however_many_sensors(cast: Cast, clock: FixedClock) -> None:
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    for number in range(12):
        make_sensor(cast, clock, f"TK-{number:03}", counter=number)

    with CaptureQueriesContext(connection) as queries:
        rows_for(cast.alice, clock)

    assert len(queries) <= 3


def test_one_sensor_is_read_without_the_others(cast: Cast, clock: FixedClock) -> None:
    from teiten.fleet import selectors

    own = make_sensor(cast, clock, "TK-001", counter=1)
    theirs = make_sensor(cast, clock, "TK-002", organisation=cast.beta, counter=1)

    def read(*numbers):
        return selectors.sensor_states(cast.alice, now=clock.now(), config=CONFIG, sensors=numbers)

    assert read(own.pk) == [rows_for(cast.alice, clock)[0]]
    assert [row.is_masked for row in read(theirs.pk)] == [True], "asked by number, it stays masked"
    assert read() == read(0, -1, 1 << 80) == []


def test_in_brief_all_sensors_are_what_they_are_at_length(cast: Cast, clock: FixedClock) -> None:
    from teiten.fleet import selectors

    make_sensor(cast, clock, "TK-001", clock_offset_us=2_000_000, recent_captured=100, recent_drops=50)
    make_sensor(cast, clock, "TK-002", state="suspended")
    make_sensor(cast, clock, "TK-003", organisation=cast.beta, recent_captured=100, recent_drops=50)
    make_sensor(cast, clock, "TK-004", organisation=cast.beta)

    for viewer in (cast.alice, cast.charlie, cast.dana):
        rows = rows_for(viewer, clock)
        briefs = selectors.sensor_briefs(viewer, now=clock.now(), config=CONFIG)

        def shared(row):
            counts = (row.missing_batches, row.clock_offset_us, row.drop_share)
            return (
                row.id,
                row.name,
                row.is_masked,
                row.region,
                row.organisation,
                row.software,
                row.conditions,
                counts,
            )

        assert [shared(row) for row in briefs] == [shared(row) for row in rows]
        assert all(row.heard_us is None for row in briefs if row.is_masked)


def test_others_sensors_are_masked(cast: Cast, clock: FixedClock) -> None:
    from teiten.fleet import selectors

    own = make_sensor(cast, clock, "TK-OWN", last_error="own trouble")
    theirs = make_sensor(cast, clock, "TK-THEIRS", organisation=cast.beta, last_error="eth7 203.0.113.5")

    seen, hidden = rows_for(cast.alice, clock)

    assert (seen.id, seen.name, seen.is_masked) == (own.pk, "TK-OWN", False)
    assert (hidden.id, hidden.organisation, hidden.last_error, hidden.is_masked) == (None, "", "", True)
    assert "THEIRS" not in repr(hidden)
    assert "203.0.113.5" not in repr(hidden)
    assert hidden.name == rows_for(cast.bob, clock)[1].name, "one organisation, one pseudonym"
    assert hidden.name != selectors.pseudonym_of(theirs.pk, viewer=cast.charlie), "another's is another"
    assert all(not row.is_masked for row in rows_for(cast.ann, clock))
    assert [sensor.pk for sensor in selectors.sensors_visible_to(cast.alice)] == [own.pk]
    assert {event.sensor_id for event in selectors.events_visible_to(cast.charlie)} == {theirs.pk}
    assert not selectors.events_visible_to(cast.alice, sensor_id=theirs.pk).exists()


def land(connection: psycopg.Connection, sensor: int, seqs: str, *, at: datetime, last: int) -> None:
    connection.execute(
        "INSERT INTO landing.received (sensor, epoch, seqs, last_seq, last_landed_at) VALUES (%s, 1, %s, %s, %s)",
        [sensor, seqs, last, at],
    )


def land_batch(
    connection: psycopg.Connection, sensor: int, seq: int, *, at: datetime, state: str = "landed"
) -> None:
    connection.execute(
        "INSERT INTO landing.batches (landed_at, sensor, epoch, seq, key_no, digest, seal, size_bytes, segment,"
        " body_offset, receipt, state) VALUES (%s, %s, 1, %s, 1, %s, %s, 1, 's', 0, '', %s)",
        [at, sensor, seq, b"d" * 32, b"s" * 64, state],
    )


def test_gaps_and_last_batches_come_from_the_landing_ledger(
    cast: Cast, clock: FixedClock, landing: psycopg.Connection
) -> None:
    now = clock.now()
    whole = make_sensor(cast, clock, "TK-001", counter=1)
    holed = make_sensor(cast, clock, "TK-002", counter=1)
    healed = make_sensor(cast, clock, "TK-003", counter=1)
    headless = make_sensor(cast, clock, "TK-004", counter=1)
    land(landing, whole.pk, "{[1,50)}", at=now, last=49)
    land(landing, holed.pk, "{[1,5),[8,20),[21,30)}", at=now, last=29)
    land_batch(landing, holed.pk, 8, at=now - timedelta(hours=2))
    land_batch(landing, holed.pk, 21, at=now - timedelta(hours=1))
    land(landing, healed.pk, "{[1,5),[8,20)}", at=now, last=19)
    land_batch(landing, healed.pk, 8, at=now - timedelta(hours=25))
    land(landing, headless.pk, "{[3,5)}", at=now, last=4)
    land_batch(landing, headless.pk, 3, at=now - timedelta(hours=1))

    rows = {row.name: row for row in rows_for(cast.dana, clock)}

    assert [(name, row.missing_batches, row.condition.value) for name, row in rows.items()] == [
        ("TK-001", 0, "watching"),
        ("TK-002", 4, "gapped"),
        ("TK-003", 0, "watching"),
        ("TK-004", 2, "gapped"),
    ]
    assert rows["TK-001"].last_batch_at == now


@pytest.mark.requirement("R0.1")
def test_a_flood_of_anothers_sensor_changes_nothing_that_a_member_sees(
    cast: Cast, clock: FixedClock, landing: psycopg.Connection
) -> None:
    """Its newest batch comes sooner, numbers are missing, packets are dropped, its clock drifts."""
    from teiten.fleet.models import SensorHealth

    hour = clock.now().replace(minute=0, second=0, microsecond=0)
    theirs = make_sensor(cast, clock, "TK-THEIRS", organisation=cast.beta, heartbeat_at=hour)
    land(landing, theirs.pk, "{[1,30)}", at=hour, last=29)
    clock.advance(60)
    calm, known = rows_for(cast.alice, clock), rows_for(cast.ann, clock)

    landing.execute(
        "UPDATE landing.received SET seqs = '{[1,5),[8,60)}', last_seq = 59, last_landed_at = %s",
        [hour + timedelta(seconds=47)],
    )
    land_batch(landing, theirs.pk, 8, at=hour + timedelta(seconds=30))
    SensorHealth.objects.update(
        heartbeat_at=hour + timedelta(seconds=50), recent_captured=9_000, recent_drops=4_000, counter=2,
        clock_offset_us=70_000, spool_batches=9, spool_bytes=9_000_000, last_error="ring full",
    )  # fmt: skip

    assert rows_for(cast.alice, clock) == calm
    assert rows_for(cast.ann, clock) != known


def test_resuming_a_quarantined_sensor_lets_its_batches_go(
    cast: Cast, clock: FixedClock, landing: psycopg.Connection
) -> None:
    from teiten.fleet import services
    from teiten.fleet.services import Act

    sensor = make_sensor(cast, clock, "TK-001", state="quarantined")
    land_batch(landing, sensor.pk, 1, at=clock.now(), state="held")

    services.resume_sensor(sensor, reason="one machine after all", act=Act(clock.now()))

    assert landing.execute("SELECT state FROM landing.batches").fetchall() == [("landed",)]


def test_the_loader_reads_placements(cast: Cast, clock: FixedClock) -> None:
    from teiten.fleet.models import Sensor
    from teiten.fleet.register import FleetRegister

    sensor = make_sensor(cast, clock, "TK-001")
    register = FleetRegister(clock)

    placed = register.list_placements()[sensor.pk]

    assert (placed.region, placed.dataset, placed.may_import, placed.tags) == (
        "kanto",
        "live",
        False,
        ("a", "b"),
    )
    assert placed.keys == {1: b"TK-001".ljust(32, b".")}
    Sensor.objects.update(may_import=True)
    assert not register.list_placements()[sensor.pk].may_import
    clock.advance(5)
    assert register.list_placements()[sensor.pk].may_import


def test_a_new_sensor_is_found_without_waiting(cast: Cast, clock: FixedClock) -> None:
    from teiten.fleet.register import FleetRegister

    register = FleetRegister(clock)
    assert register.find_placement(999, 1) is None
    # In the same instant: a batch that landed has a key that was there, so an older answer does not count.
    sensor = make_sensor(cast, clock, "TK-001")

    found = register.find_placement(sensor.pk, 1)

    assert found is not None
    assert found.sensor == sensor.pk
    assert register.find_placement(sensor.pk, 2) == found, "the key is unknown, the sensor is not"


@pytest.mark.parametrize(
    ("state", "verb", "becomes"),
    [
        ("active", "suspend", "suspended"),
        ("quarantined", "suspend", "suspended"),
        ("suspended", "resume", "active"),
        ("quarantined", "resume", "active"),
        ("pending_approval", "resume", None),
        ("active", "revoke", "revoked"),
        ("created", "revoke", "revoked"),
        ("created", "suspend", None),
        ("suspended", "suspend", None),
        ("active", "resume", None),
        ("revoked", "resume", None),
        ("revoked", "suspend", None),
        ("revoked", "revoke", None),
    ],
)
def test_sensors_move_only_where_they_may(
    cast: Cast, clock: FixedClock, state: str, verb: str, becomes: str | None
) -> None:
    from teiten.fleet import services
    from teiten.fleet.errors import FleetInputError, SensorStateError
    from teiten.fleet.services import Act

    sensor = make_sensor(cast, clock, "TK-001", state=state)
    move = getattr(services, f"{verb}_sensor")
    act = Act(clock.now(), cast.dana)

    with pytest.raises(FleetInputError, match="reason"):
        move(sensor, reason=" ", act=act)
    if becomes is None:
        with pytest.raises(SensorStateError, match=state):
            move(sensor, reason="because", act=act)
    else:
        move(sensor, reason="because", act=act)
    sensor.refresh_from_db()
    assert sensor.state == (becomes or state)
    assert sensor.events.filter(actor=cast.dana, detail__reason="because").count() == (1 if becomes else 0)


def test_sensors_are_found_by_name_or_number(cast: Cast, clock: FixedClock) -> None:
    from teiten.fleet import services
    from teiten.fleet.errors import SensorUnknownError

    sensor = make_sensor(cast, clock, "TK-001")

    assert services.get_sensor("TK-001") == services.get_sensor(str(sensor.pk)) == sensor
    for unknown in ("TK-002", "0", "9" * 30, "", "²"):
        with pytest.raises(SensorUnknownError, match="teiten sensor list"):
            services.get_sensor(unknown)


def test_a_name_is_never_taken_for_another_sensors_number(cast: Cast, clock: FixedClock) -> None:
    """Whoever types ``revoke 1`` must not end another sensor than the one he means."""
    from teiten.fleet import making, services
    from teiten.fleet.errors import FleetInputError, SensorUnknownError
    from teiten.fleet.models import Region, Sensor
    from teiten.fleet.services import Act

    first = make_sensor(cast, clock, "TK-001")
    number = str(first.pk)
    with pytest.raises(FleetInputError, match="letter"):
        make_sensor(cast, clock, number)
    with pytest.raises(FleetInputError, match="letter"):
        making.create_sensors(
            [number], region=Region.objects.get(), organisation=cast.alpha, dataset="live",
            act=Act(clock.now()), config=CONFIG,
        )  # fmt: skip
    # One that was made before this rule.
    other = make_sensor(cast, clock, "TK-002")
    Sensor.objects.filter(pk=other.pk).update(name=number)

    with pytest.raises(SensorUnknownError, match=rf"say {other.pk} or TK-001"):
        services.get_sensor(number)
    assert services.get_sensor("TK-001") == first
    assert services.get_sensor(str(other.pk)) == other
