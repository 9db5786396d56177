"""What the kernel says about interfaces: addresses, state, offloads.

Addresses come by rtnetlink (RTM_GETADDR, rtnetlink(7)), state and offloads by
ioctl (netdevice(7), linux/ethtool.h), which any kind of socket takes: a Unix one, because
the recording process may open no Internet socket. No program is started for them.
"""

from __future__ import annotations

import array
import contextlib
import fcntl
import ipaddress
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

from teiten.sensor.errors import CaptureError
from teiten.sensor.prefixes import Network

_RTM_GETADDR, _NLMSG_DONE, _NLMSG_ERROR = 22, 3, 2
_NLM_F_REQUEST, _NLM_F_DUMP = 0x001, 0x300
_IFA_ADDRESS, _IFA_LOCAL = 1, 2
_SCOPE_LINK = 253
#: Tentative and duplicate addresses receive nothing yet.
_UNUSABLE_FLAGS = 0x40 | 0x08

_SIOCGIFFLAGS, _SIOCGIFMTU, _SIOCGIFINDEX, _SIOCETHTOOL = 0x8913, 0x8921, 0x8933, 0x8946
_IFF_UP, _IFF_RUNNING = 0x1, 0x40
#: Offload → (get, set) of linux/ethtool.h.
_OFFLOADS = {"gro": (0x2B, 0x2C), "gso": (0x23, 0x24), "tso": (0x1E, 0x1F)}
_GFLAGS, _SFLAGS, _LRO_FLAG = 0x25, 0x26, 1 << 15


def list_addresses(interface: str) -> tuple[Network, ...]:
    """Give the addresses that ``interface`` holds, wider than link scope, as /32 and /128.

    Raises:
        CaptureError: when there is no such interface.
    """
    try:
        index = socket.if_nametoindex(interface)
    except OSError as error:
        raise CaptureError(f"interface {interface} does not exist; name one that `ip link` shows") from error
    found = {address for number, address in _dump_addresses() if number == index}
    return tuple(sorted(found, key=lambda network: (network.version, network.network_address.packed)))


def find_default_interface(routes: Path = Path("/proc/self/net")) -> str | None:
    """Give the interface of the default route, of IPv4 rather than of IPv6; None when there is none."""
    for fields in _read_table(routes / "route"):
        if len(fields) > 7 and fields[1] == fields[7] == "00000000":
            return fields[0]
    for fields in _read_table(routes / "ipv6_route"):
        if len(fields) > 9 and fields[0] == "0" * 32 and fields[1] == "00" and fields[9] != "lo":
            return fields[9]
    return None


def _read_table(path: Path) -> list[list[str]]:
    with contextlib.suppress(OSError):
        return [line.split() for line in path.read_text(encoding="ascii").splitlines()]
    return []


def is_up(interface: str) -> bool:
    """Tell whether the interface exists, is up and has a carrier."""
    flags = _read_word(interface, _SIOCGIFFLAGS, "H")
    return flags is not None and flags & (_IFF_UP | _IFF_RUNNING) == _IFF_UP | _IFF_RUNNING


def find_index(interface: str) -> int | None:
    """Give the interface's present number; it changes when the interface is made anew."""
    return _read_word(interface, _SIOCGIFINDEX, "i")


def find_mtu(interface: str) -> int | None:
    """Give the largest packet of the link, bytes; longer ones were merged by an offload."""
    return _read_word(interface, _SIOCGIFMTU, "i")


def list_offloads(interface: str) -> tuple[str, ...]:
    """Give the offloads that are on and may merge packets before they are captured."""
    active = [name for name, (get, _set) in _OFFLOADS.items() if _ethtool(interface, get)]
    if (_ethtool(interface, _GFLAGS) or 0) & _LRO_FLAG:
        active.append("lro")
    return tuple(sorted(active))


def turn_off_offloads(interface: str) -> tuple[str, ...]:
    """Turn off what :func:`list_offloads` gives, as far as permitted; give what is still on."""
    for name in list_offloads(interface):
        with contextlib.suppress(OSError):
            if name == "lro":
                _ethtool(interface, _SFLAGS, (_ethtool(interface, _GFLAGS) or 0) & ~_LRO_FLAG, strict=True)
            else:
                _ethtool(interface, _OFFLOADS[name][1], 0, strict=True)
    return list_offloads(interface)


def _read_word(interface: str, request: int, form: str) -> int | None:
    packed = struct.pack("16s24x", interface.encode()[:15])
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock, contextlib.suppress(OSError):
        answer = fcntl.ioctl(sock.fileno(), request, packed)
        return int(struct.unpack_from(form, answer, 16)[0])
    return None


def _ethtool(interface: str, command: int, value: int = 0, *, strict: bool = False) -> int | None:
    """Run one ethtool command that carries one 32-bit value; None when the driver does not know it."""
    data = array.array("B", struct.pack("II", command, value))
    packed = struct.pack("16sP16x", interface.encode()[:15], data.buffer_info()[0])
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        try:
            fcntl.ioctl(sock.fileno(), _SIOCETHTOOL, packed)
        except OSError:
            if strict:
                raise
            return None
    return int(struct.unpack("II", data.tobytes())[1])


def _dump_addresses() -> Iterator[tuple[int, Network]]:
    with socket.socket(
        socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE
    ) as sock:
        body = struct.pack("BBBBi", socket.AF_UNSPEC, 0, 0, 0, 0)
        flags = _NLM_F_REQUEST | _NLM_F_DUMP
        sock.send(struct.pack("IHHII", 16 + len(body), _RTM_GETADDR, flags, 1, 0) + body)
        while True:
            for kind, message in _split_messages(sock.recv(1 << 16)):
                if kind in (_NLMSG_DONE, _NLMSG_ERROR):
                    return
                yield from _parse_address(message)


def _split_messages(received: bytes) -> Iterator[tuple[int, bytes]]:
    while len(received) >= 16:
        length, kind = struct.unpack_from("IH", received)
        yield kind, received[16:length]
        received = received[(length + 3) & ~3 :]


def _parse_address(message: bytes) -> Iterator[tuple[int, Network]]:
    _family, _prefix, flags, scope, index = struct.unpack_from("BBBBI", message)
    if scope >= _SCOPE_LINK or flags & _UNUSABLE_FLAGS:
        return
    attributes = dict(_split_attributes(message[8:]))
    packed = attributes.get(_IFA_LOCAL) or attributes.get(_IFA_ADDRESS)
    if packed:
        yield index, ipaddress.ip_network(packed)


def _split_attributes(message: bytes) -> Iterator[tuple[int, bytes]]:
    while len(message) >= 4:
        length, kind = struct.unpack_from("HH", message)
        yield kind, message[4:length]
        message = message[(max(length, 4) + 3) & ~3 :]
