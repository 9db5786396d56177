"""Simulated packets on a real wire: what is sent is what another program captures."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time

import pytest

NEEDED = ("ip", "tcpdump", "tshark")

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root"),
    pytest.mark.skipif(
        any(shutil.which(tool) is None for tool in NEEDED), reason="ip, tcpdump or tshark is missing"
    ),
]
NAME = f"sim{os.getpid() % 100_000}"


def command(*words: str, **options) -> subprocess.CompletedProcess[str]:
    return subprocess.run(words, capture_output=True, text=True, check=options.pop("check", True), **options)


@pytest.fixture
def namespace():
    command("ip", "netns", "add", NAME)
    inside = ("ip", "-n", NAME, "link")
    command(*inside, "add", "va", "type", "veth", "peer", "name", "vb")
    for name in ("va", "vb"):
        command(*inside, "set", name, "up")
        command(
            "ip", "netns", "exec", NAME, "sysctl", "-q", f"net.ipv6.conf.{name}.disable_ipv6=1", check=False
        )
    command(*inside, "add", "br0", "type", "bridge")
    yield NAME
    command("ip", "netns", "del", NAME)


def simulate(*words: str) -> list[str]:
    return ["ip", "netns", "exec", NAME, sys.executable, "-m", "teiten.simulators", *words]


def read_fields(path) -> list[str]:
    fields = [
        w for f in ("ip.src", "ip.dst", "ip.id", "tcp.seq_raw", "udp.dstport", "frame.len") for w in ("-e", f)
    ]
    shown = command(
        "tshark", "-r", str(path), "-Y", "ip", "-T", "fields", "-E", "occurrence=f", *fields, check=False
    )
    return shown.stdout.splitlines()


def wait_until(holds, seconds: float = 15.0) -> None:
    deadline = time.monotonic() + seconds
    while not holds() and time.monotonic() < deadline:
        time.sleep(0.1)


@pytest.mark.requirement("R1.1")
def test_a_capture_of_the_wire_equals_the_capture_file(namespace, tmp_path):
    seen, made = tmp_path / "seen.pcap", tmp_path / "made.pcap"
    listener = subprocess.Popen(
        ["ip", "netns", "exec", NAME, "tcpdump", "-i", "vb", "-U", "-w", str(seen), "-Z", "root"],
        stderr=subprocess.PIPE,
    )
    assert any(b"listening on" in line for line in listener.stderr)
    options = ["--packets", "3000", "--from", "2026-11-20", "--observed", "192.0.2.7/32"]
    started = time.monotonic()
    sent = command(*simulate("send", "va", "--packets-per-second", "6000", *options))
    took = time.monotonic() - started
    command(sys.executable, "-m", "teiten.simulators", "capture", str(made), "--link", "ethernet", *options)
    wait_until(lambda: len(read_fields(seen)) >= 3000)
    listener.terminate()
    listener.communicate()

    assert "3000 packets sent on va" in sent.stdout
    assert took > 0.5
    assert len(read_fields(made)) == 3000
    assert read_fields(seen) == read_fields(made)


def test_a_bridge_is_refused(namespace):
    refused = command(*simulate("send", "br0"), check=False)

    assert refused.returncode == 1
    assert "interface br0 may lead to a real network" in refused.stderr


def test_no_other_source_can_be_asked_for(namespace, tmp_path):
    refused = command(*simulate("send", "va", "--observed", "198.18.0.1/32"), check=False)

    assert refused.returncode == 1
    assert "is not of a documentation range" in refused.stderr
