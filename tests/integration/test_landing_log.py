"""Landing: a receipted batch is durable and entered once, whatever dies and whenever."""

from __future__ import annotations

import asyncio
import dataclasses
import errno
import hashlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from teiten.foundation.clock import FixedClock, SystemClock
from teiten.landing import ledger, migrations
from teiten.landing.blocks import BlockLedger, BlockLimits
from teiten.landing.errors import (
    LandingClosed,
    LandingFull,
    LandingUnavailable,
    ReceiptExpired,
    SequenceConflict,
)
from teiten.landing.expiry import expire
from teiten.landing.segments import Arrival
from teiten.landing.testing import GATEWAY_KEYS, make_arrival, make_config, open_log, start_ledger
from teiten.protocol import receipt


@pytest.fixture(scope="module")
def module_url(postgres_server_url: str) -> str:
    """One database for all tests here; making one for each would cost more than the tests."""
    from teiten.cli.embedded import create_database

    return create_database(postgres_server_url, f"landing_log_{os.getpid()}")


@pytest.fixture
def url(module_url: str) -> str:
    start_ledger(module_url)
    return module_url


def count_rows(url: str) -> int:
    with psycopg.connect(url) as connection:
        return connection.execute("SELECT count(*) FROM landing.batches").fetchone()[0]


def read_back(folder: Path, url: str) -> dict[tuple[int, int, int], bytes]:
    """Read every landed batch through the loader's side."""
    blocks = BlockLedger(make_config(folder), url, SystemClock())
    try:
        block = blocks.compose(BlockLimits(), rule_version=1, place_version="x")
        return {(one.sensor, one.epoch, one.seq): blocks.read(one) for one in block.members} if block else {}
    finally:
        blocks.close()


@pytest.mark.requirement("R2.1")
def test_it_works(tmp_path: Path, url: str, clock: FixedClock) -> None:
    arrival = make_arrival(1)

    async def land() -> tuple[bytes, bytes]:
        async with open_log(make_config(tmp_path), url, clock) as log:
            return await log.append(arrival), await log.append(arrival)

    first, again = asyncio.run(land())

    assert first == again
    verified = receipt.verify(GATEWAY_KEYS, first, sensor=7, epoch=1, seq=1, digest=arrival.digest)
    assert verified.landed_at_us == clock.now_us()
    assert read_back(tmp_path, url) == {(7, 1, 1): arrival.body}


@pytest.mark.requirement("R2.1")
def test_a_hundred_concurrent_repeats_are_one_row_and_one_receipt(
    tmp_path: Path, url: str, clock: FixedClock
) -> None:
    async def land() -> list[bytes]:
        async with open_log(make_config(tmp_path), url, clock) as log:
            return await asyncio.gather(*(log.append(make_arrival(1)) for _ in range(100)))

    receipts = asyncio.run(land())

    assert len(set(receipts)) == 1
    assert count_rows(url) == 1


def test_two_gateways_agree_on_one_receipt(tmp_path: Path, url: str, clock: FixedClock) -> None:
    async def land() -> list[bytes]:
        async with (
            open_log(make_config(tmp_path / "a"), url, clock) as one,
            open_log(make_config(tmp_path / "b"), url, clock) as two,
        ):
            clock.advance(1)
            return await asyncio.gather(
                *(log.append(make_arrival(seq)) for seq in range(1, 31) for log in (one, two, two, one))
            )

    receipts = asyncio.run(land())

    assert all(len(set(receipts[start : start + 4])) == 1 for start in range(0, 120, 4))
    assert count_rows(url) == 30


def test_many_sensors_land_in_groups(tmp_path: Path, url: str, clock: FixedClock) -> None:
    arrivals = [make_arrival(seq, sensor=sensor) for sensor in range(1, 21) for seq in range(1, 11)]
    synced: list[str] = []

    async def land() -> None:
        async with open_log(make_config(tmp_path), url, clock, at=synced.append) as log:
            await asyncio.gather(*(log.append(one) for one in arrivals))

    asyncio.run(land())

    assert count_rows(url) == 200
    assert synced.count("synced") <= 5
    assert read_back(tmp_path, url) == {one.name: one.body for one in arrivals}


