"""Machines for the packages: a real systemd in a debootstrapped root, in namespaces of its own.

``unshare`` gives it processes, mounts, a network and a name of its own; the root is an overlay, so that
what a test does to it is gone afterwards and can be listed. Bases and machines meet on one bridge.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

ROOTS = Path(__file__).parents[1] / "build/roots"
BASE_ADDRESS = "192.0.2.1"

_BOOT = r"""
set -e
cd "$1"
mount --make-rprivate /
mount -t proc proc proc
mount -t sysfs sysfs sys
mount -t tmpfs tmpfs run -o mode=755
mount -t tmpfs tmpfs dev -o mode=755
for name in null zero full random urandom tty; do touch dev/$name; mount --bind /dev/$name dev/$name; done
mkdir dev/pts dev/shm
mount -t devpts devpts dev/pts -o newinstance,ptmxmode=0666,mode=620
mount -t tmpfs tmpfs dev/shm
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
mount -t cgroup2 cgroup2 sys/fs/cgroup
ip link set lo up
mkdir -p .old
pivot_root . .old
umount -l /.old
exec env -i container=teiten PATH=/usr/sbin:/usr/bin:/sbin:/bin /lib/systemd/systemd --system \
  systemd.unified_cgroup_hierarchy=1 --log-target=null --show-status=0
"""


def why_not(suite: str) -> str:
    """Say why no machine of ``suite`` can be booted here; empty when one can."""
    if os.geteuid() != 0:
        return "root is needed to boot a machine"
    missing = [tool for tool in ("unshare", "nsenter", "ip") if shutil.which(tool) is None]
    if missing:
        return f"{missing[0]} is missing"
    if not (ROOTS / suite).is_dir():
        return f"{ROOTS / suite} is not there; run scripts/make-test-roots"
    return ""


def run(*command: str | Path, check: bool = True, seconds: float = 300.0) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, check=check, capture_output=True, text=True, timeout=seconds)


@contextlib.contextmanager
def open_site(name: str) -> Iterator[str]:
    """Give the name of a network namespace with a bridge that is 192.0.2.1."""
    run("ip", "netns", "add", name)
    try:
        run("ip", "-n", name, "link", "set", "lo", "up")
        run("ip", "-n", name, "link", "add", "br0", "type", "bridge")
        run("ip", "-n", name, "addr", "add", f"{BASE_ADDRESS}/24", "dev", "br0")
        run("ip", "-n", name, "link", "set", "br0", "up")
        yield name
    finally:
        run("ip", "netns", "del", name, check=False)


class Host:
    """One booted machine.

    Args:
        suite: which root.
        folder: where its changes are kept.
        site: the network namespace of its base.
        address: its own.
    """

    def __init__(self, suite: str, folder: Path, *, site: str, address: str) -> None:
        self.root = folder / "root"
        self.changes = folder / "changes"
        for path in (self.root, self.changes, folder / "work"):
            path.mkdir(parents=True)
        layers = f"lowerdir={ROOTS / suite},upperdir={self.changes},workdir={folder / 'work'}"
        run("mount", "-t", "overlay", "overlay", "-o", layers, self.root)
        spaces = ["--pid", "--fork", "--kill-child", "--mount", "--uts", "--ipc", "--net", "--cgroup"]
        self._process = subprocess.Popen(
            ["unshare", *spaces, "--", "/bin/bash", "-c", _BOOT, "boot", self.root],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        self._wait_for_systemd()
        self._connect(site, address)

    def run(
        self, *command: str, check: bool = True, seconds: float = 300.0
    ) -> subprocess.CompletedProcess[str]:
        """Run a command inside."""
        inside = ["nsenter", "-t", self._pid, "-a", "--", "env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin"]
        return run(*inside, *command, check=check, seconds=seconds)

    def stop(self) -> None:
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()
        for _try in range(50):
            if run("umount", self.root, check=False).returncode == 0:
                return
            time.sleep(0.1)

    @property
    def _pid(self) -> str:
        return Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text().split()[0]

    def _wait_for_systemd(self) -> None:
        for _try in range(300):
            time.sleep(0.1)
            with contextlib.suppress(IndexError, subprocess.SubprocessError):
                if self.run("systemctl", "is-system-running", check=False).stdout.strip() in (
                    "running",
                    "degraded",
                ):
                    return
        raise TimeoutError("systemd does not come up in the machine")

    def _connect(self, site: str, address: str) -> None:
        inside, outside = "eth0", f"v{address.rpartition('.')[2]}"
        run("ip", "-n", site, "link", "add", outside, "type", "veth", "peer", "name", inside)
        run("ip", "-n", site, "link", "set", outside, "master", "br0", "up")
        run("ip", "-n", site, "link", "set", inside, "netns", self._pid)
        self.run("ip", "addr", "add", f"{address}/24", "dev", inside)
        self.run("ip", "link", "set", inside, "up")
        self.run("ip", "route", "add", "default", "via", BASE_ADDRESS)
