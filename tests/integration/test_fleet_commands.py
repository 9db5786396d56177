"""Commands in the base: what is taken up, whom it reaches, what answers are kept, and what nobody can forge."""

from __future__ import annotations

import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from teiten.foundation.clock import FixedClock
from teiten.portal.testing import Cast
from teiten.protocol import command_testing as testing
from teiten.protocol import commands as wire
from teiten.protocol import judging
from teiten.protocol.commands import Targets

sys.path.insert(0, str(Path(__file__).parent))
from command_fixtures import (
    enter_sensors,
    know_operators,
    make_content,
    make_result,
    payload_of,
    seconds,
    sensor_key,
    start_command,
)

pytestmark = pytest.mark.requirement("R1.3", "R2.1")


@pytest.fixture
def sensors(cast: Cast, clock: FixedClock) -> list[int]:
    know_operators(clock)
    return enter_sensors(cast, clock)


def act_of(cast: Cast, clock: FixedClock):
    from teiten.fleet.services import Act

    return Act(clock.now(), cast.dana)


def submit(content: bytes, cast: Cast, clock: FixedClock, **more: Any):
    from teiten.fleet.commands import services

    return services.submit(content, act=act_of(cast, clock), **more)


def take(command, sensor: int, body: bytes, signature: bytes, clock: FixedClock, *, name: str = ""):
    from teiten.fleet.commands.answering import Told, take_results

    return take_results([Told(sensor, name or command.pk, body, signature)], at=clock.now())[0]


def states(command) -> dict[int, str]:
    return dict(command.rollout.targets.values_list("sensor", "state"))


def test_it_works(cast: Cast, clock: FixedClock, sensors: list[int]) -> None:
    from teiten.accounts.auditing import verify_chain
    from teiten.accounts.models import AuditRecord
    from teiten.fleet.commands.answering import Taken

    command = start_command(sensors, clock, cast)
    body, signature = make_result(command.pk, sensors[1], payload_of(command))

    assert take(command, sensors[1], body, signature, clock) == Taken(is_new=True)
    assert states(command) == {sensors[0]: "released", sensors[1]: "ok", sensors[2]: "released"}
    kept = command.results.get()
    assert (bytes(kept.body), bytes(kept.signature), kept.state) == (body, signature, "done")
    kinds = set(AuditRecord.objects.values_list("kind", flat=True))
    assert {"command.submitted", "command.started", "rollout.started", "command.answered"} <= kinds
    assert verify_chain().broken is None


def test_signatures_come_one_after_another(cast: Cast, clock: FixedClock, sensors: list[int]) -> None:
    from teiten.fleet.commands import services
    from teiten.fleet.commands.errors import CommandStateError

    draft, checked = submit(_unsigned(sensors, clock), cast, clock)
    assert (draft.state, checked.persons) == ("draft", ())
    one, checked = submit(make_content(sensors, clock, "alice", verb="restart"), cast, clock)
    assert (one.pk, one.state, one.signers) == (draft.pk, "signed", ["alice"])
    assert "1 of 2 persons" in checked.wanted
    same, _ = submit(make_content(sensors, clock, "alice", "alice-2", verb="restart"), cast, clock)
    assert (same.state, same.signers) == ("signed", ["alice"])
    with pytest.raises(CommandStateError, match="is signed, not approved"):
        services.start(same, act=act_of(cast, clock), per_minute=10)

    both, checked = submit(make_content(sensors, clock, "bob", verb="restart"), cast, clock)
    assert (both.state, both.signers, checked.wanted) == ("approved", ["alice", "bob"], "")
    assert len(wire.read_envelope(bytes(both.envelope)).signatures) == 3


def _unsigned(sensors: list[int], clock: FixedClock) -> bytes:
    command = testing.make_command("restart", sensors=tuple(sensors), now_s=seconds(clock))
    return wire.write_envelope(testing.sign(command))


