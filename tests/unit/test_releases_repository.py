"""The update repository: who must sign, what is published, how root and keys are changed."""

from __future__ import annotations

import dataclasses
import json
import sys
import tarfile
from datetime import timedelta
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))
from releases_house import Host, House, make_person, make_release, now, open_mirror
from teiten.fleet.releases import bundles, key_files, signing
from teiten.fleet.releases.errors import KeyFileError, ReleaseError, UnsignedError
from teiten.fleet.releases.folder import read_metadata
from teiten.launcher.errors import UpdateBlocked
from teiten.launcher.updating import update

pytestmark = pytest.mark.requirement("R1.3")


@pytest.fixture
def house(tmp_path: Path) -> House:
    house = House(tmp_path)
    house.begin()
    return house


def test_it_publishes_only_what_two_people_signed(house: House) -> None:
    house.repository.draft_targets([bundles.inspect_bundle(house.pack(1))], now=now())
    with pytest.raises(UnsignedError, match="signed by nobody; 2 more of Aoi, Ben, Chiyo"):
        house.repository.publish(now=now())
    house.sign("Ben")
    with pytest.raises(UnsignedError, match="signed by Ben; 1 more of Aoi, Chiyo"):
        house.repository.publish(now=now())
    assert house.repository.list_releases() == ()
    house.sign("Chiyo")
    published = house.repository.publish(now=now())
    assert (published.targets, published.snapshot, published.timestamp) == (2, 2, 2)
    assert published.releases == house.repository.list_releases() == (1,)
    with pytest.raises(ReleaseError, match="there is no draft"):
        house.repository.publish(now=now())


def test_the_threshold_counts_people(tmp_path: Path) -> None:
    house = House(tmp_path)
    people = [make_person(role, name)[0] for role in ("root", "targets") for name in ("Aoi", "Ben", "Ben")]
    with pytest.raises(ReleaseError, match="each person may hold one key"):
        house.repository.init(people, now=now())
    two = [make_person(role, name)[0] for role in ("root", "targets") for name in ("Aoi", "Ben")]
    with pytest.raises(ReleaseError, match="3 or more"):
        house.repository.init(two, now=now())
    assert not house.repository.folder.is_made


def test_a_key_signs_its_own_role_only(house: House) -> None:
    house.repository.draft_targets(now=now())
    draft = house.repository.folder.read_draft("targets")
    with pytest.raises(ReleaseError, match="root key of Aoi; the draft is of role targets"):
        signing.sign_draft(draft, *house.people["root", "Aoi"])
    # A stranger's signature is no harm and no help.
    public, signer = make_person("targets", "Mallory")
    signing.sign_draft(draft, public, signer)
    house.repository.folder.write_draft(draft)
    house.sign("Ben")
    with pytest.raises(UnsignedError, match="signed by Ben; 1 more"):
        house.repository.publish(now=now())


def test_signatures_of_copies_are_merged(house: House, tmp_path: Path) -> None:
    house.repository.draft_targets([bundles.inspect_bundle(house.pack(1))], now=now())
    copies = []
    for person in ("Aoi", "Chiyo"):
        copy = house.repository.folder.read_draft("targets")
        signing.sign_draft(copy, *house.people["targets", person])
        copy.to_file(str(tmp_path / f"{person}.json"))
        copies.append(read_metadata(tmp_path / f"{person}.json"))
    draft = house.repository.folder.read_draft("targets")
    assert [signing.merge_signatures(draft, copy) for copy in copies] == [1, 1]
    assert signing.merge_signatures(draft, copies[0]) == 0
    house.repository.folder.write_draft(draft)
    assert house.repository.publish(now=now()).releases == (1,)
    house.repository.draft_targets(now=now())
    with pytest.raises(ReleaseError, match="not of this draft"):
        signing.merge_signatures(house.repository.folder.read_draft("targets"), copies[0])


def test_root_is_rotated_by_old_and_new_people(house: House, tmp_path: Path) -> None:
    """The rehearsal: Aoi leaves, Dai comes, all keys of the base change; a sensor of before follows."""
    house.release(1)
    with open_mirror(house.public) as mirror:
        host = Host(tmp_path / "host", mirror.url, house.anchor)
        host.allow(1)
        assert update(host.bench, host.config).release == 1
        for role in ("root", "targets"):
            house.people[role, "Dai"] = make_person(role, "Dai")
        new = [house.people[role, "Dai"][0] for role in ("root", "targets")]
        house.repository.draft_root(add=new, remove=["root:Aoi", "targets:Aoi"], renew_online=True, now=now())
        house.sign("Dai", "Ben")
        with pytest.raises(UnsignedError, match=r"root 2: signed by Ben, Dai; 1 more of Aoi, Chiyo"):
            house.repository.publish(now=now())  # enough of the new people, not of the old ones
        house.sign("Chiyo")
        published = house.repository.publish(now=now())
        assert (published.root, published.targets) == (2, 3)
        second = Host(tmp_path / "second", mirror.url, house.anchor)
        second.allow(1)
        assert update(second.bench, second.config).release == 1
        assert (second.places.metadata / "root_history/2.root.json").exists()
    assert house.repository.renew(now=now() + timedelta(hours=13)) == ("timestamp",)


