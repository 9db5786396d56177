"""What a sensor obeys: once, in order, only what operators signed for it; over crashes and full disks."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from teiten.foundation.clock import FixedClock, SystemClock, from_us
from teiten.protocol import commands, results
from teiten.protocol.command_testing import NOW_S, make_command, make_operators, sign
from teiten.protocol.commands import Command, Delivery, Targets
from teiten.protocol.enrolment import EnrolAnswer
from teiten.protocol.operator_list import OperatorList
from teiten.protocol.sensor_config import SensorConfig as Wanted
from teiten.sensor.chain import Chain, read_chain, verify_chain
from teiten.sensor.config import SensorConfig
from teiten.sensor.errors import DeclarationError, StateBusyError, StateError
from teiten.sensor.obeying import asked, auditing, budget, root_helper, system_actions
from teiten.sensor.obeying.answers import Answer, Answers
from teiten.sensor.obeying.building import read_offset_us
from teiten.sensor.obeying.deciding import Rules
from teiten.sensor.obeying.handing import RequestBox, places_of, read_request
from teiten.sensor.obeying.memory import MAX_OPEN, Begun, Memory
from teiten.sensor.obeying.obedience import Obedience
from teiten.sensor.obeying.operators_file import load_operators
from teiten.sensor.obeying.outcome import Outcome, done, failed
from teiten.sensor.obeying.programs import find_program, run_program
from teiten.sensor.obeying.questions import Questions
from teiten.sensor.obeying.root_helper import Helper
from teiten.sensor.obeying.setting import set_config
from teiten.sensor.obeying.supervised_actions import CaptureSwitch, SupervisedActions
from teiten.sensor.obeying.system_actions import SystemActions, SystemPlaces
from teiten.sensor.obeying.timing import find_time_s
from teiten.sensor.reporting import read_orders
from teiten.sensor.sending import Sending
from teiten.sensor.slots import SlotFile
from teiten.sensor.state import ORDERS, GatewaySettings, StateFolder
from teiten.sensor.status import collect_status, format_status

SENSOR = 7
pytestmark = pytest.mark.requirement("R1.3")


def deliver(command: Command, *names: str, resolved: tuple[int, ...] | None = None) -> Delivery:
    return Delivery(command.command_id, sign(command, *names), resolved)


def wait_until(is_so: Callable[[], bool], seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.01)


class Bench:
    """The sending process's obeying over a folder, with time in the test's hands."""

    def __init__(self, folder: Path, **rules: Any) -> None:
        self.clock = FixedClock(from_us(NOW_S * 1_000_000))
        self.folder = folder
        self.state = StateFolder(folder / "state")
        self.operators = folder / "operators.json"
        self.operators.write_bytes(make_operators().to_json())
        self.operators.chmod(0o644)
        self.rules = Rules(SENSOR, lambda: load_operators(self.operators), **rules)
        self.done: list[str] = []
        self.gate = threading.Event()
        self.gate.set()
        self.places = places_of(self.state.path, folder / "helper")
        self.open()

    def open(self) -> None:
        own = self.state.path / "obey"
        requests = RequestBox(self.places)
        self.stopping = threading.Event()
        self.chain = Chain.open(self.state.path / "audit.chain", self.clock)
        self.obedience = Obedience(
            self.rules,
            memory=Memory(own / "memory.bin"),
            chain=self.chain,
            answers=Answers(own / "answers"),
            requests=requests,
            doers={"status": self._do, "set_config": self._do, "log_tail": self._break},
            clock=self.clock,
            stopping=self.stopping,
        )

    def _do(self, arguments: Any) -> Outcome:
        self.done.append(json.dumps(arguments))
        while not self.gate.wait(0.01):
            if self.stopping.is_set():
                return failed("interrupted")
        return done("as asked")

    def _break(self, _arguments: Any) -> Outcome:
        raise RuntimeError("out of luck")

    def take(self, *deliveries: Delivery, offset_us: int | None = None) -> None:
        self.obedience.take(deliveries, offset_us=offset_us)

    def answer(self) -> Answer:
        wait_until(lambda: self.obedience.find_answer() is not None)
        found = self.obedience.find_answer()
        assert found is not None
        return found

    def receipt(self) -> Answer:
        answer = self.answer()
        self.obedience.mark_receipted(answer.command_id)
        return answer

    def kinds(self) -> list[str]:
        return [record.kind for record in read_chain(self.state.path / "audit.chain")]


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path)
    bench.obedience.start()
    yield bench
    bench.obedience.stop()


class TestObedience:
    def test_it_works(self, bench: Bench) -> None:
        command = make_command()
        bench.take(deliver(command, "alice"))

        answer = bench.receipt()

        assert (answer.outcome.state, answer.outcome.output) == ("done", "as asked")
        assert answer.payload_sha256 == hashlib.sha256(commands.write_command(command)).digest()
        result = answer.to_result(sensor=SENSOR, key_no=2)
        assert results.read_result(results.write_result(result)) == result
        assert bench.kinds() == ["command.accepted", "command.ended"]
        assert bench.obedience.find_answer() is None
        assert bench.chain.head == verify_chain(bench.state.path / "audit.chain")

    def test_a_repeat_is_answered_but_not_obeyed(self, bench: Bench) -> None:
        delivery = deliver(make_command(), "alice")
        bench.take(delivery)
        bench.take(delivery)
        first = bench.receipt()

        bench.take(delivery)

        assert bench.receipt() == first
        assert len(bench.done) == 1

    @pytest.mark.parametrize(
        ("change", "names", "reason"),
        [
            ({}, (), "signatures_few"),
            ({"targets": Targets((8,))}, ("alice", "bob"), "not_targeted"),
            ({"arguments": {"payload_bytes": 500}}, ("alice", "bob"), "arguments"),
            ({}, ("alice",), "signatures_few"),
            ({}, ("alice", "alice-2"), "signatures_few"),
            ({}, ("alice", "eve"), "key_withdrawn"),
            ({"verb": "fly"}, ("alice", "bob"), "verb_unknown"),
            ({"not_before_s": NOW_S - 9000, "expires_s": NOW_S - 1}, ("alice", "bob"), "expired"),
        ],
    )
    def test_what_may_not_be_obeyed_is_refused_with_a_reason_and_a_record(
        self, bench: Bench, change: dict[str, Any], names: tuple[str, ...], reason: str
    ) -> None:
        command = dataclasses.replace(make_command("set_config", arguments={"payload_bytes": 0}), **change)
        bench.take(deliver(command, *names))

        answer = bench.answer()

        assert (answer.outcome.state, answer.outcome.reason) == ("refused", reason)
        assert answer.outcome.output
        assert bench.kinds() == ["command.refused"]
        assert bench.done == []

    def test_an_altered_payload_and_a_widened_list_are_refused(self, bench: Bench) -> None:
        command = make_command("set_config", arguments={"payload_bytes": 0})
        signed = sign(command, "alice", "bob")
        payload = signed.payload.replace(b'"payload_bytes":0', b'"payload_bytes":9')
        bench.take(Delivery(command.command_id, commands.Envelope(payload, signed.signatures)))
        assert bench.receipt().outcome.reason == "signature_wrong"

        targets = Targets(selector="x", max_sensors=1, resolved_sha256=commands.digest_of_sensors([8]))
        bench.take(deliver(make_command("status", targets=targets), "alice", resolved=(7, 8)))
        assert bench.receipt().outcome.reason == "targets_differ"

    def test_a_refusal_cannot_be_passed_off_as_another_commands(self, bench: Bench) -> None:
        good = make_command()
        bench.take(Delivery(good.command_id, commands.Envelope(b"junk")))
        junk = bench.receipt()
        bench.take(deliver(good, "alice"))

        assert junk.outcome.reason == "form"
        assert junk.payload_sha256 == hashlib.sha256(b"junk").digest()
        assert bench.receipt().outcome.state == "done"

    def test_a_command_under_another_id_is_refused(self, bench: Bench) -> None:
        bench.take(Delivery(make_command(counter=9).command_id, sign(make_command(), "alice")))

        assert bench.answer().outcome.reason == "id_differs"

    def test_commands_are_taken_in_the_order_of_their_counters(self, bench: Bench) -> None:
        made = [make_command(counter=number) for number in (3, 1, 2)]
        bench.take(*(deliver(command, "alice") for command in made))

        assert [bench.receipt().outcome.state for _ in made] == ["done"] * 3
        bench.take(deliver(make_command(counter=2, reason="again"), "alice"))
        bench.take(deliver(dataclasses.replace(made[1], command_id=made[1].command_id[:-1] + "0"), "alice"))
        assert bench.receipt().outcome.reason in ("counter", "repeated")

    def test_a_missing_or_open_list_of_operators_refuses_everything(self, bench: Bench) -> None:
        bench.operators.chmod(0o666)
        bench.take(deliver(make_command(), "alice"))
        assert "can be changed by others" in bench.receipt().outcome.output

        bench.operators.unlink()
        bench.take(deliver(make_command(counter=2), "alice"))
        assert bench.receipt().outcome.reason == "operators_missing"

        bench.operators.write_bytes(b"[]")
        bench.take(deliver(make_command(counter=3), "alice"))
        assert bench.receipt().outcome.reason == "operators_missing"

    def test_a_verb_that_breaks_is_answered(self, bench: Bench) -> None:
        bench.take(deliver(make_command("log_tail", arguments={"lines": 1}), "alice"))

        answer = bench.answer()

        assert (answer.outcome.state, answer.outcome.reason) == ("failed", "failed")
        assert "out of luck" in answer.outcome.output

    def test_a_command_that_was_running_when_the_sensor_died_is_interrupted_not_repeated(
        self, tmp_path: Path
    ) -> None:
        bench = Bench(tmp_path)
        bench.obedience.start()
        bench.gate.clear()
        delivery = deliver(make_command(), "alice")
        bench.take(delivery)
        wait_until(lambda: len(bench.done) == 1)
        bench.obedience.stop()

        bench.open()
        bench.obedience.start()
        bench.take(delivery)

        assert (bench.receipt().outcome.reason, len(bench.done)) == ("interrupted", 1)
        bench.obedience.stop()

    def test_a_crash_after_the_answer_was_kept_answers_once(self, tmp_path: Path) -> None:
        bench = Bench(tmp_path)
        command = make_command()
        memory = bench.obedience._memory
        memory.begin(command, Begun(command.command_id, "status", bytes(32), 1, 0))
        bench.obedience._answers.put(Answer(command.command_id, bytes(32), done("kept"), 1, 2))

        bench.open()
        bench.obedience.start()

        assert bench.receipt().outcome.output == "kept"
        assert bench.obedience.find_answer() is None
        bench.obedience.stop()

    def test_what_cannot_be_remembered_is_not_obeyed(
        self, bench: Bench, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refuse(*_: Any) -> None:
            raise StateError("no space")

        with monkeypatch.context() as patch:
            patch.setattr(bench.obedience._memory._file, "write", refuse)
            bench.take(deliver(make_command(), "alice"))
        assert (bench.done, bench.kinds()) == ([], [])

        bench.take(deliver(make_command(), "alice"))
        assert bench.answer().outcome.state == "done"

    def test_what_cannot_be_recorded_is_not_obeyed(
        self, bench: Bench, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refuse(*_: Any) -> None:
            raise StateError("the audit chain cannot be written")

        with monkeypatch.context() as patch:
            patch.setattr(bench.chain, "append", refuse)
            bench.take(deliver(make_command(), "alice"))
        bench.clock.advance(1)
        bench.obedience.poll()

        assert (bench.answer().outcome.state, bench.done) == ("failed", [])

    def test_refusals_of_a_hostile_base_are_bounded(self, bench: Bench) -> None:
        for number in range(budget.REFUSALS_AN_HOUR + 20):
            bench.take(deliver(make_command(counter=number + 1, by="eve"), "eve"))
        assert bench.kinds().count("command.refused") == budget.REFUSALS_AN_HOUR
        assert bench.obedience.counts.commands_refused == budget.REFUSALS_AN_HOUR + 20

        bench.clock.advance(3601)
        bench.obedience.poll()
        assert bench.kinds()[-1] == "command.refusals_unrecorded"

    def test_no_more_than_a_few_are_begun_at_once(self, bench: Bench) -> None:
        bench.gate.clear()
        bench.take(*(deliver(make_command(counter=n + 1), "alice") for n in range(MAX_OPEN + 3)))
        assert bench.kinds().count("command.accepted") == MAX_OPEN
        bench.gate.set()
        wait_until(lambda: bench.kinds().count("command.ended") == MAX_OPEN)


class RecordedActions:
    """Does nothing but remember, and can die on the way."""

    def __init__(self) -> None:
        self.acted: list[str] = []
        self.followed: list[str] = []
        self.dies_in = ""

    def act(self, command: Command) -> Outcome:
        self.acted.append(command.verb)
        if self.dies_in == "act":
            raise KeyboardInterrupt
        return done(f"{command.verb} done")

    def follow_up(self, command: Command) -> None:
        if self.dies_in == "follow_up":
            raise KeyboardInterrupt
        self.followed.append(command.verb)


class HelperBench:
    """A root helper over the same folders as :class:`Bench`."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.actions = RecordedActions()
        self.folder = bench.folder / "helper"
        self.open()

    def open(self, **rules: Any) -> None:
        self.helper = Helper(
            dataclasses.replace(self.bench.rules, **rules),
            places=self.bench.places,
            folder=self.folder,
            actions=self.actions,
            clock=self.bench.clock,
        )

    def run(self) -> None:
        self.helper.obey_all(offset_us=None)

    def crash(self) -> None:
        self.helper.close()
        self.actions.dies_in = ""
        self.open()


