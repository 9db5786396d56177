"""``teiten-operator``: two persons sign one file; what must not be signed is not, and says why."""

from __future__ import annotations

import io
import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from teiten.foundation.clock import FixedClock, from_us
from teiten.operators import drafting, keys
from teiten.operators.errors import OperatorError
from teiten.operators.main import main
from teiten.operators.record import SigningRecord
from teiten.protocol import commands, judging
from teiten.protocol.command_testing import NOW_S
from teiten.protocol.commands import Envelope, read_command, read_envelope
from teiten.protocol.judging import Accepted, SensorState
from teiten.protocol.operator_list import OperatorList, read_operator_list

PASSPHRASE = "correct horse battery"
pytestmark = pytest.mark.requirement("R1.3")


class Desk:
    """One folder with everybody's files, and what the last verb said."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self.clock = FixedClock(from_us(NOW_S * 1_000_000))
        self._capsys = capsys
        (folder / "pass").write_text(f"{PASSPHRASE}\n")
        (folder / "pass").chmod(0o600)
        self.said = self.complained = ""

    def path(self, name: str) -> Path:
        return self.folder / name

    def run(self, *words: str) -> int:
        status = main(words, self.clock)
        told = self._capsys.readouterr()
        self.said, self.complained = told.out, told.err
        return status

    def make_person(self, name: str, **entry: str) -> Path:
        key = self.path(f"{name}.key")
        assert self.run("key", "create", str(key), "--passphrase-file", str(self.path("pass"))) == 0
        given = {"--person": name, "--classes": "A,B,C,D", **entry}
        assert self.run("key", "show", str(key), *(word for pair in given.items() for word in pair)) == 0
        self.path(f"{name}.json").write_text(self.said)
        return key

    def make_list(self, *names: str) -> OperatorList:
        files = [str(self.path(f"{name}.json")) for name in names]
        assert self.run("list", "make", *files, "--output", str(self.path("operators.json"))) == 0
        return self.operators()

    def operators(self) -> OperatorList:
        return read_operator_list(self.path("operators.json").read_bytes())

    def draft(self, *words: str, by: str = "alice", name: str = "c.command.json", to: str = "7") -> int:
        whom = () if "--targets" in words else ("--to", to)
        given = [*whom, "--reason", "a test", "--key", str(self.path(f"{by}.key"))]
        at = words.index("--") if "--" in words else len(words)
        output = ["--output", str(self.path(name))]
        return self.run("command", "new", *words[:at], *given, *output, *words[at:])

    def sign(self, by: str, *words: str, name: str = "c.command.json") -> int:
        secret = ["--passphrase-file", str(self.path("pass"))]
        key = ["--key", str(self.path(f"{by}.key"))]
        return self.run("sign", str(self.path(name)), *key, *secret, *self.listed, "--yes", *words)

    @property
    def listed(self) -> list[str]:
        return ["--operators", str(self.path("operators.json"))]

    def envelope(self, name: str = "c.command.json") -> Envelope:
        return read_envelope(self.path(name).read_bytes())


@pytest.fixture
def desk(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Desk:
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    # Guessing is made slow; tests need not be.
    monkeypatch.setattr("teiten.operators.keys.ITERATIONS", 1000)
    desk = Desk(tmp_path, capsys)
    desk.make_person("alice")
    desk.make_person("bob")
    desk.make_list("alice", "bob")
    return desk


class TestSigning:
    def test_two_persons_sign_one_file_one_after_the_other(self, desk: Desk) -> None:
        assert desk.draft("restart") == 0
        assert "nobody has signed" in desk.said
        assert desk.sign("alice") == 0
        assert "1 of 2 persons" in desk.said
        assert desk.run("check", str(desk.path("c.command.json")), *desk.listed) == 1
        assert desk.sign("bob") == 0
        assert "signed by bob" in desk.said
        assert desk.run("check", str(desk.path("c.command.json")), *desk.listed) == 0

        verdict = judging.judge(desk.envelope(), desk.operators(), now_s=NOW_S, sensor=7, state=SensorState())
        assert isinstance(verdict, Accepted)
        assert verdict.persons == ("alice", "bob")

    def test_what_is_signed_is_shown_in_plain_words(self, desk: Desk) -> None:
        desk.draft("exec", "timeout_s=5", "--", "/bin/ls", "-l", "a b", to="7,9-11")
        desk.run("show", str(desk.path("c.command.json")), *desk.listed)

        for text in (
            "run a program with limits",
            "argv = /bin/ls -l 'a b'",
            "timeout_s = 5",
            "class      C",
            "2 persons sign",
            "4: 7, 9, 10, 11",
            "until 2026-11-2",
            "reason     a test",
            "by nobody yet",
        ):
            assert text in desk.said

    def test_the_verb_must_be_typed(self, desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
        desk.draft("restart")
        words = ["sign", str(desk.path("c.command.json")), "--key", str(desk.path("alice.key")), *desk.listed]
        words += ["--passphrase-file", str(desk.path("pass"))]
        for typed, status in (("", 1), ("y\n", 1), ("restart\n", 0)):
            monkeypatch.setattr("sys.stdin", io.StringIO(typed))
            assert desk.run(*words) == status
        assert len(desk.envelope().signatures) == 1

    def test_signing_again_replaces_ones_own_signature(self, desk: Desk) -> None:
        desk.draft("restart")
        assert desk.sign("alice") == desk.sign("alice") == 0

        assert len(desk.envelope().signatures) == 1

    @pytest.mark.parametrize(
        ("spoil", "said"),
        [
            (lambda desk: desk.make_list_of("bob"), "not on the list"),
            (lambda desk: desk.withdraw("alice"), "has been withdrawn"),
            (lambda desk: desk.clock.step(400 * 86_400), "is not valid now"),
            (lambda desk: desk.clock.step(2 * 86_400), "not valid any more"),
            (lambda desk: desk.change(arguments={"lines": 1}), "takes no argument"),
            (lambda desk: desk.change(counter=NOW_S + 5), "its record does not"),
            (lambda desk: desk.change(counter=1 << 50), "its record does not"),
            (lambda desk: desk.change(command_class="A"), "belongs to another class"),
            (lambda desk: desk.path("alice.key").chmod(0o644), "chmod 600"),
            (lambda desk: desk.path("pass").write_text("another passphrase\n"), "wrong passphrase"),
            (lambda desk: desk.path("operators.json").write_text("{}"), "is missing"),
            (lambda desk: desk.path("operators.json").unlink(), "cannot be read"),
            (lambda desk: desk.path("c.command.json").write_text("{}"), "payload is missing"),
        ],
    )
    def test_what_must_not_be_signed_is_not(
        self, desk: Desk, spoil: Callable[[Any], None], said: str
    ) -> None:
        desk.draft("restart")
        spoil(Spoiler(desk))
        before = desk.path("c.command.json").read_bytes()

        assert desk.sign("alice") == 1
        assert said in desk.complained
        assert desk.path("c.command.json").read_bytes() == before

    def test_a_class_that_the_key_may_not_sign_is_refused(self, desk: Desk) -> None:
        desk.make_person("dora", **{"--classes": "A"})
        desk.path("operators.json").unlink()
        desk.make_list("alice", "dora")
        desk.draft("restart")

        assert desk.sign("dora") == 1
        assert "signs classes A" in desk.complained

    def test_another_content_under_a_signed_id_is_refused(self, desk: Desk) -> None:
        desk.draft("restart")
        assert desk.sign("bob") == 0
        Spoiler(desk).change(verb="capture_off")

        assert desk.sign("bob") == 1
        assert "another content" in desk.complained

    def test_a_counter_that_would_lock_its_writer_out_is_refused(self, desk: Desk) -> None:
        desk.draft("restart")
        Spoiler(desk).change(counter=commands.MAX_COUNTER)

        assert desk.sign("bob") == 1
        assert "lock its writer out" in desk.complained

    def test_a_selector_is_signed_with_its_list(self, desk: Desk) -> None:
        listed = desk.path("kanto.json")
        told = {"selector": "region:kanto", "sensors": [{"number": 9, "name": "tokyo-9"}, 7], "made": "now"}
        listed.write_text(json.dumps(told))
        assert desk.draft("restart", "--targets", str(listed), "--selector", "region:kansai") == 1
        assert desk.draft("restart", "--targets", str(listed)) == 0
        assert "7, 9 tokyo-9" in desk.said
        assert desk.sign("alice") == desk.sign("bob") == 0
        verdict = judging.judge(
            desk.envelope(),
            desk.operators(),
            now_s=NOW_S,
            sensor=9,
            state=SensorState(),
            resolved=(9, 7),
        )
        assert isinstance(verdict, Accepted)

        desk.path("c.targets.json").write_text(json.dumps({**told, "sensors": [7, 9, 10]}))
        assert desk.sign("alice") == 1
        assert "other sensors" in desk.complained


class Spoiler:
    """Ways in which a command, a list or the time goes wrong between drafting and signing."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self.clock = desk.clock
        self.path = desk.path

    def make_list_of(self, *names: str) -> None:
        self.path("operators.json").unlink()
        self._desk.make_list(*names)

    def withdraw(self, name: str) -> None:
        key_id = json.loads(self.path(f"{name}.json").read_text())["key_id"]
        before, after = self.path("operators.json"), self.path("next.json")
        words = ["list", "make", "--before", str(before), "--withdraw", key_id, "--output", str(after)]
        assert self._desk.run(*words) == 0
        after.replace(before)

    def change(self, **fields: Any) -> None:
        payload = {**json.loads(self._desk.envelope().payload), **fields}
        envelope = Envelope(json.dumps(payload).encode())
        self.path("c.command.json").write_bytes(commands.write_envelope(envelope))


