"""Public addresses that heartbeats tell of: recorded when they change, and what the loader reads of all that."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from teiten.fleet.config import FleetConfig
from teiten.fleet.sites import Site
from teiten.fleet.stated import NOTHING, read_stated
from teiten.foundation.clock import FixedClock, to_us
from teiten.portal.testing import Cast
from teiten.protocol.heartbeat import Heartbeat, InterfaceState, StatedAddress
from teiten.traffic.addresses import from_text

pytestmark = pytest.mark.requirement("R1.1", "R1.3", "R2.1")
CONFIG = FleetConfig()
PEER, OTHER_PEER = "203.0.113.7", "203.0.113.9"
BEHIND_NAT = (InterfaceState("eth0", "up", ("10.0.0.5", "fe80::1")),)
BEAT = Heartbeat(
    counter=1, boot_id="boot-aaaa", software="0.1.0", uptime_s=10, clock_offset_us=0, captured=0, kernel_drops=0,
    excluded=0, spool_batches=0, spool_bytes=0, disk_free_bytes=10**9, last_error="", last_window_end_us=None,
    config_version=1, interfaces=BEHIND_NAT,
)  # fmt: skip


@pytest.fixture
def make(cast: Cast, clock: FixedClock) -> Callable[[str], Any]:
    from teiten.fleet import services
    from teiten.fleet.services import Act

    def make_sensor(name: str):
        region = services.find_or_create_region(code="kanto", name_ja="関東", name_en="Kanto")
        sensor = services.create_sensor(
            name=name,
            region=region,
            organisation=cast.alpha,
            dataset="live",
            act=Act(clock.now()),
            config=CONFIG,
        ).sensor
        services.add_key(sensor, public_key=name.encode().ljust(32, b"."), at=clock.now())
        type(sensor).objects.filter(pk=sensor.pk).update(state="active")
        return sensor

    return make_sensor


@pytest.fixture
def beat(database: str, clock: FixedClock) -> Callable[..., Any]:
    """Send a heartbeat a minute after the one before; gives the answer."""
    from teiten.fleet.doors import FleetDoors

    counters: dict[int, int] = {}

    def send(sensor, peer: str = PEER, **changes: Any):
        clock.advance(60)
        counters[sensor.pk] = counters.get(sensor.pk, 0) + 1
        said = dataclasses.replace(BEAT, counter=counters[sensor.pk], **changes)

        async def run():
            doors = FleetDoors(database, CONFIG, clock)
            await doors.start()
            try:
                return await doors.heartbeat(sensor.pk, said, peer=peer)
            finally:
                await doors.stop()

        return asyncio.run(run())

    return send


def entries(sensor) -> list[tuple[str, str, str, object, object]]:
    rows = sensor.observed_addresses.order_by("valid_from", "id")
    return [(str(r.local), str(r.public), r.known_by, r.valid_from, r.valid_to) for r in rows]


def state(local: str, public: str, known_by: str = "metadata") -> dict[str, Any]:
    return {"addresses": (StatedAddress(local, public, known_by),)}  # type: ignore[arg-type]


def test_it_works(make: Callable[..., Any], beat: Callable[..., Any], clock: FixedClock) -> None:
    sensor = make("TK-1")

    beat(sensor)
    first = clock.now()
    beat(sensor)
    last_with_the_old = clock.now()
    beat(sensor, OTHER_PEER)

    assert entries(sensor) == [
        ("10.0.0.5/32", "203.0.113.7/32", "gateway", first, last_with_the_old),
        ("10.0.0.5/32", "203.0.113.9/32", "gateway", clock.now(), None),
    ]
    sensor.refresh_from_db()
    assert sensor.state == "active", "a changed address is no sign of a clone"
    assert sensor.events.filter(kind="addressed").count() == 3


def test_nothing_is_written_while_nothing_changes(
    make: Callable[..., Any], beat: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from teiten.fleet import doors

    settled: list[int] = []
    genuine = doors.settle_addresses

    def settle(sensor_id: int, *more: Any, **named: Any) -> None:
        settled.append(sensor_id)
        genuine(sensor_id, *more, **named)

    monkeypatch.setattr(doors, "settle_addresses", settle)
    told, silent = make("TK-1"), make("TK-2")
    public = {"interfaces": (InterfaceState("eth0", "up", ("198.51.100.4",)),)}

    for _ in range(4):
        beat(told)
        beat(silent, "198.51.100.4", **public)

    assert settled == [told.pk], "once; a sensor with a public address of its own tells nothing"


@pytest.mark.parametrize(
    ("addresses", "peer"),
    [
        (("10.0.0.5", "10.0.0.6"), PEER),
        (("198.51.100.4",), PEER),
        ((), PEER),
        (("10.0.0.5",), "10.9.9.9"),
        (("10.0.0.5",), "127.0.0.1"),
        (("10.0.0.5",), "2001:db8::7"),
        (("fe80::1",), PEER),
    ],
)
def test_a_peer_that_cannot_be_meant_is_not_recorded(addresses: tuple[str, ...], peer: str) -> None:
    said = dataclasses.replace(BEAT, interfaces=(InterfaceState("eth0", "up", addresses),))

    assert read_stated(said, peer) == NOTHING


def test_two_sensors_behind_one_address_are_not_behind_1_to_1_nat(
    make: Callable[..., Any], beat: Callable[..., Any], clock: FixedClock
) -> None:
    one, other = make("TK-1"), make("TK-2")
    beat(one)
    beat(one)

    beat(other, interfaces=(InterfaceState("eth0", "up", ("10.0.0.6",)),))

    assert [row[4] for row in entries(one)] == [clock.now()], "what was believed ends"
    assert entries(other) == []
    clock.advance(3600)
    beat(one)
    assert [row[4] for row in entries(one)][-1] is None, "an hour later the other is gone"


def test_what_is_stated_counts_more_than_what_is_seen(
    make: Callable[..., Any], beat: Callable[..., Any], clock: FixedClock
) -> None:
    sensor = make("TK-1")
    beat(sensor)
    beat(sensor)
    before = clock.now()

    beat(sensor, **state("10.0.0.5", "198.51.100.9"))

    assert entries(sensor) == [
        ("10.0.0.5/32", "203.0.113.7/32", "gateway", before - timedelta(seconds=60), before),
        ("10.0.0.5/32", "198.51.100.9/32", "metadata", clock.now(), None),
    ]


def test_what_an_operator_entered_counts_most(
    make: Callable[..., Any], beat: Callable[..., Any], clock: FixedClock
) -> None:
    from teiten.fleet import addressing
    from teiten.fleet.register import FleetRegister
    from teiten.fleet.services import Act

    sensor = make("TK-1")
    beat(sensor, **state("10.0.0.5", "198.51.100.9"))
    entry = addressing.state_address(
        sensor,
        public="198.51.100.77",
        local="10.0.0.5",
        act=Act(clock.now()),
        until=clock.now() + timedelta(hours=1),
    )
    beat(sensor)
    placed = FleetRegister(clock).list_placements()[sensor.pk]

    assert {row[1:3] for row in entries(sensor) if row[4] is None} == set(), (
        "metadata gone, and the gateway waits"
    )
    assert placed.public_periods[0].public == from_text("198.51.100.77")
    assert placed.public_periods[0].to_us == to_us(entry.valid_to)
    clock.advance(3600)
    beat(sensor)
    assert entries(sensor)[-1][1:3] == ("203.0.113.7/32", "gateway"), "seen again once the entry is over"


def test_a_claim_of_anothers_address_is_not_believed(
    make: Callable[..., Any], beat: Callable[..., Any], clock: FixedClock
) -> None:
    from teiten.fleet import addressing
    from teiten.fleet.services import Act

    owner, liar = make("TK-1"), make("TK-2")
    addressing.state_address(owner, public="198.51.100.9", local="10.0.0.5", act=Act(clock.now()))

    beat(liar, "198.51.100.200", **state("10.0.0.6", "198.51.100.9"))
    beat(liar, "198.51.100.200", **state("10.0.0.6", "192.168.7.7"))

    assert [row[1] for row in entries(liar)] == ["198.51.100.200/32"], "only what the gateway saw itself"
    assert len(entries(owner)) == 1


def test_the_sensors_own_settings_win_over_its_metadata() -> None:
    said = dataclasses.replace(
        BEAT,
        addresses=(
            StatedAddress("10.0.0.5", "198.51.100.1", "configured"),
            StatedAddress("10.0.0.5", "198.51.100.2", "metadata"),
        ),
    )

    assert [str(public) for _, public in read_stated(said, None).pairs] == ["198.51.100.1/32"]


def test_a_sensor_is_told_how_little_payload_it_keeps(
    make: Callable[..., Any], beat: Callable[..., Any], clock: FixedClock
) -> None:
    from teiten.fleet import services
    from teiten.fleet.errors import FleetInputError
    from teiten.fleet.services import Act

    sensor = make("TK-1")
    assert beat(sensor).config.payload_bytes is None

    services.configure_sensor(sensor, payload_bytes=0, examples_per_window=3, act=Act(clock.now()))
    told = beat(sensor).config

    assert (told.payload_bytes, told.examples_per_window, told.version) == (0, 3, 2)
    with pytest.raises(FleetInputError, match="payload_bytes"):
        services.configure_sensor(sensor, payload_bytes=129, act=Act(clock.now()))


def test_the_loader_reads_regions_by_time(make: Callable[..., Any], clock: FixedClock) -> None:
    from teiten.fleet import placing, services
    from teiten.fleet.register import FleetRegister
    from teiten.fleet.services import Act

    sensor, opened = make("TK-1"), clock.now_us()
    register = FleetRegister(clock)
    before = register.current_revision()
    clock.advance(3600)
    moved = clock.now_us()
    kansai = services.find_or_create_region(code="kansai", name_ja="関西", name_en="Kansai")
    placing.place_sensor(sensor, region=kansai, site=Site(kind="isp"), act=Act(clock.now()))

    register.refresh()
    placed = register.list_placements()[sensor.pk]

    instants = (opened - 1, opened, moved - 1, moved, moved + 10**12)
    assert [placed.region_at(at) for at in instants] == ["kanto", "kanto", "kanto", "kansai", "kansai"]
    assert placed.revision == register.current_revision() > before


def test_places_are_read_again_only_when_one_changed(
    make: Callable[..., Any], clock: FixedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    from teiten.fleet import addressing, register
    from teiten.fleet.services import Act

    sensor = make("TK-1")
    read: list[object] = []
    genuine = register._read_periods
    monkeypatch.setattr(register, "_read_periods", lambda: read.append(1) or genuine())
    known = register.FleetRegister(clock)

    for _ in range(3):
        known.refresh()
    assert len(read) == 1
    addressing.state_address(sensor, public="198.51.100.9", act=Act(clock.now()))
    known.refresh()
    assert len(read) == 2
    assert len(known.list_placements()[sensor.pk].public_periods) == 1


def test_searches_read_placements_and_maintenance(make: Callable[..., Any], clock: FixedClock) -> None:
    from teiten.fleet import maintaining, placing, services
    from teiten.fleet.facts import FleetFacts
    from teiten.fleet.services import Act
    from teiten.search.doors import FOREVER_US, MaintenancePeriod

    sensor, plain = make("TK-1"), make("TK-2")
    start = clock.now()
    maintaining.plan_maintenance(
        sensor, start=start, end=start + timedelta(hours=1), reason="router", act=Act(start)
    )
    facts = FleetFacts(clock)
    assert [one.mode for one in facts.list_sensors()] == ["silent", "silent"]
    clock.advance(3600)
    kansai = services.find_or_create_region(code="kansai", name_ja="関西", name_en="Kansai")
    placing.place_sensor(
        sensor, region=kansai, site=Site("JP", 64500, "Example", "isp", "answering"), act=Act(clock.now())
    )
    clock.advance(5)

    moved, stayed = facts.list_sensors()

    now_us = to_us(start) + 3_600_000_000
    assert (moved.sensor, moved.region, moved.mode, moved.asn) == (sensor.pk, "kansai", "answering", 64500)
    assert moved.periods == (
        (0, now_us, "kanto", "", 0, "", "other", "silent"),
        (now_us, FOREVER_US, "kansai", "JP", 64500, "Example", "isp", "answering"),
    )
    assert (stayed.sensor, stayed.organisation_id) == (plain.pk, plain.organisation_id)
    planned = MaintenancePeriod(sensor.pk, to_us(start), now_us)
    assert facts.list_maintenance(now_us - 1, now_us) == [planned]
    assert facts.list_maintenance(now_us, now_us + 1) == []


def test_silence_that_was_planned_is_no_alarm(
    make: Callable[..., Any], beat: Callable[..., Any], clock: FixedClock
) -> None:
    from teiten.automation import watch
    from teiten.fleet import maintaining
    from teiten.fleet.services import Act

    sensor = make("TK-1")
    beat(sensor)
    start = clock.now()
    maintaining.plan_maintenance(
        sensor, start=start, end=start + timedelta(hours=1), reason="router", act=Act(start)
    )

    clock.advance(3599)
    assert watch.note_silence(now=clock.now(), config=CONFIG) == 0
    clock.advance(1)
    assert watch.note_silence(now=clock.now(), config=CONFIG) == 1, "it should be back by now"


def test_an_operators_word_ends_what_another_sensor_states(
    make: Callable[..., Any], beat: Callable[..., Any], clock: FixedClock
) -> None:
    from teiten.fleet import addressing
    from teiten.fleet.services import Act

    owner, liar = make("TK-1"), make("TK-2")
    beat(liar, "198.51.100.200", **state("10.0.0.6", "198.51.100.9"))
    clock.advance(60)

    addressing.state_address(owner, public="198.51.100.9", local="10.0.0.5", act=Act(clock.now()))
    entered = clock.now()
    beat(liar, "198.51.100.200", **state("10.0.0.6", "198.51.100.9"))

    assert [row[4] for row in entries(liar) if row[2] == "metadata"] == [entered]
    assert [row[1] for row in entries(owner) if row[4] is None] == ["198.51.100.9/32"]


def test_a_sensor_that_changes_its_mind_all_the_time_is_not_followed(
    make: Callable[..., Any], beat: Callable[..., Any], clock: FixedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    from teiten.fleet import settling

    monkeypatch.setattr(settling, "_MOST_CHANGES", 6)
    sensor = make("TK-1")

    for number in range(12):
        beat(sensor, PEER if number % 2 else OTHER_PEER)

    told = sensor.events.filter(kind="addressed").count()
    assert told <= 8
    assert not [row for row in entries(sensor) if row[4] is None]
    clock.advance(86_400)
    beat(sensor)
    assert [row[1] for row in entries(sensor) if row[4] is None] == ["203.0.113.7/32"]


def test_a_sensor_whose_public_address_nobody_knows_is_named(
    make: Callable[..., Any], beat: Callable[..., Any], clock: FixedClock, database: str
) -> None:
    import psycopg

    from teiten.fleet import hidden

    known, lost, plain = make("TK-1"), make("TK-2"), make("TK-3")
    beat(known)
    beat(lost, "10.9.9.9")
    beat(plain, "198.51.100.4", interfaces=(InterfaceState("eth0", "up", ("10.0.0.9", "198.51.100.4")),))

    with psycopg.connect(database) as connection:
        rows = connection.execute(hidden.CANDIDATES, {"now": clock.now()}).fetchall()

    assert list(hidden.list_hidden(rows)) == ["TK-2"]


@pytest.mark.requirement("R0.1")
def test_a_host_cannot_try_many_addresses_against_those_of_others(
    make: Callable[..., Any], beat: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is refused is another sensor's: a sensor may state few addresses a day, however many it states at once."""
    from teiten.fleet import settling

    monkeypatch.setattr(settling, "_MOST_CHANGES", 8)
    liar = make("TK-1")

    for attempt in range(3):
        guesses = tuple(
            StatedAddress(f"10.0.0.{number}", f"198.51.100.{attempt * 60 + number}", "metadata")
            for number in range(1, 61)
        )
        beat(liar, "198.51.100.250", addresses=guesses)

    begun = [event for event in liar.events.filter(kind="addressed") if event.detail["was"] == "begun"]
    assert len(begun) == 8
