"""Holds, erasures, exclusions and reasons: what may be ordered, what forbids it, how it is carried out."""

from __future__ import annotations

import sys
import threading
from datetime import timedelta
from pathlib import Path

import pytest

from teiten.custody.config import CustodyConfig
from teiten.custody.errors import CustodyInputError, CustodyUnknownError, LegalHoldError
from teiten.foundation.clock import FixedClock
from teiten.portal.testing import Cast
from teiten.store.errors import RebuildRefused, StoreUnavailable

sys.path.insert(0, str(Path(__file__).parent))
from custody_fixtures import DAY, NOW, RecordingStore, act_of, make_sensor

pytestmark = pytest.mark.requirement("R0.1", "R2.2")
WHY = "asked for by the person concerned"


@pytest.fixture
def store() -> RecordingStore:
    return RecordingStore()


def hold(**given):
    from teiten.custody import services

    values = {
        "scope": "dataset",
        "dataset": "live",
        "reason": "court",
        "act": act_of(),
        "start_at": NOW - 9 * DAY,
    }
    return services.hold(**{**values, **given})


def erase(network: str = "240.0.0.1", **given):
    from teiten.custody import services

    return services.erase_address(network, **{"reason": WHY, "act": act_of(), **given})


def exclude(sensor, **given):
    from teiten.custody import services

    values = {
        "start_at": NOW - 2 * DAY,
        "end_at": NOW - DAY,
        "reason": "its clock was wrong",
        "act": act_of(),
    }
    return services.exclude(sensor, **{**values, **given})


def run_erasures(store: RecordingStore, clock: FixedClock):
    from teiten.custody.erasing import run_erasures

    return run_erasures(store, clock, CustodyConfig())


def run_exclusions(store: RecordingStore, clock: FixedClock):
    from teiten.custody.excluding import run_exclusions

    return run_exclusions(store, clock)


# Erasures.


def test_it_works(cast: Cast, store: RecordingStore, clock: FixedClock) -> None:
    row = erase(dataset="live", start_at=NOW - 3 * DAY, act=act_of(cast.dana))

    facts = run_erasures(store, clock)

    row.refresh_from_db()
    assert (row.state, row.progress, row.requested_by) == ("done", {"counted": 7, "rows": 7}, cast.dana)
    assert (facts["done"], facts["erased"]) == (1, 7)
    assert store.asked == [
        (
            "erase_address",
            {"network": "240.0.0.1/32", "start_at": NOW - 3 * DAY, "end_at": NOW, "dataset": "live"},
        )
    ]
    assert not any(run_erasures(store, clock).values())


def test_every_order_is_in_the_audit_chain_without_the_address_it_forgets(cast: Cast) -> None:
    from teiten.accounts.auditing import verify_chain
    from teiten.accounts.models import AuditRecord
    from teiten.custody import services

    by = act_of(cast.dana)
    services.release(hold(act=by).pk, reason="ended", act=by)
    erase(act=by)
    services.lift(exclude(make_sensor("TK-001", cast.alpha), act=by).pk, reason="it was right", act=by)
    services.erase_organisation(cast.beta, reason=WHY, act=by, keeps_data=True)

    records = AuditRecord.objects.filter(kind__startswith="custody.").order_by("number")
    assert [one.kind for one in records] == [
        "custody.hold_ordered", "custody.hold_released", "custody.erasure_ordered",
        "custody.exclusion_ordered", "custody.exclusion_lifted", "custody.erasure_ordered",
    ]  # fmt: skip
    assert {one.actor for one in records} == {"dana"}
    assert not any("240.0.0.1" in one.content for one in records)
    assert AuditRecord.objects.get(kind="organisation.closed").subject == "organisation:beta"
    assert verify_chain().broken is None


@pytest.mark.parametrize(
    "held",
    [
        {"scope": "dataset", "dataset": "live"},
        {"scope": "address", "network": "240.0.0.0/24", "dataset": ""},
        {"scope": "address", "network": "240.0.0.1", "dataset": "live"},
        {"scope": "sensor", "dataset": ""},
        {"scope": "dataset", "dataset": "live", "start_at": NOW - 2 * DAY, "end_at": NOW - DAY},
    ],
)
def test_an_erasure_that_meets_a_hold_is_refused_and_changes_nothing(cast: Cast, held: dict) -> None:
    from teiten.custody.models import Erasure

    if held["scope"] == "sensor":
        held = {**held, "sensor": make_sensor("held-01", cast.alpha)}
    row = hold(**held)

    with pytest.raises(
        LegalHoldError, match=rf"erasure of 240.0.0.1/32 meets legal hold {row.pk} .*court.*release"
    ) as refused:
        erase()

    assert refused.value.holds == (row.pk,)
    assert not Erasure.objects.exists()


