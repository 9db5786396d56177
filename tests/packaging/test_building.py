"""How bundles are put together: what goes in, and the same bytes each time."""

from __future__ import annotations

import os
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.requirement("R1.4")
ROOT = Path(__file__).parents[2]
sys.path.append(str(ROOT / "packaging"))

import building  # noqa: E402


def make_tree(folder: Path) -> Path:
    (folder / "lib/teiten").mkdir(parents=True)
    (folder / "lib/teiten/__init__.py").write_text("")
    (folder / "lib/a.py").write_text("A = 1\n" * 1_000)
    building.write_release(folder, building.Target("3.11", "x86_64"), release=7, version="0.1.0", min_from=2)
    return folder


def test_the_same_files_give_the_same_bytes_whoever_packs_them_when(tmp_path: Path) -> None:
    first, second = make_tree(tmp_path / "one"), make_tree(tmp_path / "two")
    os.utime(second / "lib/a.py", (1, 1))
    (second / "lib/a.py").chmod(0o600)

    building.pack(first, tmp_path / "one.tar.xz")
    building.pack(second, tmp_path / "two.tar.xz")

    assert (tmp_path / "one.tar.xz").read_bytes() == (tmp_path / "two.tar.xz").read_bytes()
    with tarfile.open(tmp_path / "one.tar.xz") as archive:
        members = archive.getmembers()
    assert [member.name for member in members] == [
        "RELEASE.json",
        "lib",
        "lib/a.py",
        "lib/teiten",
        "lib/teiten/__init__.py",
    ]
    assert {(member.uid, member.gid, member.uname, member.mtime) for member in members} == {
        (0, 0, "", building.EPOCH_S)
    }
    assert {member.mode for member in members} == {0o644, 0o755}


def test_the_base_takes_what_is_packed(tmp_path: Path) -> None:
    from teiten.fleet.releases.bundles import inspect_bundle

    bundle = tmp_path / "teiten-sensor-7-py311-x86_64.tar.xz"
    building.pack(make_tree(tmp_path / "tree"), bundle)

    assert inspect_bundle(bundle).release == 7


@pytest.mark.parametrize("python", building.PYTHONS)
def test_requirements_are_those_of_the_sensors_python(python: str) -> None:
    locked = (ROOT / "requirements/sensor.txt").read_text()

    chosen = building.choose_requirements(locked, building.Target(python, "aarch64"))

    names = [line.partition("==")[0] for line in chosen.splitlines() if "==" in line]
    assert len(names) == len(set(names))
    assert {"cryptography", "numpy", "zstandard", "cffi"} <= set(names)
    assert ("tomli" in names) == (python == "3.10")
    assert ";" not in chosen
    assert all("--hash=sha256:" in part for part in chosen.split("==")[1:])


@pytest.mark.parametrize(
    ("name", "is_used"),
    [
        ("numpy/__init__.py", True),
        ("numpy/_core/_multiarray_umath.so", True),
        ("numpy/_core/tests/test_x.py", False),
        ("numpy/_core/include/numpy/x.h", False),
        ("numpy/__init__.pyi", False),
        ("teiten/sensor/testing.py", False),
        ("teiten/traffic/data/probes.csv", True),
        ("cffi-2.dist-info/RECORD", False),
        ("cffi-2.dist-info/licenses/LICENSE", True),
    ],
)
def test_only_what_a_running_program_reads_goes_in(name: str, is_used: bool) -> None:
    assert building.is_used(name) is is_used


def test_a_wheel_that_leads_out_of_its_folder_stops_the_build(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "bad.whl", "w") as archive:
        archive.writestr("../evil.py", "")

    with pytest.raises(SystemExit, match="out of its folder"):
        building.unpack_wheels([tmp_path / "bad.whl"], tmp_path / "out")
