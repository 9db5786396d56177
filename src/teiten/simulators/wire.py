"""Packets onto an interface, at a given rate, for tests of real sensors.

Only an interface that is named is used, and only loopback, a veth or a dummy: a
simulated Internet must never leak onto a real network. Needs CAP_NET_RAW.
"""

from __future__ import annotations

import errno
import socket
import time
from collections.abc import Iterable
from pathlib import Path

from teiten.simulators import captures, ranges
from teiten.simulators.errors import WireError
from teiten.simulators.telescope import Traffic

#: ARPHRD_LOOPBACK and ARPHRD_ETHER.
_LOOPBACK_TYPE, _ETHERNET_TYPE = "772", "1"
_PACE_SECONDS = 0.005
#: Packets sent between two looks at the clock.
_BURST = 64
_FULL_QUEUE_SECONDS = 0.0005


def check_interface(name: str, folder: Path = Path("/sys/class/net")) -> None:
    """Refuse anything but loopback, veth and dummy interfaces.

    Raises:
        WireError: naming the interface and the rule.
    """
    place = folder / name
    if not place.exists():
        raise WireError(f"interface {name!r} does not exist in this network namespace")
    if not _is_confined(place):
        raise WireError(
            f"interface {name} may lead to a real network; simulated packets go to lo, a veth or a dummy interface only"
        )


def _is_confined(place: Path) -> bool:
    """Tell a loopback, veth or dummy from what has hardware, a lower interface or a device type.

    The kernel names a DEVTYPE for bridges, VLANs, macvlans, bonds, tunnels and radio, but not for veth and dummy.
    """
    kind = (place / "type").read_text().strip()
    if kind == _LOOPBACK_TYPE:
        return True
    is_virtual = "/devices/virtual/net/" in str(place.resolve())
    has_kind = "DEVTYPE=" in (place / "uevent").read_text() or (place / "tun_flags").exists()
    return kind == _ETHERNET_TYPE and is_virtual and not has_kind and not any(place.glob("lower_*"))


def send_traffic(interface: str, parts: Iterable[Traffic], *, packets_per_second: float) -> int:
    """Send whole frames in order, evenly spaced, and give their number.

    Raises:
        WireError: when the interface is not allowed, cannot be opened or goes away.
        ForbiddenAddressError: when a source is outside the reserved ranges; nothing of that part is sent.
    """
    check_interface(interface)
    try:
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as outlet:
            outlet.bind((interface, 0))
            return _send_parts(outlet, parts, packets_per_second)
    except PermissionError as error:
        raise WireError(f"sending on {interface} needs CAP_NET_RAW: run as root") from error
    except OSError as error:
        raise WireError(f"sending on {interface} failed: {error.strerror}") from error


def _send_parts(outlet: socket.socket, parts: Iterable[Traffic], packets_per_second: float) -> int:
    sent, started = 0, time.monotonic()
    for traffic in parts:
        ranges.check_frames(traffic.raw)
        frames = captures.frame_ethernet(traffic.raw)
        lengths = (traffic.captured_length + captures.ETHERNET_BYTES).tolist()
        for frame, length in zip(frames, lengths, strict=True):
            _send_frame(outlet, frame[:length].tobytes())
            sent += 1
            if sent % _BURST == 0:
                _wait_until(started + sent / packets_per_second)
    return sent


def _send_frame(outlet: socket.socket, frame: bytes) -> None:
    while not _is_sent(outlet, frame):
        time.sleep(_FULL_QUEUE_SECONDS)


def _is_sent(outlet: socket.socket, frame: bytes) -> bool:
    try:
        outlet.send(frame)
    except OSError as error:
        # The device's queue is full for a moment; anything else is for the caller.
        if error.errno not in (errno.ENOBUFS, errno.EAGAIN):
            raise
        return False
    return True


def _wait_until(due: float) -> None:
    while (rest := due - time.monotonic()) > 0:
        time.sleep(min(rest, _PACE_SECONDS))
