"""Packages and bundles as files, and bundles under every Python that is here (all long)."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from machines import run
from teiten.fleet.releases import bundles as release_bundles

pytestmark = [pytest.mark.long, pytest.mark.timeout(1_800), pytest.mark.requirement("R1.4")]
ROOT = Path(__file__).parents[2]
LARGEST_BYTES = 30_000_000
PYENV = Path.home() / ".pyenv/versions"
STARTER = "import sys; sys.path.append(sys.argv.pop(1)); from teiten.sensor.main import main; sys.exit(main(sys.argv[1:]))"


def find_python(minor: str) -> Path | None:
    if sys.version_info[:2] == tuple(map(int, minor.split("."))):
        return Path(sys.executable)
    found = sorted(PYENV.glob(f"{minor}.*/bin/python{minor}"))
    named = shutil.which(f"python{minor}")
    return found[0] if found else (Path(named) if named and "shims" not in named else None)


def test_bundles_are_small_and_what_the_base_takes(bundles: dict[str, Path]) -> None:
    assert sorted(bundles) == ["3.10", "3.11", "3.12", "3.13"]
    for minor, path in bundles.items():
        assert path.stat().st_size <= LARGEST_BYTES
        assert release_bundles.inspect_bundle(path).release >= 1
        with tarfile.open(path) as archive:
            names = archive.getnames()
            said = json.load(archive.extractfile("RELEASE.json"))  # type: ignore[arg-type]
        assert said["python"] == minor
        rooms = {
            name.split("/")[2] for name in names if name.startswith("lib/teiten/") and name.count("/") > 2
        }
        assert rooms == {"foundation", "protocol", "sensor", "traffic"}
        assert not [
            name for name in names if re.search(r"(^|/)(tests|__pycache__|include)(/|$)|\.pyi$", name)
        ]


@pytest.mark.parametrize("minor", ["3.10", "3.11", "3.12", "3.13"])
def test_a_bundle_runs_under_its_python(bundles: dict[str, Path], tmp_path: Path, minor: str) -> None:
    python = find_python(minor)
    if python is None:
        pytest.skip(f"Python {minor} is not here")
    with tarfile.open(bundles[minor]) as archive:
        archive.extractall(tmp_path / "release", filter="data")

    words = ["status", "--state-dir", tmp_path / "state"]
    done = subprocess.run(
        [python, "-I", "-S", "-B", "-c", STARTER, tmp_path / "release/lib", *words],
        check=False,
        capture_output=True,
        text=True,
    )

    assert "holds no identity" in done.stdout, done.stderr
    # Every module of the program can be loaded, and nothing comes from anywhere else.
    walk = (
        "import sys, pkgutil, importlib; lib = sys.argv[1]; sys.path.append(lib); import teiten\n"
        "for one in pkgutil.walk_packages(teiten.__path__, 'teiten.'): importlib.import_module(one.name)\n"
        "print([m.__file__ for m in sys.modules.values() if 'site-packages' in (getattr(m, '__file__', '') or '')])"
    )
    loaded = run(python, "-I", "-S", "-B", "-c", walk, tmp_path / "release/lib")
    assert loaded.stdout.strip() == "[]"


def test_the_rpm_says_what_it_needs_and_holds(packages: Path, tmp_path: Path) -> None:
    (package,) = packages.glob("*.rpm")

    needs = run("rpm", "-qp", "--requires", package).stdout.split("\n")
    assert {"python3.11", "systemd", "shadow-utils", "util-linux"} <= set(needs)
    files = run("rpm", "-qp", "--list", package).stdout.splitlines()
    for path in (
        "/usr/bin/teiten-sensor",
        "/opt/teiten-sensor/launcher/lib/tuf/__init__.py",
        "/usr/lib/systemd/system/teiten-sensor-capture.service",
        "/usr/lib/sysusers.d/teiten-sensor.conf",
    ):
        assert path in files
    scripts = run("rpm", "-qp", "--scripts", package).stdout
    for name in ("after-install", "rpm-before-remove", "rpm-after-remove"):
        assert (ROOT / "packaging/scripts" / name).read_text().strip() in scripts
    owners = run("rpm", "-qp", "--qf", "[%{FILEUSERNAME}:%{FILEGROUPNAME}\n]", package).stdout.split()
    assert set(owners) == {"root:root"}


def test_the_rpm_unpacks_into_an_empty_root(packages: Path, tmp_path: Path) -> None:
    (package,) = packages.glob("*.rpm")
    run("rpm", f"--root={tmp_path}", "--initdb")

    # Nothing of RHEL is there: neither what it requires nor a shell for its scripts.
    run("rpm", f"--root={tmp_path}", "-i", "--nodeps", "--noscripts", "--ignorearch", package)

    assert (tmp_path / "opt/teiten-sensor/launcher/bin/teiten-launcher").stat().st_mode & 0o777 == 0o755
    verified = run(
        "rpm", f"--root={tmp_path}", "-V", "--nodeps", "--noscripts", "teiten-launcher", check=False
    )
    assert verified.stdout == ""
    run("rpm", f"--root={tmp_path}", "-e", "--noscripts", "teiten-launcher")
    assert not (tmp_path / "opt/teiten-sensor/launcher").exists()


@pytest.mark.parametrize("minor", ["3.10", "3.11", "3.12", "3.13"])
def test_the_launcher_runs_under_every_python(packages: Path, tmp_path: Path, minor: str) -> None:
    python = find_python(minor)
    if python is None:
        pytest.skip(f"Python {minor} is not here")
    (package,) = packages.glob("*.deb")
    run("dpkg-deb", "-x", package, tmp_path)
    program = "import sys; sys.path.append(sys.argv.pop(1)); import teiten.launcher.updating, tuf.ngclient; "
    program += "from teiten.launcher.main import main; sys.exit(main(sys.argv[1:]))"

    done = run(
        *(python, "-I", "-S", "-B", "-c", program, tmp_path / "opt/teiten-sensor/launcher/lib"),
        *("--root", tmp_path, "status"),
    )

    assert json.loads(done.stdout)["current"] == 0
