from __future__ import annotations

import contextlib
import errno
import hashlib
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from teiten.protocol.header import LostBatch
from teiten.sensor import spool as spool_module
from teiten.sensor.errors import SpoolFileError, SpoolFullError, StateError
from teiten.sensor.outbox import Outbox
from teiten.sensor.sealed import SealedBatch
from teiten.sensor.slots import SlotFile
from teiten.sensor.spool import Sealer, Spool, SpoolLimits
from teiten.sensor.spool_files import READY, list_names, parse_name, read_sealed
from teiten.sensor.tombstones import MAX_CARRIED, MAX_KEPT, Tombstones

LIMITS = SpoolLimits(max_bytes=1_000_000)


def sealer(size: int = 100, dataset: str = "live", carried: list[Any] | None = None) -> Sealer:
    def seal(seq: int, lost: tuple[LostBatch, ...]) -> SealedBatch:
        if carried is not None:
            carried.append(lost)
        body = seq.to_bytes(4, "big") * (size // 4)
        digest = hashlib.sha256(body).digest()
        return SealedBatch(7, 1, 1, seq, digest, b"s" * 64, seq * 1000, seq * 1000 + 1000, dataset, body)

    return seal


def open_spool(folder: Path, limits: SpoolLimits = LIMITS, epoch: int = 1) -> Spool:
    return Spool(folder, epoch=epoch, limits=limits)


def test_it_works(tmp_path: Path) -> None:
    spool, outbox = open_spool(tmp_path), Outbox(tmp_path / "spool")
    sealed = spool.add(sealer())

    (name,) = outbox.list_waiting()
    assert outbox.load(name) == sealed
    outbox.mark_done(name)
    spool.sweep()

    assert outbox.list_waiting() == []
    assert (spool.waiting, spool.waiting_bytes, spool.counts.receipted) == (0, 0, 1)
    assert spool.next_seq == 2


def test_batches_wait_oldest_first(tmp_path: Path) -> None:
    spool, outbox = open_spool(tmp_path), Outbox(tmp_path / "spool")
    for _ in range(12):
        spool.add(sealer())

    assert [outbox.load(name).seq for name in outbox.list_waiting()] == list(range(1, 13))


def test_a_restart_goes_on_with_the_next_number(tmp_path: Path) -> None:
    spool, outbox = open_spool(tmp_path), Outbox(tmp_path / "spool")
    for _ in range(3):
        spool.add(sealer())
    for name in outbox.list_waiting():
        outbox.mark_done(name)
    spool.sweep()

    again = open_spool(tmp_path)

    assert again.next_seq == 4
    assert again.last_window_end_us == 4000


def test_a_number_that_only_the_spool_knows_is_not_used_again(tmp_path: Path) -> None:
    open_spool(tmp_path).add(sealer())

    assert open_spool(tmp_path).next_seq == 2


def test_a_receipted_number_that_was_not_swept_is_not_used_again(tmp_path: Path) -> None:
    open_spool(tmp_path).add(sealer())
    outbox = Outbox(tmp_path / "spool")
    outbox.mark_done(outbox.list_waiting()[0])

    assert open_spool(tmp_path).next_seq == 2
    assert open_spool(tmp_path).next_seq == 2


def test_an_import_says_nothing_about_when_we_watched(tmp_path: Path) -> None:
    spool = open_spool(tmp_path)
    spool.add(sealer())
    spool.add(sealer(dataset="import:old"))

    assert spool.last_window_end_us == 2000
    assert open_spool(tmp_path).last_window_end_us == 2000
    assert (
        Outbox(tmp_path / "spool").load(Outbox(tmp_path / "spool").list_waiting()[1]).dataset == "import:old"
    )


def test_a_new_epoch_starts_at_one_and_old_batches_are_still_sent(tmp_path: Path) -> None:
    open_spool(tmp_path).add(sealer())

    spool = open_spool(tmp_path, epoch=2)

    assert spool.next_seq == 1
    assert len(Outbox(tmp_path / "spool").list_waiting()) == 1


def test_the_bound_drops_the_oldest_and_tells_until_it_is_receipted(tmp_path: Path) -> None:
    limits = SpoolLimits(max_bytes=3_000)
    spool, outbox = open_spool(tmp_path, limits), Outbox(tmp_path / "spool")
    carried: list[tuple[LostBatch, ...]] = []
    for _ in range(8):
        spool.add(sealer(800, carried=carried))

    assert [outbox.load(name).seq for name in outbox.list_waiting()] == [6, 7, 8]
    assert spool.waiting_bytes <= 3_000
    assert spool.lost_batches == spool.counts.dropped == 5
    assert carried[-1] == (LostBatch(1, 4, 1000, 5000),)

    spool = open_spool(tmp_path, limits)
    spool.add(sealer(40, carried=carried))
    assert carried[-1] == (LostBatch(1, 5, 1000, 6000),)
    outbox.mark_done(outbox.list_waiting()[-1])
    spool.sweep()
    assert spool.lost_batches == 0


def test_a_receipt_of_an_earlier_batch_does_not_forget_a_tombstone(tmp_path: Path) -> None:
    spool, outbox = open_spool(tmp_path, SpoolLimits(max_bytes=3_000)), Outbox(tmp_path / "spool")
    for _ in range(4):
        spool.add(sealer(800))

    outbox.mark_done(outbox.list_waiting()[0])
    spool.sweep()

    assert spool.lost_batches == 1


def test_a_batch_that_arrived_while_it_was_dropped_is_not_lost(tmp_path: Path) -> None:
    spool, outbox = open_spool(tmp_path, SpoolLimits(max_bytes=1_500)), Outbox(tmp_path / "spool")
    spool.add(sealer(800))
    name = outbox.list_waiting()[0]
    spool.add(sealer(800))
    assert spool.lost_batches == 1

    outbox.mark_done(name)
    spool.sweep()

    assert spool.lost_batches == 0


def test_a_corrupt_file_is_set_aside_and_reported_as_lost(tmp_path: Path) -> None:
    spool, outbox = open_spool(tmp_path), Outbox(tmp_path / "spool")
    spool.add(sealer())
    spool.add(sealer())
    name = outbox.list_waiting()[0]
    path = tmp_path / "spool" / READY / name
    path.write_bytes(path.read_bytes()[:-1] + b"x")

    with pytest.raises(SpoolFileError, match="corrupt: its content"):
        outbox.load(name)
    outbox.mark_corrupt(name)
    spool.sweep()

    assert (spool.counts.corrupt, spool.lost_batches, spool.waiting) == (1, 1, 1)
    assert (tmp_path / "spool" / "aside" / f"{name}.corrupt").exists()
    assert open_spool(tmp_path).lost_batches == 1


@pytest.mark.parametrize(
    "damage", [lambda b: b"", lambda b: b[:50], lambda b: b[:200], lambda b: b"X" + b[1:], lambda b: b + b"x"]
)
def test_any_damage_to_a_file_is_noticed(tmp_path: Path, damage: Any) -> None:
    open_spool(tmp_path).add(sealer())
    folder = tmp_path / "spool" / READY
    path = folder / list_names(folder)[0]
    path.write_bytes(damage(path.read_bytes()))

    with pytest.raises(SpoolFileError, match="corrupt"):
        read_sealed(path)


def test_a_file_under_another_ones_name_is_noticed(tmp_path: Path) -> None:
    open_spool(tmp_path).add(sealer())
    folder = tmp_path / "spool" / READY
    path = folder / list_names(folder)[0]

    with pytest.raises(SpoolFileError, match="another batch"):
        read_sealed(path.rename(folder / path.name.replace("1-1000", "2-1000")))


def test_a_conflict_is_kept_for_a_person_and_no_tombstone(tmp_path: Path) -> None:
    spool, outbox = open_spool(tmp_path), Outbox(tmp_path / "spool")
    spool.add(sealer())
    spool.add(sealer())
    first, second = outbox.list_waiting()

    outbox.mark_conflict(first)
    outbox.mark_refused(second)
    spool.sweep()

    assert (spool.counts.conflicts, spool.counts.refused, spool.lost_batches) == (1, 1, 1)
    assert sorted(path.suffix for path in (tmp_path / "spool" / "aside").iterdir()) == [
        ".conflict",
        ".refused",
    ]


def test_a_full_disk_uses_up_no_number_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = open_spool(tmp_path)

    def refuse(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", refuse)
        with pytest.raises(SpoolFullError, match="free disk space"):
            spool.add(sealer())

    assert list((tmp_path / "spool").rglob("*.*")) == []
    assert spool.add(sealer()).seq == 1


def test_a_window_that_was_given_up_has_a_tombstone(tmp_path: Path) -> None:
    spool = open_spool(tmp_path)
    spool.give_up(5, 10)
    carried: list[tuple[LostBatch, ...]] = []

    assert spool.add(sealer(carried=carried)).seq == 2
    assert carried == [(LostBatch(1, 1, 5, 10),)]
    assert spool.counts.unsaved == 1


def test_a_nearly_full_disk_drops_down_to_what_is_always_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spool_module, "KEPT_BYTES", 2_000)
    spool = open_spool(tmp_path, SpoolLimits(max_bytes=1_000_000, min_free_bytes=1 << 60))

    for _ in range(6):
        spool.add(sealer(800))
    spool.sweep()

    assert 1_000 < spool.waiting_bytes <= 2_000


def test_half_written_files_are_cleared_away(tmp_path: Path) -> None:
    open_spool(tmp_path)
    part = tmp_path / "spool" / "1-1.part"
    part.write_bytes(b"half")

    assert open_spool(tmp_path).next_seq == 1
    assert not part.exists()


class Killed(BaseException):
    """Stands for kill -9: nothing after it runs."""


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    steps=st.lists(st.sampled_from(["add", "add", "add", "done", "corrupt", "sweep"]), max_size=14),
    killed_at=st.integers(0, 60),
)
def test_a_kill_between_any_two_system_calls_loses_no_number(
    tmp_path_factory: pytest.TempPathFactory, steps: list[str], killed_at: int
) -> None:
    """Each call that touches the disk is a point to die at; afterwards every number is accounted for once."""
    folder = tmp_path_factory.mktemp("spool")
    limits = SpoolLimits(max_bytes=2_000)
    sent: set[int] = set()
    with pytest.MonkeyPatch.context() as patch:
        count_down(patch, killed_at)
        with contextlib.suppress(Killed):
            live(folder, limits, steps, sent)
    spool = open_spool(folder, limits)
    spool.sweep()
    waiting = [name.seq for name in map(parse_name, Outbox(folder / "spool").list_waiting()) if name]

    lost = {
        seq for item in spool._tombstones.list_carried() for seq in range(item.first_seq, item.last_seq + 1)
    }
    told_lost = set(range(1, spool.next_seq)) - set(waiting) - sent - lost
    assert not set(waiting) & lost
    # What is in none of the three was reported as lost in a header that was receipted.
    assert not told_lost or sent
    assert spool.next_seq > max([0, *waiting, *sent])
    assert spool.add(sealer()).seq == spool.next_seq - 1


