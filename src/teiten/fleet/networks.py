"""Addresses and prefixes as people, sensors and peers name them, checked before they count."""

from __future__ import annotations

import ipaddress

from teiten.fleet.errors import FleetInputError
from teiten.fleet.models.places import Network
from teiten.traffic.reachable import is_reachable

#: No sensor watches a wider prefix than these.
_SHORTEST = {4: 8, 6: 32}


def read_network(field: str, text: str) -> Network:
    """Read an address or a prefix.

    Raises:
        FleetInputError: when it is neither, has bits set after the prefix, or is too wide.
    """
    try:
        network = ipaddress.ip_network(text.strip())
    except ValueError as error:
        raise FleetInputError(
            field, f"{text!r} is no address or prefix such as 192.0.2.7 or 2001:db8::/56 ({error})"
        ) from error
    if network.prefixlen < _SHORTEST[network.version]:
        raise FleetInputError(
            field,
            f"{network} is wider than /{_SHORTEST[network.version]}; no sensor watches that, name its own prefix",
        )
    return network


def check_pair(local: Network, public: Network, *, is_simulated: bool) -> None:
    """Refuse what cannot stand for each other.

    Raises:
        FleetInputError: for other families or lengths, or a public address that nobody can reach.
    """
    if (local.version, local.prefixlen) != (public.version, public.prefixlen):
        raise FleetInputError(
            "local",
            f"{tell(local)} and {tell(public)} differ in size; one must stand for the other, address by address",
        )
    if not is_reachable(public, is_simulated=is_simulated):
        raise FleetInputError(
            "public",
            f"{tell(public)} cannot be reached from the Internet; name the address that the world sends to, "
            "and this one with --local",
        )


def tell(network: Network) -> str:
    """Write a prefix, a single address without its length."""
    return str(network.network_address) if network.num_addresses == 1 else str(network)