@pytest.mark.parametrize(
    "held",
    [
        {"scope": "dataset", "dataset": "simulated"},
        {"scope": "address", "network": "240.0.1.0/24"},
        {"scope": "address", "network": "2001:db8::/32"},
        {"scope": "dataset", "start_at": NOW - 9 * DAY, "end_at": NOW - 3 * DAY},
    ],
)
def test_an_erasure_beside_a_hold_is_accepted(cast: Cast, held: dict) -> None:
    hold(**held)

    assert erase(dataset="live", start_at=NOW - 3 * DAY).state == "requested"


def test_a_released_hold_forbids_nothing(cast: Cast) -> None:
    from teiten.custody import services

    row = hold()
    services.release(row.pk, reason="the case is closed", act=act_of(cast.dana))

    erase()

    with pytest.raises(CustodyInputError, match="already"):
        services.release(row.pk, reason="again", act=act_of())
    with pytest.raises(CustodyUnknownError, match="hold list"):
        services.release(row.pk + 1, reason="again", act=act_of())


@pytest.mark.parametrize(
    ("given", "rule"),
    [
        ({"network": "0.0.0.0/0"}, "^network: 0.0.0.0/0 is too broad; IPv4 here is /16 or longer"),
        ({"network": "2001:db8::/31"}, "^network: 2001:db8::/31 is too broad|^network: .*host bits"),
        ({"network": "example.org"}, "^network: 'example.org' is no address"),
        ({"start_at": NOW, "end_at": NOW - DAY}, "^period: is reversed"),
        ({"end_at": NOW + DAY}, "^period: .*after now"),
        ({"dataset": "life"}, "^dataset: 'life' cannot exist"),
        ({"reason": " "}, "^reason: "),
    ],
)
def test_a_bad_erasure_is_refused_by_entry(database: str, given: dict, rule: str) -> None:
    with pytest.raises(CustodyInputError, match=rule):
        erase(**given)


def test_a_hold_that_came_between_order_and_work_wins(
    cast: Cast, store: RecordingStore, clock: FixedClock
) -> None:
    from teiten.custody import services

    row, held = erase(), hold()

    assert run_erasures(store, clock)["failed"] == 1

    row.refresh_from_db()
    assert (row.state, store.asked) == ("failed", [])
    assert f"legal hold {held.pk}" in row.error

    services.release(held.pk, reason="closed", act=act_of())
    services.retry_erasure(row.pk)
    assert run_erasures(store, clock)["done"] == 1
    with pytest.raises(CustodyInputError, match="is done; only a failed one"):
        services.retry_erasure(row.pk)


class Killed(BaseException):
    """Stands for a kill -9 in the middle of the store's work."""


def test_what_was_cut_off_goes_on_and_no_hold_can_be_ordered_meanwhile(
    cast: Cast, store: RecordingStore, clock: FixedClock
) -> None:
    row = erase()
    store.fails_with = Killed()
    with pytest.raises(Killed):
        run_erasures(store, clock)

    row.refresh_from_db()
    assert row.state == "running"
    with pytest.raises(CustodyInputError, match=rf"erasure {row.pk} is running"):
        hold()
    hold(dataset="simulated", scope="dataset", start_at=NOW)

    store.fails_with = None
    assert run_erasures(store, clock)["done"] == 1


def test_a_store_that_is_away_leaves_the_order_for_later(
    cast: Cast, store: RecordingStore, clock: FixedClock
) -> None:
    row = erase()
    store.fails_with = StoreUnavailable("away")
    with pytest.raises(StoreUnavailable):
        run_erasures(store, clock)
    row.refresh_from_db()
    assert row.state == "running"

    store.fails_with = RebuildRefused("raw rows are gone")
    assert run_erasures(store, clock)["failed"] == 1
    row.refresh_from_db()
    assert (row.state, row.error) == ("failed", "raw rows are gone")


