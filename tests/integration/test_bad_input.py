"""Every bad input of issue 2, and the test that proves what it gets; the missing ones are here, end to end.

``WHERE`` is the table: bad input → tests. The first test keeps it true. Each of those tests shows
a clear error that names the thing and the rule, with nothing lost and nothing half-done.
"""

from __future__ import annotations

import ast
import asyncio
import dataclasses
import http.client
import json
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import zstandard

from teiten.landing.blocks import Quarantined, Selector
from teiten.protocol import arrow, batch, dictionary, header_text, seal
from teiten.protocol.testing import make_columns, make_header
from teiten.sensor.errors import BusyError
from teiten.sensor.sealing import SealedBatch
from teiten.store.errors import StoreError
from teiten.store.testing import temporary_store
from teiten.traffic import parse
from teiten.traffic.marks import ParseMark
from teiten.traffic.nature import Nature

sys.path.insert(0, str(Path(__file__).parent))
from test_spine import SENSOR, House, run_house

pytestmark = pytest.mark.requirement("R1.2", "R2.1")

TESTS = Path(__file__).parents[1]
HERE = "integration/test_bad_input.py"
WHERE: dict[str, list[str]] = {
    "a capture file that is truncated": [
        "unit/test_sensor_cli.py::test_a_truncated_capture_gives_its_whole_packets_and_says_so",
        "unit/test_sensor_capture_files.py::test_a_cut_pcap_gives_the_whole_packets_before",
        "unit/test_sensor_capture_files.py::test_a_broken_pcapng_gives_the_whole_packets_before",
        "unit/test_sensor_capture_files.py::test_no_damage_escapes_as_anything_but_a_capture_error",
        "unit/test_sensor_replay.py::test_a_broken_file_gives_its_whole_packets_and_the_report_says_so",
    ],
    "a file that is no capture": [
        "unit/test_sensor_cli.py::test_a_file_that_is_no_capture_sends_nothing",
        "unit/test_sensor_capture_files.py::test_other_files_are_named",
        "unit/test_sensor_replay.py::test_nothing_is_sent_when_any_file_cannot_be_read",
    ],
    "a batch with a wrong seal": [
        "integration/test_spine.py::test_the_gateway_refuses_what_is_not_authentic",
        "integration/test_attacks_on_the_gateway.py::test_another_sensors_sealed_batch_cannot_be_sent_as_ones_own",
        "unit/test_loader_verifying.py::test_another_sensors_key_is_refused",
    ],
    "a batch with a wrong signature": [
        "integration/test_attacks_on_the_gateway.py::test_a_stranger_is_refused_before_a_byte_of_the_body_comes",
        "integration/test_gateway_service.py::test_a_wrong_batch_is_refused_by_name",
    ],
    "a batch with a wrong digest": [
        "integration/test_attacks_on_the_gateway.py::test_another_body_under_a_recorded_request_is_refused",
        "integration/test_loader_blocks.py::test_a_damaged_segment_is_set_aside",
    ],
    "a batch of a wrong sensor": [
        f"{HERE}::test_a_bad_batch_is_set_aside_with_its_reason",
        "integration/test_attacks_on_the_gateway.py::test_another_sensors_sealed_batch_cannot_be_sent_as_ones_own",
        "unit/test_loader_verifying.py::test_an_unknown_sensor_or_key_is_refused",
    ],
    "a batch with a wrong time": [
        f"{HERE}::test_a_bad_batch_is_set_aside_with_its_reason",
        "integration/test_gateway_service.py::test_clock_skew_tells_the_time_in_a_signed_answer",
        "integration/test_attacks_on_the_gateway.py::test_a_recorded_request_lands_nothing_new",
    ],
    "a batch with a wrong sequence": [
        f"{HERE}::test_a_bad_batch_is_set_aside_with_its_reason",
        "integration/test_gateway_service.py::test_the_same_number_with_other_content_is_a_clone_alarm",
        "integration/test_landing_log.py::test_the_same_number_with_other_content_is_a_conflict_and_an_alarm",
    ],
    "a batch with a wrong schema": [
        f"{HERE}::test_a_bad_batch_is_set_aside_with_its_reason",
        "unit/test_protocol_batch.py::test_another_arrow_writer_is_refused_by_name",
    ],
    "a batch with a lying row count": [
        f"{HERE}::test_a_bad_batch_is_set_aside_with_its_reason",
        "unit/test_protocol_batch.py::test_a_lying_header_is_named",
    ],
    "a batch with a lying window": [
        f"{HERE}::test_a_bad_batch_is_set_aside_with_its_reason",
        "unit/test_protocol_batch.py::test_a_lying_header_is_named",
    ],
    "a decompression bomb": [
        f"{HERE}::test_a_bad_batch_is_set_aside_with_its_reason",
        "unit/test_protocol_batch.py::test_a_bomb_that_understates_itself_is_refused",
    ],
    "what was wrong and is mended": [f"{HERE}::test_requeue_loads_what_is_mended_once_and_keeps_the_rest"],
    "impossible header lengths": [
        f"{HERE}::test_impossible_header_lengths_are_rows_that_say_so",
        "unit/test_traffic_parse.py::test_unusual_headers_are_marked",
        "unit/test_traffic_parse.py::test_bytes_beyond_a_packet_change_nothing",
    ],
    "wrong settings": [
        "integration/test_cli.py::test_wrong_settings_stop_the_start_and_name_themselves",
        "unit/test_sensor_cli.py::test_a_wrong_setting_stops_the_start_and_names_itself",
        "unit/test_settings.py::test_a_wrong_setting_names_itself",
    ],
    "an interface that disappears": [
        "integration/test_sensor_wire.py::test_a_deleted_interface_is_opened_again_when_it_returns",
        "integration/test_sensor_wire.py::test_a_link_that_goes_down_is_a_gap_and_then_goes_on",
    ],
    "a full disk": [
        "integration/test_sensor_wire.py::test_a_full_disk_costs_windows_but_nothing_else",
        "unit/test_sensor_spool.py::test_a_full_disk_uses_up_no_number_and_leaves_nothing",
        "integration/test_landing_log.py::test_a_really_full_disk",
        "integration/test_landing_log.py::test_low_disk_refuses_before_it_is_full",
        "integration/test_gateway_service.py::test_a_full_landing_tells_when_to_come_back",
    ],
    "a store that is down": [
        f"{HERE}::test_a_store_that_is_down_loses_nothing_and_takes_all_once_it_is_back",
        f"{HERE}::test_what_cannot_be_opened_stops_the_start_by_name",
        "integration/test_attacks_on_the_portal.py::test_a_member_is_not_told_what_the_store_says",
        "integration/test_loader_blocks.py::test_a_store_that_is_away_loses_nothing",
    ],
    "a database that is down": [
        f"{HERE}::test_a_database_that_is_down_loses_nothing_and_takes_all_once_it_is_back",
        f"{HERE}::test_what_cannot_be_opened_stops_the_start_by_name",
        "integration/test_portal_signin.py::test_a_database_that_is_away_is_503",
        "integration/test_automation_jobs.py::test_the_worker_outlives_an_outage_of_the_database",
    ],
    "a corrupt country file": [
        "integration/test_cli.py::test_reference_files_are_checked_before_they_are_used",
        "unit/test_loader_places.py::test_a_damaged_file_is_refused_and_the_one_in_use_stays",
        f"{HERE}::test_a_country_file_that_rots_in_use_stops_nothing",
    ],
    "a filter in the URL that makes no sense": [
        f"{HERE}::test_a_senseless_url_is_refused_by_name_on_screens_and_api",
        "unit/test_search_url.py::test_a_senseless_parameter_is_refused_by_name",
        "unit/test_search_language.py::test_an_error_names_position_field_and_rule",
        "integration/test_search_api.py::test_what_makes_no_sense_is_refused_in_one_form",
    ],
}


