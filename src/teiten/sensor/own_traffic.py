"""What this host solicits by itself: gateway, resolvers, time servers, metadata service, looked up.

Names are resolved when the sensor starts; what was declared stays declared for this
run, because the record must not change its meaning in between.
"""

from __future__ import annotations

import contextlib
import ipaddress
import logging
import socket
from pathlib import Path
from urllib.parse import urlsplit

from teiten.sensor.config import SensorConfig
from teiten.sensor.exclusion import PROTOCOLS, Exclusion, Peer, parse_peer
from teiten.sensor.stated_addresses import METADATA_HOST, METADATA_PORT

_log = logging.getLogger(__name__)
_RESOLVERS = Path("/etc/resolv.conf")
_DNS_PORT, _NTP_PORT = 53, 123


def build_exclusion(
    config: SensorConfig, *, gateway_url: str, resolvers_file: Path = _RESOLVERS
) -> Exclusion:
    """Declare what the settings name and, unless told not to, what the host must solicit.

    Raises:
        DeclarationError: for an entry of ``sensor.exclude`` that is not understood.
    """
    peers = [parse_peer(text) for text in config.exclude]
    peers += [peer for name in config.time_servers for peer in _peers_of(name, "udp", _NTP_PORT)]
    if config.exclude_own:
        peers += find_gateway_peers(gateway_url) + list_resolver_peers(resolvers_file)
        peers += _peers_of(METADATA_HOST, "tcp", METADATA_PORT) if config.metadata else []
    return Exclusion(peers, neighbours=config.exclude_own)


def find_gateway_peers(gateway_url: str) -> list[Peer]:
    """Declare the gateway's addresses: our uploads' answers come from its port."""
    parts = urlsplit(gateway_url)
    if not parts.hostname:
        return []
    return _peers_of(parts.hostname, "tcp", parts.port or 443)


def list_resolver_peers(path: Path = _RESOLVERS) -> list[Peer]:
    """Declare the resolvers of ``resolv.conf``; none when it cannot be read."""
    with contextlib.suppress(OSError):
        lines = [line.split() for line in path.read_text(encoding="utf-8", errors="replace").splitlines()]
        names = [line[1] for line in lines if len(line) > 1 and line[0] == "nameserver"]
        return [
            peer for name in names for kind in ("udp", "tcp") for peer in _peers_of(name, kind, _DNS_PORT)
        ]
    return []


def _peers_of(name: str, protocol: str, port: int) -> list[Peer]:
    try:
        found = socket.getaddrinfo(name, port, type=socket.SOCK_STREAM)
    except OSError as error:
        _log.warning(
            "A solicited peer's name does not resolve", extra={"name_asked": name, "error": str(error)}
        )
        return []
    texts = {str(entry[4][0]).partition("%")[0] for entry in found}
    networks = sorted((ipaddress.ip_network(text) for text in texts), key=str)
    return [Peer(network, PROTOCOLS[protocol], from_port=port) for network in networks]
