"""The units, user and folders of a sensor, judged by systemd's own tools."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.requirement("R1.4", "R1.1")
PACKAGING = Path(__file__).parents[2] / "packaging"
UNITS = sorted((PACKAGING / "systemd").iterdir())
#: Exposure as `systemd-analyze security` scores it, 0 to 10; those of root do what only root can.
HIGHEST = {"capture": 1.5, "upload": 1.5, "update": 3.0, "commit": 3.0, "obey": 3.0}


def read_lines(name: str) -> list[str]:
    return (PACKAGING / f"systemd/teiten-sensor-{name}.service").read_text().splitlines()


@pytest.mark.parametrize("unit", HIGHEST)
def test_a_unit_is_exposed_no_more_than_it_must_be(unit: str) -> None:
    path = PACKAGING / f"systemd/teiten-sensor-{unit}.service"

    said = subprocess.run(
        ["systemd-analyze", "security", "--offline=yes", "--no-pager", path],
        check=True,
        capture_output=True,
        text=True,
    ).stdout

    score = re.search(r"Overall exposure level for \S+: ([0-9.]+)", said)
    assert score is not None
    assert float(score[1]) <= HIGHEST[unit]


def test_systemd_understands_every_line(tmp_path: Path) -> None:
    for name in ("teiten-launcher", "commit-check"):
        path = tmp_path / f"opt/teiten-sensor/launcher/bin/{name}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o755)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/sh").touch(mode=0o755)
    folder = tmp_path / "usr/lib/systemd/system"
    shutil.copytree(PACKAGING / "systemd", folder)
    for name in ("sysinit", "basic", "shutdown", "multi-user", "timers", "paths", "network", "nss-lookup"):
        shutil.copy(f"/usr/lib/systemd/system/{name}.target", folder)
    shutil.copy("/usr/lib/systemd/system/local-fs.target", folder)

    done = subprocess.run(
        ["systemd-analyze", "verify", f"--root={tmp_path}", *(path.name for path in UNITS)],
        check=False,
        capture_output=True,
        text=True,
    )

    ours = [line for line in (done.stdout + done.stderr).splitlines() if "teiten" in line]
    assert (done.returncode, ours) == (0, [])


def test_capture_may_open_packet_sockets_and_no_internet_socket() -> None:
    lines = read_lines("capture")

    assert "RestrictAddressFamilies=AF_PACKET AF_UNIX AF_NETLINK" in lines
    assert "CapabilityBoundingSet=CAP_NET_RAW" in lines
    assert "AmbientCapabilities=CAP_NET_RAW" in lines
    assert "User=teiten-sensor" in lines


def test_the_uploader_holds_no_capability_and_sees_no_packet() -> None:
    lines = read_lines("upload")

    assert "CapabilityBoundingSet=" in lines
    assert "RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX" in lines
    assert not any(line.startswith("AmbientCapabilities") for line in lines)
    assert not any("/opt" in line for line in lines if line.startswith("ReadWritePaths"))


@pytest.mark.parametrize("unit", ["capture", "upload"])
def test_memory_and_tasks_are_bounded_and_life_is_watched(unit: str) -> None:
    lines = read_lines(unit)

    assert {"MemoryMax=256M", "TasksMax=32", "WatchdogSec=120", "Type=notify", "Restart=always"} <= set(lines)


@pytest.mark.parametrize("unit", ["commit", "obey"])
def test_what_judges_and_obeys_opens_no_internet_socket(unit: str) -> None:
    assert "RestrictAddressFamilies=AF_UNIX" in read_lines(unit)


def test_user_and_folders_are_made_as_declared(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    for name in ("sysusers", "tmpfiles"):
        folder = tmp_path / f"usr/lib/{name}.d"
        folder.mkdir(parents=True)
        shutil.copy(PACKAGING / f"{name}.d/teiten-sensor.conf", folder)

    subprocess.run(["systemd-sysusers", f"--root={tmp_path}", "teiten-sensor.conf"], check=True)

    users = (tmp_path / "etc/passwd").read_text()
    assert re.search(
        r"^teiten-sensor:x:\d+:\d+:Teiten sensor:/var/lib/teiten-sensor:/usr/sbin/nologin$",
        users,
        re.MULTILINE,
    )
    subprocess.run(["systemd-tmpfiles", f"--root={tmp_path}", "--create", "teiten-sensor.conf"], check=True)
    assert (tmp_path / "var/lib/teiten-sensor/obey/requests").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "var/lib/teiten-launcher").stat().st_mode & 0o777 == 0o755


@pytest.mark.parametrize(
    "path",
    sorted([*(PACKAGING / "launcher").iterdir(), *(PACKAGING / "scripts").iterdir()]),
    ids=lambda path: path.name,
)
def test_a_shell_script_of_the_package_is_clean(path: Path) -> None:
    done = subprocess.run(
        ["shellcheck", "-x", "-P", PACKAGING / "launcher", path],
        check=False,
        capture_output=True,
        text=True,
        cwd=PACKAGING.parent,
    )

    assert done.stdout == ""