class TestDrafting:
    def test_counters_grow_and_are_kept_before_the_command_is(self, desk: Desk) -> None:
        counters = []
        for number in range(3):
            assert desk.draft("status", name=f"{number}.command.json") == 0
            counters.append(read_command(desk.envelope(f"{number}.command.json").payload).counter)
        assert counters == [NOW_S, NOW_S + 1, NOW_S + 2]

        desk.path("alice.key.record.json").unlink()
        desk.clock.advance(10)
        desk.draft("status", name="after.command.json")
        assert read_command(desk.envelope("after.command.json").payload).counter == NOW_S + 10

    def test_a_record_that_cannot_be_kept_stops_the_draft(
        self, desk: Desk, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refuse(*_: Any) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, "fsync", refuse)

        assert desk.draft("status") == 1
        assert "No space left" in desk.complained
        assert not desk.path("c.command.json").exists()

    @pytest.mark.parametrize(
        ("words", "said"),
        [
            (["fly"], "there is no verb"),
            (["log_tail", "lines=501"], "from 1 to 500"),
            (["log_tail", "lines"], "NAME=VALUE"),
            (["log_tail", "lines=1", "lines=2"], "each name once"),
            (["ping", "address=-f", "count=1"], "IP address"),
            (["restart", "--valid", "25h"], "at most"),
            (["restart", "--valid", "soon"], "like 90s"),
            (["exec", "timeout_s=5"], "needs the argument argv"),
            (["exec", "timeout_s=5", "--", "ls"], "absolute path"),
            (["restart", "--", "/bin/ls"], "takes none"),
        ],
    )
    def test_what_is_no_command_is_not_written(self, desk: Desk, words: list[str], said: str) -> None:
        assert desk.draft(*words) == 1
        assert said in desk.complained
        assert not desk.path("c.command.json").exists()

    @pytest.mark.parametrize("text", ["", "0", "7-", "9-7", "x", "1-99999", "99999999999", "٣"])
    def test_sensors_are_named_by_number(self, text: str) -> None:
        with pytest.raises(OperatorError, match="--to"):
            drafting.read_sensors(text)

    @settings(max_examples=40)
    @given(ids=st.lists(st.integers(1, 5000), min_size=1, max_size=30, unique=True))
    def test_sensors_are_read_in_any_order(self, ids: list[int]) -> None:
        assert drafting.read_sensors(",".join(map(str, ids))).sensors == tuple(sorted(ids))
        assert len(drafting.read_sensors(f"{ids[0]}-{ids[0] + 4}").sensors) == 5

    def test_a_free_command_takes_no_selector(self, desk: Desk) -> None:
        listed = desk.path("l.json")
        listed.write_text('{"selector": "all", "sensors": [7]}')

        assert desk.draft("exec", "timeout_s=5", "--targets", str(listed), "--", "/bin/ls") == 1
        assert "one by one" in desk.complained

    def test_limits_can_be_taken_back(self, desk: Desk) -> None:
        assert desk.draft("set_config", "payload_bytes=none", "window_seconds=60") == 0

        command = read_command(desk.envelope().payload)
        assert command.arguments == {"payload_bytes": None, "window_seconds": 60}

    def test_nothing_is_overwritten(self, desk: Desk) -> None:
        assert desk.draft("status") == 0
        assert desk.draft("status") == 1
        assert "not overwritten" in desk.complained

    def test_help_names_every_verb(self, desk: Desk) -> None:
        with pytest.raises(SystemExit):
            main(["command", "new", "--help"])
        with pytest.raises(SystemExit):
            main(["sign", "x", "y"])