@pytest.mark.requirement("R2.1")
def test_the_same_number_with_other_content_is_a_conflict_and_an_alarm(
    tmp_path: Path, url: str, clock: FixedClock
) -> None:
    async def land() -> list[object]:
        async with open_log(make_config(tmp_path), url, clock) as log:
            await log.append(make_arrival(1))
            late = await asyncio.gather(log.append(make_arrival(1, body=b"clone")), return_exceptions=True)
            together = await asyncio.gather(
                log.append(make_arrival(2)),
                log.append(make_arrival(2, body=b"clone")),
                return_exceptions=True,
            )
            return [*late, *together]

    late, first, second = asyncio.run(land())

    assert isinstance(late, SequenceConflict)
    assert isinstance(first, bytes)
    assert isinstance(second, SequenceConflict)
    assert count_rows(url) == 2
    with psycopg.connect(url) as connection:
        (alarm,) = ledger.list_alarms(connection, since=clock.now())
    assert (alarm.sensor, alarm.kind) == (7, "sequence_conflict")


def test_it_refuses_while_closed(tmp_path: Path, url: str, clock: FixedClock) -> None:
    async def land() -> None:
        async with open_log(make_config(tmp_path), url, clock) as log:
            pass
        await log.append(make_arrival(1))

    with pytest.raises(LandingClosed):
        asyncio.run(land())


def test_stopping_commits_what_has_arrived(tmp_path: Path, url: str, clock: FixedClock) -> None:
    async def land() -> list[bytes]:
        async with open_log(make_config(tmp_path), url, clock) as log:
            waiting = [asyncio.create_task(log.append(make_arrival(seq))) for seq in range(1, 6)]
            await asyncio.sleep(0)
        return await asyncio.gather(*waiting)

    assert len(asyncio.run(land())) == 5
    assert count_rows(url) == 5


def test_a_sender_that_goes_away_harms_nobody(tmp_path: Path, url: str, clock: FixedClock) -> None:
    async def land() -> bytes:
        async with open_log(make_config(tmp_path), url, clock) as log:
            gone = asyncio.create_task(log.append(make_arrival(1)))
            stays = asyncio.create_task(log.append(make_arrival(2)))
            await asyncio.sleep(0)
            gone.cancel()
            return await stays

    assert asyncio.run(land())
    assert count_rows(url) == 2


def test_segments_rotate_by_size_and_age_and_are_noted(tmp_path: Path, url: str, clock: FixedClock) -> None:
    config = dataclasses.replace(make_config(tmp_path), segment_bytes=1000, segment_seconds=60)

    async def land() -> None:
        async with open_log(config, url, clock) as log:
            await log.append(make_arrival(1, body=b"x" * 2000))
            await log.append(make_arrival(2))
            clock.advance(61)
            await log.append(make_arrival(3))

    asyncio.run(land())

    assert len(list(tmp_path.glob("*.seg"))) == 3
    assert len(read_back(tmp_path, url)) == 3
    with psycopg.connect(url) as connection:
        rows = connection.execute(
            "SELECT name, size_bytes FROM landing.segments WHERE closed_at IS NOT NULL"
        ).fetchall()
    assert dict(rows) == {path.name: path.stat().st_size for path in tmp_path.glob("*.seg")}


def test_a_torn_tail_and_strange_files_mean_nothing(tmp_path: Path, url: str, clock: FixedClock) -> None:
    async def land(seq: int) -> None:
        async with open_log(make_config(tmp_path), url, clock) as log:
            await log.append(make_arrival(seq))

    asyncio.run(land(1))
    (segment,) = tmp_path.glob("*.seg")
    with segment.open("ab") as file:
        file.write(b"TTSEG1\0\0 torn")
    (tmp_path / "20010101T000000-000000000000.seg").write_bytes(b"orphan")
    asyncio.run(land(2))

    assert segment.read_bytes().endswith(b"torn")
    assert sorted(read_back(tmp_path, url)) == [(7, 1, 1), (7, 1, 2)]