def test_late_data_are_erased_too_and_then_the_record_forgets_the_address(
    cast: Cast, store: RecordingStore, clock: FixedClock
) -> None:
    row = erase()
    run_erasures(store, clock)
    store.found = 3
    clock.advance(25 * 3600)

    assert run_erasures(store, clock)["late"] == 3
    assert run_erasures(store, clock)["late"] == 0
    row.refresh_from_db()
    assert (row.state, row.progress) == ("done", {"counted": 7, "rows": 7, "late_rows": 3})

    hold()
    clock.advance(25 * 3600)
    assert run_erasures(store, clock)["late"] == 0

    clock.advance(100 * 86_400)
    assert run_erasures(store, clock)["forgotten"] == 1
    row.refresh_from_db()
    assert (row.network, row.state) == ("", "done")


def test_an_organisation_leaves_with_people_tokens_and_sensors(
    cast: Cast, store: RecordingStore, clock: FixedClock
) -> None:
    from teiten.accounts import tokens
    from teiten.accounts.models import ApiToken, User
    from teiten.custody import services
    from teiten.fleet.models import Sensor

    mine, other = make_sensor("alpha-01", cast.alpha), make_sensor("beta-01", cast.beta)
    tokens.issue_token(user=cast.bob, name="x", scopes=["search"], expires_at=NOW + DAY, now=NOW)

    row = services.erase_organisation(cast.alpha, reason="the agreement ended", act=act_of(cast.dana))

    assert row.progress == {"accounts": 2, "tokens": 1, "sensors": 1}
    assert set(User.objects.filter(is_active=True).values_list("user_id", flat=True)) == {
        "charlie",
        "ann",
        "dana",
    }
    assert ApiToken.objects.get().revoked_at == NOW
    assert dict(Sensor.objects.values_list("pk", "state"))[mine.pk] == "revoked"
    assert dict(Sensor.objects.values_list("pk", "state"))[other.pk] != "revoked"
    cast.alpha.refresh_from_db()
    assert not cast.alpha.is_active

    run_erasures(store, clock)
    assert [(name, what["sensors"]) for name, what in store.asked] == [("erase_sensors", [mine.pk])]
    with pytest.raises(CustodyInputError, match=rf"taken out by erasure {row.pk} already"):
        services.erase_organisation(cast.alpha, reason="again", act=act_of(cast.dana))


def test_an_organisation_whose_sensor_is_held_stays_as_it_is(cast: Cast) -> None:
    from teiten.custody import services
    from teiten.custody.models import Erasure
    from teiten.fleet.models import Sensor

    sensor = make_sensor("alpha-01", cast.alpha)
    row = hold(scope="sensor", sensor=sensor, dataset="")

    with pytest.raises(LegalHoldError, match=rf"legal hold {row.pk} \(sensor alpha-01"):
        services.erase_organisation(cast.alpha, reason="the agreement ended", act=act_of(cast.dana))
    cast.alice.refresh_from_db()
    assert cast.alice.is_active
    assert Sensor.objects.get().state != "revoked"
    assert not Erasure.objects.exists()

    kept = services.erase_organisation(
        cast.alpha, reason="the agreement ended", act=act_of(), keeps_data=True
    )

    assert (kept.state, Sensor.objects.get().state) == ("done", "revoked")


def test_nobody_takes_their_own_organisation_out(cast: Cast) -> None:
    from teiten.custody import services

    with pytest.raises(CustodyInputError, match=r"^organisation: is your own"):
        services.erase_organisation(cast.observatory, reason="oops", act=act_of(cast.dana))
    with pytest.raises(CustodyInputError, match=r"^organisation observatory: has the only operators"):
        services.erase_organisation(cast.observatory, reason="oops", act=act_of())


# Exclusions.


