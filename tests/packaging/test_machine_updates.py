"""A whole host takes a release, keeps it, and goes back from one that crashes: real systemd and units (long)."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from test_machines import TEITEN, Base, wait_until

from machines import BASE_ADDRESS, Host, open_site, why_not
from releases_house import House
from teiten.fleet.releases import bundles as packing

pytestmark = [
    pytest.mark.long,
    pytest.mark.root,
    pytest.mark.timeout(1_800),
    pytest.mark.requirement("R1.3", "R1.4"),
]
SUITE, PYTHON = "bookworm", "3.11"
CRASH = '\n_VERBS["record"] = lambda *_: 3\n'


@dataclass
class Site:
    base: Base
    house: House
    host: Host

    def offer(self, path: Path, number: int) -> None:
        self.house.offer(path)
        said = self.base.teiten("release", "promote", str(number), "--stages", "100", "--soak", "0")
        assert f"release {number} to 1 sensors" in said

    def status(self) -> dict:
        return json.loads(self.host.run("/opt/teiten-sensor/launcher/bin/teiten-launcher", "status").stdout)


@pytest.fixture
def site(tmp_path: Path, packages: Path, bundles: dict[str, Path]) -> Iterator[Site]:
    if reason := why_not(SUITE):
        pytest.skip(reason)
    house = House(tmp_path / "data")
    house.begin()
    house.offer(bundles[PYTHON])
    environment = {
        **{name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ},
        "TEITEN_SITE_DATA_DIR": str(tmp_path / "data"),
        "TEITEN_GATEWAY_HOST": BASE_ADDRESS,
        "TEITEN_GATEWAY_AUTHORITY": f"{BASE_ADDRESS}:8443",
    }
    with open_site(f"teiten-u{os.getpid()}") as name, (tmp_path / "up.log").open("w") as log:
        up = subprocess.Popen(
            ["ip", "netns", "exec", name, TEITEN, "up"], env=environment, stdout=log, stderr=subprocess.STDOUT
        )
        host = None
        try:
            wait_until(lambda: "\nready" in (tmp_path / "up.log").read_text(), seconds=180)
            host = Host(SUITE, tmp_path / "host", site=name, address="192.0.2.31")
            yield Site(Base(tmp_path, name, environment, packages), house, host)
        finally:
            if host is not None:
                host.stop()
            up.send_signal(signal.SIGINT)
            up.wait(60)


def repack(bundle: Path, folder: Path, number: int, *, change: str = "") -> Path:
    """Give the same code under another number, with ``change`` at the end of its main module."""
    tree = folder / f"tree-{number}"
    with tarfile.open(bundle) as archive:
        archive.extractall(tree, filter="data")
    manifest = json.loads((tree / "RELEASE.json").read_text())
    (tree / "RELEASE.json").write_text(json.dumps({**manifest, "release": number}))
    main = tree / "lib/teiten/sensor/main.py"
    main.write_text(
        main.read_text().replace('\nif __name__ == "__main__":', f'{change}\nif __name__ == "__main__":')
    )
    try:
        return packing.pack_folder(tree, folder, preset=0)
    finally:
        shutil.rmtree(tree)


def test_a_host_takes_a_release_and_goes_back_from_a_bad_one(
    site: Site, bundles: dict[str, Path], tmp_path: Path
) -> None:
    host = site.host
    (host.root / "srv/install.sh").write_text(site.base.make_script("host-1"))
    host.run("sh", "/srv/install.sh")
    site.base.teiten("sensor", "configure", "host-1", "--window", "10")

    site.offer(repack(bundles[PYTHON], tmp_path, 2), 2)
    wait_until(lambda: site.status()["current"] == 2, seconds=240)
    wait_until(lambda: site.status()["committed"] == 2, seconds=240)
    assert site.status()["report"]["state"] == "steady"

    site.offer(repack(bundles[PYTHON], tmp_path, 3, change=CRASH), 3)
    wait_until(lambda: site.status()["bad"], seconds=240)
    told = site.status()
    assert (told["current"], told["committed"], told["pending"]) == (2, 2, None)
    assert "release 3: started" in told["report"]["detail"]
    wait_until(lambda: is_well(host), seconds=60)
    units = ("-u", "teiten-sensor-update", "-u", "teiten-sensor-commit")
    journal = host.run("journalctl", *units, "--no-pager").stdout
    assert "A release is rolled back" in journal


def is_well(host: Host) -> bool:
    status = json.loads(host.run("teiten-sensor", "status", "--json", check=False).stdout or "{}")
    return bool(status.get("capture", {}).get("running") and status.get("sending", {}).get("running"))