class TestDisk:
    def test_a_failed_write_stores_nothing_and_the_next_one_works(
        self, tmp_path: Path, url: str, clock: FixedClock
    ) -> None:
        trouble = [OSError(errno.ENOSPC, "No space left on device")]

        def fail_once(point: str) -> None:
            if point == "written" and trouble:
                raise trouble.pop()

        async def land() -> bytes:
            config = dataclasses.replace(make_config(tmp_path), watch_seconds=0.05)
            async with open_log(config, url, clock, at=fail_once) as log:
                with pytest.raises(LandingFull, match="No space left") as caught:
                    await log.append(make_arrival(1))
                assert caught.value.retry_after_seconds == 30
                assert count_rows(url) == 0
                await asyncio.sleep(0.2)
                return await log.append(make_arrival(1))

        assert asyncio.run(land())
        assert len(list(tmp_path.glob("*.seg"))) == 2
        assert len(read_back(tmp_path, url)) == 1

    def test_a_failed_sync_is_not_believed_later(self, tmp_path: Path, url: str, clock: FixedClock) -> None:
        trouble = [OSError(errno.EIO, "Input/output error")]

        def fail_once(point: str) -> None:
            if point == "synced" and trouble:
                raise trouble.pop()

        async def land() -> None:
            config = dataclasses.replace(make_config(tmp_path), watch_seconds=0.05)
            async with open_log(config, url, clock, at=fail_once) as log:
                with pytest.raises(LandingFull):
                    await log.append(make_arrival(1))
                await asyncio.sleep(0.2)
                await log.append(make_arrival(1))

        asyncio.run(land())

        assert read_back(tmp_path, url) == {(7, 1, 1): make_arrival(1).body}

    @pytest.mark.root
    @pytest.mark.skipif(os.geteuid() != 0, reason="needs root to mount a small file system")
    def test_a_really_full_disk(self, tmp_path: Path, url: str, clock: FixedClock) -> None:
        folder = tmp_path / "small"
        folder.mkdir()
        if subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", folder], check=False
        ).returncode:
            pytest.skip("this machine does not let root mount a tmpfs")
        config = dataclasses.replace(make_config(folder), watch_seconds=0.05)

        async def land() -> tuple[int, str]:
            landed, said = 0, ""
            async with open_log(config, url, clock) as log:
                for seq in range(1, 10):
                    try:
                        await log.append(make_arrival(seq, body=bytes([seq]) * 60_000))
                        landed += 1
                    except LandingFull as error:
                        said = str(error)
                        await asyncio.sleep(0.1)
            return landed, said

        try:
            landed, said = asyncio.run(land())
            found = read_back(folder, url)
        finally:
            subprocess.run(["umount", folder], check=True)

        assert landed == count_rows(url) == len(found) == 4
        assert "No space left" in said

    def test_low_disk_refuses_before_it_is_full(self, tmp_path: Path, url: str, clock: FixedClock) -> None:
        config = dataclasses.replace(make_config(tmp_path), min_free_bytes=1 << 60)

        async def land() -> str | None:
            async with open_log(config, url, clock) as log:
                with pytest.raises(LandingFull, match=r"landing\.min_free_bytes"):
                    await log.append(make_arrival(1))
                return await log.find_trouble()

        assert "bytes are free" in asyncio.run(land())
        assert count_rows(url) == 0

    @pytest.mark.parametrize(
        ("limit", "message"),
        [
            ({"max_backlog_batches": 2}, "max_backlog_batches"),
            ({"max_backlog_bytes": 500}, "max_backlog_bytes"),
        ],
    )
    def test_a_loader_far_behind_refuses(
        self, tmp_path: Path, url: str, clock: FixedClock, limit: dict[str, int], message: str
    ) -> None:
        config = dataclasses.replace(make_config(tmp_path), watch_seconds=0.02, **limit)

        async def land() -> None:
            async with open_log(config, url, clock) as log:
                for seq in range(1, 4):
                    await log.append(make_arrival(seq))
                await asyncio.sleep(0.15)
                with pytest.raises(LandingFull, match=message):
                    await log.append(make_arrival(4))
                blocks = BlockLedger(config, url, clock)
                block = blocks.compose(BlockLimits(), rule_version=1, place_version="x")
                blocks.mark_loaded(block, rows=3)
                blocks.close()
                await asyncio.sleep(0.15)
                await log.append(make_arrival(4))

        asyncio.run(land())


