"""The programs beside which our capture is measured."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path


@dataclass
class Peer:
    """A program that captures, and how to read its last words."""

    name: str
    command: list[str]
    captured: re.Pattern[str]
    dropped: re.Pattern[str]
    #: Text by which it says that it captures.
    ready: str


def list_peers(folder: Path) -> list[Peer]:
    tcpdump = re.compile(r"(\d+) packets? captured"), re.compile(r"(\d+) packets? dropped by kernel")
    dumpcap = (
        re.compile(r"Packets captured: (\d+)"),
        re.compile(r"received/dropped on interface '.*?': \d+/(\d+)"),
    )
    tshark = re.compile(r"(\d+) packets? captured"), re.compile(r"(\d+) packets? dropped")
    fields = ["-T", "fields", *(w for f in TSHARK_FIELDS for w in ("-e", f))]
    plain = ["tcpdump", "-i", "v1", "-Q", "in", "-n", "-B", "8192", "-Z", "root"]
    return [
        Peer("tcpdump_w", [*plain, "-w", str(folder / "tcpdump.pcap")], *tcpdump, "listening on"),
        Peer("tcpdump_text", [*plain, "-l", "-v"], *tcpdump, "listening on"),
        Peer(
            "dumpcap",
            ["dumpcap", "-i", "v1", "-B", "8", "-w", str(folder / "dumpcap.pcapng")],
            *dumpcap,
            "File: ",
        ),
        Peer(
            "tshark_fields", ["tshark", "-i", "v1", "-n", "-l", "-B", "8", *fields], *tshark, "Capturing on"
        ),
    ]


TSHARK_FIELDS = ("frame.time_epoch", "ip.src", "ip.dst", "ip.proto", "ip.ttl", "ip.id", "ip.len", "tcp.srcport",
                 "tcp.dstport", "tcp.flags", "tcp.seq_raw", "tcp.window_size_value", "tcp.options")  # fmt: skip
