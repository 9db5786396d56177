"""The floods of the capture benchmark."""

from __future__ import annotations

import os
import re
import shutil
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from sensor_wire import HOST4, Wire

SYN = "tcp(sp=drnd(), dp=drnd(), syn, seq=drnd(), win=1024)"
#: 1,000 bytes of payload that no packet before had.
LONG = "udp(sp=drnd(), dp=1900), drnd(8), fill(0x41, 992)"


class Flood:
    """Sends ``packets`` random packets, SYNs when nothing else is said, as fast as the machine can."""

    def __init__(self, wire: Wire, folder: Path, *, kind: str = SYN) -> None:
        self._wire = wire
        self._trafgen = shutil.which("trafgen")
        self._is_long = kind == LONG
        self._recipe = folder / ("long.cfg" if self._is_long else "syn.cfg")
        self._recipe.write_text(
            f"{{ eth(da={wire.host_mac}, sa=02:00:00:00:00:01), "
            f"ipv4(sa=drnd(), da={HOST4}, ttl=64, id=drnd(), df), {kind} }}\n"
        )

    @property
    def sender(self) -> str:
        return "trafgen" if self._trafgen else "python"

    def run(self, packets: int) -> float:
        """Send; give the packets per second that were offered."""
        start = time.monotonic()
        if self._trafgen:
            told = self._wire.scan("trafgen", "--dev", "v0", "--conf", str(self._recipe), "--num", str(packets),
                            "--cpus", str(min(2, os.cpu_count() or 1)), "-q")  # fmt: skip
            spent = [int(s) + int(us) / 1e6 for s, us in re.findall(r"(\d+) sec, (\d+) usec on CPU", told)]
            return packets / max(spent, default=time.monotonic() - start)
        make = make_long if self._is_long else make_syn
        self._wire.send([make(number) for number in range(packets)])
        return packets / (time.monotonic() - start)


def make_syn(number: int) -> bytes:
    head = bytes.fromhex("45000028000700003c060000f0000001c0000202")
    return (
        head + (number % 65_536).to_bytes(2, "big") + bytes.fromhex("0017000000010000000050020400") + bytes(4)
    )


def make_long(number: int) -> bytes:
    head = bytes.fromhex("45000404000700003c110000f0000001c00002029c40076c03f00000")
    return head + number.to_bytes(8, "big") + b"A" * 992
