"""Commands: strict readers, and a judge that every attack of a captured base fails before."""

from __future__ import annotations

import base64
import dataclasses
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from teiten.protocol import commands, judging, operator_list, results, verbs
from teiten.protocol.command_testing import (
    NOW_S,
    key_id_of,
    make_command,
    make_key,
    make_operator,
    make_operators,
    sign,
)
from teiten.protocol.commands import Command, Delivery, Envelope, EnvelopeSignature, Targets
from teiten.protocol.errors import CommandError, OperatorListError, ResultError
from teiten.protocol.judging import Accepted, Refused, SensorState
from teiten.protocol.keys import public_bytes
from teiten.protocol.operator_list import OperatorList
from teiten.protocol.results import Result
from teiten.protocol.verbs import CLASSES, LIMITS, VERBS

OPERATORS = make_operators()
LISTED = (3, 7, 11)
SELECTED = Targets(selector="region:kanto", max_sensors=3, resolved_sha256=commands.digest_of_sensors(LISTED))
pytestmark = pytest.mark.requirement("R1.3")


def ask(envelope: Envelope, **given: Any) -> Accepted | Refused:
    return judging.judge(
        envelope,
        given.get("operators", OPERATORS),
        now_s=given.get("now_s", NOW_S),
        sensor=given.get("sensor", 7),
        state=given.get("state", SensorState()),
        resolved=given.get("resolved"),
    )


def reason_of(envelope: Envelope, **given: Any) -> str:
    answer = ask(envelope, **given)
    return answer.reason if isinstance(answer, Refused) else "accepted"


