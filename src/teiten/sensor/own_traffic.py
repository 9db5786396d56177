"""What this host solicits by itself: gateway, resolvers, time servers, metadata service.

Nothing is asked here: what the settings give as a name has the addresses that the
sending process found for it (:mod:`teiten.sensor.names`).
"""

from __future__ import annotations

import contextlib
import ipaddress
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

from teiten.sensor.config import SensorConfig
from teiten.sensor.exclusion import PROTOCOLS, Exclusion, Peer, parse_peer
from teiten.sensor.names import Names, is_address
from teiten.sensor.stated_addresses import METADATA_HOST, METADATA_PORT

#: The second is where systemd-resolved names whom it asks; ``/etc/resolv.conf`` then names only itself.
_RESOLVERS = (Path("/etc/resolv.conf"), Path("/run/systemd/resolve/resolv.conf"))
_DNS_PORT, _NTP_PORT = 53, 123


def build_exclusion(
    config: SensorConfig,
    *,
    gateway_url: str,
    names: Names | None = None,
    resolvers_files: Sequence[Path] = _RESOLVERS,
) -> Exclusion:
    """Declare what the settings name and, unless told not to, what the host must solicit.

    Raises:
        DeclarationError: for an entry of ``sensor.exclude`` that is not understood.
    """
    known = names or {}
    peers = [parse_peer(text) for text in config.exclude]
    peers += [peer for name in config.time_servers for peer in _peers_of(name, "udp", _NTP_PORT, known=known)]
    if config.exclude_own:
        peers += find_gateway_peers(gateway_url, known)
        peers += [peer for path in resolvers_files for peer in list_resolver_peers(path)]
        peers += _peers_of(METADATA_HOST, "tcp", METADATA_PORT) if config.metadata else []
    return Exclusion(peers, neighbours=config.exclude_own)


def find_gateway_peers(gateway_url: str, names: Names | None = None) -> list[Peer]:
    """Declare the gateway's addresses: our uploads' answers come from its port."""
    parts = urlsplit(gateway_url)
    if not parts.hostname:
        return []
    return _peers_of(parts.hostname, "tcp", parts.port or 443, known=names or {})


def list_resolver_peers(path: Path) -> list[Peer]:
    """Declare the resolvers of a ``resolv.conf``, which are addresses; none when it cannot be read."""
    with contextlib.suppress(OSError):
        lines = [line.split() for line in path.read_text(encoding="utf-8", errors="replace").splitlines()]
        asked = [line[1] for line in lines if len(line) > 1 and line[0] == "nameserver"]
        return [peer for one in asked for kind in ("udp", "tcp") for peer in _peers_of(one, kind, _DNS_PORT)]
    return []


def _peers_of(name: str, protocol: str, port: int, *, known: Names | None = None) -> list[Peer]:
    found = (name,) if is_address(name) else (known or {}).get(name, ())
    networks = sorted({ipaddress.ip_network(text.partition("%")[0]) for text in found}, key=str)
    return [Peer(network, PROTOCOLS[protocol], from_port=port) for network in networks]