@pytest.fixture
def helper(bench: Bench) -> Iterator[HelperBench]:
    helper = HelperBench(bench)
    yield helper
    helper.helper.close()


class TestRootHelper:
    def test_it_works(self, bench: Bench, helper: HelperBench) -> None:
        command = make_command("restart")
        bench.take(deliver(command, "alice", "bob"))
        helper.run()
        bench.clock.advance(1)
        bench.obedience.poll()

        assert bench.receipt().outcome.output == "restart done"
        assert helper.actions.acted == helper.actions.followed == ["restart"]
        assert not list(bench.places.requests.iterdir())
        assert [record.kind for record in read_chain(helper.folder / "audit.chain")] == [
            "command.accepted",
            "command.ended",
        ]

    @pytest.mark.skipif(os.geteuid() != 0, reason="gives files to another group, which takes root")
    def test_no_other_user_reads_what_a_command_wrote(self, bench: Bench, helper: HelperBench) -> None:
        """Only the sending process has to: it is of the group that the state folder belongs to."""
        os.chown(bench.state.path, -1, 4242)
        helper.crash()
        bench.take(deliver(make_command("restart"), "alice", "bob"))
        helper.run()

        outcomes = helper.folder / "outcomes"
        found = [path.stat() for path in (outcomes, *outcomes.iterdir())]
        assert [(one.st_mode & 0o777, one.st_gid) for one in found] == [(0o750, 4242), (0o640, 4242)]

    def test_a_base_that_forgets_is_contradicted(self, bench: Bench, helper: HelperBench) -> None:
        """Put back from a backup, it asks again: the answer comes again, nothing is done twice, and both chains tell."""
        delivery = deliver(make_command("restart"), "alice", "bob")
        answers = []
        for _ in range(2):
            bench.take(delivery)
            helper.run()
            bench.clock.advance(1)
            bench.obedience.poll()
            answers.append(bench.receipt())

        assert answers[0] == answers[1]
        assert helper.actions.acted == ["restart"]
        for path in (bench.state.path / "audit.chain", helper.folder / "audit.chain"):
            (told,) = [record for record in read_chain(path) if record.kind == "command.accepted"]
            assert told.facts["command_id"] == delivery.command_id
            assert told.facts["persons"] == ["alice", "bob"]
            assert told.facts["payload_sha256"] == hashlib.sha256(delivery.envelope.payload).hexdigest()

    @pytest.mark.parametrize(
        ("verb", "change", "names", "reason"),
        [
            ("restart", {}, ("alice",), "signatures_few"),
            ("restart", {"targets": Targets((8,))}, ("alice", "bob"), "not_targeted"),
            ("restart", {"expires_s": NOW_S - 1}, ("alice", "bob"), "expired"),
            ("exec", {"arguments": {"argv": ["/bin/id"], "timeout_s": 1}}, ("alice", "bob"), "exec_off"),
            ("wipe", {}, ("alice", "bob"), "role_missing"),
            ("status", {}, ("alice",), "class_wrong"),
        ],
    )
    def test_a_captured_sending_process_can_run_nothing(
        self, bench: Bench, helper: HelperBench, verb: str, change: dict[str, Any], names: Any, reason: str
    ) -> None:
        command = dataclasses.replace(make_command(verb), **change)
        # Written past every check of the sending process.
        RequestBox(bench.places).hand_over(deliver(command, *names))
        helper.run()

        outcome = RequestBox(bench.places).find_outcome(command.command_id)
        assert outcome is not None
        assert (outcome.state, outcome.reason) == ("refused", reason)
        assert helper.actions.acted == []
        assert not list(bench.places.requests.iterdir())

    def test_it_remembers_by_itself(self, bench: Bench, helper: HelperBench) -> None:
        box = RequestBox(bench.places)
        new, old = make_command("restart", counter=6), make_command("restart", counter=5)
        box.hand_over(deliver(new, "alice", "bob"))
        helper.run()
        box.hand_over(deliver(old, "alice", "bob"))
        box.hand_over(deliver(new, "alice", "bob"))
        (bench.places.outcomes / f"{new.command_id}.json").unlink()
        helper.run()

        assert helper.actions.acted == ["restart"]
        reasons = {box.find_outcome(one.command_id).reason for one in (new, old)}  # type: ignore[union-attr]
        assert reasons == {"repeated", "counter"}

    def test_it_works_for_one_sensor_whatever_the_folder_says(
        self, bench: Bench, helper: HelperBench
    ) -> None:
        helper.helper.close()
        with pytest.raises(DeclarationError, match="obeys as sensor 7"):
            helper.open(sensor=8)
        helper.open()

    def test_one_request_that_cannot_be_taken_holds_up_no_other(
        self, bench: Bench, helper: HelperBench, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        box, real = RequestBox(bench.places), helper.helper._memory.begin
        first, second = make_command("restart", counter=1), make_command("capture_on", counter=2)
        for one in (first, second):
            box.hand_over(deliver(one, "alice", "bob"))

        def refuse(command: Command, begun: Begun) -> None:
            if command.verb == "restart":
                raise StateError("no space")
            real(command, begun)

        monkeypatch.setattr(helper.helper._memory, "begin", refuse)
        with pytest.raises(StateError, match="no space"):
            helper.run()

        assert helper.actions.acted == ["capture_on"]
        assert [path.stem for path in bench.places.requests.iterdir()] == [first.command_id]

    def test_two_do_not_work_at_once(self, helper: HelperBench) -> None:
        with pytest.raises(StateBusyError):
            helper.open()

    @pytest.mark.parametrize("dies_in", ["act", "follow_up"])
    def test_a_crash_never_obeys_twice(self, bench: Bench, helper: HelperBench, dies_in: str) -> None:
        command = make_command("restart")
        bench.take(deliver(command, "alice", "bob"))
        helper.actions.dies_in = dies_in
        with pytest.raises(KeyboardInterrupt):
            helper.run()
        helper.crash()
        helper.run()
        bench.clock.advance(1)
        bench.obedience.poll()

        assert helper.actions.acted == ["restart"]
        answer = bench.receipt().outcome
        if dies_in == "act":
            assert (answer.state, answer.reason, helper.actions.followed) == ("failed", "interrupted", [])
        else:
            assert (answer.state, helper.actions.followed) == ("done", ["restart"])

    def test_without_a_helper_the_operator_is_told(self, bench: Bench) -> None:
        bench.take(deliver(make_command("restart"), "alice", "bob"))
        bench.clock.advance(200)
        bench.obedience.poll()

        assert bench.receipt().outcome.reason == "no_helper"
        assert not list(bench.places.requests.iterdir())

    def test_a_handed_command_is_waited_for_over_a_restart(self, bench: Bench, helper: HelperBench) -> None:
        bench.take(deliver(make_command("capture_off"), "alice", "bob"))
        bench.obedience.stop()
        helper.run()
        bench.open()
        bench.obedience.start()
        bench.clock.advance(1)
        bench.obedience.poll()

        assert bench.receipt().outcome.output == "capture_off done"

    def test_links_and_odd_files_are_not_followed(self, bench: Bench, helper: HelperBench) -> None:
        secret = bench.folder / "secret"
        secret.write_bytes(b"untouched")
        names = [make_command(counter=n + 1).command_id for n in range(4)]
        bench.places.requests.joinpath(f"{names[0]}.json").symlink_to(secret)
        os.mkfifo(bench.places.requests / f"{names[1]}.json")
        bench.places.requests.joinpath(f"{names[2]}.json").write_bytes(b"x" * 1_000_000)
        bench.places.requests.joinpath("note.txt").write_bytes(b"")
        bench.places.requests.joinpath("..json").write_bytes(b"what must not wake the helper for ever")
        (bench.places.requests / "folder.json" / "full").mkdir(parents=True)
        other = deliver(make_command("restart"), "alice", "bob")
        bench.places.requests.joinpath(f"{names[3]}.json").write_bytes(commands.write_delivery(other))

        helper.run()

        left = sorted(path.name for path in bench.places.requests.iterdir())
        assert [name for name in left if name.endswith(".json")] == []
        assert [name.partition(".")[0] for name in left] == ["folder", "note"]
        assert (secret.read_bytes(), helper.actions.acted) == (b"untouched", [])
        assert read_request(secret) is None

    def test_a_folder_full_of_names_costs_a_run_so_much_and_no_more(
        self, bench: Bench, helper: HelperBench, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(asked, "MOST_NAMES", 50)
        for number in range(120):
            (bench.places.requests / f"{number}.json").write_bytes(b"{}")
        looked: list[str] = []
        monkeypatch.setattr(asked.AskedFolder, "read", lambda _self, name: looked.append(name))

        left = []
        for _ in range(4):
            helper.run()
            left.append(len(list(bench.places.requests.iterdir())))

        assert (left, looked) == ([70, 20, 0, 0], [])

    def test_requests_beyond_a_runs_share_wait_for_the_next(
        self, bench: Bench, helper: HelperBench, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(asked, "MOST_REQUESTS", 2)
        for number in range(1, 4):
            command = dataclasses.replace(
                make_command("restart", counter=number),
                command_id=commands.make_command_id(number * 1000, bytes(10)),
            )
            delivery = deliver(command, "alice", "bob")
            (bench.places.requests / f"{delivery.command_id}.json").write_bytes(
                commands.write_delivery(delivery)
            )
        taken = []
        for _ in range(2):
            helper.run()
            taken.append(len(helper.actions.acted))

        assert taken == [2, 3]

    def test_refusals_do_not_fill_roots_disk(
        self, bench: Bench, helper: HelperBench, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Whoever captured the sending process hands over what nobody signed, again and again."""
        monkeypatch.setattr(root_helper, "REFUSALS_AN_HOUR", 3)

        def ask(numbers: range) -> None:
            for number in numbers:
                unsigned = deliver(make_command("restart", counter=number))
                (bench.places.requests / f"{unsigned.command_id}.json").write_bytes(
                    commands.write_delivery(unsigned)
                )
            helper.run()
            helper.crash()

        ask(range(1, 6))
        ask(range(6, 9))
        bench.clock.advance(3600)
        ask(range(9, 10))

        kinds = [record.kind for record in read_chain(helper.folder / "audit.chain")]
        assert kinds == [*["command.refused"] * 3, "command.refusals_unrecorded", "command.refused"]
        assert len(list(bench.places.outcomes.iterdir())) == 4
        assert not list(bench.places.requests.iterdir())

    @pytest.mark.parametrize("is_above", [True, False])
    def test_a_folder_that_became_a_link_leads_nowhere(
        self, bench: Bench, helper: HelperBench, is_above: bool
    ) -> None:
        """The sensor's user owns both folders; root would have emptied any other folder called ``requests``."""
        own = bench.places.requests
        other = bench.folder / "other" / own.name
        other.mkdir(parents=True)
        other.joinpath("important.json").write_bytes(b"{}")
        swapped = own.parent if is_above else own
        swapped.rename(bench.folder / "aside")
        swapped.symlink_to(other.parent if is_above else other)

        with pytest.raises(StateError, match="symbolic link"):
            helper.run()

        assert [path.name for path in other.iterdir()] == ["important.json"]

    @pytest.mark.parametrize("text", [b"[]", b"{", b'{"clock_offset_us":true}', b"x" * 100_000, None])
    def test_the_clocks_offset_is_read_from_anything(self, bench: Bench, text: bytes | None) -> None:
        path = bench.state.path / ORDERS
        if text is None:
            os.mkfifo(path)
        else:
            path.write_bytes(text)
        assert read_offset_us(bench.state) is None

        path.unlink()
        path.write_bytes(b'{"clock_offset_us":-5}')
        assert read_offset_us(bench.state) == -5

    def test_old_outcomes_are_forgotten(self, bench: Bench, helper: HelperBench) -> None:
        for number in range(80):
            name = make_command(counter=number + 1).command_id
            (bench.places.outcomes / f"{name}.json").write_text("{}")
        helper.run()

        assert len(list(bench.places.outcomes.iterdir())) == 64


class TestMemory:
    @settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
    @given(counters=st.lists(st.tuples(st.sampled_from("AB"), st.integers(1, 50)), max_size=12))
    def test_each_counter_only_grows_over_restarts(
        self, tmp_path_factory: pytest.TempPathFactory, counters: list[tuple[str, int]]
    ) -> None:
        bench = Bench(tmp_path_factory.mktemp("memory"))
        bench.obedience.start()
        obeyed: dict[str, list[int]] = {"A": [], "B": []}
        for number, (command_class, counter) in enumerate(counters):
            verb = "status" if command_class == "A" else "set_config"
            arguments = {} if verb == "status" else {"payload_bytes": 1}
            command = make_command(verb, counter=counter, arguments=arguments)
            command = dataclasses.replace(
                command, command_id=commands.make_command_id(number * 1000, bytes(10))
            )
            bench.take(deliver(command, "alice", "bob"))
            if bench.receipt().outcome.state == "done":
                obeyed[command_class].append(counter)
            if number % 4 == 3:
                bench.obedience.stop()
                bench.open()
                bench.obedience.start()
        bench.obedience.stop()

        for command_class, found in obeyed.items():
            given_counters = [counter for letter, counter in counters if letter == command_class]
            rising = [n for i, n in enumerate(given_counters) if n > max(given_counters[:i], default=0)]
            assert found == rising

    def test_what_it_cannot_read_is_named(self, tmp_path: Path) -> None:
        SlotFile(tmp_path / "memory.bin").write({"open": [{}]})

        with pytest.raises(StateError, match="move it away"):
            Memory(tmp_path / "memory.bin")

    def test_a_verb_that_this_program_does_not_know_any_more_was_interrupted(self, tmp_path: Path) -> None:
        bench = Bench(tmp_path)
        command = make_command()
        bench.obedience._memory.begin(command, Begun(command.command_id, "fly", bytes(32), 1, 0))
        bench.open()
        bench.obedience.start()

        assert bench.receipt().outcome.reason == "interrupted"
        bench.obedience.stop()

    def test_it_stays_small(self, tmp_path: Path) -> None:
        memory = Memory(tmp_path / "memory.bin")
        for number in range(700):
            command = make_command(by=f"op-{number}", counter=number + 1)
            memory.begin(command, Begun(command.command_id, "status", bytes(32), 0, 0))
            memory.end(command.command_id)

        state = Memory(tmp_path / "memory.bin").as_state(classes=("A",), allow_exec=False)
        assert len(state.command_ids) == 600
        assert len(state.counters) == 400


class TestTime:
    DAY = 86_400_000_000

    @pytest.mark.parametrize(
        ("command_class", "own_days", "told_days", "judged_days"),
        [
            ("A", 100, 100, 100),
            ("A", 100, 90, 90),
            ("B", 100, 90, 100),  # a captured base turns time back: not believed
            ("B", 100, 110, 110),  # it turns it forward: commands expire sooner
            ("B", 0, 20_000, 20_000),  # a clock in 1970
            ("B", 25_600, 20_000, 20_000),  # a clock in 2040
            ("D", 20_300, 20_000, 20_300),  # ten months ahead: the sensor's own word stands
            ("B", 20_500, 20_000, 20_500),  # keys are good by its clock: it is the base that lies
        ],
    )
    def test_the_base_can_only_make_commands_expire_sooner(
        self, command_class: str, own_days: int, told_days: int, judged_days: int
    ) -> None:
        own, told = own_days * self.DAY, told_days * self.DAY

        operators = make_operators(20_500 * 86_400)

        judged = find_time_s(command_class, own, told - own, operators=operators)
        assert judged == judged_days * 86_400

    def test_a_base_that_says_years_ago_revives_nothing_while_operators_keys_are_good(
        self, bench: Bench
    ) -> None:
        """A sensor that has obeyed nothing yet, and a command that two persons signed and that never came."""
        long_ago = NOW_S - 800 * 86_400
        keys = [
            dataclasses.replace(one, valid_from_s=long_ago - 86_400)
            for one in make_operators(NOW_S).operators
        ]
        bench.operators.write_bytes(OperatorList(2, tuple(keys)).to_json())
        old = make_command("set_config", now_s=long_ago, arguments={"payload_bytes": 0})
        bench.take(deliver(old, "alice", "bob"), offset_us=-800 * self.DAY)

        assert bench.answer().outcome.reason == "expired"

    def test_a_base_that_says_two_years_ago_revives_nothing_older_than_what_was_obeyed(
        self, bench: Bench
    ) -> None:
        long_ago = NOW_S - 800 * 86_400
        obeyed = make_command("status", now_s=NOW_S)
        bench.take(deliver(obeyed, "alice"))
        assert bench.receipt().outcome.state == "done"
        bench.operators.write_bytes(make_operators(long_ago).to_json())
        old = make_command("set_config", now_s=long_ago, arguments={"payload_bytes": 0})
        bench.take(deliver(old, "alice", "bob"), offset_us=-800 * self.DAY)

        assert bench.answer().outcome.state == "refused"
        assert bench.obedience._memory.floor_s == obeyed.not_before_s

    def test_a_base_that_says_last_week_revives_no_change(self, bench: Bench) -> None:
        last_week = NOW_S - 7 * 86_400
        old = make_command("set_config", now_s=last_week, arguments={"payload_bytes": 0})
        bench.take(deliver(old, "alice", "bob"), offset_us=-7 * self.DAY)

        assert bench.answer().outcome.reason == "expired"


class TestPrograms:
    CLOCK = SystemClock()

    def run(self, *words: str, seconds: float = 10.0, stop: threading.Event | None = None) -> Outcome:
        return run_program(words, timeout_seconds=seconds, clock=self.CLOCK, stop=stop)

    def python(self, text: str, **given: Any) -> Outcome:
        return self.run(sys.executable, "-I", "-S", "-c", text, **given)

    def test_it_works_without_a_shell_and_without_our_environment(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("SECRET", "x")
        assert self.run("/bin/echo", "$HOME; id").output == "$HOME; id\n"
        assert "SECRET" not in self.run("/usr/bin/env").output

    def test_a_failure_tells_its_status(self) -> None:
        outcome = self.python("import sys; print('so'); sys.exit(3)")

        assert (outcome.state, outcome.reason) == ("failed", "exit_status")
        assert outcome.output == "so\n\n[exit status 3]\n"

    def test_time_is_limited_and_children_end_with_it(self, tmp_path: Path) -> None:
        mark = tmp_path / "alive"
        began = time.monotonic()
        outcome = self.run("/bin/sh", "-c", f"(sleep 1.5; touch {mark}) & echo begun; sleep 60", seconds=1.0)

        assert (outcome.reason, outcome.output) == ("timeout", "begun\n")
        assert time.monotonic() - began < 30
        time.sleep(0.8)
        assert not mark.exists()

    def test_a_child_that_keeps_the_pipe_does_not_hold_us(self) -> None:
        began = time.monotonic()
        outcome = self.python("import subprocess; subprocess.Popen(['/bin/sleep', '30']); print('over')")

        assert outcome.output == "over\n"
        assert time.monotonic() - began < 5

    def test_output_is_limited(self) -> None:
        outcome = self.python("import sys; sys.stdout.write('x' * 5_000_000)")

        assert (outcome.state, outcome.truncated) == ("done", True)
        assert len(outcome.output) == results.MAX_OUTPUT_BYTES

    def test_the_end_of_this_process_ends_it(self) -> None:
        stop = threading.Event()
        threading.Timer(0.2, stop.set).start()

        assert self.run("/bin/sleep", "30", stop=stop).reason == "interrupted"

    def test_what_cannot_be_run_is_named(self) -> None:
        assert self.run("/absent/program").reason == "tool_missing"


class TestQuestions:
    @pytest.fixture
    def questions(self, tmp_path: Path) -> Questions:
        return Questions(StateFolder(tmp_path / "state"), SystemClock(), threading.Event())

    def test_status_and_log_are_told(self, questions: Questions, tmp_path: Path) -> None:
        log = tmp_path / "state" / "log"
        log.mkdir()
        (log / "upload.log").write_text("".join(f'{{"time": "2026-{n:02}"}}\n' for n in range(1, 9)))
        (log / "record.log.1").write_text('{"time": "2026-07b"}\n')

        assert json.loads(questions.answer("status", {}).output)["enrolled"] is False
        told = questions.answer("log_tail", {"lines": 3}).output
        assert told == '{"time": "2026-07"}\n{"time": "2026-07b"}\n{"time": "2026-08"}\n'

    def test_programs_are_given_words_that_cannot_be_options(
        self, questions: Questions, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        ran: list[list[str]] = []
        monkeypatch.setattr(
            "teiten.sensor.obeying.questions.run_program", lambda words, **_: ran.append(words) or done()
        )
        monkeypatch.setattr("teiten.sensor.obeying.questions.find_program", lambda name: f"/bin/{name}")
        questions.answer("ping", {"address": "2001:db8::1", "count": 2})
        questions.answer("traceroute", {"address": "192.0.2.1"})
        questions.answer("resolve", {"name": "example.jp"})

        assert ran[0] == ["/bin/ping", "-6", "-n", "-c", "2", "-W", "2", "2001:db8::1"]
        assert ran[1][0] == "/bin/traceroute"
        assert ran[2] == ["/bin/getent", "ahosts", "example.jp"]

    def test_a_missing_program_is_said(self, questions: Questions, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("teiten.sensor.obeying.questions.find_program", lambda _name: None)

        assert questions.answer("ping", {"address": "192.0.2.1", "count": 1}).reason == "tool_missing"

    @pytest.mark.skipif(find_program("getent") is None, reason="getent is not installed")
    def test_a_name_is_resolved(self, questions: Questions) -> None:
        assert "127.0.0.1" in questions.answer("resolve", {"name": "localhost"}).output or (
            "::1" in questions.answer("resolve", {"name": "localhost"}).output
        )


class TestSettings:
    def test_operators_and_gateway_may_each_lower(self, tmp_path: Path) -> None:
        state = StateFolder(tmp_path)
        state.write_json(ORDERS, {"payload_bytes": 64, "window_seconds": 300, "clock_offset_us": -5})
        set_config(state, {"payload_bytes": 100, "examples_per_window": 2, "window_seconds": 60})
        orders = read_orders(state)

        assert (orders.payload_bytes, orders.examples_per_window, orders.window_seconds) == (64, 2, 60)
        assert orders.clock_offset_us == -5
        assert orders.limit_payload(32) == 32
        told = set_config(state, {"payload_bytes": 16, "window_seconds": None}).output
        assert json.loads(told) == {
            "payload_bytes": 16,
            "examples_per_window": 2,
            "window_seconds": 300,
        }


class TestSupervised:
    def test_it_switches_and_begins_again_and_refuses_the_rest(self, tmp_path: Path) -> None:
        stop = threading.Event()
        switch = CaptureSwitch(StateFolder(tmp_path), stop)
        actions = SupervisedActions(switch)

        assert actions.act(make_command("capture_off")).state == "done"
        assert not CaptureSwitch(StateFolder(tmp_path), stop).is_on
        assert actions.act(make_command("capture_on")).state == "done"
        assert switch.is_on
        assert switch.turn.is_set()
        for verb in ("update_now", "exec", "wipe", "retire"):
            assert actions.act(make_command(verb)).reason == "needs_service"
        actions.follow_up(make_command("restart"))
        assert (switch.must_begin_again, stop.is_set()) == (True, True)


class TestSystem:
    @pytest.fixture
    def machine(self, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> Machine:
        return Machine(bench, monkeypatch)

    def test_units_are_controlled_by_fixed_words(self, machine: Machine) -> None:
        for verb in ("restart", "capture_on", "capture_off"):
            assert machine.actions.act(make_command(verb)).state == "done"

        assert machine.ran == [
            ["/bin/systemctl", "is-enabled", "--quiet", system_actions.CAPTURE],
            ["/bin/systemctl", "restart", "--no-block", system_actions.CAPTURE, system_actions.UPLOAD],
            ["/bin/systemctl", "enable", "--now", system_actions.CAPTURE],
            ["/bin/systemctl", "disable", "--now", system_actions.CAPTURE],
        ]

    def test_a_restart_does_not_switch_recording_on(
        self, machine: Machine, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def run(words: list[str], **_: Any) -> Outcome:
            machine.ran.append(words)
            return failed("exit_status") if "is-enabled" in words else done()

        monkeypatch.setattr(system_actions, "run_program", run)
        machine.actions.act(make_command("restart"))

        assert machine.ran[-1][1:] == ["restart", "--no-block", system_actions.UPLOAD]

    def test_an_update_is_only_asked_for(self, machine: Machine) -> None:
        machine.actions.act(make_command("update_now", arguments={"release": 12}))

        assert json.loads((machine.launcher / "wanted.json").read_text()) == {"release": 12}
        assert machine.ran[-1][1:] == ["start", "--no-block", system_actions.UPDATE]

    def test_a_free_command_is_run_within_limits(
        self, machine: Machine, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        command = make_command("exec", arguments={"argv": ["/bin/id", "-u"], "timeout_s": 7})
        monkeypatch.setattr(system_actions, "find_program", lambda _name: None)
        machine.actions.act(command)
        assert machine.ran == [["/bin/id", "-u"]]

        monkeypatch.setattr(system_actions, "find_program", lambda name: f"/bin/{name}")
        monkeypatch.setattr(Path, "is_socket", lambda _path: True)
        machine.actions.act(command)
        monkeypatch.setattr(
            system_actions,
            "run_program",
            lambda words, **_: (
                machine.bench.clock.advance(8) or machine.ran.append(words) or failed("exit_status")
            ),
        )
        assert machine.actions.act(command).reason == "timeout"
        words = machine.ran[-1]
        assert words[0] == "/bin/systemd-run"
        assert "--property=RuntimeMaxSec=7" in words
        assert words[-3:] == ["--", "/bin/id", "-u"]

    @pytest.mark.parametrize("verb", ["wipe", "retire"])
    def test_ending_erases_key_and_records_after_the_receipt_but_follows_no_link(
        self, machine: Machine, verb: str
    ) -> None:
        state = machine.bench.state.path
        outside = machine.bench.folder / "outside"
        outside.mkdir()
        (outside / "kept").write_bytes(b"x")
        (state / "key.pem").write_bytes(b"secret")
        (state / "link").symlink_to(outside)
        ready = state / "spool" / "ready"
        ready.mkdir(parents=True)
        (ready / "batch").write_bytes(b"x")
        command = make_command(verb)
        machine.on_sleep = lambda: [path.unlink() for path in ready.glob("*")] if verb == "retire" else None

        outcome = machine.actions.act(command)
        assert (state / "key.pem").exists()
        machine.on_sleep = (machine.bench.places.receipted / command.command_id).touch
        machine.actions.follow_up(command)

        assert outcome.output.startswith("1 unsent" if verb == "wipe" else "0 batches")
        assert [path.name for path in state.iterdir()] == ["audit.chain"]
        assert (outside / "kept").exists()
        assert machine.ran[-1][:3] == ["/bin/systemctl", "disable", "--now"]

    def test_without_systemd_it_says_so(self, machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(system_actions, "find_program", lambda _name: None)

        assert machine.actions.act(make_command("restart")).reason == "needs_service"


class Machine:
    """A machine whose programs are only written down."""

    def __init__(self, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
        self.bench = bench
        self.ran: list[list[str]] = []
        self.launcher = bench.folder / "launcher"
        self.launcher.mkdir()
        self.on_sleep: Callable[[], Any] = lambda: None
        monkeypatch.setattr(
            system_actions, "run_program", lambda words, **_: self.ran.append(list(words)) or done()
        )
        monkeypatch.setattr(system_actions, "find_program", lambda name: f"/bin/{name}")
        self.actions = SystemActions(
            SystemPlaces(bench.state.path, self.launcher), bench.places, bench.clock, sleep=self._sleep
        )

    def _sleep(self, seconds: float) -> None:
        self.bench.clock.advance(seconds)
        self.on_sleep()


class TestAudit:
    def test_it_is_shown_and_verified_against_what_the_base_was_told(self, bench: Bench) -> None:
        bench.take(deliver(make_command(), "alice"))
        bench.answer()
        path = bench.state.path / "audit.chain"
        told = bench.chain.head
        wait_until(lambda: bench.chain.head.count == 2)
        text = f"{told.count}:{told.head.hex()}"

        assert "command.accepted" in next(auditing.format_records(path))
        assert "every link holds" in next(auditing.verify(path, head=text))
        assert list(auditing.verify(path, head=f"0:{bytes(32).hex()}"))
        path.write_bytes(b"")
        with pytest.raises(StateError, match="changed or cut"):
            list(auditing.verify(path, head=text if told.count else "2:" + "0" * 64))
        with pytest.raises(DeclarationError, match="COUNT:SHA256"):
            list(auditing.verify(path, head="2"))


def test_a_folder_that_does_not_allow_obeying_leaves_a_sensor_that_sends(tmp_path: Path) -> None:
    state = StateFolder(tmp_path)
    state.make_key()
    gateway = GatewaySettings("https://192.0.2.1:8443", "", ("00" * 32,), "")
    state.save_identity(EnrolAnswer(SENSOR, 1, 1, (), 0, Wanted()), gateway, at_us=0)
    (tmp_path / "obey").mkdir()
    (tmp_path / "obey" / "memory.bin").write_bytes(b"damaged" * 20_000)

    sending = Sending(SensorConfig(state_dir=tmp_path), state, SystemClock())
    sending._write_status(running=True)

    told = collect_status(state, SystemClock())
    assert "damaged in both slots" in told["sending"]["commands_error"]
    assert "commands error" in format_status(told)


class Killed(BaseException):
    """Stands for ``kill -9``: nothing catches it."""


@pytest.mark.parametrize("step", range(1, 8))
@pytest.mark.parametrize("is_before", [True, False])
def test_a_kill_at_any_step_obeys_at_most_once_and_answers_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int, is_before: bool
) -> None:
    bench, steps = Bench(tmp_path), [0]
    delivery = deliver(make_command(), "alice")

    def make_deadly(real: Callable[[int], None]) -> Callable[[int], None]:
        def sync(descriptor: int) -> None:
            steps[0] += 1
            if not is_before:
                real(descriptor)
            if steps[0] == step:
                raise Killed
            if is_before:
                real(descriptor)

        return sync

    with monkeypatch.context() as patch:
        for name in ("fsync", "fdatasync"):
            patch.setattr(os, name, make_deadly(getattr(os, name)))
        with contextlib.suppress(Killed):
            bench.take(delivery)
            # The thread's work, in this one: what kills it kills the process.
            bench.obedience._queue.put(None)
            bench.obedience._work()
    bench.open()
    bench.obedience.start()
    bench.take(delivery)
    answer = bench.receipt()
    bench.take(delivery)
    again = bench.receipt()
    bench.obedience.stop()

    assert again == answer
    assert len(bench.done) == (1 if answer.outcome.state == "done" else len(bench.done)) <= 1
    assert (answer.outcome.state, answer.outcome.reason) in (("done", ""), ("failed", "interrupted"))
    assert bench.kinds().count("command.accepted") <= 1
    assert bench.chain.head == verify_chain(bench.state.path / "audit.chain")
    bench.chain.close()