def live(folder: Path, limits: SpoolLimits, steps: list[str], sent: set[int]) -> None:
    spool, outbox = open_spool(folder, limits), Outbox(folder / "spool")
    for step in steps:
        waiting = outbox.list_waiting()
        if step == "add":
            spool.add(sealer(400))
        elif step == "sweep":
            spool.sweep()
        elif waiting and step == "done":
            name = parse_name(waiting[0])
            assert name is not None
            sent.add(name.seq)
            outbox.mark_done(waiting[0])
        elif waiting:
            outbox.mark_corrupt(waiting[0])


def count_down(patch: pytest.MonkeyPatch, calls: int) -> None:
    left = [calls]

    def dying(real: Any) -> Any:
        def call(*args: Any, **kwargs: Any) -> Any:
            if left[0] == 0:
                raise Killed
            left[0] -= 1
            return real(*args, **kwargs)

        return call

    for name in ("rename", "replace", "unlink"):
        patch.setattr(Path, name, dying(getattr(Path, name)))
    for name in ("fsync", "pwrite", "fdatasync"):
        patch.setattr(os, name, dying(getattr(os, name)))


def test_a_record_is_replaced_as_a_whole(tmp_path: Path) -> None:
    slots = SlotFile(tmp_path / "state")
    for number in range(5):
        slots.write({"number": number})
    slots.close()

    assert SlotFile(tmp_path / "state").record == {"number": 4}


