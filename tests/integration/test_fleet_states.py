"""The states of a sensor as one machine: any sequence of what may happen keeps its rules."""

from __future__ import annotations

import secrets
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from teiten.fleet.config import FleetConfig
from teiten.foundation.clock import FixedClock
from teiten.portal.testing import Cast
from teiten.protocol import enrolment, keys, recovery, rotation
from teiten.protocol.enrolment import Facts

pytestmark = pytest.mark.requirement("R1.2", "R2.1")
CONFIG = FleetConfig()

#: State → what may happen to it → the state after it and the event that says so.
MOVES: dict[str, dict[str, tuple[str, str]]] = {
    "token_issued": {"enrol": ("active", "enrolled"), "enrol_waiting": ("pending_approval", "enrolled")},
    "pending_approval": {"approve": ("active", "approved"), "recover": ("pending_approval", "recovered")},
    "active": {
        "suspend": ("suspended", "suspended"),
        "suspect": ("quarantined", "clone_suspected"),
        "rotate": ("active", "key_rotated"),
        "recover": ("active", "recovered"),
    },
    "suspended": {"resume": ("active", "resumed"), "recover": ("suspended", "recovered")},
    "quarantined": {
        "resume": ("active", "resumed"),
        "suspend": ("suspended", "suspended"),
        "recover": ("active", "recovered"),
    },
    "revoked": {},
}
ACTS = (
    "enrol",
    "enrol_waiting",
    "approve",
    "suspend",
    "resume",
    "suspect",
    "rotate",
    "recover",
    "revoke",
    "release",
    "discard",
)


class Life:
    """One sensor, and everything that can be done to it."""

    def __init__(self, cast: Cast, clock: FixedClock) -> None:
        from teiten.fleet import services

        self.clock = clock
        self.act = services.Act(clock.now(), cast.dana)
        region = services.find_or_create_region(code="kanto", name_ja="関東", name_en="Kanto")
        made = services.create_sensor(
            name=f"TK-{secrets.token_hex(6)}",
            region=region,
            organisation=cast.alpha,
            dataset="live",
            act=self.act,
            config=CONFIG,
        )
        self.sensor, self.token = made.sensor, made.text

    def do(self, what: str) -> bool:
        """Try it; give whether it was done."""
        from teiten.fleet.errors import FleetError

        try:
            done = self._acts()[what]()
        except FleetError:
            return False
        finally:
            self.sensor.refresh_from_db()
        return done is not False

    def _acts(self) -> dict[str, Callable[[], object]]:
        from teiten.fleet import holding, services

        sensor, act = self.sensor, self.act
        return {
            "enrol": lambda: self._enrol(waits=False),
            "enrol_waiting": lambda: self._enrol(waits=True),
            "approve": lambda: services.approve_sensor(sensor, act=act),
            "suspend": lambda: services.suspend_sensor(sensor, reason="x", act=act),
            "resume": lambda: services.resume_sensor(sensor, reason="x", act=act),
            "revoke": lambda: services.revoke_sensor(sensor, reason="x", act=act),
            "suspect": lambda: services.quarantine_sensor(sensor.pk, at=act.at, why="x"),
            "rotate": self._rotate,
            "recover": self._recover,
            "release": lambda: holding.release_batches(sensor, reason="x", act=act),
            "discard": lambda: holding.discard_batches(sensor, reason="x", act=act),
        }

    def _enrol(self, *, waits: bool) -> object:
        from teiten.fleet.enrolling import enrol_sensor

        request = enrolment.make_request(
            enrolment.parse_token(self.token),
            keys.generate_key(),
            facts=Facts("a", "b", "c", "d"),
            created_s=0,
            nonce="n" * 22,
        )
        config = FleetConfig(approve_sensors=waits)
        return enrol_sensor(request, peer="192.0.2.1", now=self.act.at, config=config)

    def _rotate(self) -> object:
        from teiten.fleet.rotating import rotate_key

        newest = self.sensor.keys.order_by("-key_no").first()
        used = newest.key_no if newest else 1
        request = rotation.make_request(
            keys.generate_key(), sensor=self.sensor.pk, key_no=used + 1, sealed_to=0
        )
        return rotate_key(request, used_key_no=used, peer="192.0.2.1", now=self.act.at)

    def _recover(self) -> object:
        from teiten.fleet import recovering

        issued = recovering.issue_recovery(self.sensor, reason="x", act=self.act, config=CONFIG)
        request = recovery.make_request(
            enrolment.parse_token(issued.text, prefix="tr1"),
            keys.generate_key(),
            sensor=self.sensor.pk,
            created_s=0,
            nonce="n" * 22,
        )
        return recovering.recover_sensor(request, peer="192.0.2.1", now=self.act.at)

    def last_event(self) -> str:
        return str(self.sensor.events.order_by("-id").values_list("kind", flat=True)[0])


def expect(state: str, what: str, *, is_under_suspicion: bool) -> tuple[str, str] | None:
    """Say what must come of it; None: it is refused."""
    if what == "revoke":
        return None if state == "revoked" else ("revoked", "revoked")
    if (state, what) == ("suspended", "resume") and is_under_suspicion:
        return "quarantined", "resumed"
    return MOVES[state].get(what)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(acts=st.lists(st.sampled_from(ACTS), min_size=3, max_size=14))
def test_any_life_keeps_the_rules(cast: Cast, clock: FixedClock, acts: list[str]) -> None:
    life = Life(cast, clock)
    life.sensor.refresh_from_db()
    for what in ("enrol", *acts):
        before, epoch, held = life.sensor.state, life.sensor.epoch, life.sensor.held_epoch
        done = life.do(what)
        if what in ("release", "discard"):
            may = bool(held) and (held < epoch or before == "revoked")
            assert (done, life.sensor.state) == (may, before)
        else:
            expected = expect(before, what, is_under_suspicion=held >= epoch)
            assert done == (expected is not None), (before, what)
            assert life.sensor.state == (expected[0] if expected else before)
            if expected:
                assert life.last_event() == expected[1]
        assert life.sensor.epoch == epoch + (done and what == "recover")
        assert life.sensor.held_epoch <= life.sensor.epoch
        current = life.sensor.keys.filter(superseded_at=None, revoked_at=None).count()
        assert current == (life.sensor.keys.exists())
        assert life.sensor.state != "quarantined" or life.sensor.held_epoch == life.sensor.epoch


WAYS = {
    "token_issued": (),
    "pending_approval": ("enrol_waiting",),
    "active": ("enrol",),
    "suspended": ("enrol", "suspend"),
    "quarantined": ("enrol", "suspect"),
    "revoked": ("enrol", "revoke"),
}


@pytest.mark.parametrize("state", sorted(MOVES))
def test_each_move_is_made_or_refused(cast: Cast, clock: FixedClock, state: str) -> None:
    for what in ACTS[:-2]:
        life = Life(cast, clock)
        for step in WAYS[state]:
            assert life.do(step)
        life.sensor.refresh_from_db()
        assert life.sensor.state == state

        expected = expect(state, what, is_under_suspicion=state == "quarantined")

        assert life.do(what) == (expected is not None), what
        assert life.sensor.state == (expected[0] if expected else state)
        if expected:
            assert life.last_event() == expected[1]