class TestJudge:
    def test_it_works(self) -> None:
        answer = ask(sign(make_command("restart"), "alice", "bob"))

        assert isinstance(answer, Accepted)
        assert answer.persons == ("alice", "bob")
        assert answer.command.verb == "restart"

    @pytest.mark.parametrize(
        ("verb", "arguments", "names"),
        [
            ("status", {}, ["dora"]),
            ("ping", {"address": "192.0.2.1", "count": 3}, ["alice"]),
            ("set_config", {"payload_bytes": None}, ["alice", "bob"]),
            ("exec", {"argv": ["/bin/true"], "timeout_s": 5}, ["alice", "bob"]),
            ("wipe", {}, ["alice", "carol"]),
        ],
    )
    def test_each_class_asks_for_its_own_signatures(
        self, verb: str, arguments: dict[str, Any], names: list[str]
    ) -> None:
        command = make_command(verb, by=names[0], arguments=arguments)
        free = SensorState(allow_exec=True)

        assert reason_of(sign(command, *names), state=free) == "accepted"
        if LIMITS[command.command_class].persons == 2:
            assert reason_of(sign(command, names[0]), state=free) == "signatures_few"

    @pytest.mark.parametrize(
        ("names", "reason"),
        [
            ([], "signatures_few"),
            (["alice"], "signatures_few"),
            (["alice", "alice-2"], "signatures_few"),
            (["alice", "eve"], "key_withdrawn"),
            (["alice", "frank"], "key_not_valid"),
            (["alice", "dora"], "class_not_allowed"),
            (["alice", "stranger"], "key_unknown"),
            (["bob", "carol"], "creator_unsigned"),
            (["alice-2", "bob"], "creator_unsigned"),
        ],
    )
    def test_who_signed_counts_by_person(self, names: list[str], reason: str) -> None:
        assert reason_of(sign(make_command("restart"), *names)) == reason

    def test_a_signature_over_other_bytes_is_none(self) -> None:
        signed = sign(make_command("restart"), "alice", "bob")
        again = json.dumps(json.loads(signed.payload)).encode()
        other = signed.payload.replace(b'"restart"', b'"capture_off"')

        assert reason_of(Envelope(again, signed.signatures)) == "signature_wrong"
        assert reason_of(Envelope(other, signed.signatures)) == "signature_wrong"

    def test_a_signature_is_bound_to_its_type(self) -> None:
        payload = commands.write_command(make_command())
        bare = EnvelopeSignature(key_id_of("alice"), make_key("alice").sign(payload))

        assert reason_of(Envelope(payload, (bare,))) == "signature_wrong"
        assert commands.encode_for_signing(b"hello") == (
            b"DSSEv1 34 application/vnd.teiten.command+json 5 hello".replace(
                b"34", str(len(commands.PAYLOAD_TYPE)).encode()
            )
        )

    def test_a_withdrawn_key_counts_no_more_whatever_the_clock_says(self) -> None:
        long_ago = NOW_S - 10 * 86_400
        signed = sign(make_command(by="eve", now_s=long_ago), "eve")

        assert reason_of(signed, now_s=long_ago) == "key_withdrawn"

    def test_ending_a_sensor_asks_for_an_admin(self) -> None:
        assert reason_of(sign(make_command("wipe"), "alice", "bob")) == "role_missing"

    @pytest.mark.parametrize(
        ("changes", "reason"),
        [
            ({"verb": "fly"}, "verb_unknown"),
            ({"verb": "exec", "command_class": "B"}, "class_wrong"),
            ({"arguments": {"force": True}}, "arguments"),
            ({"expires_s": NOW_S + 25 * 3600}, "lifetime"),
            ({"not_before_s": NOW_S - 7200, "expires_s": NOW_S}, "expired"),
            ({"not_before_s": NOW_S + 61, "expires_s": NOW_S + 100}, "too_early"),
            ({"targets": Targets((8,))}, "not_targeted"),
        ],
    )
    def test_what_it_says_is_checked(self, changes: dict[str, Any], reason: str) -> None:
        command = dataclasses.replace(make_command("restart"), **changes)

        assert reason_of(sign(command, "alice", "bob")) == reason

    def test_a_free_command_names_its_sensors_and_needs_the_local_flag(self) -> None:
        arguments = {"argv": ["/bin/true"], "timeout_s": 5}
        wide = make_command("exec", arguments=arguments, targets=SELECTED)
        named = make_command("exec", arguments=arguments)

        assert reason_of(sign(wide, "alice", "bob"), resolved=LISTED) == "targets_explicit"
        assert reason_of(sign(named, "alice", "bob")) == "exec_off"
        assert reason_of(sign(named, "alice", "bob"), state=SensorState(allow_exec=True)) == "accepted"

    def test_a_sensor_may_agree_to_fewer_classes(self) -> None:
        signed = sign(make_command("restart"), "alice", "bob")

        assert reason_of(signed, state=SensorState(classes=("A",))) == "class_not_agreed"

    @pytest.mark.parametrize(
        ("resolved", "reason"),
        [
            (LISTED, "accepted"),
            ((11, 3, 7), "accepted"),
            (None, "targets_differ"),
            ((), "targets_differ"),
            ((3, 7), "targets_differ"),
            ((3, 7, 11, 12), "targets_differ"),
            ((3, 7, 12), "targets_differ"),
            ((3, 7, 11, 11), "targets_differ"),
        ],
    )
    def test_a_selector_means_the_list_that_was_signed(
        self, resolved: tuple[int, ...] | None, reason: str
    ) -> None:
        signed = sign(make_command("restart", targets=SELECTED), "alice", "bob")

        assert reason_of(signed, resolved=resolved) == reason

    def test_a_selector_is_for_those_on_the_list_only(self) -> None:
        signed = sign(make_command("restart", targets=SELECTED), "alice", "bob")

        assert reason_of(signed, resolved=LISTED, sensor=8) == "not_targeted"

    def test_nothing_is_obeyed_twice_or_out_of_order(self) -> None:
        old, new = make_command("restart", counter=5), make_command("restart", counter=6)
        after = SensorState({judging.counter_name(new): 6}, {new.command_id})

        assert reason_of(sign(new, "alice", "bob"), state=after) == "repeated"
        assert reason_of(sign(old, "alice", "bob"), state=after) == "counter"
        same = dataclasses.replace(old, counter=6)
        assert reason_of(sign(same, "alice", "bob"), state=after) == "counter"

    def test_a_question_does_not_hold_up_a_change(self) -> None:
        after = SensorState({judging.counter_name(make_command("status")): 9})

        assert reason_of(sign(make_command("restart", counter=5), "alice", "bob"), state=after) == "accepted"

    def test_the_base_examines_without_a_sensor(self) -> None:
        signed = sign(make_command("restart", targets=SELECTED), "alice", "bob")

        assert isinstance(judging.examine(signed, OPERATORS, now_s=NOW_S), Accepted)
        refused = judging.examine(signed, OperatorList(2, ()), now_s=NOW_S)
        assert isinstance(refused, Refused)
        assert refused.reason == "key_unknown"
        assert "not on the list" in str(refused)

    def test_every_reason_has_words(self) -> None:
        for reason, text in {**judging.REASONS, **results.REASONS}.items():
            assert text
            assert len(reason) <= 40

    @settings(max_examples=60)
    @given(data=st.data())
    def test_whatever_is_changed_after_signing_is_refused(self, data: st.DataObject) -> None:
        signed = sign(make_command("restart"), "alice", "bob")
        at = data.draw(st.integers(0, len(signed.payload) - 1))
        bit = data.draw(st.integers(0, 7))
        payload = bytearray(signed.payload)
        payload[at] ^= 1 << bit

        assert reason_of(Envelope(bytes(payload), signed.signatures)) != "accepted"

    @settings(max_examples=60)
    @given(
        names=st.lists(st.sampled_from(["alice", "alice-2", "bob", "carol", "dora", "eve", "frank", "zed"])),
        verb=st.sampled_from(["status", "restart", "wipe"]),
    )
    def test_it_accepts_just_when_enough_persons_may_and_did(self, names: list[str], verb: str) -> None:
        able = {"alice": "alice", "alice-2": "alice", "bob": "bob", "carol": "carol"}
        if verb == "status":
            able["dora"] = "dora"
        counted = {able[name] for name in names if name in able}
        enough = len(counted) >= LIMITS[VERBS[verb].command_class].persons and "alice" in names
        if verb == "wipe":
            enough = enough and "carol" in counted

        assert (reason_of(sign(make_command(verb), *names)) == "accepted") == enough


