"""Files about the simulated world: a country/AS database and a list of survey scanners.

Both hold the reserved ranges only, so that a demonstration has its map and its
survey switch while no real network is named. The database has GeoLite2's keys
(``country.iso_code``, ``autonomous_system_number``, ``autonomous_system_organization``)
in one tree; it is the same file, byte for byte, on every machine.
"""

from __future__ import annotations

import csv
import io
from datetime import timedelta
from pathlib import Path

from mmdb_writer import IPSet, MmdbU32, MMDBWriter, TreeWriter

from teiten.foundation.clock import from_us
from teiten.simulators import world
from teiten.simulators.world import Trade

DATABASE_TYPE = "Teiten-Simulated-Country-ASN"
#: When the simulated world was laid out; part of the file, so it must not move. 2026-02-19.
BUILD_EPOCH = 1_771_459_200
SURVEY_HEADER = ("network", "owner", "valid_from", "valid_to", "source")
SURVEY_SOURCE = "teiten.simulators"


def write_database(path: Path) -> int:
    """Write the country/AS database (MaxMind DB format 2.0) and give the number of prefixes in it."""
    description = {"en": "Reserved ranges of Teiten's simulated Internet; names are invented"}
    writer = MMDBWriter(
        6, DATABASE_TYPE, languages=["en"], description=description, ipv4_compatible=True, int_type="auto"
    )
    count = 0
    for network in world.list_networks():
        record = {
            "country": {"iso_code": network.country},
            "autonomous_system_number": MmdbU32(network.number),
            "autonomous_system_organization": network.organization,
        }
        for prefix in (network.v4_prefix, network.v6_prefix):
            writer.insert_network(IPSet([prefix]), record)
            count += 1
    metadata = {
        "ip_version": 6,
        "database_type": DATABASE_TYPE,
        "languages": ["en"],
        "binary_format_major_version": 2,
        "binary_format_minor_version": 0,
        "description": description,
        "build_epoch": BUILD_EPOCH,
    }
    draft = path.with_name(f"{path.name}.new")
    TreeWriter(writer.tree, metadata, "auto", "f64").write(str(draft))
    draft.replace(path)
    return count


def write_survey_list(path: Path, *, anchor_us: int) -> int:
    """Write the prefixes of the simulated survey scanners as CSV and give their number.

    Days are UTC; an empty ``valid_to`` means until further notice.
    """
    anchor = from_us(anchor_us).date()
    since = {owner.organization: anchor + timedelta(days=owner.since_days) for owner in world.SURVEY_OWNERS}
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(SURVEY_HEADER)
    count = 0
    for network in world.networks_of(Trade.SURVEY):
        for prefix in (network.v4_prefix, network.v6_prefix):
            owner = network.organization
            writer.writerow([prefix, owner, since[owner].isoformat(), "", SURVEY_SOURCE])
            count += 1
    draft = path.with_name(f"{path.name}.new")
    draft.write_text(text.getvalue(), encoding="utf-8")
    draft.replace(path)
    return count
