from __future__ import annotations

import io
import json
import stat
import struct
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from teiten.foundation.clock import FixedClock, SystemClock
from teiten.protocol import batch
from teiten.sensor import arguments, main
from teiten.sensor.config import SensorConfig
from teiten.sensor.errors import DeclarationError, NotEnrolledError, StateBusyError, StateError
from teiten.sensor.outbox import Outbox
from teiten.sensor.progress import ProgressLine
from teiten.sensor.recording import phase_of
from teiten.sensor.state import ORDERS, StateFolder, parse_gateway_keys
from teiten.sensor.status import collect_status, format_status
from teiten.sensor.testing import SENSOR, FakeGateway


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[FakeGateway]:
    server = FakeGateway(tmp_path, SystemClock())
    server.start()
    yield server
    server.stop()


@pytest.fixture(autouse=True)
def quiet_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("teiten.foundation.logs.set_up", lambda **_: None)


def write_token(gateway: FakeGateway, tmp_path: Path) -> Path:
    path = tmp_path / "token"
    path.write_text(f"{gateway.token}\n")
    path.chmod(0o600)
    return path


def enrol(gateway: FakeGateway, tmp_path: Path, *words: str) -> int:
    token = write_token(gateway, tmp_path)
    return main.main(
        ["enrol", "--state-dir", str(tmp_path / "state"), "--gateway", gateway.url, "--pin", gateway.pin,
         "--token-file", str(token), *words]
    )  # fmt: skip


def write_capture(path: Path, packets: int, start_s: int = 1_700_000_000) -> Path:
    ip = bytes.fromhex("4500002800010000ff060000f0000001c0000207") + struct.pack(
        ">HHIIBBHHH", 1, 23, 5, 0, 0x50, 2, 1024, 0, 0
    )
    records = b"".join(
        struct.pack("<IIII", start_s + number, 0, len(ip), len(ip)) + ip for number in range(packets)
    )
    path.write_bytes(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65_535, 101) + records)
    return path


