"""Roll-outs over PostgreSQL: stages, halts, pauses, crashes, and ten thousand sensors."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from teiten.fleet.config import FleetConfig
from teiten.foundation.clock import FixedClock
from teiten.portal.testing import Cast

pytestmark = pytest.mark.requirement("R1.3", "R2.1")
CONFIG = FleetConfig()


def make_sensors(cast: Cast, clock: FixedClock, count: int, *, silent: int = 0) -> list[int]:
    from teiten.fleet.models import Region, Sensor, SensorHealth

    region = Region.objects.create(code="kanto", name_ja="関東", name_en="Kanto")
    sensors = Sensor.objects.bulk_create(
        Sensor(
            name=f"TK-{number:05}",
            region=region,
            organisation=cast.alpha,
            dataset="live",
            state="active",
            created_at=clock.now(),
            enrolled_at=clock.now(),
        )
        for number in range(count)
    )
    SensorHealth.objects.bulk_create(
        SensorHealth(
            sensor=sensor,
            heartbeat_at=clock.now() - timedelta(hours=1 if number < silent else 0),
            counter=1,
            boot_id="b",
            booted_at=clock.now(),
            software="0.1.0",
        )
        for number, sensor in enumerate(sensors)
    )
    return [sensor.pk for sensor in sensors]


def start(sensors: list[int], /, clock: FixedClock, cast: Cast, **changes: Any):
    from teiten.fleet.rollouts import services
    from teiten.fleet.services import Act

    given: dict[str, Any] = {"kind": "command", "subject": "C1", "sensors": sensors, "per_minute": 10_000}
    return services.start_rollout(**(given | changes), act=Act(clock.now(), cast.dana))


def advance(clock: FixedClock) -> dict[str, int]:
    from teiten.fleet.rollouts.advancing import advance_all

    return dict(advance_all(clock.now(), CONFIG))


def hear(clock: FixedClock, *, except_for: set[int] = frozenset()) -> None:
    from teiten.fleet.models import SensorHealth

    SensorHealth.objects.exclude(pk__in=except_for).update(heartbeat_at=clock.now())


def answer(rollout, outcome: str, clock: FixedClock, *, most: int = 100_000) -> set[int]:
    from teiten.fleet.rollouts import services

    released = rollout.targets.filter(state__in=["released", "fetched"]).order_by("position")
    sensors = list(released.values_list("sensor", flat=True)[:most])
    return set(services.report_many(rollout, dict.fromkeys(sensors, (outcome, "")), at=clock.now()))


def count(rollout) -> dict[str, int]:
    from django.db.models import Count

    return dict(rollout.targets.values_list("state").annotate(Count("pk")))


def test_it_works(cast: Cast, clock: FixedClock) -> None:
    from teiten.accounts.models import AuditRecord
    from teiten.fleet.rollouts.selectors import released_to

    rollout = start(make_sensors(cast, clock, 200), clock, cast)
    seen = []
    for _ in range(4):
        assert advance(clock)["halted"] == 0
        seen.append(len(released_to("command", "C1")))
        answer(rollout, "ok", clock)
        clock.advance(10)
    advance(clock)
    rollout.refresh_from_db()

    assert seen == [2, 20, 100, 200]
    assert rollout.state == "done"
    assert count(rollout) == {"ok": 200}
    kinds = list(
        AuditRecord.objects.filter(subject=f"rollout:{rollout.pk}")
        .order_by("number")
        .values_list("kind", flat=True)
    )
    assert kinds == ["rollout.started", *["rollout.advanced"] * 3, "rollout.done"]


def test_advancing_twice_or_from_two_workers_releases_once(cast: Cast, clock: FixedClock) -> None:
    import threading

    from django.db import connection

    rollout = start(make_sensors(cast, clock, 200), clock, cast)

    def work() -> None:
        advance(clock)
        connection.close()

    workers = [threading.Thread(target=work) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    advance(clock)

    assert count(rollout) == {"released": 2, "waiting": 198}


def test_a_crash_in_the_middle_changes_nothing(
    cast: Cast, clock: FixedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    from teiten.fleet.rollouts import advancing, services

    rollout = start(make_sensors(cast, clock, 100), clock, cast)
    advance(clock)
    answer(rollout, "ok", clock)

    def die(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(services, "record", die)
        with pytest.raises(KeyboardInterrupt):
            advancing.advance_all(clock.now(), CONFIG)
    rollout.refresh_from_db()
    assert (rollout.stage, count(rollout)) == (0, {"ok": 1, "waiting": 99})

    advance(clock)
    assert count(rollout) == {"ok": 1, "released": 9, "waiting": 90}


def test_failures_halt_and_take_back_what_was_not_fetched(cast: Cast, clock: FixedClock) -> None:
    from teiten.fleet.rollouts import services
    from teiten.fleet.services import Act

    rollout = start(make_sensors(cast, clock, 100), clock, cast, stages=[10, 100])
    advance(clock)
    answer(rollout, "failed", clock, most=1)

    assert advance(clock)["halted"] == 1
    rollout.refresh_from_db()
    assert rollout.state == "halted"
    assert "1 of 10 sensors failed" in rollout.reason
    assert count(rollout) == {"failed": 1, "waiting": 99}
    clock.advance(3600)
    hear(clock)
    assert advance(clock) == {"released": 0, "halted": 0}

    services.resume(rollout, reason="that one is broken", act=Act(clock.now(), cast.dana))
    assert advance(clock) == {"released": 9, "halted": 0}
    answer(rollout, "refused", clock, most=1)
    assert advance(clock)["halted"] == 1


def test_sensors_that_fall_silent_halt_but_those_that_were_do_not(cast: Cast, clock: FixedClock) -> None:
    sensors = make_sensors(cast, clock, 100, silent=20)
    rollout = start(sensors, clock, cast, stages=[50, 100])
    advance(clock)
    answer(rollout, "ok", clock)
    clock.advance(200)
    released = list(rollout.targets.exclude(state="waiting").values_list("sensor", flat=True))
    assert not set(released) & set(sensors[:20])
    hear(clock, except_for={*sensors[:20], released[0]})
    assert advance(clock)["halted"] == 0

    clock.advance(200)
    hear(clock, except_for={*sensors[:20], *released[:10]})
    assert advance(clock)["halted"] == 1
    rollout.refresh_from_db()
    assert "fell silent" in rollout.reason


def test_planned_silence_is_no_alarm(cast: Cast, clock: FixedClock) -> None:
    from teiten.fleet.models import Maintenance

    sensors = make_sensors(cast, clock, 10)
    start(sensors, clock, cast, stages=[100])
    advance(clock)
    Maintenance.objects.bulk_create(
        Maintenance(
            sensor_id=sensor, start_at=clock.now(), end_at=clock.now() + timedelta(days=1), reason="move"
        )
        for sensor in sensors
    )
    clock.advance(600)

    assert advance(clock)["halted"] == 0


def test_a_rate_is_kept(cast: Cast, clock: FixedClock) -> None:
    rollout = start(make_sensors(cast, clock, 100), clock, cast, stages=[100], per_minute=30)
    released = []
    for _ in range(5):
        advance(clock)
        advance(clock)
        released.append(count(rollout).get("released", 0))
        clock.advance(61)
        hear(clock)

    assert released == [30, 60, 90, 100, 100]


def test_pause_resume_stop(cast: Cast, clock: FixedClock) -> None:
    from teiten.fleet.rollouts import services
    from teiten.fleet.rollouts.errors import RolloutError
    from teiten.fleet.services import Act

    act = Act(clock.now(), cast.dana)
    rollout = start(make_sensors(cast, clock, 100), clock, cast, stages=[10, 100])
    advance(clock)
    services.pause(rollout, reason="look first", act=act)
    answer(rollout, "ok", clock, most=4)
    assert advance(clock)["released"] == 0
    with pytest.raises(RolloutError, match="is paused; it cannot become paused"):
        services.pause(rollout, reason="again", act=act)
    with pytest.raises(RolloutError, match="say why"):
        services.resume(rollout, reason=" ", act=act)
    services.resume(rollout, reason="fine", act=act)

    assert services.stop(rollout, reason="enough", act=act) == 96
    assert count(rollout) == {"ok": 4, "cancelled": 96}
    with pytest.raises(RolloutError, match="is stopped"):
        services.resume(rollout, reason="again", act=act)
    assert advance(clock)["released"] == 0


def test_what_expires_ends_and_late_answers_do_not_count(cast: Cast, clock: FixedClock) -> None:
    from teiten.fleet.rollouts.models import RolloutTarget

    end = clock.now() + timedelta(minutes=10)
    rollout = start(make_sensors(cast, clock, 10), clock, cast, stages=[50, 100], not_after=end)
    advance(clock)
    first = rollout.targets.filter(state="released").first()
    RolloutTarget.objects.filter(pk=first.pk).update(state="fetched", fetched_at=clock.now())
    clock.advance(700)
    hear(clock)
    advance(clock)
    assert count(rollout) == {"expired": 9, "fetched": 1}

    clock.advance(CONFIG.result_grace_seconds)
    advance(clock)
    rollout.refresh_from_db()
    assert (rollout.state, count(rollout)) == ("done", {"expired": 10})
    assert answer(rollout, "ok", clock) == set()


def test_updates_answer_by_heartbeats_and_newer_ones_take_over(cast: Cast, clock: FixedClock) -> None:
    from teiten.fleet.models import SensorHealth

    sensors = make_sensors(cast, clock, 10)
    older = start(sensors, clock, cast, kind="update", subject="7", stages=[100])
    advance(clock)
    rollout = start(sensors, clock, cast, kind="update", subject="8", stages=[100])
    older.refresh_from_db()
    assert (older.state, older.reason) == ("stopped", "superseded by release 8")
    # Latecomers that are brought to an older release stop no newer one.
    start(sensors[:1], clock, cast, kind="update", subject="6", stages=[100])
    rollout.refresh_from_db()
    assert rollout.state == "running"
    advance(clock)

    def say(sensor: int, release: int, state: str, detail: str = "") -> None:
        told = {"update": {"release": release, "state": state, "detail": detail}}
        SensorHealth.objects.filter(pk=sensor).update(report=told, heartbeat_at=clock.now())

    clock.advance(30)
    for sensor in sensors[:7]:
        say(sensor, 8, "steady")
    say(sensors[7], 8, "trying")
    say(sensors[8], 7, "rolled_back", "release 6: it was bad long ago")
    advance(clock)
    assert count(rollout) == {"ok": 7, "released": 3}

    say(sensors[8], 7, "rolled_back", "release 8: no batch was accepted")
    assert advance(clock)["halted"] == 1
    assert rollout.targets.get(sensor=sensors[8]).detail == "release 8: no batch was accepted"


def test_a_revoked_sensor_holds_nothing_up(cast: Cast, clock: FixedClock) -> None:
    from teiten.fleet.models import Sensor

    sensors = make_sensors(cast, clock, 3)
    rollout = start(sensors, clock, cast, stages=[100])
    advance(clock)
    Sensor.objects.filter(pk=sensors[0]).update(state="revoked")
    advance(clock)
    answer(rollout, "ok", clock)
    advance(clock)
    rollout.refresh_from_db()

    assert (rollout.state, count(rollout)) == ("done", {"ok": 2, "cancelled": 1})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"stages": [50]}, "ascend to 100"),
        ({"per_minute": 0}, "the rate must be"),
        ({"sensors": []}, "at least one sensor"),
        ({"sensors": [4_000_000]}, "there is no sensor 4000000"),
        ({"kind": "update", "subject": "x"}, "number of a release"),
    ],
)
def test_what_cannot_be_started_is_said(
    cast: Cast, clock: FixedClock, changes: dict[str, Any], message: str
) -> None:
    from teiten.fleet.rollouts.errors import RolloutError
    from teiten.fleet.rollouts.models import Rollout

    sensors = make_sensors(cast, clock, 1)
    with pytest.raises(RolloutError, match=message):
        start(sensors, clock, cast, **changes)
    assert Rollout.objects.count() == 0


def test_the_same_is_not_started_twice(cast: Cast, clock: FixedClock) -> None:
    from teiten.fleet.rollouts.errors import RolloutError

    sensors = make_sensors(cast, clock, 1)
    start(sensors, clock, cast)
    with pytest.raises(RolloutError, match="under way already"):
        start(sensors, clock, cast)


def test_an_owner_sees_only_its_own_sensors(cast: Cast, clock: FixedClock) -> None:
    from teiten.fleet.models import Sensor
    from teiten.fleet.rollouts import selectors

    sensors = make_sensors(cast, clock, 4)
    Sensor.objects.filter(pk=sensors[0]).update(organisation=cast.beta)
    both = start(sensors, clock, cast)
    alphas = start(sensors[1:], clock, cast, subject="C2")

    assert list(selectors.rollouts_visible_to(cast.dana)) == [alphas, both]
    assert list(selectors.rollouts_visible_to(cast.charlie)) == [both]
    assert [one.sensor_id for one in selectors.targets_visible_to(cast.charlie, both)] == [sensors[0]]
    assert selectors.count_states(cast.alice, both)["waiting"] == 3
    assert sum(sum(counts.values()) for _, counts in selectors.count_rings(cast.ann, both)) == 4


def test_a_thousand_sensors_are_a_few_statements(cast: Cast, clock: FixedClock) -> None:
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    rollout = start(make_sensors(cast, clock, 1_000), clock, cast, stages=[1, 100])
    with CaptureQueriesContext(
        connection,
    ) as asked:
        advance(clock)
    assert len(asked) < 15
    answer(rollout, "ok", clock)
    with CaptureQueriesContext(connection) as asked:
        advance(clock)
    assert len(asked) < 25
    assert count(rollout) == {"ok": 10, "released": 990}


def test_a_sensor_whose_host_keeps_it_from_an_update_has_failed_in_the_end(
    cast: Cast, clock: FixedClock
) -> None:
    from teiten.fleet.models import SensorHealth

    sensors = make_sensors(cast, clock, 3)
    rollout = start(sensors, clock, cast, kind="update", subject="7", stages=[100])
    advance(clock)
    clock.advance(60)
    blocked = {"update": {"release": 6, "state": "blocked", "detail": "disk full: /opt: No space left"}}
    SensorHealth.objects.filter(pk=sensors[0]).update(report=blocked, heartbeat_at=clock.now())
    steady = {"update": {"release": 7, "state": "steady", "detail": ""}}
    SensorHealth.objects.exclude(pk=sensors[0]).update(report=steady, heartbeat_at=clock.now())
    advance(clock)
    assert count(rollout) == {"released": 1, "ok": 2}  # it may mend by itself
    clock.advance(CONFIG.update_blocked_seconds)
    hear(clock)
    assert advance(clock)["halted"] == 1
    target = rollout.targets.get(sensor=sensors[0])
    assert (target.state, target.detail) == ("failed", "blocked: disk full: /opt: No space left")


def test_what_is_under_way_already_says_which_and_what_ends_it(cast: Cast, clock: FixedClock) -> None:
    from teiten.fleet.rollouts import services
    from teiten.fleet.rollouts.errors import RolloutError
    from teiten.fleet.services import Act

    sensors = make_sensors(cast, clock, 3)
    rollout = start(sensors, clock, cast)
    services.halt(rollout, reason="looks odd", act=Act(clock.now()))
    with pytest.raises(RolloutError) as caught:
        start(sensors, clock, cast)
    assert f"under way already: number {rollout.pk}, halted, looks odd" in str(caught.value)
    assert "resume or stop" in str(caught.value)
    with pytest.raises(RolloutError, match="0 to 604800 seconds, not -5"):
        start(sensors, clock, cast, subject="C2", soak_seconds=-5)