WORDS = st.text(st.characters(codec="utf-8"), max_size=20)
SENSORS = st.lists(st.integers(1, (1 << 32) - 1), min_size=1, max_size=20, unique=True)
TARGETS = st.one_of(
    SENSORS.map(lambda ids: Targets(tuple(sorted(ids)))),
    SENSORS.map(
        lambda ids: Targets(
            selector="a", max_sensors=len(ids), resolved_sha256=commands.digest_of_sensors(ids)
        )
    ),
)
COMMANDS = st.builds(
    make_command,
    st.sampled_from(sorted(VERBS)),
    targets=TARGETS,
    counter=st.integers(1, commands.MAX_COUNTER),
    arguments=st.dictionaries(
        WORDS, st.none() | st.integers() | WORDS | st.lists(WORDS, max_size=3), max_size=3
    ),
)


class TestForms:
    @settings(max_examples=50)
    @given(command=COMMANDS)
    def test_a_command_is_read_as_it_was_written(self, command: Command) -> None:
        assert commands.read_command(commands.write_command(command)) == command

    @settings(max_examples=30)
    @given(command=COMMANDS, names=st.lists(st.sampled_from(["alice", "bob"]), unique=True), listed=SENSORS)
    def test_a_delivery_is_read_as_it_was_written(
        self, command: Command, names: list[str], listed: list[int]
    ) -> None:
        envelope = sign(command, *names)
        delivery = Delivery(command.command_id, envelope, tuple(listed))

        assert commands.read_envelope(commands.write_envelope(envelope)) == envelope
        assert commands.read_delivery(commands.write_delivery(delivery)) == delivery
        assert commands.read_deliveries(commands.write_deliveries([delivery])) == (delivery,)

    @settings(max_examples=100)
    @given(raw=st.binary(max_size=200) | st.recursive(
        st.none() | st.booleans() | st.integers() | WORDS,
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(
            st.sampled_from(["payload", "payloadType", "signatures", "keyid", "sig", "commands", "v", "targets"]),
            inner, max_size=4,
        ),
        max_leaves=10,
    ).map(lambda value: json.dumps(value).encode()))  # fmt: skip
    def test_anything_else_is_refused_by_name(self, raw: bytes) -> None:
        for read, error in (
            (commands.read_command, CommandError),
            (commands.read_envelope, CommandError),
            (commands.read_delivery, CommandError),
            (operator_list.read_operator_list, OperatorListError),
            (operator_list.read_entry, OperatorListError),
            (results.read_result, ResultError),
        ):
            with pytest.raises(error):
                read(raw)
        assert reason_of(Envelope(raw)) == "form"

    @pytest.mark.parametrize(
        ("change", "code"),
        [
            ({"v": 2}, "command.v"),
            ({"more": 1}, "command.unknown"),
            ({"command_id": "x"}, "command.command_id"),
            ({"command_class": "E"}, "command.command_class"),
            ({"counter": 0}, "command.counter"),
            ({"counter": 1.0}, "command.counter"),
            ({"expires_s": 1, "not_before_s": 1}, "command.expires_s"),
            ({"reason": " "}, "command.reason"),
            ({"reason": "two\nlines"}, "command.reason"),
            ({"created_by": "alice"}, "command.created_by"),
            ({"targets": {"sensors": []}}, "command.targets.sensors"),
            ({"targets": {"sensors": [2, 1]}}, "command.targets.sensors"),
            ({"targets": {"sensors": [1, 1]}}, "command.targets.sensors"),
            ({"targets": {"sensors": [True]}}, "command.targets.sensors"),
            ({"targets": {"sensors": [1], "selector": "x"}}, "command.targets.unknown"),
            ({"targets": {"selector": " "}}, "command.targets.selector"),
            ({"targets": {"selector": "x", "max_sensors": 0}}, "command.targets.max_sensors"),
        ],
    )
    def test_a_command_that_breaks_a_rule_is_named(self, change: dict[str, Any], code: str) -> None:
        payload = {**json.loads(commands.write_command(make_command())), **change}

        with pytest.raises(CommandError) as caught:
            commands.read_command(json.dumps(payload).encode())

        assert caught.value.code == code

    @pytest.mark.parametrize(
        ("change", "code"),
        [
            ({"payloadType": "text/plain"}, "envelope.payloadType"),
            ({"payload": "a"}, "envelope.payload"),
            ({"payload": "YQ==="}, "envelope.payload"),
            ({"payload": "YR=="}, "envelope.payload"),
            ({"signatures": [{"keyid": "x", "sig": ""}]}, "envelope.signatures.keyid"),
            ({"signatures": [{"keyid": key_id_of("bob"), "sig": "YQ=="}]}, "envelope.signatures.sig"),
            ({"signatures": "none"}, "envelope.signatures"),
            ({"note": 1}, "envelope.unknown"),
        ],
    )
    def test_an_envelope_that_breaks_a_rule_is_named(self, change: dict[str, Any], code: str) -> None:
        envelope = {**json.loads(commands.write_envelope(sign(make_command(), "alice"))), **change}

        with pytest.raises(CommandError) as caught:
            commands.read_envelope(json.dumps(envelope).encode())

        assert caught.value.code == code

    def test_an_envelope_names_a_key_once_and_is_bounded(self) -> None:
        one = sign(make_command(), "alice").signatures[0]
        twice = commands.write_envelope(Envelope(b"{}", (one, one)))
        long = commands.write_envelope(Envelope(b" " * (commands.MAX_PAYLOAD_BYTES + 1)))

        with pytest.raises(CommandError, match="each key once"):
            commands.read_envelope(twice)
        with pytest.raises(CommandError, match="at most"):
            commands.read_envelope(long)

    def test_ten_thousand_sensors_fit(self) -> None:
        ids = tuple(range((1 << 32) - 10_000, 1 << 32))
        signed = sign(make_command("restart", sensors=ids), "alice", "bob")

        assert reason_of(commands.read_envelope(commands.write_envelope(signed)), sensor=ids[0]) == "accepted"

    def test_ids_sort_by_time_and_fit_their_form(self) -> None:
        ids = [commands.make_command_id(at_us, bytes(10)) for at_us in (0, 1_000, NOW_S * 1_000_000)]

        assert ids == sorted(set(ids))
        assert all(commands.COMMAND_ID.fullmatch(one) for one in ids)


