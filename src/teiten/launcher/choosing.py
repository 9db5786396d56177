"""Which of the signed releases this host takes next: a pure decision."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

_NAME = re.compile(r"bundles/teiten-sensor-([1-9][0-9]{0,9})-py3([0-9]{1,2})-([a-z0-9_]{1,16})\.tar\.xz")


@dataclass(frozen=True)
class Offer:
    """A signed bundle."""

    path: str
    release: int
    #: For example ``3.11``.
    python: str
    arch: str
    #: Lowest release that may go to this one directly.
    min_from: int
    #: Bytes of the bundle, and of what it unpacks to.
    size_bytes: int
    unpacked_bytes: int


@dataclass(frozen=True)
class Host:
    """What a bundle must fit."""

    python: str
    arch: str
    #: The release in use.
    current: int
    #: Newest release that may be taken now; None: any.
    allowed: int | None
    may_try: Callable[[int], bool]


def read_offer(path: str, size_bytes: int, custom: Mapping[str, Any]) -> Offer | None:
    """Read a target as an offer; None when it is none, or its name and signed facts differ."""
    match = _NAME.fullmatch(path)
    if match is None:
        return None
    release, python, arch = int(match[1]), f"3.{match[2]}", match[3]
    if (custom.get("release"), custom.get("python"), custom.get("arch")) != (release, python, arch):
        return None
    min_from, unpacked = custom.get("min_from", 0), custom.get("unpacked_bytes", 8 * size_bytes)
    if not isinstance(min_from, int) or not isinstance(unpacked, int):
        return None
    return Offer(
        path, release, python, arch=arch, min_from=min_from, size_bytes=size_bytes, unpacked_bytes=unpacked
    )


def choose_release(offers: Iterable[Offer], host: Host) -> Offer | None:
    """Give the newest release that fits, is allowed, and is above the present one."""
    fitting = [
        offer
        for offer in offers
        if (offer.python, offer.arch) == (host.python, host.arch)
        and offer.release > host.current >= offer.min_from
        and (host.allowed is None or offer.release <= host.allowed)
        and host.may_try(offer.release)
    ]
    return max(fitting, key=lambda offer: offer.release, default=None)
