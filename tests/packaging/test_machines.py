"""Whole hosts become sensors: real systemd, real packages, real gateway, a signed release (all long)."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from machines import BASE_ADDRESS, Host, open_site, run, why_not
from releases_house import House

pytestmark = [
    pytest.mark.long,
    pytest.mark.root,
    pytest.mark.timeout(1_800),
    pytest.mark.requirement("R1.2", "R1.3", "R1.4"),
]
TEITEN = Path(sys.executable).with_name("teiten")
#: Suite, and what it is.
SUITES = {"bookworm": "3.11", "jammy": "3.10", "noble": "3.12"}
#: What `docs` promises of a sensor.
INSTALL_SECONDS, RESIDENT_KIB = 60.0, 64 * 1024


@dataclass
class Base:
    """A base that runs for itself, with a published release."""

    folder: Path
    site: str
    environment: dict[str, str]
    packages: Path

    def teiten(self, *words: str | Path) -> str:
        done = subprocess.run(
            [TEITEN, *words], env=self.environment, capture_output=True, text=True, timeout=300, check=False
        )
        assert done.returncode == 0, done.stderr[-3_000:]
        return done.stdout + done.stderr

    def make_script(self, name: str) -> str:
        output = self.folder / name
        said = self.teiten(
            *("sensor", "create", name, "--region", "kanto", "--org", "example-university"),
            *("--output", output, "--packages", self.packages),
        )
        assert "cannot install" not in said
        return (output / f"{name}.install.sh").read_text()


@pytest.fixture(scope="module")
def base(
    tmp_path_factory: pytest.TempPathFactory, packages: Path, bundles: dict[str, Path]
) -> Iterator[Base]:
    if reason := why_not("bookworm"):
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("base")
    house = House(folder / "data")
    house.begin()
    house.offer(*bundles.values())
    settings = {
        "TEITEN_SITE_DATA_DIR": str(folder / "data"),
        "TEITEN_GATEWAY_HOST": BASE_ADDRESS,
        "TEITEN_GATEWAY_AUTHORITY": f"{BASE_ADDRESS}:8443",
    }
    environment = {**{name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}, **settings}
    with open_site(f"teiten-{os.getpid()}") as site, (folder / "up.log").open("w") as log:
        up = subprocess.Popen(
            ["ip", "netns", "exec", site, TEITEN, "up"], env=environment, stdout=log, stderr=subprocess.STDOUT
        )
        try:
            wait_until(lambda: "\nready" in (folder / "up.log").read_text(), seconds=180)
            yield Base(folder, site, environment, packages)
        finally:
            up.send_signal(signal.SIGINT)
            up.wait(60)


@pytest.fixture(params=SUITES)
def host(request: pytest.FixtureRequest, base: Base, tmp_path: Path) -> Iterator[Host]:
    if reason := why_not(request.param):
        pytest.skip(reason)
    address = f"192.0.2.{10 + list(SUITES).index(request.param)}"
    machine = Host(request.param, tmp_path / "host", site=base.site, address=address)
    try:
        yield machine
    finally:
        machine.stop()


def wait_until(is_so: object, *, seconds: float) -> None:
    assert callable(is_so)
    end = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < end, "it did not come to be"
        time.sleep(0.3)


def test_a_host_becomes_a_sensor_stays_one_and_is_left_as_it_was(base: Base, host: Host) -> None:
    name = f"host-{time.monotonic_ns()}"
    script = host.root / "srv/install.sh"
    script.write_text(base.make_script(name))
    found = host.run("find", "/etc", "/opt", "/usr", "/var/lib", "-xdev").stdout

    # What it says before it is anything.
    assert "can be a sensor" in host.run("sh", "/srv/install.sh", "check").stdout
    assert host.run("find", "/etc", "/opt", "/usr", "/var/lib", "-xdev").stdout == found

    begun = time.monotonic()
    done = host.run("sh", "/srv/install.sh", check=False)
    seconds = time.monotonic() - begun
    assert done.returncode == 0, done.stdout + done.stderr
    assert "its first batch was accepted" in done.stdout
    assert seconds <= INSTALL_SECONDS
    assert not host.run("sh", "-c", "ls /etc/teiten-sensor/token", check=False).stdout

    check_processes(host)
    assert name in base.teiten("sensor", "list")

    # Again: nothing is harmed, nothing is done twice.
    before = read_main_pids(host)
    again = host.run("sh", "/srv/install.sh")
    assert "installed already" in again.stdout
    assert "enrolled already" in again.stdout
    assert read_main_pids(host) == before

    # A process that hangs is started anew by systemd.
    restart_by_watchdog(host)

    gone = host.run("sh", "/srv/install.sh", "uninstall")
    assert "nothing of the sensor is left" in gone.stdout
    left = set(host.run("find", "/etc", "/opt", "/usr", "/var/lib", "-xdev").stdout.splitlines())
    assert {path for path in left - set(found.splitlines()) if not is_of_the_system(path)} == set()
    assert {path for path in set(found.splitlines()) - left if not is_of_the_system(path)} == set()
    assert host.run("getent", "passwd", "teiten-sensor", check=False).stdout == ""
    assert "teiten" not in host.run("systemctl", "list-unit-files", "--no-legend").stdout


def read_main_pids(host: Host) -> list[str]:
    return [
        host.run("systemctl", "show", "-P", "MainPID", f"teiten-sensor-{unit}").stdout.strip()
        for unit in ("capture", "upload")
    ]


def check_processes(host: Host) -> None:
    capture, upload = (
        dict(re.findall(r"^(\w+):\s+(\S+)", host.run("cat", f"/proc/{pid}/status").stdout, re.MULTILINE))
        for pid in read_main_pids(host)
    )
    # CAP_NET_RAW is bit 13; seccomp mode 2 is a filter.
    assert (capture["CapEff"], upload["CapEff"]) == ("0000000000002000", "0000000000000000")
    for process in (capture, upload):
        assert (process["NoNewPrivs"], process["Seccomp"]) == ("1", "2")
        assert int(process["Uid"]) != 0
        assert int(process["VmHWM"]) <= RESIDENT_KIB
    status = json.loads(host.run("teiten-sensor", "status", "--json").stdout)
    assert status["capture"]["interfaces"][0]["state"] == "up"
    assert f"{BASE_ADDRESS}/32 tcp from 8443" in status["capture"]["exclusion"]


def restart_by_watchdog(host: Host) -> None:
    folder = "/run/systemd/system/teiten-sensor-capture.service.d"
    text = f"mkdir -p {folder}; printf '[Service]\\nWatchdogSec=4\\n' >{folder}/test.conf; systemctl daemon-reload"
    host.run("sh", "-c", f"{text}; systemctl restart teiten-sensor-capture")
    time.sleep(10)
    assert host.run("systemctl", "show", "-P", "NRestarts", "teiten-sensor-capture").stdout.strip() == "0"
    host.run("sh", "-c", f"kill -STOP {read_main_pids(host)[0]}")
    wait_until(
        lambda: (
            host.run("systemctl", "show", "-P", "NRestarts", "teiten-sensor-capture").stdout.strip() == "1"
        ),
        seconds=30,
    )
    host.run("sh", "-c", f"rm -r {folder}; systemctl daemon-reload")


def is_of_the_system(path: str) -> bool:
    """What the package manager and systemd keep for themselves."""
    kept = ("/var/lib/dpkg/", "/var/lib/systemd/", "/var/lib/apt/", "/var/lib/private")
    backups = (
        "/etc/passwd-",
        "/etc/group-",
        "/etc/shadow-",
        "/etc/gshadow-",
        "/etc/.pwd.lock",
        "/etc/subuid-",
        "/etc/subgid-",
    )
    return path.startswith(kept) or path in backups


def test_capture_is_refused_an_internet_socket(base: Base, tmp_path: Path) -> None:
    host = Host("bookworm", tmp_path / "host", site=base.site, address="192.0.2.30")
    try:
        (host.root / "srv/install.sh").write_text(base.make_script("filtered"))
        host.run("sh", "/srv/install.sh")
        folder = "/run/systemd/system/teiten-sensor-capture.service.d"
        program = "import socket; socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM); "
        program += "print(4711, flush=True); socket.socket()"
        unit = f'[Service]\\nType=oneshot\\nRestart=no\\nExecStart=\\nExecStart=/usr/bin/python3 -c "{program}"\\n'
        host.run(
            "sh", "-c", f"mkdir -p {folder}; printf '{unit}' >{folder}/test.conf; systemctl daemon-reload"
        )
        host.run("systemctl", "restart", "teiten-sensor-capture", check=False)

        said = host.run("journalctl", "-u", "teiten-sensor-capture", "-o", "cat", "-n", "20").stdout

        assert "4711" in said
        assert "Address family not supported by protocol" in said
    finally:
        host.stop()


@pytest.mark.parametrize("suite", SUITES)
def test_the_deb_is_installed_and_removed_without_systemd(suite: str, packages: Path, tmp_path: Path) -> None:
    if reason := why_not(suite):
        pytest.skip(reason)
    root = tmp_path / "root"
    for name in ("root", "changes", "work"):
        (tmp_path / name).mkdir()
    from machines import ROOTS

    layers = f"lowerdir={ROOTS / suite},upperdir={tmp_path / 'changes'},workdir={tmp_path / 'work'}"
    run("mount", "-t", "overlay", "overlay", "-o", layers, root)
    run("mount", "-t", "proc", "proc", root / "proc")
    try:
        (package,) = packages.glob("*.deb")
        (root / "srv/launcher.deb").write_bytes(package.read_bytes())
        run("chroot", root, "dpkg", "-i", "/srv/launcher.deb")
        assert '"current": 0' in run("chroot", root, "teiten-launcher", "status").stdout
        assert "teiten-sensor" in (root / "etc/passwd").read_text()

        run("chroot", root, "dpkg", "-r", "teiten-launcher")
        assert (root / "var/lib/teiten-sensor").is_dir()
        run("chroot", root, "dpkg", "-P", "teiten-launcher")

        assert "teiten" not in (root / "etc/passwd").read_text()
        assert not [path for path in (root / "var/lib").iterdir() if "teiten" in path.name]
        assert not (root / "opt/teiten-sensor").exists()
    finally:
        run("umount", root / "proc")
        run("umount", root)