class TestVerbs:
    @pytest.mark.parametrize(
        ("verb", "arguments", "fault"),
        [
            ("status", {"x": 1}, "takes no argument"),
            ("log_tail", {}, "needs the argument lines"),
            ("log_tail", {"lines": 0}, "from 1 to 500"),
            ("log_tail", {"lines": 501}, "from 1 to 500"),
            ("log_tail", {"lines": True}, "from 1 to 500"),
            ("log_tail", {"lines": "5"}, "from 1 to 500"),
            ("ping", {"address": "192.0.2.1; reboot", "count": 1}, "IP address"),
            ("ping", {"address": "fe80::1%eth0", "count": 1}, "IP address"),
            ("ping", {"address": "192.0.2.1", "count": 11}, "from 1 to 10"),
            ("resolve", {"name": "-v"}, "host name"),
            ("resolve", {"name": "a b"}, "host name"),
            ("resolve", {"name": "a" * 300}, "host name"),
            ("resolve", {"name": "x\n"}, "host name"),
            ("set_config", {}, "at least one"),
            ("set_config", {"payload_bytes": 129}, "from 0 to 128"),
            ("set_config", {"window_seconds": 0}, "from 1 to 3600"),
            ("exec", {"argv": "/bin/true", "timeout_s": 1}, "list of 1 to"),
            ("exec", {"argv": [], "timeout_s": 1}, "list of 1 to"),
            ("exec", {"argv": ["true"], "timeout_s": 1}, "absolute path"),
            ("exec", {"argv": ["/a\0"], "timeout_s": 1}, "list of 1 to"),
            ("exec", {"argv": ["/a", "\ud800"], "timeout_s": 1}, "list of 1 to"),
            ("exec", {"argv": ["/a", "x" * 5000], "timeout_s": 1}, "together at most"),
            ("exec", {"argv": ["/bin/true"], "timeout_s": 601}, "from 1 to 600"),
            ("exec", {"argv": ["/bin/true"], "timeout_s": None}, "not be null"),
        ],
    )
    def test_a_wrong_argument_is_named(self, verb: str, arguments: dict[str, Any], fault: str) -> None:
        with pytest.raises(CommandError, match=fault):
            verbs.check_arguments(VERBS[verb], arguments)

    @pytest.mark.parametrize(
        ("verb", "arguments"),
        [
            ("ping", {"address": "2001:db8::1", "count": 10}),
            ("resolve", {"name": "_dmarc.example.jp."}),
            ("set_config", {"payload_bytes": None, "window_seconds": 60}),
            ("exec", {"argv": ["/bin/echo", "あ"], "timeout_s": 600}),
        ],
    )
    def test_right_ones_pass(self, verb: str, arguments: dict[str, Any]) -> None:
        verbs.check_arguments(VERBS[verb], arguments)

    def test_every_verb_has_a_class_with_limits_and_words(self) -> None:
        for verb in VERBS.values():
            assert verb.help
            assert verb.limits == LIMITS[verb.command_class]
            assert all(argument.help and argument.describe() for argument in verb.arguments)
        assert tuple(LIMITS) == CLASSES


