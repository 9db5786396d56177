"""Enrolment: one token, one key, one sensor, whatever gets lost or copied on the way."""

from __future__ import annotations

import dataclasses
from concurrent.futures import ThreadPoolExecutor

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from teiten.fleet.config import FleetConfig
from teiten.foundation.clock import FixedClock
from teiten.portal.testing import Cast
from teiten.protocol import enrolment
from teiten.protocol.enrolment import EnrolRequest, Facts

pytestmark = pytest.mark.requirement("R1.2", "R2.1")
CONFIG = FleetConfig()
PEER = "192.0.2.10"
FACTS = Facts(os="debian 12", arch="x86_64", python="3.11.7", software="0.1.0")


def make_sensor(cast: Cast, clock: FixedClock, name: str = "TK-001", **given):
    from teiten.fleet import services
    from teiten.fleet.services import Act

    region = services.find_or_create_region(code="kanto", name_ja="関東", name_en="Kanto")
    return services.create_sensor(
        **{"name": name, "region": region, "organisation": cast.alpha, "dataset": "live", **given},
        act=Act(clock.now(), cast.dana),
        config=CONFIG,
    )


def request_with(
    token: str, clock: FixedClock, key: Ed25519PrivateKey | None = None, nonce: str = "n" * 22
) -> EnrolRequest:
    return enrolment.make_request(
        enrolment.parse_token(token),
        key or Ed25519PrivateKey.generate(),
        facts=FACTS,
        created_s=clock.now_us() // 1_000_000,
        nonce=nonce,
    )


def enrol(request: EnrolRequest, clock: FixedClock, peer: str = PEER, config: FleetConfig = CONFIG):
    from teiten.fleet.enrolling import enrol_sensor

    return enrol_sensor(request, peer=peer, now=clock.now(), config=config)


def refused(request: EnrolRequest, clock: FixedClock, peer: str = PEER) -> str:
    from teiten.fleet.errors import EnrolmentError

    with pytest.raises(EnrolmentError) as refusal:
        enrol(request, clock, peer)
    return refusal.value.code


def history(sensor) -> list[str]:
    return list(sensor.events.order_by("id").values_list("kind", flat=True))


def test_it_works(cast: Cast, clock: FixedClock) -> None:
    made = make_sensor(cast, clock)
    request = request_with(made.text, clock)

    done = enrol(request, clock)

    made.sensor.refresh_from_db()
    assert (done.sensor, done.key_no, done.epoch) == (made.sensor.pk, 1, 1)
    assert made.sensor.state == "active"
    assert bytes(made.sensor.keys.get().public_key) == request.public_key
    assert history(made.sensor) == ["created", "token_issued", "enrolled"]


def test_the_secret_is_sealed_at_rest_and_gone_after_use(cast: Cast, clock: FixedClock) -> None:
    made = make_sensor(cast, clock)
    row = made.sensor.enrolment_tokens.get()
    assert enrolment.parse_token(made.text).secret not in bytes(row.sealed_secret)

    enrol(request_with(made.text, clock), clock)

    row.refresh_from_db()
    assert row.sealed_secret is None
    assert row.used_from == PEER


def test_a_lost_answer_is_given_again(cast: Cast, clock: FixedClock) -> None:
    made = make_sensor(cast, clock)
    key = Ed25519PrivateKey.generate()

    first = enrol(request_with(made.text, clock, key), clock)
    clock.advance(600)
    again = enrol(request_with(made.text, clock, key, nonce="m" * 22), clock)

    assert again == first
    assert made.sensor.keys.count() == 1
    assert history(made.sensor).count("enrolled") == 1


def test_a_token_used_with_another_key_is_an_alarm_and_no_change(cast: Cast, clock: FixedClock) -> None:
    made = make_sensor(cast, clock)
    first = enrol(request_with(made.text, clock), clock)

    codes = {refused(request_with(made.text, clock), clock) for _ in range(5)}

    assert codes == {"token_used"}
    assert made.sensor.keys.count() == 1
    assert history(made.sensor).count("token_reused") == 1
    assert first.key_no == 1


def test_two_keys_at_once_one_wins(cast: Cast, clock: FixedClock) -> None:
    from django.db import connection

    from teiten.fleet.errors import EnrolmentError

    made = make_sensor(cast, clock)
    requests = [request_with(made.text, clock) for _ in range(6)]

    def attempt(request: EnrolRequest) -> str:
        try:
            enrol(request, clock)
        except EnrolmentError as error:
            return error.code
        finally:
            connection.close()
        return "enrolled"

    with ThreadPoolExecutor(6) as threads:
        outcomes = sorted(threads.map(attempt, requests))

    assert outcomes == ["enrolled", *["token_used"] * 5]
    assert made.sensor.keys.count() == 1


def test_bad_tokens_are_refused_with_nothing_changed(cast: Cast, clock: FixedClock) -> None:
    made = make_sensor(cast, clock)
    good = request_with(made.text, clock)
    foreign = enrolment.make_token(enrolment.parse_token(made.text).token_id, b"x" * 32)
    swapped = dataclasses.replace(good, public_key=request_with(made.text, clock).public_key)

    assert (
        refused(request_with(str(enrolment.make_token("nosuchtoken", b"x" * 32)), clock), clock)
        == "token_unknown"
    )
    assert refused(request_with(str(foreign), clock), clock) == "token_proof"
    assert refused(swapped, clock) == "bad_signature"
    assert refused(dataclasses.replace(good, signature=b"s" * 64), clock) == "bad_signature"
    assert refused(dataclasses.replace(good, proof=b"p" * 32), clock) == "token_proof"
    assert refused(dataclasses.replace(good, created_s=good.created_s + 1), clock) == "bad_signature"
    made.sensor.refresh_from_db()
    assert made.sensor.state == "token_issued"
    assert not made.sensor.keys.exists()
    assert enrol(good, clock).key_no == 1