def test_an_exclusion_is_carried_out_kept_up_and_lifted(
    cast: Cast, store: RecordingStore, clock: FixedClock
) -> None:
    from teiten.custody import services

    row = exclude(make_sensor("alpha-01", cast.alpha))

    assert run_exclusions(store, clock) == {"done": 1, "failed": 0, "late": 7}
    assert run_exclusions(store, clock) == {"done": 0, "failed": 0, "late": 7}
    row.refresh_from_db()
    assert (row.state, row.batches) == ("done", 21)
    assert {name for name, _ in store.asked} == {"exclude_sensor"}

    services.lift(row.pk, reason="it was right after all", act=act_of(cast.dana))
    store.asked.clear()
    assert run_exclusions(store, clock)["done"] == 1
    row.refresh_from_db()
    assert (row.state, row.lifted_at, row.lifted_by) == ("done", NOW, cast.dana)
    assert [name for name, _ in store.asked] == ["include_sensor"]
    assert run_exclusions(store, clock) == {"done": 0, "failed": 0, "late": 0}
    with pytest.raises(CustodyInputError, match="lifted already"):
        services.lift(row.pk, reason="again", act=act_of())


def test_lifting_leaves_what_a_neighbour_excludes(
    cast: Cast, store: RecordingStore, clock: FixedClock
) -> None:
    from teiten.custody import services

    sensor = make_sensor("alpha-01", cast.alpha)
    row, neighbour = exclude(sensor), exclude(sensor, start_at=NOW - DAY, end_at=NOW)
    run_exclusions(store, clock)
    services.lift(row.pk, reason="it was right", act=act_of())

    run_exclusions(store, clock)

    lifted = next(what for name, what in store.asked if name == "include_sensor")
    assert lifted["standing"] == [(neighbour.start_at, neighbour.end_at)]


@pytest.mark.parametrize(
    ("given", "rule"),
    [
        ({"end_at": NOW - 2 * DAY}, "^period: is reversed"),
        ({"start_at": NOW - 3 * DAY, "end_at": NOW}, "^period: exclusion .* of sensor alpha-01 holds from"),
        ({"reason": ""}, "^reason: "),
        ({"dataset": "nothing"}, "^dataset: "),
    ],
)
def test_a_bad_exclusion_is_refused_by_entry(cast: Cast, given: dict, rule: str) -> None:
    sensor = make_sensor("alpha-01", cast.alpha)
    exclude(sensor)

    with pytest.raises(CustodyInputError, match=rule):
        exclude(sensor, **given)

    exclude(sensor, dataset="import:old")
    exclude(sensor, start_at=NOW - DAY, end_at=NOW)


def test_two_exclusions_at_once_cannot_overlap(cast: Cast) -> None:
    from django.db import connection

    sensor = make_sensor("alpha-01", cast.alpha)
    outcomes: list[str] = []

    def run() -> None:
        try:
            exclude(sensor)
            outcomes.append("done")
        except CustodyInputError:
            outcomes.append("refused")
        finally:
            connection.close()

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(outcomes) == ["done", "refused", "refused", "refused"]


def test_the_database_itself_refuses_overlaps_and_removals(cast: Cast) -> None:
    from django.db import DatabaseError, IntegrityError, transaction

    from teiten.custody.models import Erasure, Exclusion, LegalHold

    sensor = make_sensor("alpha-01", cast.alpha)
    row = exclude(sensor)
    hold(dataset="simulated")
    erase(dataset="live")
    row.pk = None
    row.start_at += timedelta(hours=1)
    with pytest.raises(IntegrityError, match="exclusion_no_overlap"), transaction.atomic():
        row.save(force_insert=True)

    for model in (Exclusion, LegalHold, Erasure):
        with pytest.raises(DatabaseError, match=r"rows of .* are kept"), transaction.atomic():
            model.objects.all().delete()


def test_an_exclusion_that_meets_a_hold_is_refused_and_late_data_in_a_held_time_stay(
    cast: Cast, store: RecordingStore, clock: FixedClock
) -> None:
    from teiten.custody import services

    sensor, free = make_sensor("alpha-01", cast.alpha), make_sensor("alpha-02", cast.alpha)
    row = exclude(sensor)
    run_exclusions(store, clock)
    held = hold(scope="sensor", sensor=sensor, dataset="")
    store.asked.clear()

    assert run_exclusions(store, clock)["late"] == 0
    assert store.asked == []
    with pytest.raises(LegalHoldError, match=rf"exclusion of sensor alpha-01 meets legal hold {held.pk}"):
        exclude(sensor, start_at=NOW - 5 * DAY, end_at=NOW - 4 * DAY)
    with pytest.raises(LegalHoldError, match=rf"lifting of exclusion {row.pk} meets legal hold {held.pk}"):
        services.lift(row.pk, reason="wrong", act=act_of())
    exclude(free)