class TestDatabase:
    def test_it_starts_and_refuses_without_a_database(self, tmp_path: Path, clock: FixedClock) -> None:
        nowhere = f"postgresql://nobody@/none?host={tmp_path}"

        async def land() -> str | None:
            async with open_log(make_config(tmp_path / "landing"), nowhere, clock) as log:
                with pytest.raises(LandingUnavailable, match="does not answer"):
                    await log.append(make_arrival(1))
                return await log.find_trouble()

        assert "does not answer" in asyncio.run(land())

    def test_a_cut_connection_is_one_refusal(self, tmp_path: Path, url: str, clock: FixedClock) -> None:
        async def land() -> bytes:
            async with open_log(make_config(tmp_path), url, clock) as log:
                await log.append(make_arrival(1))
                with psycopg.connect(url, autocommit=True) as connection:
                    connection.execute(
                        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
                    )
                with pytest.raises(LandingUnavailable):
                    await log.append(make_arrival(2))
                return await log.append(make_arrival(2))

        assert asyncio.run(land())
        assert count_rows(url) == 2

    def test_a_database_that_stops_in_the_middle_loses_nothing(self, clock: FixedClock) -> None:
        from teiten.cli.embedded import EmbeddedPostgres

        with tempfile.TemporaryDirectory(prefix="teiten-pg-") as name:
            server = EmbeddedPostgres(Path(name) / "pg")
            own_url = server.start()
            migrations.migrate(own_url)
            stopped: list[str] = []

            def stop_once(point: str) -> None:
                if point == "synced" and not stopped:
                    stopped.append(point)
                    server.stop()

            async def land() -> bytes:
                async with open_log(make_config(Path(name) / "landing"), own_url, clock, at=stop_once) as log:
                    with pytest.raises(LandingUnavailable):
                        await log.append(make_arrival(1))
                    with pytest.raises(LandingUnavailable):
                        await log.append(make_arrival(1))
                    await asyncio.to_thread(server._server.ensure_postgres_running)
                    return await log.append(make_arrival(1))

            try:
                assert asyncio.run(land())
                assert count_rows(own_url) == 1
            finally:
                server.stop()

    def test_migrations_are_applied_once(self, database_url: str) -> None:
        assert migrations.migrate(database_url) == [name for _, name, _ in migrations.list_migrations()]
        assert migrations.migrate(database_url) == []

    def test_migrating_without_a_database_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(LandingUnavailable):
            migrations.migrate(f"postgresql://nobody@/none?host={tmp_path}")


class TestExpiry:
    def land(self, folder: Path, url: str, clock: FixedClock, arrival: Arrival) -> bytes:
        async def run() -> bytes:
            async with open_log(make_config(folder), url, clock) as log:
                return await log.append(arrival)

        return asyncio.run(run())

    def load_all(self, folder: Path, url: str, clock: FixedClock) -> None:
        blocks = BlockLedger(make_config(folder), url, clock)
        block = blocks.compose(BlockLimits(), rule_version=1, place_version="x")
        blocks.mark_loaded(block, rows=1)
        blocks.close()

    def test_numbers_are_kept_for_ever(self, tmp_path: Path, url: str, clock: FixedClock) -> None:
        self.land(tmp_path, url, clock, make_arrival(1))
        self.load_all(tmp_path, url, clock)
        clock.advance(92 * 86_400)
        self.land(tmp_path, url, clock, make_arrival(2))

        expired = expire(make_config(tmp_path), url, clock)

        assert expired.days == ("batches_20261121", "batches_20261122")
        assert len(expired.segments) == 1
        assert len(list(tmp_path.glob("*.seg"))) == 1
        assert count_rows(url) == 1
        with pytest.raises(ReceiptExpired):
            self.land(tmp_path, url, clock, make_arrival(1))
        with pytest.raises(ReceiptExpired):
            self.land(tmp_path, url, clock, make_arrival(1, body=b"other"))
        assert count_rows(url) == 1

    def test_what_is_not_loaded_stays(self, tmp_path: Path, url: str, clock: FixedClock) -> None:
        self.land(tmp_path, url, clock, make_arrival(1))
        clock.advance(92 * 86_400)

        expired = expire(make_config(tmp_path), url, clock)

        assert expired.kept == ("batches_20261121",)
        assert expired.segments == ()
        assert read_back(tmp_path, url) == {(7, 1, 1): make_arrival(1).body}