class TestKeys:
    def test_a_key_is_private_and_protected(self, desk: Desk) -> None:
        key = desk.path("alice.key")

        assert key.stat().st_mode & 0o777 == 0o600
        assert b"ENCRYPTED PRIVATE KEY" in key.read_bytes()
        assert PASSPHRASE.encode() not in key.read_bytes()

    def test_guessing_is_slow_and_other_programs_read_the_file(self, tmp_path: Path) -> None:
        path = tmp_path / "slow.key"
        keys.create_key(path, PASSPHRASE)
        words = [
            "openssl",
            "pkey",
            "-in",
            str(path),
            "-passin",
            f"pass:{PASSPHRASE}",
            "-pubout",
            "-outform",
            "DER",
        ]
        told = subprocess.run(words, capture_output=True, check=True).stdout
        form = subprocess.run(
            ["openssl", "asn1parse", "-in", str(path)], capture_output=True, text=True, check=True
        ).stdout

        assert told[-32:] == keys.load_public_half(path).public_key
        assert f":{keys.ITERATIONS:06X}" in form

    def test_a_key_is_never_overwritten(self, desk: Desk) -> None:
        words = ["key", "create", str(desk.path("alice.key")), "--passphrase-file", str(desk.path("pass"))]

        assert desk.run(*words) == 1
        assert "never overwritten" in desk.complained

    def test_a_short_passphrase_makes_no_key(self, desk: Desk) -> None:
        desk.path("pass").write_text("short\n")
        words = ["key", "create", str(desk.path("new.key")), "--passphrase-file", str(desk.path("pass"))]

        assert desk.run(*words) == 1
        assert not desk.path("new.key").exists()

    def test_a_passphrase_is_typed_twice(self, desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
        typed = iter(["one passphrase ok", "two passphrase ok", PASSPHRASE, PASSPHRASE])
        monkeypatch.setattr("getpass.getpass", lambda _prompt: next(typed))

        assert desk.run("key", "create", str(desk.path("new.key"))) == 1
        assert "differ" in desk.complained
        assert desk.run("key", "create", str(desk.path("new.key"))) == 0

    def test_an_open_passphrase_file_is_refused(self, desk: Desk) -> None:
        desk.path("pass").chmod(0o644)
        desk.draft("restart")

        assert desk.sign("alice") == 1
        assert "open to others" in desk.complained

    @pytest.mark.parametrize("words", [["--person", "Alice X"], ["--person", "a", "--classes", "Z"]])
    def test_an_entry_that_no_list_takes_is_not_printed(self, desk: Desk, words: list[str]) -> None:
        assert desk.run("key", "show", str(desk.path("alice.key")), *words) == 1
        assert desk.said == ""


class TestList:
    def test_it_is_checked_for_people(self, desk: Desk) -> None:
        Spoiler(desk).withdraw("bob")
        assert desk.run("list", "check", str(desk.path("operators.json"))) == 0

        assert "version 2, 2 keys" in desk.said
        assert "withdrawn" in desk.said
        assert "class B asks for 2 persons; only 1 can sign it" in desk.said

    @pytest.mark.parametrize(
        "words", [[], ["alice.json", "alice.json"], ["--before", "operators.json", "--withdraw", "op.none"]]
    )
    def test_a_list_that_makes_no_sense_is_not_written(self, desk: Desk, words: list[str]) -> None:
        files = [str(desk.path(word)) if word.endswith(".json") else word for word in words]

        assert desk.run("list", "make", *files, "--output", str(desk.path("new.json"))) == 1
        assert not desk.path("new.json").exists()


class TestRecord:
    def test_one_process_holds_it(self, tmp_path: Path) -> None:
        with (
            SigningRecord(tmp_path / "key"),
            pytest.raises(OperatorError, match="another teiten-operator"),
            SigningRecord(tmp_path / "key"),
        ):
            pass

    @pytest.mark.parametrize("text", ["{", "[]"])
    def test_a_damaged_one_is_named(self, tmp_path: Path, text: str) -> None:
        (tmp_path / "key.record.json").write_text(text)

        with pytest.raises(OperatorError, match="move it away"), SigningRecord(tmp_path / "key"):
            pass


class TestCareless:
    """What slips when somebody types in a hurry."""

    @pytest.mark.parametrize(
        ("words", "said"),
        [
            (("--person", "Alice"), "must be small letters"),
            (("--person", "alice", "--classes", "a,e"), "must be some of A,B,C,D"),
            (("--person", "alice", "--days", "0"), "--days 0 must be 1 to 3650"),
            (("--person", "alice", "--days", "99999999999999"), "must be 1 to 3650"),
        ],
    )
    def test_an_entry_that_is_none_is_named(self, desk: Desk, words: tuple[str, ...], said: str) -> None:
        key = desk.path("alice.key")
        assert desk.run("key", "show", str(key), *words) == 1
        assert said in desk.complained
        assert desk.run("key", "show", str(key), "--person", "alice", "--classes", " b, A") == 0
        assert json.loads(desk.said)["classes"] == ["A", "B"]

    def test_the_same_key_stands_on_a_list_once(self, desk: Desk) -> None:
        alice = str(desk.path("alice.json"))
        assert desk.run("list", "make", alice, alice, "--output", str(desk.path("o.json"))) == 1
        assert "of alice is there already (as alice's); a key stands on the list once" in desk.complained
        # The same key under another name is not a second person.
        told = json.loads(desk.path("alice.json").read_text()) | {"person": "bob"}
        desk.path("bob.json").write_text(json.dumps(told))
        assert (
            desk.run("list", "make", alice, str(desk.path("bob.json")), "--output", str(desk.path("o.json")))
            == 1
        )
        assert "of bob is there already (as alice's)" in desk.complained
        assert (
            desk.run("list", "make", str(desk.path("alice.key")), "--output", str(desk.path("o.json"))) == 1
        )
        assert "alice.key is no entry of the list" in desk.complained
        assert not desk.path("o.json").exists()

    def test_withdrawing_the_last_admin_is_said_at_once(self, desk: Desk) -> None:
        desk.make_person("carol", **{"--role": "admin"})
        entries = [str(desk.path(f"{name}.json")) for name in ("alice", "bob", "carol")]
        assert desk.run("list", "make", *entries, "--output", str(desk.path("one.json"))) == 0
        assert "note:" not in desk.said
        key_id = json.loads(desk.path("carol.json").read_text())["key_id"]
        before = ("--before", str(desk.path("one.json")))
        assert (
            desk.run("list", "make", *before, "--withdraw", key_id, "--output", str(desk.path("two.json")))
            == 0
        )
        assert "note: class D asks for one admin, and no admin can sign it" in desk.said
        again = ("list", "make", "--before", str(desk.path("two.json")), entries[2])
        assert desk.run(*again, "--output", str(desk.path("three.json"))) == 1
        assert "was withdrawn and never comes back" in desk.complained

    def test_a_japanese_reason_may_hold_full_width_spaces(self, desk: Desk) -> None:
        key = desk.path("alice.key")
        words = ("command", "new", "status", "--to", "7", "--key", str(key))
        one = desk.path("one.command.json")
        assert desk.run(*words, "--reason", "障害\u3000調査\n中", "--output", str(one)) == 0
        assert read_command(read_envelope(one.read_bytes()).payload).reason == "障害 調査 中"
        assert desk.run(*words, "--reason", "red\x1b[31m", "--output", str(desk.path("two.json"))) == 1
        assert "printable" in desk.complained
        for sensors, said in (("9-7", "lower number comes first"), ("1-10001", "names 10001 sensors")):
            words = ("command", "new", "status", "--to", sensors, "--key", str(key), "--reason", "x")
            assert desk.run(*words, "--output", str(desk.path("two.json"))) == 1
            assert said in desk.complained

    def test_another_commands_list_is_not_overwritten(self, desk: Desk) -> None:
        key = desk.path("alice.key")
        desk.path("kanto.json").write_text('{"selector": "region = kanto", "sensors": [7, 8]}')
        desk.path("one.targets.json").write_text('{"selector": "all", "sensors": [1, 2, 3]}')
        words = ("command", "new", "status", "--targets", str(desk.path("kanto.json")), "--key", str(key))
        words = (*words, "--reason", "x", "--output", str(desk.path("one.command.json")))
        assert desk.run(*words) == 1
        assert "is there already and is another list" in desk.complained
        assert not desk.path("one.command.json").exists()
        desk.path("one.targets.json").unlink()
        assert desk.run(*words) == 0

    def test_every_verb_shows_an_example_that_can_be_typed(self) -> None:
        import shlex

        from teiten.operators.arguments import EXAMPLES, parse

        for name, example in EXAMPLES.items():
            typed = shlex.split(example.partition(" >")[0])[1:]
            options = parse(typed)
            assert f"{options.thing} {getattr(options, 'verb', '')}".strip() == name