@pytest.mark.parametrize("case", WHERE)
def test_every_bad_input_has_its_tests(case: str) -> None:
    for place in WHERE[case]:
        path, _, name = place.partition("::")
        tree = ast.parse((TESTS / path).read_text())
        assert name in {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}, place


# ── batches ─────────────────────────────────────────────────────────────────
def pack(stream: bytes) -> bytes:
    return zstandard.ZstdCompressor(dict_data=dictionary.build(dictionary.SMALL_ID)).compress(stream)


def lie(number: int, /, **claims: object) -> bytes:
    """Make a batch whose header says what is not so, past every check of an honest writer."""
    header, columns = honest(number)
    old = header_text.write_header(header)
    new = json.dumps(json.loads(old) | claims, separators=(",", ":")).encode()
    template = arrow.schema_template()
    stream = batch.write_stream(header, columns)
    return pack(template.render(new) + stream[len(template.render(old)) :])


def honest(seq: int, **changes: object):
    header = dataclasses.replace(make_header(sensor=SENSOR), seq=seq, **changes)  # type: ignore[arg-type]
    return header, make_columns(24, seed=seq, start_us=header.window_start_us)


def whole(seq: int, **changes: object) -> bytes:
    return batch.encode(*honest(seq, **changes))


def move(seq: int, us: int) -> bytes:
    """Make an honest batch of another time."""
    header, _ = honest(seq)
    start, end = header.window_start_us + us, header.window_end_us + us
    header = dataclasses.replace(header, window_start_us=start, window_end_us=end)
    return batch.encode(header, make_columns(24, seed=seq, start_us=start))