def test_a_torn_slot_leaves_the_one_before(tmp_path: Path) -> None:
    slots = SlotFile(tmp_path / "state")
    slots.write({"number": 1})
    slots.write({"number": 2})
    slots.close()
    content = bytearray((tmp_path / "state").read_bytes())
    content[content.index(b'"number":2') + 9] = ord("7")
    (tmp_path / "state").write_bytes(content)

    assert SlotFile(tmp_path / "state").record == {"number": 1}


def test_two_damaged_slots_stop_the_start(tmp_path: Path) -> None:
    slots = SlotFile(tmp_path / "state")
    slots.write({"number": 1})
    slots.close()
    (tmp_path / "state").write_bytes(b"x" * 131_072)

    with pytest.raises(StateError, match="damaged in both slots"):
        SlotFile(tmp_path / "state")


def test_a_record_too_long_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StateError, match="does not fit"):
        SlotFile(tmp_path / "state").write({"text": "x" * 70_000})


def test_the_state_needs_no_space_once_it_is_made(tmp_path: Path) -> None:
    SlotFile(tmp_path / "state").close()

    assert (tmp_path / "state").stat().st_blocks * 512 >= 131_072


def make_lost(first: int, last: int) -> LostBatch:
    return LostBatch(first, last, first * 10, last * 10 + 10)


def test_neighbouring_tombstones_become_one() -> None:
    stones = Tombstones()
    for seq in (1, 2, 5, 3):
        stones.add(make_lost(seq, seq))

    assert stones.list_carried() == (make_lost(1, 3), make_lost(5, 5))
    assert stones.batches == 4


def test_a_header_carries_no_more_than_the_protocol_allows() -> None:
    stones = Tombstones()
    for seq in range(1, 2 * MAX_KEPT, 2):
        stones.add(make_lost(seq, seq))
    stones.add(make_lost(5_000, 5_000))

    assert len(stones.list_carried()) == MAX_CARRIED
    assert len(stones) == MAX_KEPT
    stones.carry(6_000)
    stones.receipt(6_000)
    assert len(stones) == MAX_KEPT - MAX_CARRIED


@settings(max_examples=100, deadline=None)
@given(seqs=st.lists(st.integers(1, 40), max_size=30), received=st.integers(1, 40))
def test_tombstones_ascend_and_survive_being_written(seqs: list[int], received: int) -> None:
    stones = Tombstones()
    for seq in seqs:
        stones.add(make_lost(seq, seq))
    stones.receipt(received)

    kept = Tombstones(stones.as_rows())

    assert kept.list_carried() == stones.list_carried()
    found = [seq for item in kept.list_carried() for seq in range(item.first_seq, item.last_seq + 1)]
    assert found == sorted(set(seqs) - {received})