def test_late_data_that_cannot_be_moved_are_said_once_and_stop_nobody_else(
    cast: Cast, store: RecordingStore, clock: FixedClock
) -> None:
    row = exclude(make_sensor("alpha-01", cast.alpha))
    run_exclusions(store, clock)
    store.fails_with = RebuildRefused("retention has taken rows")

    assert run_exclusions(store, clock) == {"done": 0, "failed": 1, "late": 0}
    assert run_exclusions(store, clock) == {"done": 0, "failed": 0, "late": 0}
    row.refresh_from_db()
    assert (row.state, row.error) == ("done", "retention has taken rows")

    store.fails_with = None
    assert run_exclusions(store, clock)["late"] == 7
    row.refresh_from_db()
    assert row.error == ""


# Holds and retention.


@pytest.mark.parametrize(
    ("given", "rule"),
    [
        ({"scope": "planet"}, "^scope: 'planet' is none of dataset, sensor, address"),
        ({"dataset": ""}, "^dataset: is missing"),
        ({"scope": "sensor"}, "^sensor: is missing"),
        ({"scope": "address"}, "^address: is missing"),
        ({"network": "240.0.0.1"}, "^address: does not belong"),
        ({"scope": "address", "network": "240.0.0.1/8"}, "^network: .*host bits"),
        ({"end_at": NOW - 9 * DAY}, "^period: is reversed"),
        ({"reason": ""}, "^reason: "),
    ],
)
def test_a_bad_hold_is_refused_by_entry(database: str, given: dict, rule: str) -> None:
    with pytest.raises(CustodyInputError, match=rule):
        hold(**given)


def test_retention_is_told_of_standing_holds(cast: Cast) -> None:
    from teiten.custody import services
    from teiten.custody.holding import earliest_held, standing_holds

    sensor = make_sensor("alpha-01", cast.alpha)
    first = hold(start_at=NOW - DAY, end_at=NOW)
    second = hold(scope="sensor", sensor=sensor, dataset="", start_at=NOW - 3 * DAY)

    assert [(one.dataset, one.start_at, one.end_at) for one in standing_holds()] == [
        ("live", NOW - DAY, NOW),
        (None, NOW - 3 * DAY, None),
    ]
    assert "sensor alpha-01" in standing_holds()[1].reason
    assert earliest_held() == (NOW - 3 * DAY).date()

    services.release(second.pk, reason="closed", act=act_of())
    assert earliest_held() == (NOW - DAY).date()
    services.release(first.pk, reason="closed", act=act_of())
    assert (standing_holds(), earliest_held()) == ([], None)


# Payload.


def test_payload_opens_for_a_stated_reason_and_a_limited_time(cast: Cast) -> None:
    from django.db import DatabaseError, transaction

    from teiten.custody.models import PayloadReason
    from teiten.custody.payload import active_reason, request_payload

    row = request_payload(cast.ann, reason="  Analysis of  case 2026-117 ", minutes=30, at=NOW)

    assert row.reason == "Analysis of case 2026-117"
    assert active_reason(cast.ann, NOW) == active_reason(cast.ann, NOW + timedelta(minutes=29)) == row
    assert active_reason(cast.ann, NOW + timedelta(minutes=30)) is None
    assert active_reason(cast.ann, NOW - timedelta(minutes=1)) is None
    assert active_reason(cast.dana, NOW) is None
    for change in (lambda: PayloadReason.objects.update(reason="x" * 20), PayloadReason.objects.all().delete):
        with pytest.raises(DatabaseError, match="are kept"), transaction.atomic():
            change()


@pytest.mark.parametrize(
    ("reason", "minutes", "rule"),
    [
        ("curious", 30, "^reason: .*10 characters"),
        ("c  u  r  i  o", 30, "^reason: .*10 characters"),
        ("Analysis of case 117", 0, "^minutes: 0 is not 1 to 60"),
        ("Analysis of case 117", 61, "^minutes: 61 is not 1 to 60"),
    ],
)
def test_a_bad_reason_opens_nothing(cast: Cast, reason: str, minutes: int, rule: str) -> None:
    from teiten.custody.models import PayloadReason
    from teiten.custody.payload import request_payload

    with pytest.raises(CustodyInputError, match=rule):
        request_payload(cast.ann, reason=reason, minutes=minutes, at=NOW)

    assert not PayloadReason.objects.exists()