def understate(size: int) -> bytes:
    honest_frame = pack(bytes(size))
    return honest_frame.replace(size.to_bytes(4, "little"), (4096).to_bytes(4, "little"), 1)


DAY_US = 86_400_000_000
#: What is landed under a number → the code and a word of the reason with which it is set aside.
BAD_BATCHES: dict[str, tuple[Callable[[int], bytes], str, str]] = {
    "no batch": (lambda _: b"this is no batch", "frame.form", "zstd"),
    "nothing": (lambda _: b"", "frame.form", "zstd"),
    "truncated": (lambda seq: whole(seq)[:-9], "frame.content", "unpack"),
    "another sensor": (lambda seq: lie(seq, sensor=SENSOR + 1), "claims.sensor", "landed as 7"),
    "another epoch": (lambda seq: lie(seq, epoch=2), "claims.epoch", "landed as 1"),
    "another sequence": (lambda seq: lie(seq, seq=seq + 99), "claims.seq", "landed as"),
    "no sequence": (lambda seq: lie(seq, seq=0), "header.seq", "seq"),
    "time ahead": (lambda seq: move(seq, 30 * DAY_US), "window.future", "after the batch landed"),
    "time long ago": (lambda seq: move(seq, -900 * DAY_US), "window.old", "days before"),
    "another schema version": (lambda seq: lie(seq, schema_version=3), "header.schema_version", "schema_version"),
    "another schema": (lambda seq: pack(_foreign_stream(seq)), "schema.", "schema"),
    "fewer rows": (lambda seq: lie(seq, rows=5), "record_batch.", "rows"),
    "more rows": (lambda seq: lie(seq, rows=25, captured=99), "record_batch.", "rows"),
    "a billion rows": (lambda seq: lie(seq, rows=2**32 - 1, captured=2**33), "header.rows", "65536"),
    "a shorter window": (lambda seq: lie(seq, window_us=1), "observed_at.window", "outside"),
    "an endless window": (lambda seq: lie(seq, window_us=2 * DAY_US), "header.window_us", "window_us"),
    "fewer captured": (lambda seq: lie(seq, captured=0), "header.captured", "captured"),
    "another data set": (lambda seq: lie(seq, dataset="live"), "dataset.other", "simulated"),
    "an import": (lambda seq: lie(seq, dataset="import:other"), "dataset.import", "may not"),
    "a sixteenth of the Internet": (
        lambda seq: lie(seq, watched=[{"prefix": "240.0.0.0/4", "mode": "silent"}]), "watched.breadth", "/8"
    ),
    "a bomb": (lambda _: pack(bytes(64 * 1024 * 1024)), "frame.content_size", "bytes"),
    "a bomb that understates": (lambda _: understate(1_000_000), "frame.content", "unpack"),
}  # fmt: skip