def test_a_root_of_one_side_alone_is_refused_by_clients(house: House, tmp_path: Path) -> None:
    house.release(1)
    with open_mirror(house.public) as mirror:
        host = Host(tmp_path / "host", mirror.url, house.anchor)
        forged = house.repository.draft_root(now=now())
        for person in ("Aoi",):
            signing.sign_draft(forged, *house.people["root", person])
        mirror.lies["2.root.json"] = forged.to_bytes()
        with pytest.raises(UpdateBlocked, match="not trusted: root was signed by 1/2 keys"):
            update(host.bench, host.config)


def test_the_base_renews_what_is_its_own(house: House) -> None:
    at = now()
    assert house.repository.renew(now=at) == ()
    assert house.repository.renew(now=at + timedelta(hours=13)) == ("timestamp",)
    assert house.repository.renew(now=at + timedelta(days=4)) == ("snapshot", "timestamp")
    expiries = house.repository.list_expiries()
    assert expiries["timestamp"] - at > timedelta(days=4, hours=23)
    assert expiries["root"] - at < timedelta(days=366)
    assert timedelta(days=89) < expiries["targets"] - at <= timedelta(days=90)


def test_a_published_bundle_never_changes(house: House, tmp_path: Path) -> None:
    house.release(1)
    other = bundles.pack_folder(make_release(tmp_path, 1, program="def main(w=None): return 1\n"), tmp_path)
    with pytest.raises(ReleaseError, match="higher release number"):
        house.repository.draft_targets([bundles.inspect_bundle(other)], now=now())


def test_old_and_dropped_releases_leave_the_offer(house: House) -> None:
    house.offer(*(house.pack(number) for number in range(1, 6)))
    assert house.repository.list_releases() == (3, 4, 5)
    house.repository.draft_targets(drop=[5], now=now())
    house.sign()
    house.repository.publish(now=now())
    assert house.repository.list_releases() == (3, 4)
    assert len(list((house.public / "targets/bundles").iterdir())) == 2


def test_a_publication_that_was_cut_short_is_finished(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    house.repository.draft_root(renew_online=True, now=now())
    house.sign()
    with monkeypatch.context() as patch:
        patch.setattr(house.repository.folder, "use_new_online_keys", lambda: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            house.repository.publish(now=now())
    published = house.repository.publish(now=now())
    assert published.root == 2
    house.repository.folder.read_root().signed.verify_delegate(
        "timestamp",
        house.repository.folder.read_timestamp().signed_bytes,
        house.repository.folder.read_timestamp().signatures,
    )


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda path: path.rename(path.with_name("sensor.tar.xz")), "must be named"),
        (
            lambda path: path.rename(path.with_name(path.name.replace("-9-", "-8-"))),
            "something else than its name",
        ),
        (lambda path: path.write_bytes(path.read_bytes()[:200]), "is no bundle"),
    ],
)
def test_a_wrong_bundle_is_named(house: House, change: object, said: str) -> None:
    path = house.pack(9)
    changed = change(path)  # type: ignore[operator]
    with pytest.raises(ReleaseError, match=said):
        bundles.inspect_bundle(changed if isinstance(changed, Path) else path)


def test_links_are_not_offered(house: House, tmp_path: Path) -> None:
    path = house.pack(9)
    with tarfile.open(path, "w:xz", preset=0) as archive:
        link = tarfile.TarInfo("lib/passwd")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    with pytest.raises(ReleaseError, match="no ordinary file"):
        bundles.inspect_bundle(path)


def test_packing_gives_the_same_bytes(tmp_path: Path) -> None:
    folder = make_release(tmp_path, 4, min_from=2)
    for name in "ab":
        (tmp_path / name).mkdir()
    first, second = (bundles.pack_folder(folder, tmp_path / name) for name in "ab")
    assert first.read_bytes() == second.read_bytes()
    read = bundles.inspect_bundle(first)
    assert (read.release, read.min_from, read.target) == (4, 2, f"bundles/{first.name}")
    assert read == dataclasses.replace(bundles.inspect_bundle(second), path=first)


def test_key_files_are_closed_by_a_passphrase(tmp_path: Path) -> None:
    path = tmp_path / "aoi.key"
    with pytest.raises(KeyFileError, match="at least 12"):
        key_files.create_key_file(path, role="root", person="Aoi", passphrase="short")
    made = key_files.create_key_file(path, role="targets", person="青井", passphrase="correct horse battery")
    assert path.stat().st_mode & 0o777 == 0o600
    assert key_files.read_public(tmp_path / "aoi.key.pub") == made
    public, signer = key_files.open_key_file(path, "correct horse battery")
    assert public == made
    assert signer.public_key.keyid == made.as_key().keyid
    with pytest.raises(KeyFileError, match="passphrase is another"):
        key_files.open_key_file(path, "wrong horse battery")
    with pytest.raises(KeyFileError, match="cannot be written: File exists"):
        key_files.create_key_file(path, role="targets", person="Ben", passphrase="correct horse battery")
    told = json.loads(path.read_text())
    told["public"]["person"] = "Ben"
    path.write_text(json.dumps(told))
    with pytest.raises(KeyFileError, match="damaged"):
        key_files.open_key_file(path, "correct horse battery")
