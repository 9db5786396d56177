"""What a heartbeat tells about public addresses: what the sensor states, and what its peer address shows.

Pure. A peer shows a public address only where it can be meant: the sensor has exactly
one IPv4 address, that one is private, and the heartbeat came from an address that the
Internet reaches. Whether others come from the same peer, the database must tell.
"""

from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from teiten.protocol.heartbeat import Heartbeat, StatedAddress
from teiten.traffic.reachable import Network, is_reachable

#: Nothing is stated and nothing is shown.
NOTHING_KEY = ""


@dataclass(frozen=True)
class Stated:
    """What one heartbeat tells."""

    #: Local → public address, as the sensor's settings or its provider's metadata say.
    pairs: tuple[tuple[Network, Network], ...] = ()
    #: Local address and peer, where the peer may be the public one.
    seen: tuple[Network, Network] | None = None

    @property
    def key(self) -> str:
        """Name everything that is told; the same as long as nothing changes."""
        if not self.pairs and self.seen is None:
            return NOTHING_KEY
        return hashlib.sha256(repr((sorted(map(str, self.pairs)), str(self.seen))).encode()).hexdigest()


NOTHING = Stated()


def read_stated(said: Heartbeat, peer: str | None) -> Stated:
    """Gather what a heartbeat tells; an ordinary one with public addresses tells nothing."""
    own = tuple(sorted({address for item in said.interfaces for address in item.addresses}))
    return _read(own, said.addresses, peer)


@lru_cache(maxsize=65_536)
def _read(own: tuple[str, ...], stated: tuple[StatedAddress, ...], peer: str | None) -> Stated:
    # What the sensor's own settings say is surer than what the provider's metadata do.
    said = {
        item.local: item.public for item in sorted(stated, key=lambda item: item.known_by == "configured")
    }
    pairs = tuple(
        (ipaddress.ip_network(local), ipaddress.ip_network(public)) for local, public in said.items()
    )
    return Stated(pairs=pairs, seen=_find_seen(own, peer))


def _find_seen(own: Iterable[str], peer: str | None) -> tuple[Network, Network] | None:
    if peer is None or ":" in peer:
        return None
    mine = [ipaddress.ip_network(text) for text in own if _is_ipv4(text)]
    shown = ipaddress.ip_network(peer)
    if len(mine) != 1 or is_reachable(mine[0]) or not is_reachable(shown):
        return None
    return mine[0], shown


def _is_ipv4(text: str) -> bool:
    try:
        return ipaddress.ip_address(text).version == 4
    except ValueError:
        return False