@pytest.mark.parametrize(
    ("names", "changes", "reason"),
    [
        (("eve",), {"by": "eve"}, "key_withdrawn"),
        (("frank",), {"by": "frank"}, "key_not_valid"),
        (("mallory",), {"by": "mallory"}, "key_unknown"),
        (("alice", "dora"), {"verb": "restart"}, "class_not_allowed"),
        (("alice",), {"verb": "ping", "arguments": {"address": "192.0.2.1", "count": 99}}, "arguments"),
        (("alice",), {"verb": "dance"}, "verb_unknown"),
        (("alice",), {"verb": "restart", "command_class": "A"}, "class_wrong"),
        (("alice",), {"sensors_given": (4_000_000,)}, "sensors_unknown"),
        (("alice", "bob"), {"verb": "exec", "arguments": {"argv": ["/bin/ls"], "timeout_s": 5}, "lifetime": 601}, "lifetime"),
        (("alice",), {"late": 4000}, "expired"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_and_recorded_and_changes_nothing(
    cast: Cast,
    clock: FixedClock,
    sensors: list[int],
    names: tuple[str, ...],
    changes: dict[str, Any],
    reason: str,
) -> None:
    from teiten.accounts.models import AuditRecord
    from teiten.fleet.commands.errors import CommandRefusedError
    from teiten.fleet.commands.models import Command

    changes = dict(changes)
    given = list(changes.pop("sensors_given", sensors))
    if "lifetime" in changes:
        changes["expires_s"] = seconds(clock) - 10 + changes.pop("lifetime")
    late = changes.pop("late", 0)
    content = make_content(given, clock, *names, **changes)
    clock.advance(late)

    with pytest.raises(CommandRefusedError) as refused:
        submit(content, cast, clock)

    assert refused.value.reason == reason
    assert Command.objects.count() == 0
    record = AuditRecord.objects.get(kind="command.rejected")
    assert f'"reason":"{reason}"' in record.content
    assert record.actor == "dana"


def test_without_a_list_of_operators_nothing_is_taken_up(cast: Cast, clock: FixedClock) -> None:
    from teiten.fleet.commands.errors import CommandRefusedError

    with pytest.raises(CommandRefusedError, match="teiten command operators"):
        submit(make_content(enter_sensors(cast, clock), clock), cast, clock)
    with pytest.raises(CommandRefusedError, match="malformed"):
        submit(b"{}", cast, clock)


def test_lists_of_operators_only_go_forward(cast: Cast, clock: FixedClock) -> None:
    import dataclasses

    from teiten.fleet.commands.errors import CommandStateError
    from teiten.fleet.commands.operators import find_operators, import_operators

    act = act_of(cast, clock)
    first = testing.make_operators(seconds(clock))
    assert find_operators() is None
    import_operators(first.to_json(), act=act)
    import_operators(first.to_json(), act=act)
    other = dataclasses.replace(first, operators=first.operators[:1])
    with pytest.raises(CommandStateError, match="is not above version 1"):
        import_operators(other.to_json(), act=act)
    import_operators(dataclasses.replace(other, version=2).to_json(), act=act)
    with pytest.raises(CommandStateError, match="no list of operators"):
        import_operators(b"[]", act=act)

    assert find_operators() == dataclasses.replace(other, version=2)


def test_a_selector_means_what_it_meant_when_it_was_signed(
    cast: Cast, clock: FixedClock, sensors: list[int]
) -> None:
    from teiten.fleet.commands.errors import CommandRefusedError
    from teiten.fleet.commands.targeting import resolve_selector
    from teiten.fleet.models import Sensor

    resolved = resolve_selector("region = kanto and version < 1.4 and org = alpha")
    assert list(resolved.sensors) == sensors[1:]
    targets = Targets(selector="org = alpha", max_sensors=10, resolved_sha256=resolved.sha256)
    content = make_content([], clock, targets=targets)
    Sensor.objects.filter(pk=sensors[0]).update(organisation=cast.alpha)

    with pytest.raises(CommandRefusedError, match="the fleet has changed") as refused:
        submit(content, cast, clock)
    assert refused.value.reason == "targets_differ"
    with pytest.raises(CommandRefusedError, match="targets file"):
        submit(content, cast, clock, targets=sensors)
    command, _ = submit(content, cast, clock, targets=resolved.sensors)
    assert command.sensors == sensors[1:]
    Sensor.objects.filter(pk=sensors[1]).update(state="revoked")
    with pytest.raises(CommandRefusedError, match=f"revoked: {sensors[1]}"):
        submit(content, cast, clock)


def test_another_payload_under_the_same_id_is_refused(
    cast: Cast, clock: FixedClock, sensors: list[int]
) -> None:
    from teiten.fleet.commands.errors import CommandRefusedError

    command, _ = submit(make_content(sensors, clock), cast, clock)
    forged = make_content(sensors[:1], clock, command_id=command.pk)

    with pytest.raises(CommandRefusedError) as refused:
        submit(forged, cast, clock)
    assert refused.value.reason == "payload_differs"
    command.refresh_from_db()
    assert command.sensors == sensors


def test_who_was_withdrawn_after_signing_has_approved_nothing(
    cast: Cast, clock: FixedClock, sensors: list[int]
) -> None:
    """Ten thousand sensors would each refuse it, and the roll-out would halt for a reason that was known."""
    import dataclasses

    from teiten.fleet.commands import services
    from teiten.fleet.commands.errors import CommandStateError
    from teiten.fleet.commands.operators import find_operators, import_operators

    act = act_of(cast, clock)
    command, _ = submit(make_content(sensors, clock), cast, clock)
    known = find_operators()
    assert known is not None
    alice, *others = known.operators
    gone = dataclasses.replace(alice, withdrawn_s=seconds(clock))
    import_operators(dataclasses.replace(known, version=2, operators=(gone, *others)).to_json(), act=act)

    with pytest.raises(CommandStateError, match="was approved, and is not any more"):
        services.start(command, act=act, per_minute=10)
    assert services.get_command(command.pk).rollout is None


def withdraw(name: str, clock: FixedClock, cast: Cast) -> None:
    """Bring a newer list on which ``name`` has been withdrawn."""
    import dataclasses

    from teiten.fleet.commands.operators import find_operators, import_operators

    known = find_operators()
    assert known is not None
    key_id = testing.key_id_of(name)
    changed = tuple(
        dataclasses.replace(one, withdrawn_s=seconds(clock)) if one.key_id == key_id else one
        for one in known.operators
    )
    newer = dataclasses.replace(known, version=known.version + 1, operators=changed)
    import_operators(newer.to_json(), act=act_of(cast, clock))


def test_a_command_under_way_halts_when_a_signer_is_withdrawn(
    cast: Cast, clock: FixedClock, sensors: list[int]
) -> None:
    from teiten.fleet.commands import services
    from teiten.fleet.commands.errors import CommandStateError
    from teiten.fleet.config import FleetConfig
    from teiten.fleet.rollouts import services as rollouts
    from teiten.fleet.rollouts.advancing import advance_all
    from teiten.fleet.rollouts.errors import RolloutError

    act = act_of(cast, clock)
    command, _ = submit(make_content(sensors, clock), cast, clock)
    command = services.start(command, act=act, per_minute=10, stages=[50, 100])
    assert advance_all(clock.now(), FleetConfig())["released"] == 2
    first = command.rollout.targets.filter(state="released").first()
    command.rollout.targets.filter(pk=first.pk).update(state="fetched", fetched_at=clock.now())
    withdraw("alice", clock, cast)

    assert advance_all(clock.now(), FleetConfig()) == {"released": 0, "halted": 1}
    command.rollout.refresh_from_db()
    assert command.rollout.state == "halted"
    assert "a signing key has been withdrawn: op." in command.rollout.reason
    assert "alice" in command.rollout.reason
    assert sorted(states(command).values()) == ["fetched", "waiting", "waiting"]
    with pytest.raises(RolloutError, match=r"cannot go on: not approved any more.*withdrawn"):
        rollouts.resume(command.rollout, reason="go on", act=act)
    # The way out is named where the next command meets it.
    later, _ = submit(make_content(sensors, clock, "bob", by="bob", counter=9), cast, clock)
    assert services.start(later, act=act, per_minute=10).state == "started"
    assert services.stop(command, reason="alice has left", act=act) >= 1
    with pytest.raises(CommandStateError, match="is started, not approved"):
        services.start(command, act=act, per_minute=10)


def test_a_command_under_way_halts_when_a_host_takes_its_agreement_back(
    cast: Cast, clock: FixedClock, sensors: list[int]
) -> None:
    from teiten.accounts.models import Organisation
    from teiten.fleet import hosting
    from teiten.fleet.commands import services
    from teiten.fleet.config import FleetConfig
    from teiten.fleet.rollouts.advancing import advance_all

    act = act_of(cast, clock)
    command, _ = submit(make_content(sensors, clock), cast, clock)
    command = services.start(command, act=act, per_minute=10, stages=[50, 100])
    assert advance_all(clock.now(), FleetConfig())["released"] == 2
    for organisation in Organisation.objects.filter(sensors__in=sensors).distinct():
        hosting.agree_classes(organisation, [], note="no commands any more", act=act)

    assert advance_all(clock.now(), FleetConfig()) == {"released": 0, "halted": 1}
    command.rollout.refresh_from_db()
    assert "have not agreed to commands of class" in command.rollout.reason


def test_a_new_list_halts_what_it_does_not_stand_behind_at_once(
    cast: Cast, clock: FixedClock, sensors: list[int]
) -> None:
    from teiten.fleet.commands.consent import halt_objected

    act = act_of(cast, clock)
    mine = start_command(sensors, clock, cast)
    other = start_command(sensors, clock, cast, names=("bob",), by="bob", counter=3)
    assert halt_objected(act) == []
    withdraw("alice", clock, cast)
    assert halt_objected(act) == [mine.rollout]
    other.rollout.refresh_from_db()
    assert other.rollout.state == "running"


def test_a_halted_command_names_itself_and_the_way_out(
    cast: Cast, clock: FixedClock, sensors: list[int]
) -> None:
    from teiten.fleet.commands import services
    from teiten.fleet.commands.errors import CommandStateError
    from teiten.fleet.rollouts import services as rollouts

    act = act_of(cast, clock)
    first = start_command(sensors, clock, cast, counter=7)
    rollouts.halt(first.rollout, reason="3 of 3 sensors failed or refused", act=act)
    later, _ = submit(make_content(sensors, clock, counter=9), cast, clock)
    with pytest.raises(CommandStateError) as caught:
        services.start(later, act=act, per_minute=10)
    assert f"(roll-out {first.rollout.pk}, halted: 3 of 3 sensors failed or refused)" in str(caught.value)
    assert f"`teiten command stop {first.pk} --reason …`" in str(caught.value)
    # Once its time is over nobody obeys it any more.
    clock.advance(3_601)
    fresh, _ = submit(make_content(sensors, clock, counter=11), cast, clock)
    assert services.start(fresh, act=act_of(cast, clock), per_minute=10).state == "started"
    first.rollout.refresh_from_db()
    assert first.rollout.state == "halted"


def test_a_command_whose_time_is_over_ends_although_a_signer_has_left(
    cast: Cast, clock: FixedClock, sensors: list[int]
) -> None:
    from teiten.fleet.config import FleetConfig
    from teiten.fleet.models import SensorHealth
    from teiten.fleet.rollouts.advancing import advance_all

    command = start_command(sensors, clock, cast)
    command.rollout.targets.update(state="fetched", fetched_at=clock.now())
    clock.advance(3_601)
    withdraw("alice", clock, cast)
    SensorHealth.objects.update(heartbeat_at=clock.now())
    advance_all(clock.now(), FleetConfig())
    command.rollout.refresh_from_db()
    assert command.rollout.state == "running"  # an answer may still come
    clock.advance(FleetConfig().result_grace_seconds)
    SensorHealth.objects.update(heartbeat_at=clock.now())
    advance_all(clock.now(), FleetConfig())
    command.rollout.refresh_from_db()
    assert command.rollout.state == "done"


def test_a_command_that_two_people_hand_in_at_once_is_taken_up_once(
    cast: Cast, clock: FixedClock, sensors: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    from django.db import IntegrityError

    from teiten.fleet.commands import services
    from teiten.fleet.commands.models import Command

    submit_now, tried = services._submit, []

    def be_second(*given: Any) -> Any:
        tried.append(given)
        if len(tried) > 1:
            return submit_now(*given)
        submit_now(*given)  # the other's, as it were
        raise IntegrityError("duplicate key")

    monkeypatch.setattr(services, "_submit", be_second)
    command, _ = submit(make_content(sensors, clock), cast, clock)
    assert Command.objects.get() == command
    assert len(tried) == 2


def test_two_people_who_begin_two_commands_at_once_begin_one(
    cast: Cast, clock: FixedClock, sensors: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    import threading

    from django.db import connection

    from teiten.fleet.commands import services
    from teiten.fleet.commands.errors import CommandStateError
    from teiten.fleet.services import Act

    commands = [submit(make_content(sensors, clock, counter=n), cast, clock)[0] for n in (5, 6)]
    both, outcomes = threading.Barrier(2, timeout=10), []
    unagreed = services.tell_unagreed

    def meet(*given: Any) -> str:
        both.wait()  # just before rivals are looked for
        return unagreed(*given)

    monkeypatch.setattr(services, "tell_unagreed", meet)

    def start_one(command: Any) -> None:
        try:
            services.start(command, act=Act(clock.now()), per_minute=10)
            outcomes.append("started")
        except CommandStateError as error:
            outcomes.append("refused" if "same operator and class" in str(error) else str(error))
        finally:
            connection.close()

    people = [threading.Thread(target=start_one, args=(command,)) for command in commands]
    for one in people:
        one.start()
    for one in people:
        one.join()
    assert sorted(outcomes) == ["refused", "started"]


def test_a_command_that_ends_before_everybody_could_have_it_is_not_begun(
    cast: Cast, clock: FixedClock, sensors: list[int]
) -> None:
    from teiten.fleet.commands import services
    from teiten.fleet.rollouts.errors import RolloutError

    command, _ = submit(make_content(sensors, clock, expires_s=seconds(clock) + 90), cast, clock)
    with pytest.raises(RolloutError, match=r"its time is over .*3 sensors at 1 a minute.*release 2 a minute"):
        services.start(command, act=act_of(cast, clock), per_minute=1)
    assert services.get_command(command.pk).state == "approved"


@pytest.mark.parametrize(
    ("reason", "said"),
    [("\u3000 \t", "say why"), ("red\x1b[31m", "control characters"), ("x" * 201, "201 characters")],
)
def test_a_reason_is_one_line_that_can_be_shown(
    cast: Cast, clock: FixedClock, sensors: list[int], reason: str, said: str
) -> None:
    from teiten.fleet.commands import services
    from teiten.fleet.commands.errors import CommandStateError
    from teiten.fleet.rollouts import services as rollouts
    from teiten.fleet.rollouts.errors import RolloutError

    act = act_of(cast, clock)
    command = start_command(sensors, clock, cast)
    with pytest.raises(CommandStateError, match=said):
        services.stop(command, reason=reason, act=act)
    with pytest.raises(RolloutError, match=said):
        rollouts.pause(command.rollout, reason=reason, act=act)
    assert rollouts.pause(command.rollout, reason="障害\u3000調査中\n", act=act).reason == "障害 調査中"


def test_one_operators_commands_of_a_class_do_not_overtake_each_other(
    cast: Cast, clock: FixedClock, sensors: list[int]
) -> None:
    from teiten.fleet.commands import services
    from teiten.fleet.commands.errors import CommandRefusedError, CommandStateError

    act = act_of(cast, clock)
    early, _ = submit(make_content(sensors, clock, counter=5), cast, clock)
    first = start_command(sensors, clock, cast, counter=7)
    later, _ = submit(make_content(sensors, clock, counter=9), cast, clock)

    with pytest.raises(CommandStateError, match="is newer and was started"):
        services.start(early, act=act, per_minute=10)
    with pytest.raises(CommandStateError, match="let it end or stop it first"):
        services.start(later, act=act, per_minute=10)
    services.stop(first, reason="wrong one", act=act)
    assert services.start(later, act=act, per_minute=10).state == "started"
    with pytest.raises(CommandStateError, match="is started, not approved"):
        services.start(later, act=act, per_minute=10)
    with pytest.raises(CommandRefusedError, match="started already"):
        submit(make_content(sensors, clock, counter=9), cast, clock)


def test_stopping_keeps_it_from_whoever_has_not_fetched_it(
    cast: Cast, clock: FixedClock, sensors: list[int]
) -> None:
    from teiten.fleet.commands import services
    from teiten.fleet.commands.answering import Taken
    from teiten.fleet.rollouts.models import RolloutTarget

    command = start_command(sensors, clock, cast)
    RolloutTarget.objects.filter(sensor=sensors[0]).update(state="fetched", fetched_at=clock.now())

    assert services.stop(command, reason="mistake", act=act_of(cast, clock)) == 2
    assert states(command) == {sensors[0]: "fetched", sensors[1]: "cancelled", sensors[2]: "cancelled"}
    fetched = make_result(command.pk, sensors[0], payload_of(command))
    assert take(command, sensors[0], *fetched, clock) == Taken(is_new=True)
    cancelled = take(command, sensors[1], *make_result(command.pk, sensors[1], payload_of(command)), clock)
    assert (cancelled.code, cancelled.status) == ("result_late", 410)


def test_a_command_that_was_not_started_is_withdrawn(
    cast: Cast, clock: FixedClock, sensors: list[int]
) -> None:
    from teiten.fleet.commands import services
    from teiten.fleet.commands.errors import CommandStateError

    command, _ = submit(make_content(sensors, clock), cast, clock)
    services.stop(command, reason="not now", act=act_of(cast, clock))
    command.refresh_from_db()
    assert command.state == "withdrawn"
    with pytest.raises(CommandStateError, match="withdrawn before"):
        services.stop(command, reason="not now", act=act_of(cast, clock))
    with pytest.raises(CommandStateError, match="not approved"):
        services.start(command, act=act_of(cast, clock), per_minute=10)


def test_the_first_answer_stays(cast: Cast, clock: FixedClock, sensors: list[int]) -> None:
    from teiten.fleet.commands.answering import Taken

    command = start_command(sensors, clock, cast)
    payload = payload_of(command)
    first = make_result(command.pk, sensors[0], payload)
    other = make_result(command.pk, sensors[0], payload, output="something else\n")

    assert take(command, sensors[0], *first, clock) == Taken(is_new=True)
    assert take(command, sensors[0], *first, clock) == Taken(is_new=False)
    assert take(command, sensors[0], *other, clock).code == "result_exists"
    assert bytes(command.results.get().body) == first[0]


def test_results_that_are_not_the_sensors_own_are_refused(
    cast: Cast, clock: FixedClock, sensors: list[int]
) -> None:
    from teiten.fleet.models import SensorKey

    command = start_command(sensors[:2], clock, cast)
    payload = payload_of(command)
    body, signature = make_result(command.pk, sensors[0], payload)
    oversized = body + b" " * 800_000

    def refusal(sensor: int, body: bytes, signature: bytes, name: str = "") -> tuple[str, int]:
        refused = take(command, sensor, body, signature, clock, name=name)
        return refused.code, refused.status

    assert refusal(sensors[1], body, signature) == ("result.foreign", 400)
    assert refusal(sensors[0], body, bytes(64)) == ("result.signature", 400)
    forged = make_result(command.pk, sensors[0], payload, key=sensor_key(sensors[1]))
    assert refusal(sensors[0], *forged) == ("result.signature", 400)
    assert refusal(sensors[0], *make_result(command.pk, sensors[0], payload, key_no=2)) == ("result.key", 400)
    SensorKey.objects.filter(sensor=sensors[0]).update(revoked_at=clock.now())
    assert refusal(sensors[0], body, signature) == ("result.key", 400), "a recovery has ended it"
    SensorKey.objects.filter(sensor=sensors[0]).update(revoked_at=None)
    assert refusal(sensors[0], *make_result(command.pk, sensors[0], b"other")) == ("result.foreign", 400)
    assert refusal(sensors[2], *make_result(command.pk, sensors[2], payload)) == ("command_unknown", 404)
    assert refusal(sensors[0], oversized, signature) == ("too_large", 413)
    assert refusal(sensors[0], b"{}", signature)[1] == 400
    nobody = wire.make_command_id(0, bytes(10))
    assert refusal(sensors[0], *make_result(nobody, sensors[0], payload), name=nobody) == (
        "command_unknown",
        404,
    )
    assert refusal(sensors[0], body, signature, name=nobody) == ("result.foreign", 400)
    assert command.results.count() == 0
    assert set(states(command).values()) == {"released"}


def test_a_late_answer_is_refused_and_one_in_time_is_not(
    cast: Cast, clock: FixedClock, sensors: list[int]
) -> None:
    from teiten.fleet.commands.answering import Taken
    from teiten.fleet.config import FleetConfig
    from teiten.fleet.rollouts.advancing import advance_all
    from teiten.fleet.rollouts.models import RolloutTarget

    command = start_command(sensors, clock, cast)
    RolloutTarget.objects.filter(sensor__in=sensors[:2]).update(state="fetched", fetched_at=clock.now())
    clock.advance(3600 + 60)
    advance_all(clock.now(), FleetConfig())
    payload = payload_of(command)
    assert take(command, sensors[0], *make_result(command.pk, sensors[0], payload), clock) == Taken(
        is_new=True
    )

    clock.advance(900)
    advance_all(clock.now(), FleetConfig())
    assert (
        take(command, sensors[1], *make_result(command.pk, sensors[1], payload), clock).code == "result_late"
    )
    assert states(command)[sensors[2]] == "expired"


def test_results_are_append_only(database: str, cast: Cast, clock: FixedClock, sensors: list[int]) -> None:
    command = start_command(sensors, clock, cast)
    take(command, sensors[0], *make_result(command.pk, sensors[0], payload_of(command)), clock)

    with psycopg.connect(database) as connection, pytest.raises(psycopg.Error, match="append-only"):
        connection.execute("UPDATE fleet_commands_commandresult SET state = 'failed'")


@pytest.mark.parametrize(
    ("statement", "why"),
    [
        ("UPDATE fleet_commands_commandresult SET state = 'failed', reason = 'failed'", "columns"),
        ("UPDATE fleet_commands_commandresult SET body = replace(encode(body, 'escape'), 'well', 'lost')::bytea", "signature"),
        ("UPDATE fleet_commands_commandresult SET key_no = 5", "no key 5"),
    ],
)  # fmt: skip
def test_an_answer_that_a_superuser_writes_is_not_the_sensors(
    database: str, cast: Cast, clock: FixedClock, sensors: list[int], statement: str, why: str
) -> None:
    from teiten.fleet.commands.selectors import find_forgery

    command = start_command(sensors, clock, cast)
    take(command, sensors[0], *make_result(command.pk, sensors[0], payload_of(command)), clock)
    assert find_forgery(command.results.get()) is None

    with psycopg.connect(database) as connection:
        connection.execute("SET session_replication_role = replica")
        connection.execute(statement)
    assert why in str(find_forgery(command.results.get()))


def test_many_answers_in_one_transaction_each_stand_for_themselves(
    cast: Cast, clock: FixedClock, sensors: list[int]
) -> None:
    from teiten.fleet.commands.answering import Taken, Told, take_results

    command = start_command(sensors, clock, cast)
    payload = payload_of(command)
    good = [Told(one, command.pk, *make_result(command.pk, one, payload)) for one in sensors[:2]]
    bad = Told(sensors[2], command.pk, *make_result(command.pk, sensors[2], payload, key=sensor_key(99)))

    answers = take_results([good[0], bad, good[1]], at=clock.now())

    assert answers[0] == answers[2] == Taken(is_new=True)
    assert answers[1].code == "result.signature"
    assert command.results.count() == 2


def test_nothing_that_the_base_holds_or_signs_makes_a_sensor_act(
    database: str, cast: Cast, clock: FixedClock, sensors: list[int]
) -> None:
    """A captured base: every row, every key of its own, the right to write anything, and no operator's key."""
    import dataclasses

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from teiten.fleet.commands.models import Command
    from teiten.protocol.keys import public_bytes
    from teiten.protocol.operator_list import operator_key_id

    command = start_command(sensors, clock, cast)
    held = wire.read_envelope(bytes(command.envelope))
    on_sensor = testing.make_operators(seconds(clock))
    own_key = Ed25519PrivateKey.generate()
    own_id = operator_key_id(public_bytes(own_key))

    def obey(envelope: wire.Envelope, *, sensor: int = sensors[0], ids: tuple[str, ...] = (), late: int = 0):
        state = judging.SensorState(command_ids=ids, allow_exec=True)
        return judging.judge(envelope, on_sensor, now_s=seconds(clock) + late, sensor=sensor, state=state)

    assert isinstance(obey(held), judging.Accepted)
    # What was given once does nothing again, nothing later, nothing elsewhere.
    assert obey(held, ids=(command.pk,)).reason == "repeated"
    assert obey(held, late=4000).reason == "expired"
    assert obey(held, sensor=4_000).reason == "not_targeted"
    # Whatever is changed loses its signatures.
    told = wire.read_command(held.payload)
    changes: list[dict[str, Any]] = [
        {"targets": Targets((4_000,))},
        {"expires_s": told.expires_s + 60},
        {"counter": told.counter + 1},
        {"verb": "restart", "command_class": "B"},
    ]
    for change in changes:
        payload = wire.write_command(dataclasses.replace(told, **change))
        assert isinstance(obey(dataclasses.replace(held, payload=payload)), judging.Refused)
    # The base's own keys are nobody's; its list of operators is not the sensor's.
    mine = testing.make_command("exec", sensors=tuple(sensors), now_s=seconds(clock), created_by=own_id,
                                arguments={"argv": ["/bin/sh"], "timeout_s": 5})  # fmt: skip
    signed = wire.sign_envelope(wire.Envelope(wire.write_command(mine)), own_id, own_key)
    assert obey(signed).reason == "key_unknown"
    # And what it stores of commands holds no private key at all.
    columns = {field.name for field in Command._meta.get_fields()}
    assert not {name for name in columns if "private" in name or "secret" in name}


def test_an_owner_reads_only_what_concerns_its_sensors(
    cast: Cast, clock: FixedClock, sensors: list[int]
) -> None:
    from teiten.fleet.commands import selectors, services

    both = start_command(sensors, clock, cast, counter=7)
    for sensor in sensors:
        # What turns the direction of writing is allowed to be said, and is not shown.
        output = "all is well\n" if sensor == sensors[0] else "\u202eyadot lla \u200b落ちた\n"
        take(both, sensor, *make_result(both.pk, sensor, payload_of(both), output=output), clock)
    services.stop(both, reason="over", act=act_of(cast, clock))
    alphas = start_command(sensors[1:], clock, cast, counter=8)

    assert {one.pk for one in selectors.commands_visible_to(cast.dana)} == {alphas.pk, both.pk}
    assert [one.pk for one in selectors.commands_visible_to(cast.charlie)] == [both.pk]
    assert [one.sensor_id for one in selectors.results_visible_to(cast.charlie, both)] == sensors[:1]
    assert selectors.read_output(selectors.results_visible_to(cast.dana, both)[0]) == "all is well\n"
    assert (
        selectors.read_output(selectors.results_visible_to(cast.dana, both)[1])
        == "\ufffdyadot lla \ufffd落ちた\n"
    )
    assert selectors.count_states(cast.dana, both)["done"] == 3
    records = selectors.audit_visible_to(cast.charlie)
    assert {record.subject for record in records} == {f"sensor:{sensors[0]}"}
    assert selectors.audit_visible_to(cast.dana).count() > records.count()
    assert selectors.audit_visible_to(cast.dana, subject=f"command:{both.pk}").count() == 3


def test_the_expiry_of_a_command_is_its_operators(cast: Cast, clock: FixedClock, sensors: list[int]) -> None:
    command = start_command(sensors, clock, cast)

    assert command.rollout.not_after == command.expires_at
    assert command.expires_at <= clock.now() + timedelta(hours=1)


def test_answers_stops_and_ticks_at_once_wait_for_nobody_in_a_circle(
    cast: Cast, clock: FixedClock, sensors: list[int]
) -> None:
    import threading

    from django.db import connection

    from teiten.accounts.auditing import verify_chain
    from teiten.fleet.commands import services
    from teiten.fleet.commands.answering import Told, take_results
    from teiten.fleet.config import FleetConfig
    from teiten.fleet.rollouts.advancing import advance_all
    from teiten.fleet.services import Act, configure_sensor, get_sensor

    failures: list[BaseException] = []

    def run(work: Any) -> threading.Thread:
        def guarded() -> None:
            try:
                work()
            except BaseException as error:  # noqa: BLE001 - it is told in the main thread
                failures.append(error)
            finally:
                connection.close()

        thread = threading.Thread(target=guarded)
        thread.start()
        return thread

    for turn in range(3):
        command = start_command(sensors, clock, cast, counter=100 + turn)
        payload = payload_of(command)
        told = [Told(one, command.pk, *make_result(command.pk, one, payload)) for one in sensors]
        act = Act(clock.now())
        works = [
            lambda told=told: take_results(told[:2], at=clock.now()),
            lambda told=told: take_results(told[1:], at=clock.now()),
            lambda: advance_all(clock.now(), FleetConfig()),
            lambda command=command, act=act: services.stop(command, reason="now", act=act),
            lambda act=act, turn=turn: configure_sensor(
                get_sensor(str(sensors[0])), window_seconds=60 + turn, act=act
            ),
        ]
        for thread in [run(work) for work in works]:
            thread.join()
        # The tick may have ended it before the stop.
        assert [error for error in failures if "is done" not in str(error)] == []
    assert verify_chain().broken is None