class TestOperatorList:
    def test_it_is_read_as_it_was_written(self) -> None:
        assert operator_list.read_operator_list(OPERATORS.to_json()) == OPERATORS
        assert OPERATORS.find("op.nobody") is None

    @pytest.mark.parametrize(
        ("change", "code"),
        [
            ({"key_id": key_id_of("bob")}, "operators.operators.key_id"),
            ({"person": "Alice"}, "operators.operators.person"),
            ({"public_key": "AA"}, "operators.operators.public_key"),
            ({"classes": ["E"]}, "operators.operators.classes"),
            ({"roles": ["king"]}, "operators.operators.roles"),
            ({"valid_to_s": 0}, "operators.operators.valid_to_s"),
            ({"withdrawn_s": "never"}, "operators.operators.withdrawn_s"),
            ({"comment": ""}, "operators.operators.unknown"),
        ],
    )
    def test_an_entry_that_breaks_a_rule_is_named(self, change: dict[str, Any], code: str) -> None:
        entry = {**make_operator("alice").to_fields(), **change}

        with pytest.raises(OperatorListError) as caught:
            operator_list.read_operator_list(
                json.dumps({"v": 1, "version": 1, "operators": [entry]}).encode()
            )

        assert caught.value.code == code

    def test_a_key_stands_on_it_once(self) -> None:
        twice = OperatorList(1, (make_operator("alice"), make_operator("alice", person="bob")))

        with pytest.raises(OperatorListError, match="once"):
            operator_list.read_operator_list(twice.to_json())