def test_a_token_expires(cast: Cast, clock: FixedClock) -> None:
    made = make_sensor(cast, clock)
    used = make_sensor(cast, clock, name="TK-002")
    key = Ed25519PrivateKey.generate()
    enrol(request_with(used.text, clock, key), clock)
    clock.advance(24 * 3600)

    assert refused(request_with(made.text, clock), clock) == "token_expired"
    assert refused(request_with(used.text, clock, key), clock) == "token_expired"


def test_a_new_token_ends_the_old_one(cast: Cast, clock: FixedClock) -> None:
    from teiten.fleet import services
    from teiten.fleet.services import Act

    made = make_sensor(cast, clock)
    newer = services.issue_token(made.sensor, act=Act(clock.now()), config=CONFIG)

    assert refused(request_with(made.text, clock), clock) == "token_revoked"
    assert enrol(request_with(newer.text, clock), clock).key_no == 1


def test_a_token_is_for_its_network_only(cast: Cast, clock: FixedClock) -> None:
    made = make_sensor(cast, clock, cidr="192.0.2.0/24")
    request = request_with(made.text, clock)

    assert refused(request, clock, peer="198.51.100.1") == "token_address"
    assert refused(request, clock, peer="") == "token_address"
    assert refused(dataclasses.replace(request), clock, peer="198.51.100.1") == "token_address"
    assert enrol(request, clock, peer="::ffff:192.0.2.9").key_no == 1
    (line,) = made.sensor.events.filter(kind="enrolment_refused")
    assert (line.detail["code"], line.detail["peer"]) == ("token_address", "198.51.100.1")


def test_one_key_is_one_sensor(cast: Cast, clock: FixedClock) -> None:
    key = Ed25519PrivateKey.generate()
    enrol(request_with(make_sensor(cast, clock).text, clock, key), clock)
    other = make_sensor(cast, clock, name="TK-002")

    assert refused(request_with(other.text, clock, key), clock) == "key_taken"
    other.sensor.refresh_from_db()
    assert other.sensor.state == "token_issued"


def test_a_revoked_sensor_cannot_enrol(cast: Cast, clock: FixedClock) -> None:
    from teiten.fleet import services
    from teiten.fleet.errors import SensorStateError
    from teiten.fleet.services import Act

    made = make_sensor(cast, clock)
    services.revoke_sensor(made.sensor, reason="lost", act=Act(clock.now()))

    assert refused(request_with(made.text, clock), clock) == "token_revoked"
    with pytest.raises(SensorStateError, match="revoked"):
        services.issue_token(made.sensor, act=Act(clock.now()), config=CONFIG)


def test_approval_may_be_asked_for(cast: Cast, clock: FixedClock) -> None:
    from teiten.fleet import services
    from teiten.fleet.services import Act

    made = make_sensor(cast, clock)
    enrol(request_with(made.text, clock), clock, config=FleetConfig(approve_sensors=True))
    made.sensor.refresh_from_db()
    assert made.sensor.state == "pending_approval"

    assert services.approve_sensor(made.sensor, act=Act(clock.now())).state == "active"
    assert history(made.sensor)[-1] == "approved"


def test_one_sensor_may_have_to_wait_and_says_so(cast: Cast, clock: FixedClock) -> None:
    from teiten.fleet import services
    from teiten.fleet.errors import SensorStateError
    from teiten.fleet.services import Act

    waits, goes = make_sensor(cast, clock, needs_approval=True), make_sensor(cast, clock, "TK-002")

    key = Ed25519PrivateKey.generate()
    first = enrol(request_with(waits.text, clock, key), clock)
    assert first.standing == "pending_approval"
    assert enrol(request_with(goes.text, clock), clock).standing is None
    services.approve_sensor(waits.sensor, act=Act(clock.now(), cast.dana))
    assert enrol(request_with(waits.text, clock, key, nonce="m" * 22), clock).standing is None
    with pytest.raises(SensorStateError, match="does not wait"):
        services.approve_sensor(goes.sensor, act=Act(clock.now()))


def test_another_application_key_says_what_to_do(
    cast: Cast, clock: FixedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = make_sensor(cast, clock)
    monkeypatch.setattr("django.conf.settings.SECRET_KEY", "another" * 8)

    assert refused(request_with(made.text, clock), clock) == "token_unreadable"


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"name": "has space"}, "name"),
        ({"name": ""}, "name"),
        ({"name": "x" * 65}, "name"),
        ({"dataset": "import:x"}, "dataset"),
        ({"cidr": "192.0.2.1/24"}, "cidr"),
        ({"cidr": "all"}, "cidr"),
    ],
)
def test_a_sensor_with_bad_facts_is_not_made(cast: Cast, clock: FixedClock, given: dict, field: str) -> None:
    from teiten.fleet.errors import FleetInputError
    from teiten.fleet.models import Sensor

    with pytest.raises(FleetInputError) as refusal:
        make_sensor(cast, clock, **given)

    assert refusal.value.field == field
    assert not Sensor.objects.exists()


def test_a_name_is_taken_once(cast: Cast, clock: FixedClock) -> None:
    from teiten.fleet.errors import FleetInputError

    make_sensor(cast, clock)
    with pytest.raises(FleetInputError, match="name"):
        make_sensor(cast, clock)