@pytest.mark.requirement("R1.2")
def test_enrolment_makes_an_identity_and_uses_up_the_token(
    gateway: FakeGateway, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert enrol(gateway, tmp_path) == 0

    state = StateFolder(tmp_path / "state")
    identity = state.load_identity()
    assert identity.sealing.sensor == SENSOR
    assert identity.gateway_keys == gateway.gateway_keys
    assert identity.gateway.url == gateway.url
    assert not (tmp_path / "token").exists()
    assert {stat.S_IMODE(path.stat().st_mode) for path in state.path.iterdir()} == {0o600}
    assert stat.S_IMODE(state.path.stat().st_mode) == 0o700
    assert "enrolled as sensor 7" in capsys.readouterr().out


def test_a_lost_answer_is_asked_for_again_with_the_same_key(
    gateway: FakeGateway, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gateway.plan.append((0, "", {}))

    assert enrol(gateway, tmp_path) == 1
    assert "cannot be reached" in capsys.readouterr().err
    first_key = gateway.sensor_key
    assert enrol(gateway, tmp_path) == 0
    assert gateway.sensor_key == first_key


def test_a_folder_is_enrolled_once(
    gateway: FakeGateway, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    enrol(gateway, tmp_path)

    assert enrol(gateway, tmp_path) == 1
    assert "already enrolled as sensor 7" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("prepare", "message"),
    [
        (lambda path: path.write_text("tt1_abc_short\n"), "form tt1_<id>_<secret>"),
        (lambda path: path.chmod(0o644), "open to others"),
        (lambda path: path.unlink(), "cannot be read"),
    ],
)
def test_a_wrong_token_file_says_why(
    gateway: FakeGateway,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    prepare: object,
    message: str,
) -> None:
    token = write_token(gateway, tmp_path)
    prepare(token)  # type: ignore[operator]

    code = main.main(
        ["enrol", "--state-dir", str(tmp_path / "s"), "--gateway", gateway.url, "--pin", gateway.pin,
         "--token-file", str(token)]
    )  # fmt: skip

    assert code == 1
    assert message in capsys.readouterr().err
    assert not (tmp_path / "s" / "identity.json").exists()


def test_the_token_may_come_from_standard_input(
    gateway: FakeGateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{gateway.token}\n"))

    code = main.main(
        ["enrol", "--state-dir", str(tmp_path / "s"), "--gateway", gateway.url, "--pin", gateway.pin,
         "--token-file", "-"]
    )  # fmt: skip

    assert code == 0


@pytest.mark.requirement("R1.1")
def test_replay_sends_a_capture_as_an_import(
    gateway: FakeGateway, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    enrol(gateway, tmp_path)
    capture = write_capture(tmp_path / "a.pcap", 50)

    code = replay(tmp_path, capture, "--observed", "192.0.2.7/32", "--mode", "silent")

    assert code == 0
    (body,) = [body for _digest, body, _receipt in gateway.batches.values()]
    decoded = batch.decode(body)
    assert (decoded.header.dataset, decoded.header.rows, decoded.header.payload_bytes) == (
        "import:old",
        50,
        64,
    )
    assert [(item.prefix, item.mode) for item in decoded.header.watched] == [("192.0.2.7/32", "silent")]
    assert "50 packets in 1 batches sent and receipted" in capsys.readouterr().out


def write_probe(path: Path, payload: bytes) -> Path:
    udp = struct.pack(">HHHH", 1, 1900, 8 + len(payload), 0) + payload
    ip = (
        struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(udp), 1, 0, 64, 17, 0)
        + bytes.fromhex("f0000001c0000207")
        + udp
    )
    record = struct.pack("<IIII", 1_700_000_000, 0, len(ip), len(ip)) + ip
    path.write_bytes(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65_535, 101) + record)
    return path


def test_an_import_has_whole_payloads_unless_the_gateway_switched_payload_off(
    gateway: FakeGateway, tmp_path: Path
) -> None:
    enrol(gateway, tmp_path)
    payload = b"M-SEARCH * " * 60
    capture = write_probe(tmp_path / "probe.pcap", payload)
    state = StateFolder(tmp_path / "state")

    assert replay(tmp_path, capture) == 0
    state.write_json(ORDERS, {"payload_bytes": 0})
    assert replay(tmp_path, capture, name="off") == 0

    on, off = (batch.decode(body) for _digest, body, _receipt in gateway.batches.values())
    assert (on.header.payload_bytes, [one.payload for one in on.header.examples]) == (64, [payload])
    assert (off.header.payload_bytes, off.header.examples) == (0, ())
    assert len(off.columns["payload"].data) == 0


def replay(tmp_path: Path, capture: Path, *words: str, name: str = "old") -> int:
    return main.main(["replay", str(capture), "--name", name, "--state-dir", str(tmp_path / "state"), *words])


def test_a_name_is_used_once_unless_the_caller_insists(
    gateway: FakeGateway, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    enrol(gateway, tmp_path)
    capture = write_capture(tmp_path / "a.pcap", 5)
    replay(tmp_path, capture)

    assert replay(tmp_path, capture) == 1
    assert "import old was made before" in capsys.readouterr().err
    assert replay(tmp_path, capture, name="other") == 0
    assert replay(tmp_path, capture, "--again") == 0
    assert len(gateway.batches) == 3


def test_an_import_that_broke_off_goes_on_where_it_stopped(
    gateway: FakeGateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from teiten.sensor import importing
    from teiten.sensor import replay as replay_module

    enrol(gateway, tmp_path)
    capture = write_capture(tmp_path / "a.pcap", 50)
    monkeypatch.setattr(replay_module, "MAX_ROWS", 10)
    real, calls = importing.seal_batch, []

    def fail_at_third(*args: object, **kwargs: object) -> object:
        calls.append(kwargs["seq"])
        if len(calls) == 3:
            raise importing.ReplayError("power cut")
        return real(*args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(importing, "seal_batch", fail_at_third)
    assert replay(tmp_path, capture, "--spool-only") == 1
    other = write_capture(tmp_path / "b.pcap", 5)
    assert replay(tmp_path, other, "--spool-only") == 1
    assert "begun with other files" in capsys.readouterr().err
    assert replay(tmp_path, capture, "--spool-only") == 0

    outbox = Outbox(tmp_path / "state" / "spool")
    sealed = [outbox.load(name) for name in outbox.list_waiting()]
    assert [item.seq for item in sealed] == [1, 2, 3, 4, 5]
    times = [int(t) for item in sealed for t in batch.decode(item.body).columns["observed_at"]]  # type: ignore[union-attr]
    assert times == sorted(set(times))
    assert len(times) == 50
    assert gateway.batches == {}


def test_a_file_that_is_no_capture_sends_nothing(
    gateway: FakeGateway, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    enrol(gateway, tmp_path)
    wrong = tmp_path / "notes.txt"
    wrong.write_text("no capture\n")

    assert replay(tmp_path, wrong) == 1
    assert "notes.txt: is no pcap or pcapng capture" in capsys.readouterr().err
    assert gateway.batches == {}
    assert replay(tmp_path, write_capture(tmp_path / "a.pcap", 5)) == 0


def test_a_truncated_capture_gives_its_whole_packets_and_says_so(
    gateway: FakeGateway, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    enrol(gateway, tmp_path)
    capture = write_capture(tmp_path / "a.pcap", 5)
    capture.write_bytes(capture.read_bytes()[:-3])

    assert replay(tmp_path, capture) == 1
    assert "4 packets" in capsys.readouterr().err
    assert len(gateway.batches) == 1


def test_a_gateway_that_refuses_is_told_and_the_batches_stay(
    gateway: FakeGateway, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    enrol(gateway, tmp_path)
    gateway.plan.extend([(403, "suspended", {})] * 50)
    (tmp_path / "fast.toml").write_text("[sensor]\nbackoff_min_seconds = 0.01\nbackoff_max_seconds = 0.02\n")

    code = replay(tmp_path, write_capture(tmp_path / "a.pcap", 5), "--config", str(tmp_path / "fast.toml"))

    assert code == 1
    assert "suspended: as planned; 1 batches stay in the spool" in capsys.readouterr().err


def test_an_import_never_lets_the_bound_drop_it(
    gateway: FakeGateway, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    enrol(gateway, tmp_path)
    capture = write_capture(tmp_path / "a.pcap", 60_000, start_s=1_600_000_000)
    settings = tmp_path / "small.toml"
    settings.write_text("[sensor]\nspool_bytes = 1000000\nmin_free_bytes = 0\n")
    fill_spool(tmp_path / "state")

    assert replay(tmp_path, capture, "--spool-only", "--config", str(settings)) == 1
    assert "half full after 0 batches" in capsys.readouterr().err
    assert replay(tmp_path, capture, "--config", str(settings)) == 0
    rows = [batch.decode(body).header.rows for _digest, body, _receipt in gateway.batches.values()]
    assert sum(rows) >= 60_000


def fill_spool(state: Path) -> None:
    """Put a valid batch of 600 kB of noise into the spool."""
    import os

    import numpy as np

    from teiten.protocol.testing import make_columns
    from teiten.sensor.sealing import BatchDraft, seal_batch
    from teiten.sensor.spool import Spool, SpoolLimits

    columns = dict(make_columns(12_000, start_us=1_795_230_000_000_000))
    columns["src_addr"] = np.frombuffer(os.urandom(12_000 * 16), np.uint8).reshape(-1, 16)
    columns["tcp_seq"] = np.frombuffer(os.urandom(12_000 * 4), np.uint32)
    columns["payload_hash"] = np.frombuffer(os.urandom(12_000 * 8), np.uint64)
    columns["tcp_ack"] = np.frombuffer(os.urandom(12_000 * 4), np.uint32)
    columns["ip_id"] = np.frombuffer(os.urandom(12_000 * 4), np.uint32)
    columns["dst_addr"] = np.frombuffer(os.urandom(12_000 * 16), np.uint8).reshape(-1, 16)
    draft = BatchDraft(1_795_230_000_000_000, 1_795_230_300_000_000, boot_id="0" * 8, payload_bytes=64)
    spool = Spool(state, epoch=1, limits=SpoolLimits(10_000_000))
    identity = StateFolder(state).load_identity().sealing
    spool.add(lambda seq, lost: seal_batch(identity, draft, columns=columns, seq=seq, lost=lost))
    spool.close()


@pytest.mark.parametrize("written", ["\x1b[2J\x1b]0;owned\x07", "\x9b31m", "\u202egpj.exe", "a\rb"])
def test_what_a_gateway_wrote_moves_no_cursor(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, written: str
) -> None:
    """Whoever asks may be root at a terminal; a gateway, or the sensor's user, wrote the error."""
    sending = {
        "receipted": 0, "last_receipt": None, "running": False, "beats": 0, "clock_offset_us": None,
        "last_error": written, "retry_seconds": 0,
    }  # fmt: skip
    StateFolder(tmp_path).write_json("sending.json", sending)

    def fail(*_: object) -> int:
        raise StateError(f"gateway answered 403: {written}")

    main.main(["status", "--state-dir", str(tmp_path)])
    monkeypatch.setitem(main._VERBS, "enrol", fail)
    main.main(["enrol", "--state-dir", str(tmp_path), "--token-file", "x"])

    shown = capsys.readouterr()
    assert "sending error" in shown.out
    assert "403" in shown.err
    assert (shown.out + shown.err).replace("\n", "").isprintable()


def test_status_of_an_empty_folder_says_what_to_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.main(["status", "--state-dir", str(tmp_path / "s")]) == 1
    assert "run `teiten-sensor enrol" in capsys.readouterr().out

    assert main.main(["status", "--state-dir", str(tmp_path / "s"), "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["enrolled"] is False


def test_running_without_identity_says_what_to_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["record", "--state-dir", str(tmp_path / "s"), "--interface", "lo"]) == 1
    assert "holds no identity; run" in capsys.readouterr().err


def build(tmp_path: Path, text: str, *words: str, environment: dict[str, str] | None = None) -> SensorConfig:
    path = tmp_path / "sensor.toml"
    path.write_text(text)
    options = arguments.make_parser().parse_args(["record", "--config", str(path), *words])
    return arguments.build_config(options, environment or {})


def test_options_win_over_environment_and_file(tmp_path: Path) -> None:
    config = build(
        tmp_path,
        '[sensor]\npayload_bytes = 1\nmode = "silent"\nearly_rows = 9\n[gateway]\nport = 1\n',
        "--payload",
        "3",
        "--interface",
        "a0",
        "--interface",
        "a1",
        environment={
            "TEITEN_SENSOR_PAYLOAD_BYTES": "2",
            "TEITEN_SENSOR_MAX_ROWS": "77",
            "TEITEN_SITE_ZONE": "x",
        },
    )

    assert (config.payload_bytes, config.mode, config.early_rows, config.max_rows) == (3, "silent", 9, 77)
    assert config.interfaces == ("a0", "a1")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[sensor]\npayload_bytes = 129\n", "sensor.payload_bytes is 129; it must be 0 to 128"),
        ("[sensor]\nmax_rows = 70000\n", "sensor.max_rows is 70000"),
        ("[sensor]\npayload = 1\n", "setting sensor.payload .* is unknown"),
        ('[sensor]\nmode = "loud"\n', "sensor.mode must be one of"),
    ],
)
def test_a_wrong_setting_stops_the_start_and_names_itself(tmp_path: Path, text: str, message: str) -> None:
    from teiten.foundation.errors import SettingsError

    with pytest.raises(SettingsError, match=message):
        build(tmp_path, text)


def test_payload_is_off_by_default() -> None:
    assert SensorConfig().payload_bytes == 0


def test_one_process_at_a_time_records_into_a_folder(tmp_path: Path) -> None:
    first, second = StateFolder(tmp_path), StateFolder(tmp_path)
    first.lock()

    with pytest.raises(StateBusyError, match="another sensor process"):
        second.lock()
    first.unlock()
    second.lock()
    second.unlock()


@pytest.mark.parametrize("damage", ["", "{}", "[]", '{"sensor": "x"}', "\0"])
def test_a_damaged_identity_says_so(gateway: FakeGateway, tmp_path: Path, damage: str) -> None:
    enrol(gateway, tmp_path)
    (tmp_path / "state" / "identity.json").write_text(damage)

    with pytest.raises(StateError, match="is damaged"):
        StateFolder(tmp_path / "state").load_identity()


def test_a_folder_that_cannot_be_made_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(StateError, match=r"set sensor\.state_dir"):
        StateFolder(tmp_path / "file" / "state")
    with pytest.raises(NotEnrolledError):
        StateFolder(tmp_path / "new").load_identity()


def test_a_wrong_gateway_key_names_itself() -> None:
    with pytest.raises(DeclarationError, match="ID=BASE64URL"):
        parse_gateway_keys(("gw",))


def test_phases_spread_evenly_over_the_window() -> None:
    phases = [phase_of(sensor, 300) for sensor in range(1, 3_001)]

    assert all(0 <= phase < 300_000_000 for phase in phases)
    tenths = [
        sum(place * 30_000_000 <= phase < (place + 1) * 30_000_000 for phase in phases) for place in range(10)
    ]
    assert min(tenths) > 200


def test_progress_is_a_line_now_and_then_when_nobody_looks(clock: FixedClock) -> None:
    out = io.StringIO()
    line = ProgressLine(clock, out)

    for step in range(40):
        line.show(step / 40, "going")
        clock.advance(0.25)
    line.show(1.0, "done", at_once=True)
    line.end()

    assert out.getvalue() == "  0% going\n 50% going\n100% done\n"


def test_progress_is_a_bar_on_a_terminal(clock: FixedClock) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    out = Terminal()
    line = ProgressLine(clock, out)
    line.show(0.5, "a long text")
    clock.advance(1)
    line.show(1.0, "short")
    line.end()

    assert "[###############...............]  50% a long text" in out.getvalue()
    assert out.getvalue().endswith("100% short      \n")


def test_the_clock_is_the_machines() -> None:
    assert abs(SystemClock().now_us() - time.time() * 1e6) < 1e6


@pytest.mark.parametrize(
    ("age_seconds", "running", "shown"),
    [
        (5, True, "running, process 4711"),
        (200, True, "no word from process 4711 for 200 s: it was killed, hangs, or cannot write here"),
        (200, False, "not running"),
        # A clock that was set back since.
        (-1_000_000_000, True, "running, process 4711"),
    ],
)
def test_a_process_that_cannot_write_is_not_called_stopped(
    tmp_path: Path, clock: FixedClock, age_seconds: int, running: bool, shown: str
) -> None:
    state = StateFolder(tmp_path)
    told = {
        "receipted": 0,
        "last_receipt": None,
        "beats": 0,
        "clock_offset_us": None,
        "last_error": "",
        "pid": 4711,
    }
    written_at_us = clock.now_us() - age_seconds * 1_000_000
    state.write_json("sending.json", {**told, "running": running, "written_at_us": written_at_us})

    text = format_status(collect_status(state, clock))

    assert f"sending          {shown}" in text