KEY = make_key("sensor 7")
RESULT = Result(make_command().command_id, 7, 1, bytes(range(32)), "done", "", "line\n", 1, 2)


class TestResults:
    def test_it_works(self) -> None:
        body = results.write_result(RESULT)
        text = results.format_signature(results.sign_result(KEY, body))

        results.verify_result(public_bytes(KEY), body, results.parse_signature(text))
        assert results.read_result(body) == RESULT

    def test_nobody_else_can_say_it(self) -> None:
        body = results.write_result(RESULT)
        signature = results.sign_result(KEY, body)
        altered = results.write_result(dataclasses.replace(RESULT, output="other\n"))

        with pytest.raises(ResultError, match="not of this sensor"):
            results.verify_result(public_bytes(make_key("sensor 8")), body, signature)
        with pytest.raises(ResultError):
            results.verify_result(public_bytes(KEY), altered, signature)
        with pytest.raises(ResultError):
            results.verify_result(public_bytes(KEY), body, KEY.sign(body))

    @settings(max_examples=40)
    @given(raw=st.binary(max_size=300))
    def test_any_output_can_be_carried(self, raw: bytes) -> None:
        output, truncated = results.clean_output(raw)
        result = dataclasses.replace(RESULT, output=output, truncated=truncated)

        assert results.read_result(results.write_result(result)) == result

    @pytest.mark.parametrize("letter", ["é", "あ", "\U0001f600", '"', "\\", "x", "\x1b"])
    def test_long_output_is_cut_and_still_fits(self, letter: str) -> None:
        output, truncated = results.clean_output((letter * results.MAX_OUTPUT_BYTES).encode())
        body = results.write_result(dataclasses.replace(RESULT, output=output, truncated=True))

        assert truncated or len(output) == results.MAX_OUTPUT_BYTES
        assert len(output.encode()) <= results.MAX_OUTPUT_BYTES
        assert results.read_result(body).output == output

    @pytest.mark.parametrize(
        ("change", "code"),
        [
            ({"v": 2}, "result.v"),
            ({"sensor": 0}, "result.sensor"),
            ({"payload_sha256": "00"}, "result.payload_sha256"),
            ({"state": "perhaps"}, "result.state"),
            ({"reason": "failed"}, "result.reason"),
            ({"output": "\x1b[2J"}, "result.output"),
            ({"output": "\ud800"}, "result.output"),
            ({"output": "other"}, "result.output_sha256"),
            ({"extra": 1}, "result.unknown"),
        ],
    )
    def test_a_result_that_breaks_a_rule_is_named(self, change: dict[str, Any], code: str) -> None:
        body = json.dumps({**json.loads(results.write_result(RESULT)), **change}).encode()

        with pytest.raises(ResultError) as caught:
            results.read_result(body)

        assert caught.value.code == code

    @pytest.mark.parametrize(
        "text", ["", ":", ":AA==:", "A" * 90, f":{base64.b64encode(bytes(63)).decode()}:"]
    )
    def test_a_malformed_signature_field_is_refused(self, text: str) -> None:
        with pytest.raises(ResultError, match="Result-Signature"):
            results.parse_signature(text)
