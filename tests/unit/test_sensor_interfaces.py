from __future__ import annotations

from pathlib import Path

import pytest

from teiten.sensor import interfaces
from teiten.sensor.errors import CaptureError

HEAD = "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n"
ZEROS = "0" * 32


def write(folder: Path, *, four: str = "", six: str = "") -> Path:
    (folder / "route").write_text(HEAD + four)
    (folder / "ipv6_route").write_text(six)
    return folder


def test_the_interface_of_the_default_route_is_found(tmp_path: Path) -> None:
    lan = "a0\t000200C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n"
    default = "a1\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n"
    six = f"{ZEROS} 00 {ZEROS} 00 {'f' * 32} 00000400 1 0 00000003 a2\n"

    assert interfaces.find_default_interface(write(tmp_path, four=lan + default, six=six)) == "a1"
    assert interfaces.find_default_interface(write(tmp_path, four=lan, six=six)) == "a2"


def test_a_host_without_default_route_has_none(tmp_path: Path) -> None:
    refused = f"{ZEROS} 00 {ZEROS} 00 {ZEROS} ffffffff 1 0 00200200 lo\n"

    assert interfaces.find_default_interface(write(tmp_path, six=refused)) is None
    assert interfaces.find_default_interface(tmp_path / "absent") is None


def test_loopback_is_as_the_kernel_says() -> None:
    assert interfaces.list_addresses("lo") == ()
    assert interfaces.find_index("lo") == 1
    assert interfaces.find_mtu("lo") is not None
    assert isinstance(interfaces.list_offloads("lo"), tuple)


def test_an_interface_that_is_not_there_is_missing() -> None:
    assert interfaces.find_index("no-such0") is None
    assert not interfaces.is_up("no-such0")
    assert interfaces.list_offloads("no-such0") == ()
    with pytest.raises(CaptureError, match="no-such0 does not exist"):
        interfaces.list_addresses("no-such0")