def _foreign_stream(seq: int) -> bytes:
    """Write the packets of a batch as another Arrow writer does, without one column."""
    import io

    import pyarrow as pa

    table = pa.ipc.open_stream(batch.write_stream(*honest(seq))).read_all().drop_columns(["vlan"])
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue()


def sealed(house: House, seq: int, body: bytes) -> SealedBatch:
    """Seal any bytes with the sensor's real key: the gateway has no reason to refuse them."""
    digest = seal.digest_of(body)
    signed = seal.seal(house.fleet.key, sensor=SENSOR, key_no=1, epoch=1, seq=seq, digest=digest)
    return dataclasses.replace(house.seal(1), seq=seq, digest=digest, seal=signed, body=body)


@dataclasses.dataclass
class Outcome:
    aside: dict[int, Quarantined]
    loaded: tuple[int, int, int]
    packets: int
    coverage: int
    again: tuple[int, int, int]
    packets_after: int


@pytest.fixture(scope="module")
def outcome(postgres_server_url: str, tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    """Send every bad batch and a good one through the gateway, load, requeue all, load again."""
    from teiten.cli.embedded import create_database

    url = create_database(postgres_server_url, "bad_input")
    folder = tmp_path_factory.mktemp("bad")
    with temporary_store() as store:

        async def play() -> Outcome:
            async with run_house(folder, url, store) as house:
                for seq, (make, _, _) in enumerate(BAD_BATCHES.values(), start=1):
                    await house.send(sealed(house, seq, make(seq)))
                await house.send(sealed(house, len(BAD_BATCHES) + 1, whole(len(BAD_BATCHES) + 1)))
                first = await asyncio.to_thread(house.loader.step)
                aside = {one.seq: one for one in house.loader._ledger.quarantined()}
                packets, coverage = house.count("packets"), house.count("coverage")
                house.loader._ledger.requeue(Selector(sensor=SENSOR))
                second = await asyncio.to_thread(house.loader.step)
                assert first is not None
                assert second is not None
                assert len(house.loader._ledger.quarantined()) == len(BAD_BATCHES)
                return Outcome(
                    aside,
                    (first.rows, first.batches, first.quarantined),
                    packets,
                    coverage,
                    (second.rows, second.batches, second.quarantined),
                    house.count("packets"),
                )

        return asyncio.run(play())


@pytest.mark.parametrize("name", BAD_BATCHES)
def test_a_bad_batch_is_set_aside_with_its_reason(outcome: Outcome, name: str) -> None:
    _, code, word = BAD_BATCHES[name]
    found = outcome.aside[list(BAD_BATCHES).index(name) + 1]

    assert found.code.startswith(code)
    assert word in found.message
    assert "Traceback" not in found.message


def test_the_good_batch_beside_them_is_loaded_whole_and_nothing_else(outcome: Outcome) -> None:
    assert outcome.loaded == (24, 1, len(BAD_BATCHES))
    assert (outcome.packets, outcome.coverage) == (24, 1)


def test_what_is_still_bad_is_set_aside_again(outcome: Outcome) -> None:
    assert outcome.again == (0, 0, len(BAD_BATCHES))
    assert outcome.packets_after == 24


def test_requeue_loads_what_is_mended_once_and_keeps_the_rest(
    tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A batch came in before its key was known to the loader, another one is a lie for ever."""

    async def play(house: House) -> None:
        await house.send(sealed(house, 1, whole(1)))
        await house.send(sealed(house, 2, lie(2, rows=5)))
        with monkeypatch.context() as before:
            before.setattr(house.fleet, "find_placement", lambda *_: None)
            await asyncio.to_thread(house.loader.step)
        ledger = house.loader._ledger
        assert {one.code for one in ledger.quarantined()} == {"sensor.unknown"}
        assert house.count("packets") == 0

        assert ledger.requeue(Selector(code="sensor.unknown")) == 2
        loaded = await asyncio.to_thread(house.loader.step)

        assert loaded is not None
        assert (loaded.rows, loaded.batches, loaded.quarantined) == (24, 1, 1)
        assert [one.seq for one in ledger.quarantined()] == [2]
        assert ledger.requeue(Selector(code="sensor.unknown")) == 0
        assert await asyncio.to_thread(house.loader.step) is None
        assert (house.count("packets"), house.count("ports_1h", "sum(packets)")) == (24, 24)

    with temporary_store() as store:
        asyncio.run(in_house(play, tmp_path, database_url, store))


async def in_house(play: Callable, folder: Path, url: str, store: object) -> None:  # type: ignore[type-arg]
    async with run_house(folder, url, store) as house:  # type: ignore[arg-type]
        await play(house)


# ── packets ─────────────────────────────────────────────────────────────────
def test_impossible_header_lengths_are_rows_that_say_so(tmp_path: Path, database_url: str) -> None:
    """Header lengths that no packet can have travel to the store as malformed, with what was legible."""
    start = make_header(seq=1).window_start_us
    frames = [_tcp(ihl=1), _tcp(ihl=15), _tcp(total=19), _tcp(total=65_535), _tcp(offset=0), _tcp(offset=15)]
    raw = np.zeros((len(frames), 64), np.uint8)
    for place, frame in enumerate(frames):
        raw[place, : len(frame)] = np.frombuffer(frame, np.uint8)
    lengths = np.array([len(frame) for frame in frames], np.uint32)
    times = start + np.arange(len(frames), dtype=np.int64)
    columns = parse.parse_packets(
        raw, lengths, wire_length=lengths, observed_at_us=times, vlan=np.zeros(len(frames), np.uint16)
    )

    async def play(house: House) -> None:
        header = make_header(rows=len(frames), seq=1, sensor=SENSOR)
        await house.send(sealed(house, 1, batch.encode(header, columns)))
        loaded = await asyncio.to_thread(house.loader.step)
        assert loaded is not None
        assert (loaded.rows, loaded.quarantined) == (len(frames), 0)
        rows = house.store.select(
            "SELECT parse_marks, nature, src_addr FROM packets ORDER BY observed_at", role="maintenance"
        ).to_pylist()
        assert all(row["parse_marks"] for row in rows), [ParseMark(row["parse_marks"]) for row in rows]
        assert sum(row["nature"] == Nature.MALFORMED for row in rows) >= 5

    with temporary_store() as store:
        asyncio.run(in_house(play, tmp_path, database_url, store))


def _tcp(*, ihl: int = 5, total: int = 40, offset: int = 5) -> bytes:
    ip = (
        bytes([0x40 | ihl, 0])
        + total.to_bytes(2, "big")
        + bytes([0, 1, 0, 0, 64, 6, 0, 0, 240, 0, 0, 1, 192, 0, 2, 7])
    )
    tcp = bytes([0x30, 0x39, 0, 23, 0, 0, 0, 1, 0, 0, 0, 0, offset << 4, 2, 4, 0, 0, 0, 0, 0])
    return ip + tcp


# ── what the house stands on ────────────────────────────────────────────────
def test_a_store_that_is_down_loses_nothing_and_takes_all_once_it_is_back(
    tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def play(house: House) -> None:
        await house.send(house.seal(1))
        with monkeypatch.context() as down:
            down.setattr(house.store, "_pools", None, raising=False)
            for name in ("select", "insert", "command", "query"):
                if hasattr(house.store, name):
                    down.setattr(house.store, name, _refuse)
            await house.send(house.seal(2))
            for _ in range(2):
                with pytest.raises(StoreError, match="does not answer"):
                    await asyncio.to_thread(house.loader.step)
            assert house.loader._ledger.quarantined() == []
        rows = 0
        while (loaded := await asyncio.to_thread(house.loader.step)) is not None:
            rows += loaded.rows
        assert rows == house.count("packets") == house.count("ports_1h", "sum(packets)") == 48

    with temporary_store() as store:
        asyncio.run(in_house(play, tmp_path, database_url, store))


def _refuse(*_: object, **__: object) -> None:
    raise StoreError("the store does not answer")


def test_a_database_that_is_down_loses_nothing_and_takes_all_once_it_is_back() -> None:
    """Sensors hear 503 and when to come back; the same bytes are taken later, once."""
    from teiten.cli.embedded import EmbeddedPostgres

    with tempfile.TemporaryDirectory(prefix="teiten-bad-") as name:
        server = EmbeddedPostgres(Path(name) / "pg")
        url = server.start()

        async def play(house: House) -> None:
            first = await house.send(house.seal(1))
            await asyncio.to_thread(server.stop)
            for seq in (1, 2):
                with pytest.raises(BusyError) as caught:
                    await house.send(house.seal(seq))
                assert caught.value.retry_after_seconds > 0
            await asyncio.to_thread(server.start)
            assert await send_patiently(house, house.seal(1)) == first
            await send_patiently(house, house.seal(2))
            rows = 0
            while (loaded := await asyncio.to_thread(house.loader.step)) is not None:
                rows += loaded.rows
            assert rows == house.count("packets") == 48

        try:
            with temporary_store() as store:
                asyncio.run(in_house(play, Path(name), url, store))
        finally:
            server.stop()


async def send_patiently(house: House, one: SealedBatch) -> object:
    """Send as a sensor does: again until it is taken."""
    for _ in range(50):
        try:
            return await house.send(one)
        except BusyError:
            await asyncio.sleep(0.2)
    raise AssertionError("the gateway did not come back")


@pytest.mark.parametrize(
    ("settings", "spoil", "words"),
    [
        ("", "store", ("store",)),
        ("", "landing", ("landing",)),
        ('[database]\nurl = "postgresql://nobody@127.0.0.1:9/none?connect_timeout=2"\n', None, ("database",)),
    ],
)
def test_what_cannot_be_opened_stops_the_start_by_name(
    tmp_path: Path, settings: str, spoil: str | None, words: tuple[str, ...]
) -> None:
    """`teiten up` over a file where a folder must be, or without its database: one clear line, no traceback."""
    data = tmp_path / "data"
    data.mkdir()
    if spoil is not None:
        (data / spoil).write_text("not a folder")
    file = tmp_path / "teiten.toml"
    ports = "[gateway]\nport = 28443\nmetrics_port = 29464\n[portal]\nport = 28000\n"
    file.write_text(f'[site]\ndata_dir = "{data}"\n{ports}{settings}')

    command = [sys.executable, "-m", "teiten.cli.main", "--config", str(file), "up"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)

    assert done.returncode in (1, 2)
    assert all(word in done.stderr for word in words), done.stderr
    assert "Traceback" not in done.stderr + done.stdout


def test_a_country_file_that_rots_in_use_stops_nothing(tmp_path: Path, database_url: str) -> None:
    """The file in use is damaged on the disk: rows come in without places, and nothing is set aside."""
    from teiten.loader.reference import ReferenceBook
    from teiten.simulators import places

    good = tmp_path / "good.mmdb"
    places.write_database(good)
    book = ReferenceBook(tmp_path / "reference")
    book.use([good])
    for file in (tmp_path / "reference").rglob("*.mmdb"):
        file.chmod(0o600)
        file.write_bytes(file.read_bytes()[:5000])

    async def play(house: House) -> None:
        await house.send(house.seal(1))
        loaded = await asyncio.to_thread(house.loader.step)
        assert loaded is not None
        assert (loaded.rows, loaded.quarantined) == (24, 0)
        assert book.list_names([64_512]) == {}

        ReferenceBook(tmp_path / "reference").use([good])
        await house.send(house.seal(2))
        mended = await asyncio.to_thread(house.loader.step)
        assert mended is not None
        assert mended.rows == 24
        assert ReferenceBook(tmp_path / "reference").open(book.current_version()).countries is not None

    with temporary_store() as store:
        asyncio.run(in_house(play, tmp_path, database_url, store))


# ── questions ───────────────────────────────────────────────────────────────
SENSELESS: dict[str, tuple[str, str]] = {
    "a port beyond ports": ("q=dst_port+%3D+70000", "dst_port"),
    "a protocol that is none": ("q=dst_port+%3D+23%2Ftpc", "dst_port"),
    "a field that is none": ("q=dst_prt+%3D+23", "dst_prt"),
    "an address with too many bits": ("q=src_addr+%3D+240.0.0.0%2F33", "src_addr"),
    "a span backwards": ("q=ttl+%3D+9..1", "ttl"),
    "an operator that does not fit": ("q=country+%3C+CN", "country"),
    "a text that does not end": ("q=country+%3D+%22CN", "position"),
    "brackets that do not close": ("q=%28%28ttl+%3D+1", "position"),
    "a nul byte": ("q=region+%3D+%22a%00%22", "region"),
    "a number of other digits": ("q=ttl+%3D+%D9%A3", "ttl"),
    "a mistyped parameter": ("perod=7d", "perod"),
    "a parameter twice": ("period=7d&period=24h", "period"),
    "a period that is none": ("period=8d", "period"),
    "an end before the start": ("period=custom&start=2026-11-20T00:00:00Z&end=2026-11-19T00:00:00Z", "end"),
    "a start that is no day": ("period=custom&start=2026-02-30T00:00:00Z&end=2026-11-19T00:00:00Z", "start"),
    "a start before the calendar": (
        "period=custom&start=0001-01-01T00:00:00Z&end=2026-11-19T00:00:00Z",
        "start",
    ),
    "an end after the calendar": ("period=custom&start=2026-01-01T00:00:00Z&end=9999-12-31T23:59:59Z", "end"),
    "a data set that cannot be": ("dataset=import%3A..%2F", "dataset"),
    "a survey switch that is none": ("survey=maybe", "survey"),
    "a metric that is none": ("metric=bytes", "metric"),
    "another version": ("v=2", "v"),
}


@pytest.fixture(scope="module")
def portal(postgres_server_url: str) -> Iterator[tuple[int, dict[str, str]]]:
    """The portal as `teiten up` serves it: its port, and the session cookie of each role."""
    import threading

    from search_fixtures import NOW, open_world

    from teiten.cli.components import PortalComponent
    from teiten.portal.config import PortalConfig
    from teiten.portal.testing import client_of, make_cast, migrated_database

    with pytest.MonkeyPatch.context() as patch, open_world() as world, migrated_database(postgres_server_url):
        from teiten.portal import middleware, services

        patch.setattr(middleware, "clock", world.clock)
        services.set_search(world.search)
        cast = make_cast(NOW)
        cookies = {
            user.role: client_of(user).cookies["teiten-session"].value for user in (cast.alice, cast.ann)
        }
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = int(free.getsockname()[1])
        loop = asyncio.new_event_loop()
        thread = threading.Thread(target=loop.run_forever, daemon=True)
        thread.start()
        part = PortalComponent(PortalConfig(port=port))
        asyncio.run_coroutine_threadsafe(part.start(), loop).result(20)
        yield port, cookies
        asyncio.run_coroutine_threadsafe(part.stop(), loop).result(20)
        asyncio.run_coroutine_threadsafe(loop.shutdown_default_executor(), loop).result(20)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def fetch(port: int, target: str, cookie: str) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("GET", target, headers={"Cookie": f"teiten-session={cookie}", "Connection": "close"})
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    return answer.status, text


@pytest.mark.requirement("R0.2", "R2.3", "R2.4")
@pytest.mark.parametrize("role", ["member", "analyst"])
@pytest.mark.parametrize("name", SENSELESS)
def test_a_senseless_url_is_refused_by_name_on_screens_and_api(
    portal: tuple[int, dict[str, str]], role: str, name: str
) -> None:
    port, cookies = portal
    query, word = SENSELESS[name]

    for page in ("/", "/explore/", "/explore/export/", "/sources/240.0.0.3", "/sensors/"):
        status, text = fetch(port, f"{page}?{query}", cookies[role])
        assert (status, word in text) == (400, True), page
    status, text = fetch(port, f"/api/v1/totals?{query}", cookies[role])
    told = json.loads(text)
    assert (status, told["error"]) == (400, "bad_query")
    assert word in told["message"] or told["field"] == word
    assert told["rule"]
