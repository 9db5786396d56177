"""What probers sent against what arrived: reachability, alarms, and files that nobody can forge."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from teiten.fleet.config import FleetConfig
from teiten.foundation.clock import FixedClock
from teiten.portal.testing import Cast
from teiten.protocol import canary
from teiten.protocol.canary import Probe, Target

pytestmark = pytest.mark.requirement("R1.3", "R2.1")
CONFIG = FleetConfig(canary_tcp_ports=(23, 80), canary_udp_ports=(53,), canary_lost_after=4)


def act(clock: FixedClock) -> Any:
    from teiten.fleet.services import Act

    return Act(clock.now())


def make_sensor(cast: Cast, clock: FixedClock, name: str, address: str, *, organisation=None) -> Any:
    from teiten.fleet import services
    from teiten.fleet.models import SensorHealth

    region = services.find_or_create_region(code="kanto", name_ja="関東", name_en="Kanto")
    sensor = services.create_sensor(
        name=name,
        region=region,
        organisation=organisation or cast.alpha,
        dataset="live",
        act=act(clock),
        config=CONFIG,
    ).sensor
    sensor.state, sensor.enrolled_at = "active", clock.now()
    sensor.save()
    report = {"interfaces": [{"name": "e", "state": "up", "addresses": [address, "10.0.0.9", "fe80::1"]}]}
    SensorHealth.objects.create(
        sensor=sensor,
        heartbeat_at=clock.now(),
        counter=1,
        boot_id="a",
        booted_at=clock.now(),
        software="1",
        report=report,
    )
    return sensor


def register(clock: FixedClock, name: str = "lab") -> Any:
    from teiten.fleet.canary import services

    return services.register_prober(name, addresses=["203.0.113.9"], slot_seconds=900, act=act(clock))


def play(
    clock: FixedClock,
    held: Any,
    folder: Path,
    *,
    closed: frozenset[int] = frozenset(),
    away: bool = False,
    only: Any = None,
) -> None:
    """Play one slot: what the prober sends, its log, what the loader notes, and the sensors' heartbeats.

    ``closed`` ports, or all of them when ``away``, do not arrive: at the sensor ``only``, or at all of them.
    """
    from teiten.fleet.canary import files, services
    from teiten.fleet.canary.door import CanaryDesk
    from teiten.fleet.canary.models import Prober
    from teiten.fleet.models import SensorHealth

    slot = clock.now_us() // 900_000_000
    prober = Prober.objects.get(name=held.prober)
    plan = services.make_plan(prober, now=clock.now(), config=CONFIG)
    due = tuple(
        canary.list_probes(
            held.key, plan.targets, slot=slot, tcp_ports=plan.tcp_ports, udp_ports=plan.udp_ports
        )
    )
    log = files.write_log(folder, files.SentLog(held.prober, slot, due), key=held.key)
    arrived = [
        SimpleNamespace(
            prober=prober.pk,
            slot=slot,
            sensor=one.target.sensor,
            address=canary.pack_address(one.target.address),
            protocol=one.protocol,
            port=one.port,
            at=clock.now(),
        )
        for one in due
        if (only is not None and one.target.sensor != only.pk) or (one.port not in closed and not away)
    ]
    if arrived:
        desk = CanaryDesk(clock)
        desk.note_arrivals(arrived)
        desk.note_arrivals(arrived)  # a block that is loaded again
    clock.advance(900)
    services.bring_log(log, now=clock.now())
    services.bring_log(log, now=clock.now())
    clock.advance(900)
    SensorHealth.objects.update(heartbeat_at=clock.now(), spool_batches=0)


def judge(clock: FixedClock) -> dict[str, int]:
    from teiten.fleet.canary.judging import judge_canaries

    return judge_canaries(now=clock.now(), config=CONFIG)


def reach(viewer: Any = None, **how: Any) -> dict[tuple[str, int], tuple[int, int, bool]]:
    from teiten.fleet.canary.selectors import reachability_visible_to

    rows = reachability_visible_to(viewer, config=CONFIG, **how)
    return {(one.name, one.port): (one.sent, one.arrived, one.is_unreachable) for one in rows}


def test_it_works(cast: Cast, clock: FixedClock, tmp_path: Path) -> None:
    sensor = make_sensor(cast, clock, "TK-001", "192.0.2.7")
    held = register(clock)

    play(clock, held, tmp_path)
    play(clock, held, tmp_path)
    assert judge(clock) == {"arrived": 4, "lost": 0, "unknown": 0}
    assert judge(clock) == {"arrived": 0, "lost": 0, "unknown": 0}, "each is judged once"

    found = reach()
    assert found["TK-001", 53] == (2, 2, False)
    assert sum(sent for sent, _, _ in found.values()) == 4
    assert reach(cast.alice) == reach(cast.ann, sensor_id=sensor.pk) == found
    assert reach(cast.charlie) == {}


def test_a_port_that_never_arrives_is_unreachable_once_that_is_sure(
    cast: Cast, clock: FixedClock, tmp_path: Path
) -> None:
    from teiten.fleet.canary.selectors import unreachable_ports

    sensor, _ = (
        make_sensor(cast, clock, f"TK-00{number}", f"192.0.2.{number}", organisation=cast.beta)
        for number in (1, 2)
    )
    held = register(clock)
    begun_at = clock.now()
    for _ in range(6):
        play(clock, held, tmp_path, closed=frozenset({53}), only=sensor)
        judge(clock)
    assert unreachable_ports(CONFIG) == {}, "often, but not for days"
    assert list_periods() == []
    clock.advance(3 * 86_400)
    play(clock, held, tmp_path, closed=frozenset({53}), only=sensor)
    judge(clock)

    assert unreachable_ports(CONFIG) == {sensor.pk: frozenset({(17, 53)})}
    assert reach()["TK-001", 53] == (7, 0, True)
    ((known, from_at, to_at, revision),) = list_periods()
    assert (known, to_at, revision) == ((sensor.pk, 4, 17, 53), None, 1)
    assert begun_at < from_at <= begun_at + timedelta(seconds=900), "since the first that was lost"
    again_at = clock.now()
    play(clock, held, tmp_path)
    judge(clock)
    assert unreachable_ports(CONFIG) == {}, "one that arrives opens it again"
    assert list_periods() == [(known, from_at, again_at, 2)], "what was true then stays"


def list_periods() -> list[tuple[Any, ...]]:
    from teiten.fleet.canary.models import Unreached

    names = ("sensor_id", "ip_version", "protocol", "port", "from_at", "to_at", "revision")
    return [(row[:4], *row[4:]) for row in Unreached.objects.order_by("pk").values_list(*names)]


def test_a_port_that_reaches_nobody_is_the_probers_fault(
    cast: Cast, clock: FixedClock, tmp_path: Path
) -> None:
    for number in (1, 2, 3):
        make_sensor(cast, clock, f"TK-00{number}", f"192.0.2.{number}")
    held = register(clock)
    for _ in range(6):
        play(clock, held, tmp_path, closed=frozenset({23}))
        assert judge(clock)["lost"] == 0
        clock.advance(86_400 - 900)
    assert list_periods() == []
    assert alarms() == []


def test_what_all_sensors_miss_at_once_is_the_probers_fault(
    cast: Cast, clock: FixedClock, tmp_path: Path
) -> None:
    from teiten.fleet.alarms.models import Alarm
    from teiten.fleet.canary.models import Reach

    for number in range(1, 5):
        make_sensor(cast, clock, f"TK-00{number}", f"192.0.2.{number}")
    held = register(clock)
    for _ in range(2):
        play(clock, held, tmp_path)
        judge(clock)
    for _ in range(6):
        play(clock, held, tmp_path, away=True)
        assert judge(clock)["lost"] == 0
    assert not Reach.objects.filter(lost_in_row__gt=0).exists()
    alarm = Alarm.objects.get()
    assert (alarm.kind, alarm.group, alarm.detail) == (
        "canary_lost",
        "prober lab",
        {"why": "void", "sensors": 4, "expected": 4},
    )
    play(clock, held, tmp_path)
    judge(clock)
    assert alarms() == []
    clock.advance(30 * 3_600)
    judge(clock)
    assert Alarm.objects.get(closed_at=None).detail["why"] == "silent"


def test_one_sensor_that_misses_all_is_its_own_fault(cast: Cast, clock: FixedClock, tmp_path: Path) -> None:
    lost, *_ = (make_sensor(cast, clock, f"TK-00{number}", f"192.0.2.{number}") for number in range(1, 5))
    held = register(clock)
    for _ in range(2):
        play(clock, held, tmp_path)
        judge(clock)
    for _ in range(2):
        play(clock, held, tmp_path, away=True, only=lost)
        judge(clock)

    from teiten.fleet.alarms.models import Alarm

    assert [(alarm.kind, alarm.sensor_id) for alarm in Alarm.objects.all()] == [("canary_lost", lost.pk)]


@pytest.mark.parametrize("is_planned", [False, True])
def test_what_a_sensor_missed_while_it_was_off_says_nothing(
    cast: Cast, clock: FixedClock, tmp_path: Path, is_planned: bool
) -> None:
    from teiten.fleet.models import Maintenance, SensorHealth

    off, *_ = (make_sensor(cast, clock, f"TK-00{number}", f"192.0.2.{number}") for number in range(1, 4))
    held = register(clock)
    play(clock, held, tmp_path)
    judge(clock)
    begun_at = clock.now()
    for _ in range(3):
        play(clock, held, tmp_path, away=True, only=off)
    if is_planned:
        Maintenance.objects.create(sensor=off, start_at=begun_at, end_at=clock.now(), reason="x")
    else:
        SensorHealth.objects.filter(sensor=off).update(booted_at=clock.now())
    assert judge(clock) == {"arrived": 12, "lost": 0, "unknown": 6}
    assert alarms() == []


def test_a_log_that_is_brought_again_after_judging_changes_nothing(
    cast: Cast, clock: FixedClock, tmp_path: Path
) -> None:
    from teiten.fleet.canary import services

    make_sensor(cast, clock, "TK-001", "192.0.2.7")
    play(clock, register(clock), tmp_path)
    assert judge(clock)["arrived"] == 2
    for path in tmp_path.glob("canary-*"):
        services.bring_log(path, now=clock.now())
    assert judge(clock) == {"arrived": 0, "lost": 0, "unknown": 0}


def test_what_arrived_counts_also_where_the_log_is_lost(
    cast: Cast, clock: FixedClock, tmp_path: Path
) -> None:
    from teiten.fleet.canary.models import Canary, SlotLog

    make_sensor(cast, clock, "TK-001", "192.0.2.7")
    play(clock, register(clock), tmp_path)
    SlotLog.objects.all().delete()
    Canary.objects.update(was_sent=False)
    assert judge(clock)["arrived"] == 0
    clock.advance(86_400)
    assert judge(clock) == {"arrived": 2, "lost": 0, "unknown": 0}


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_the_order_of_results_does_not_matter(cast: Cast, clock: FixedClock, data: st.DataObject) -> None:
    from django.db import transaction

    from teiten.fleet.canary.models import Prober, Reach

    if not Prober.objects.exists():
        register(clock)
        for number in (1, 2):
            make_sensor(cast, clock, f"TK-00{number}", f"192.0.2.{number}")
    results = data.draw(st.lists(st.booleans(), min_size=2, max_size=12))
    order = data.draw(st.permutations(range(len(results))))
    cuts = data.draw(st.sets(st.integers(1, len(results)), max_size=4))

    def run(places: list[int], cuts: set[int]) -> Any:
        with transaction.atomic():
            for count, place in enumerate(places, start=1):
                put_result(clock, place, results[place])
                if count in cuts or count == len(places):
                    judge(clock)
            row = Reach.objects.get(sensor__name="TK-001")
            found = row.arrived, row.lost, row.lost_in_row, row.lost_since, row.lost_at, row.last_tried_at
            transaction.set_rollback(True)
        return found

    assert run(list(order), set(cuts)) == run(list(range(len(results))), set())


def put_result(clock: FixedClock, place: int, has_arrived: bool) -> None:
    """Put what was sent in a slot of the last hours, to the first sensor; the second received the same."""
    from teiten.fleet.canary import services
    from teiten.fleet.canary.models import Canary, Prober
    from teiten.fleet.models import Sensor, SensorHealth

    now = clock.now()
    SensorHealth.objects.update(heartbeat_at=now, booted_at=now - timedelta(days=1), spool_batches=0)
    slot = clock.now_us() // 900_000_000 - 20 + place
    ended_at = services.end_of_slot(900, slot)
    for sensor in Sensor.objects.order_by("name"):
        is_there = has_arrived or sensor.name == "TK-002"
        Canary.objects.create(
            prober=Prober.objects.get(),
            slot=slot,
            sensor=sensor,
            address=f"192.0.2.{sensor.name[-1]}",
            protocol=6,
            port=23,
            ended_at=ended_at,
            was_sent=True,
            arrived_at=ended_at - timedelta(minutes=5) if is_there else None,
        )


def alarms() -> list[str]:
    from teiten.fleet.alarms.models import Alarm

    return list(Alarm.objects.filter(closed_at=None).values_list("kind", flat=True))


def test_a_sensor_that_watches_and_gets_none_is_alarmed_about(
    cast: Cast, clock: FixedClock, tmp_path: Path
) -> None:
    from teiten.fleet.alarms.models import Alarm

    make_sensor(cast, clock, "TK-001", "192.0.2.7")
    held = register(clock)
    play(clock, held, tmp_path)
    judge(clock)
    play(clock, held, tmp_path, away=True)
    judge(clock)
    assert alarms() == [], "two may be lost"
    play(clock, held, tmp_path, away=True)
    judge(clock)
    assert alarms() == ["canary_lost"]
    assert Alarm.objects.get().detail["lost"] == 4
    play(clock, held, tmp_path, closed=frozenset({23, 80}))
    judge(clock)
    assert alarms() == [], "one that arrives ends it"


def test_nothing_is_judged_before_everything_is_there(cast: Cast, clock: FixedClock, tmp_path: Path) -> None:
    from teiten.fleet.canary.models import Canary
    from teiten.fleet.models import SensorHealth

    make_sensor(cast, clock, "TK-001", "192.0.2.7")
    held = register(clock)
    play(clock, held, tmp_path, away=True)
    SensorHealth.objects.update(spool_batches=40)
    assert judge(clock)["lost"] == 0, "what it has not delivered may hold them"
    SensorHealth.objects.update(spool_batches=0, heartbeat_at=clock.now() - timedelta(hours=1))
    assert judge(clock)["lost"] == 0, "a silent sensor tells nothing"
    clock.advance(86_400)
    assert judge(clock) == {"arrived": 0, "lost": 0, "unknown": 2}
    assert not Canary.objects.exists()


def test_files_are_believed_only_whole_and_in_time(cast: Cast, clock: FixedClock, tmp_path: Path) -> None:
    from teiten.fleet.canary import files, services
    from teiten.fleet.canary.files import CanaryFileError
    from teiten.fleet.canary.models import Canary
    from teiten.fleet.errors import FleetInputError, SensorUnknownError

    sensor = make_sensor(cast, clock, "TK-001", "192.0.2.7")
    held = register(clock)
    slot = clock.now_us() // 900_000_000
    probe = Probe(Target(sensor.pk, "192.0.2.7"), 6, 23)
    good = files.SentLog("lab", slot, (probe,))
    value = json.loads(files.write_log(tmp_path, good, key=held.key).read_text())
    stranger = tmp_path / "log.json"

    def refuse(text: Any, rule: str) -> None:
        stranger.write_text(text if isinstance(text, str) else json.dumps(text))
        with pytest.raises((CanaryFileError, SensorUnknownError), match=rule):
            services.bring_log(stranger, now=clock.now())

    refuse("", "no JSON")
    refuse([], "of no version")
    refuse({**value, "sent": [[sensor.pk, "192.0.2.7", 6, 80]]}, "was changed")
    refuse({**value, "prober": "other"}, "no prober 'other'")
    refuse({**value, "mac": ""}, "was changed")
    refuse({"v": 1}, "no log")
    files.write_log(tmp_path, replace(good, slot=slot - 200), key=held.key)
    with pytest.raises(CanaryFileError, match="cannot be compared"):
        services.bring_log(files.log_path(tmp_path, "lab", slot - 200), now=clock.now())
    with pytest.raises(CanaryFileError, match="cannot be read"):
        services.bring_log(tmp_path / "nothing", now=clock.now())
    assert not Canary.objects.exists()
    rules: list[tuple[dict[str, Any], str]] = [
        ({"name": "Lab!"}, "small letters"),
        ({"name": "lab"}, "is another prober's"),
        ({"slot_seconds": 1}, "60 to"),
        ({"addresses": ["x"]}, "address"),
        ({"addresses": []}, "from which"),
    ]
    for bad, rule in rules:
        given = {"name": "b", "addresses": ["203.0.113.9"], "slot_seconds": 900, **bad}
        with pytest.raises(FleetInputError, match=rule):
            services.register_prober(given.pop("name"), **given, act=act(clock))
    services.revoke_prober("lab", act=act(clock))
    with pytest.raises(SensorUnknownError, match="in use"):
        services.get_prober("lab")
    path = tmp_path / "key.json"
    files.write_key_file(path, held)
    assert (files.read_key_file(path), path.stat().st_mode & 0o777) == (held, 0o600)


def test_a_plan_names_what_stands_now(cast: Cast, clock: FixedClock) -> None:
    from teiten.fleet.canary import services
    from teiten.fleet.canary.models import Prober
    from teiten.fleet.models import ObservedAddress

    first = make_sensor(cast, clock, "TK-001", "192.0.2.7")
    second = make_sensor(cast, clock, "TK-002", "10.1.1.1")
    paused = make_sensor(cast, clock, "TK-003", "192.0.2.9")
    paused.state = "suspended"
    paused.save()
    hour_ago = clock.now() - timedelta(hours=1)
    for local, public, start, end in (
        ("10.1.1.1/32", "198.51.100.4/32", hour_ago, None),
        ("2001:db8:5::/64", "2001:db8:5::/64", hour_ago, None),
        ("10.1.1.1/32", "198.51.100.3/32", hour_ago - timedelta(hours=1), hour_ago),
    ):
        ObservedAddress.objects.create(
            sensor=second, local=local, public=public, valid_from=start, valid_to=end, known_by="configured"
        )
    register(clock)

    plan = services.make_plan(Prober.objects.get(), now=clock.now(), config=CONFIG)

    assert plan.targets == (
        Target(first.pk, "192.0.2.7"),
        Target(second.pk, "198.51.100.4"),
        Target(second.pk, "2001:db8:5::1"),
    )


def put_reach(
    sensor: Any, clock: FixedClock, address: str, port: int, *, lost: int = 0, days: float = 4
) -> None:
    """Enter a port that was tried until now, and lost ``lost`` times over so many days, or reached."""
    from teiten.fleet.canary.models import Reach

    now = clock.now()
    Reach.objects.update_or_create(
        sensor=sensor,
        address=address,
        protocol=6,
        port=port,
        defaults={
            "lost": lost,
            "lost_in_row": lost,
            "lost_since": now - timedelta(days=days) if lost else None,
            "last_tried_at": now,
            "last_arrived_at": None if lost else now,
            "again_at": None if lost else now - timedelta(hours=1),
        },
    )


def revise(clock: FixedClock) -> None:
    from teiten.fleet.canary import unreached

    unreached.revise(now=clock.now(), config=CONFIG)


def test_each_version_of_ip_and_every_address_of_it_counts(cast: Cast, clock: FixedClock) -> None:
    from teiten.fleet.canary.selectors import unreachable_ports

    sensor = make_sensor(cast, clock, "TK-001", "192.0.2.7")
    for address, lost in (("192.0.2.7", 9), ("192.0.2.8", 9), ("2001:db8::7", 0)):
        put_reach(sensor, clock, address, 23, lost=lost)
        put_reach(sensor, clock, address, 80, lost=9 if address == "192.0.2.7" else 0)
    revise(clock)
    assert [row[0] for row in list_periods()] == [(sensor.pk, 4, 6, 23)]
    assert unreachable_ports(CONFIG) == {}, "over IPv6 it is reached"
    put_reach(sensor, clock, "2001:db8::7", 23, lost=9)
    revise(clock)
    assert unreachable_ports(CONFIG) == {sensor.pk: frozenset({(6, 23)})}


def test_an_address_that_a_sensor_left_says_nothing(cast: Cast, clock: FixedClock) -> None:
    sensor = make_sensor(cast, clock, "TK-001", "192.0.2.7")
    put_reach(sensor, clock, "192.0.2.7", 23, lost=9)
    put_reach(sensor, clock, "192.0.2.7", 80)
    revise(clock)
    left_at = clock.now()
    clock.advance(5 * 86_400)
    put_reach(sensor, clock, "198.51.100.7", 80)
    revise(clock)
    ((_, from_at, to_at, _),) = list_periods()
    assert (from_at, to_at) == (left_at - timedelta(days=4), left_at), "as long as it was tried"


def test_nothing_is_known_of_what_was_tried_long_ago(cast: Cast, clock: FixedClock) -> None:
    sensor = make_sensor(cast, clock, "TK-001", "192.0.2.7")
    put_reach(sensor, clock, "192.0.2.7", 23, lost=9)
    put_reach(sensor, clock, "192.0.2.7", 80)
    revise(clock)
    tried_at = clock.now()
    clock.advance(11 * 86_400)
    revise(clock)
    assert list_periods()[0][2] is None
    clock.advance(2 * 86_400)
    revise(clock)
    assert list_periods()[0][2] == tried_at


def test_a_late_arrival_ends_or_withdraws_what_was_known(cast: Cast, clock: FixedClock) -> None:
    from teiten.fleet.canary.models import Reach
    from teiten.fleet.facts import FleetFacts

    sensor = make_sensor(cast, clock, "TK-001", "192.0.2.7")
    put_reach(sensor, clock, "192.0.2.7", 23, lost=9)
    put_reach(sensor, clock, "192.0.2.7", 80)
    revise(clock)
    ((_, from_at, _, _),) = list_periods()
    arrived_at = from_at + timedelta(hours=5)
    Reach.objects.filter(port=23).update(lost_in_row=4, again_at=arrived_at, last_arrived_at=arrived_at)
    revise(clock)
    assert [row[1:] for row in list_periods()] == [(from_at, from_at, 2)], "three days were not proven"
    assert FleetFacts(clock).list_unreached(6, 23, 0, 1 << 62) == []
