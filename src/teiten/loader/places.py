"""Country and AS of source addresses, from files in MaxMind-DB format.

Any such file will do: GeoLite2 and DB-IP (``country.iso_code``,
``autonomous_system_number``), CIRCL's Geo Open (the number inside ``country``), IPinfo (``country``, ``asn``) and the flat CC0 files of
ip-location-db (``country_code``). A file is read once, network by network, into
sorted ranges, so that a block's addresses are looked up all at once.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import maxminddb
import numpy as np
from numpy.typing import NDArray

from teiten.loader.errors import ReferenceFileError
from teiten.traffic.addresses import RangeTable

#: Types of network in a place file that a reader may yield.
_Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_COUNTRY = re.compile(r"[A-Z]{2}")
_AS_NUMBER = re.compile(r"(?:AS)?([0-9]{1,10})")
_MAPPED = b"\x00" * 10 + b"\xff\xff"


@dataclass(frozen=True)
class Place:
    """What a file says about one network; empty and 0 where it says nothing."""

    country: str
    asn: int
    as_name: str


class PlaceTable:
    """One file, as ranges of addresses."""

    def __init__(self, ranges: RangeTable, places: list[Place]) -> None:
        self._ranges = ranges
        # The last entry answers for addresses that no range holds.
        self._countries = np.array([place.country for place in places] + [""], dtype=object)
        self._asns = np.array([place.asn for place in places] + [0], dtype=np.uint32)
        self.as_names = {place.asn: place.as_name for place in places if place.asn and place.as_name}
        self.has_countries = any(place.country for place in places)
        self.has_asns = bool(self._asns.any())

    def lookup(self, addresses: NDArray[np.uint8]) -> tuple[NDArray[np.object_], NDArray[np.uint32]]:
        """Give country and AS number of each address, shape (n, 16)."""
        found = self._ranges.lookup(addresses)
        return self._countries[found], self._asns[found]


def read_table(path: Path) -> PlaceTable:
    """Read a file wholly.

    Raises:
        ReferenceFileError: when it is no MaxMind DB, is damaged, or names no country and no AS.
    """
    places: dict[Place, int] = {}
    starts, ends, indices = [], [], []
    for network, place in _iterate(path):
        starts.append(_as_bytes(network.network_address))
        ends.append(_as_bytes(network.broadcast_address))
        indices.append(places.setdefault(place, len(places)))
    if not indices:
        raise ReferenceFileError(f"{path.name} names neither a country nor an AS number for any network")
    listed = list(places)
    ranges = RangeTable(_as_rows(starts), _as_rows(ends))
    return PlaceTable(ranges, [listed[index] for index in indices])


def _iterate(path: Path) -> Iterator[tuple[_Network, Place]]:
    try:
        with maxminddb.open_database(str(path)) as reader:
            for network, record in reader:
                place = _place_of(record)
                if place.country or place.asn:
                    yield network, place
    except (OSError, maxminddb.InvalidDatabaseError, ValueError, UnicodeDecodeError) as error:
        raise ReferenceFileError(f"{path.name} cannot be read as a MaxMind DB file: {error}") from error


def _place_of(record: Any) -> Place:
    if not isinstance(record, dict):
        return Place("", 0, "")
    return Place(_country_of(record), _asn_of(record), _as_name_of(record))


def _country_of(record: dict[str, Any]) -> str:
    for key in ("country", "registered_country"):
        inner = record.get(key)
        if isinstance(inner, dict) and _COUNTRY.fullmatch(str(inner.get("iso_code", ""))):
            return str(inner["iso_code"])
    for key in ("country_code", "country"):
        if isinstance(record.get(key), str) and _COUNTRY.fullmatch(record[key]):
            return str(record[key])
    return ""


def _asn_of(record: dict[str, Any]) -> int:
    inner = record.get("country")
    said = [record.get(key) for key in ("autonomous_system_number", "as_number", "asn")]
    if isinstance(inner, dict):
        said.append(inner.get("AutonomousSystemNumber"))
    for value in said:
        match = _AS_NUMBER.fullmatch(str(value))
        if match is not None and int(match[1]) < 1 << 32:
            return int(match[1])
    return 0


def _as_name_of(record: dict[str, Any]) -> str:
    for key in ("autonomous_system_organization", "as_organization", "as_name"):
        if isinstance(record.get(key), str):
            return str(record[key])[:200]
    return ""


def _as_bytes(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bytes:
    return _MAPPED + address.packed if address.version == 4 else address.packed


def _as_rows(addresses: list[bytes]) -> NDArray[np.uint8]:
    return np.frombuffer(b"".join(addresses), np.uint8).reshape(-1, 16)