class TestReading:
    @pytest.fixture
    def landed(self, tmp_path: Path, url: str, clock: FixedClock) -> Iterator[psycopg.Connection]:
        async def land() -> None:
            async with open_log(make_config(tmp_path), url, clock) as log:
                for seq in (2, 3, 7):
                    await log.append(make_arrival(seq))
                await log.append(make_arrival(1, sensor=8))
                await log.append(make_arrival(1, sensor=7, epoch=2))
                await log.append(make_arrival(1, sensor=9, held=True))

        asyncio.run(land())
        with psycopg.connect(url) as connection:
            yield connection

    def test_gaps_are_what_never_came(self, landed: psycopg.Connection) -> None:
        assert ledger.list_gaps(landed) == [ledger.Gap(7, 1, 1, 1), ledger.Gap(7, 1, 4, 6)]
        assert ledger.list_gaps(landed, sensor=8) == []

    def test_the_newest_epoch_counts(self, landed: psycopg.Connection) -> None:
        last = ledger.list_last_landed(landed)

        assert sorted(last) == [7, 8, 9]
        assert (last[7].epoch, last[7].last_seq, last[7].highest_seq) == (2, 1, 1)

    def test_held_batches_wait_for_a_word(self, landed: psycopg.Connection, tmp_path: Path, url: str) -> None:
        assert ledger.count_states(landed)["held"].batches == 1

        assert ledger.release_held(landed, sensor=9) == 1
        landed.commit()

        assert ledger.count_states(landed, sensor=9)["landed"].batches == 1
        assert (9, 1, 1) in read_back(tmp_path, url)


KILLED = """
import asyncio, os, signal, sys
from pathlib import Path
from teiten.foundation.clock import SystemClock
from teiten.landing.testing import make_arrival, make_config, open_log, start_ledger

folder, url, point, after = Path(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4])
passed = 0

def at(reached):
    global passed
    passed += reached == point
    if passed == after:
        os.kill(os.getpid(), signal.SIGKILL)

async def main():
    async with open_log(make_config(folder), url, SystemClock(), at=at) as log:
        async def one(seq):
            receipt = await log.append(make_arrival(seq))
            os.write(1, b"%d %s\\n" % (seq, receipt))
        for start in range(1, 41, 10):
            await asyncio.gather(*(one(seq) for seq in range(start, start + 10)))

asyncio.run(main())
"""


@pytest.mark.requirement("R2.1")
@pytest.mark.parametrize("after", [1, 3])
@pytest.mark.parametrize("point", ["written", "synced", "committed", "answering"])
def test_kill_9_loses_no_receipted_batch_and_enters_none_twice(
    tmp_path: Path, url: str, point: str, after: int
) -> None:
    run = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path), url, point, str(after)],
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert run.returncode == -signal.SIGKILL, run.stderr.decode()
    given = dict(line.split(b" ", 1) for line in run.stdout.splitlines())

    async def retry() -> dict[int, bytes]:
        async with open_log(make_config(tmp_path), url, SystemClock()) as log:
            return {seq: await log.append(make_arrival(seq)) for seq in range(1, 41)}

    receipts = asyncio.run(retry())

    assert {int(seq): text for seq, text in given.items()}.items() <= receipts.items()
    assert count_rows(url) == 40
    found = read_back(tmp_path, url)
    assert found == {(7, 1, seq): make_arrival(seq).body for seq in range(1, 41)}
    for seq, text in receipts.items():
        assert json.loads(text)["seq"] == seq
        receipt.verify(
            GATEWAY_KEYS, text, sensor=7, epoch=1, seq=seq, digest=hashlib.sha256(found[7, 1, seq]).digest()
        )


def test_every_query_is_used_and_known() -> None:
    from teiten.landing import queries

    sources = "".join(path.read_text() for path in Path(migrations.__file__).parent.glob("*.py"))
    assert [name for name in queries.list_names() if f'"{name}"' not in sources] == []


def test_a_batch_that_was_not_entered_is_never_called_received(
    tmp_path: Path, url: str, clock: FixedClock
) -> None:
    """Somebody empties the ledger's intervals while a group is between its sync and its transaction."""

    def spoil(point: str) -> None:
        if point == "synced":
            with psycopg.connect(url, autocommit=True) as connection:
                connection.execute("CREATE RULE lose AS ON INSERT TO landing.received DO INSTEAD NOTHING")

    async def land() -> None:
        async with open_log(make_config(tmp_path), url, clock, at=spoil) as log:
            with pytest.raises(LandingUnavailable, match="not in the ledger"):
                await log.append(make_arrival(1))

    asyncio.run(land())

    assert count_rows(url) == 0
