"""The update repository in careless hands: the same person twice, old drafts, full disks, verbs out of order."""

from __future__ import annotations

import dataclasses
import errno
import sys
from datetime import timedelta
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))
from releases_house import House, make_person, now
from teiten.fleet.releases import bundles, folder, key_files
from teiten.fleet.releases.errors import KeyFileError, ReleaseError
from teiten.fleet.releases.repository import Published

pytestmark = pytest.mark.requirement("R1.3")


@pytest.fixture
def house(tmp_path: Path) -> House:
    house = House(tmp_path)
    house.begin()
    return house


@pytest.mark.parametrize("second", ["aoi", " AOI ", "\uff21\uff4f\uff49"])
def test_another_spelling_is_no_other_person(tmp_path: Path, second: str) -> None:
    people = [make_person(role, name)[0] for role in ("root", "targets") for name in ("Aoi", second, "Ben")]
    with pytest.raises(ReleaseError, match=r"each person may hold one key, and Aoi \(also written"):
        House(tmp_path).repository.init(people, now=now())


def test_one_key_is_not_two_people(house: House, tmp_path: Path) -> None:
    people = [make_person(role, name)[0] for role in ("root", "targets") for name in ("Aoi", "Ben", "Chiyo")]
    people[1] = dataclasses.replace(people[0], person="Ben")
    with pytest.raises(ReleaseError, match="root: Aoi and Ben brought the same key"):
        House(tmp_path / "second").repository.init(people, now=now())
    copy = dataclasses.replace(house.people["targets", "Aoi"][0], person="Dai")
    with pytest.raises(ReleaseError, match="targets: Aoi and Dai brought the same key"):
        house.repository.draft_root(add=[copy], now=now())
    with pytest.raises(ReleaseError, match="Dora holds no targets key; there are Aoi, Ben, Chiyo"):
        house.repository.draft_root(remove=["targets:Dora"], now=now())
    assert house.repository.folder.read_draft("root") is None


def test_an_init_that_was_cut_short_is_done_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    house = House(tmp_path)
    people = [make_person(role, name)[0] for role in ("root", "targets") for name in ("Aoi", "Ben", "Chiyo")]
    write = house.repository.folder.write_draft
    for done in (0, 1):
        written: list[object] = []

        def write_some(draft: object, done: int = done, written: list[object] = written) -> Path:
            written.append(draft)
            return write(draft) if len(written) <= done else 1 / 0  # type: ignore[arg-type,return-value]

        with monkeypatch.context() as patch:
            patch.setattr(house.repository.folder, "write_draft", write_some)
            with pytest.raises(ZeroDivisionError):
                house.repository.init(people, now=now())
    house.repository.init(people, now=now())
    with pytest.raises(ReleaseError, match=r"waits for signatures .* remove that folder first"):
        house.repository.init(people, now=now())


def test_numbers_never_go_back(house: House) -> None:
    house.release(5)
    with pytest.raises(ReleaseError, match=r"below release 5, which is published for Python .* higher"):
        house.repository.draft_targets([bundles.inspect_bundle(house.pack(4))], now=now())
    with pytest.raises(ReleaseError, match="release 9 is not on offer"):
        house.repository.draft_targets(drop=[9], now=now())
    # Another processor has numbers of its own.
    other = bundles.inspect_bundle(house.pack(3, arch="riscv64"))
    assert other.target in house.repository.draft_targets([other], now=now()).signed.targets


def test_a_draft_from_before_is_not_published(house: House) -> None:
    house.repository.draft_targets(now=now())
    house.sign()
    stale = house.repository.folder.read_draft("targets")
    house.repository.publish(now=now())
    house.release(1)
    house.repository.folder.write_draft(stale)
    with pytest.raises(ReleaseError, match="the draft is targets 2, and targets 3 are public"):
        house.repository.publish(now=now())
    assert house.repository.list_releases() == (1,)


def test_numbers_rise_above_what_was_seen(house: House) -> None:
    house.repository.draft_targets(above=40, now=now())
    house.sign()
    published = house.repository.publish(now=now(), seen=Published(1, 40, 50, 60, ()))
    assert (published.targets, published.snapshot, published.timestamp) == (41, 51, 61)
    assert house.repository.read_versions() == published


def test_a_full_disk_leaves_no_parts(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    before = sorted(house.public.rglob("*"))
    bundle = bundles.inspect_bundle(house.pack(1))
    with monkeypatch.context() as patch:

        def refuse(*_: object) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        patch.setattr(folder.os, "fsync", refuse)
        with pytest.raises(ReleaseError, match="No space left on device; make room"):
            house.repository.draft_targets([bundle], now=now())
        with pytest.raises(ReleaseError, match=r"timestamp\.json cannot be written"):
            house.repository.renew(now=now() + timedelta(hours=13))
    assert [path for path in sorted(house.public.rglob("*")) if path not in before] == []
    assert house.repository.folder.read_draft("targets") is None


def test_a_key_file_comes_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(key_files, "_COST", 1 << 4)
    (tmp_path / "aoi.key.pub").write_text("of another key")
    with pytest.raises(KeyFileError, match=r"aoi\.key\.pub cannot be written: File exists"):
        key_files.create_key_file(tmp_path / "aoi.key", role="root", person="Aoi", passphrase="x" * 12)
    assert not (tmp_path / "aoi.key").exists()
    key_files.create_key_file(tmp_path / "ben.key", role="root", person="Ben", passphrase="x" * 12)
    (tmp_path / "ben.key").chmod(0o644)
    with pytest.raises(KeyFileError, match="open to others; run chmod 600"):
        key_files.open_key_file(tmp_path / "ben.key", "x" * 12)


def test_the_other_half_of_a_key_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(key_files, "_COST", 1 << 4)
    path = tmp_path / "aoi.key"
    key_files.create_key_file(path, role="root", person="Aoi", passphrase="x" * 12)
    with pytest.raises(
        KeyFileError, match=r"holds no release key that could be given away; that is .*aoi\.key\.pub"
    ):
        key_files.read_public(path)
    with pytest.raises(
        KeyFileError, match=r"holds no release key that could sign; that is .*aoi\.key, with its owner"
    ):
        key_files.read_public_of(tmp_path / "aoi.key.pub")


def test_it_says_whose_signature_would_count(house: House) -> None:
    stranger, dai = make_person("targets", "Mallory")[0], make_person("targets", "Dai")[0]
    house.repository.draft_targets(now=now())
    assert house.repository.counts(house.people["targets", "Aoi"][0])
    assert not house.repository.counts(stranger)
    house.repository.draft_root(add=[dai], remove=["targets:Aoi"], now=now())
    assert house.repository.counts(dai)
    assert not house.repository.counts(house.people["targets", "Aoi"][0])
    assert house.repository.counts(house.people["root", "Aoi"][0])
