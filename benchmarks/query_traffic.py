"""Packets for the query benchmark, made inside ClickHouse: seeded, hour by hour, resumable.

An observatory of 10,000 sensors for 35 hours (100 million packets, NICTER's 793/s), then
older days as roll-ups only. Mix and tails after ``docs/design.md`` and the field's published
figures: 55 % survey scanners (few sources, half of their packets over all ports), Mirai-like
and other scans (Zipf over ports, heavy-tailed sources that come and go), backscatter to random
ports, UDP probes with labels of which a quarter carry bytes of their own, echo requests. Sources
lie in 240.0.0.0/4, sensors in a /8: both stand for others. Same seed, same packets.
"""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone
from pathlib import Path
from zoneinfo import ZoneInfo

from teiten.foundation.clock import to_us
from teiten.store import rebuild
from teiten.store.partitions import DayOfDataset
from teiten.store.schema import COVERAGE_ROLLUPS, COVERAGE_SUMS, PACKET_ROLLUPS
from teiten.store.service import Store

#: Midnight in Tokyo, at the end of a whole day of traffic.
END_AT = datetime(2026, 11, 20, 15, 0, tzinfo=timezone.utc)
FULL_DAY = date(2026, 11, 20)
ZONE = "Asia/Tokyo"
#: A partition a day; ClickHouse refuses more than 100 in one insert.
DAYS_PER_INSERT = 60


@dataclass(frozen=True)
class Scale:
    """How much is made."""

    packets: int
    hours: int
    sensors: int
    #: Older days that exist as daily roll-ups and daily coverage.
    days: int
    #: Older days that exist as hourly roll-ups and coverage too.
    hourly_days: int
    #: One in so many packets of a whole day makes an older day's roll-ups.
    thinning: int

    @property
    def per_hour(self) -> int:
        """Packets of an hour, the same number for each sensor."""
        return max(1, self.packets // self.hours // self.sensors) * self.sensors


FULL = Scale(packets=100_000_000, hours=35, sensors=10_000, days=364, hourly_days=30, thinning=100)
SMALL = Scale(packets=300_000, hours=3, sensors=100, days=5, hourly_days=2, thinning=20)

_PORTS = "[23,22,80,443,8080,3389,445,2323,8728,5555,6379,8443,25,21,81,5060,3306,1433,5900,8081,9200,2375,27017,110,143,8888,9000,7547,37215,52869]"
_UDP_PORTS = "[53,123,161,389,1900,3702,5060,5353,5683,11211,137,17185,27015,47808,53413,1434]"
_PROBES = "['dns-any','ntp-monlist','snmp-get','cldap-search','ssdp-search','wsd-probe','sip-options','mdns-query','coap-get','memcached-stats','netbios-stat','vxworks-wdb','source-query','bacnet-read','','']"
_ACTORS = "['censys','shodan','shadowserver','rapid7','binaryedge','onyphe','internet-measurement','leakix','stretchoid','criminalip','driftnet','palo-alto','academy','cortex','ipip','netsystems']"
_WINDOWS = "[65535,65535,65535,1024,64240,29200,64240,14600]"
_OPTIONS = "['','020405B4','020405B4','','020405B40402080A00000000000000000103030A','020405B401030308010104020000','020405B40402080A000000000000000001030307','020405B4']"
_FP = "[':::',':2:1460:',':2:1460:',':::',':2-4-8-1-3:1460:10',':2-1-3-1-1-4:1460:8',':2-4-8-1-3:1460:7',':2:1460:']"

_PACKETS_OF_HOUR = f"""
INSERT INTO packets
    (dataset, sensor, epoch, batch_seq, row, region, answering, observed_at, ip_version, src_addr, dst_addr, protocol,
     src_port, dst_port, icmp_type, tcp_flags, tcp_seq, tcp_ack, tcp_window, tcp_options, ttl, ip_id, ip_df,
     total_length, payload_length, payload_hash, payload, nature, validity, probe, hints, rule_version, tcp_fp,
     country, asn, survey, actor, landed_at)
WITH
    {{hour:UInt32}} AS hour,
    {{sensors:UInt64}} AS sensors,
    {{per_slot:UInt64}} AS per_slot,
    18446744073709551616. AS whole,
    cityHash64(number, hour, 0) % 1000 AS lot,
    multiIf(lot < 550, 0, lot < 690, 1, lot < 850, 2, lot < 890, 3, lot < 980, 4, 5) AS kind,
    [4000, 150000, 2000000, 20000, 100000, 200000][kind + 1] AS population,
    toUInt64(population * pow(cityHash64(number, hour, 1) / whole, 3))
        + if(kind IN (1, 2), intDiv(hour, 6) * intDiv(population, 20), 0) AS rank,
    toUInt32(4026531840 + bitAnd(rank * 2654435761 + kind * 40503 + 12345, 268435455)) AS source,
    toUInt32(1 + number % sensors) AS sensor_no,
    intDiv(number, sensors) AS turn,
    intDiv(turn, per_slot) AS slot,
    toUInt32(754974720 + (sensor_no * 7919) % 16777216) AS destination,
    cityHash64(number, hour, 2) / whole AS place_in_turn,
    cityHash64(number, hour, 3) AS random,
    cityHash64(number, hour, 4) AS other_random,
    toUInt32(exp(cityHash64(number, hour, 5) / whole * 11.09)) AS port_rank,
    toUInt16(if(port_rank <= 30, {_PORTS}[port_rank], (port_rank * 40503 + 7) % 65536)) AS zipf_port,
    source % 8 AS tool,
    kind IN (0, 2) AS is_scan,
    is_scan AND tool < 3 AS is_zmap,
    is_scan AND tool = 3 AS is_masscan,
    kind = 2 AND source % 64 = 63 AS is_nmap,
    source % 16 AS which,
    toUInt16(multiIf(
        kind = 0, if(other_random % 100 < 45, 1 + random % 65535, zipf_port),
        kind = 1, [23,23,23,2323,8080,5555,37215,7547][source % 8 + 1],
        kind = 2, zipf_port,
        kind = 3, 1024 + random % 64512,
        kind = 4, {_UDP_PORTS}[which + 1], 0)) AS port,
    toUInt32(multiIf(kind = 1, destination, kind >= 4, 0,
        is_nmap, bitXor(bitAnd(random, 65535) * 65537, bitShiftLeft(cityHash64(source) % 65536, 16)),
        random % 4294967296)) AS sequence,
    toUInt16(multiIf(kind = 1, 1024 + cityHash64(source) % 64512, is_scan, {_WINDOWS}[tool + 1], kind = 3, 65535, 0)) AS window,
    unhex(if(is_scan, {_OPTIONS}[tool + 1], '')) AS options,
    if(kind = 4, concat(if(other_random % 4 = 0, reinterpretAsString(toUInt16(random)), ''),
        substring(repeat(concat({_PROBES}[which + 1], 'x'), 16), 1, 8 + which % 6 * 8)), '') AS content,
    toUInt8(200 * pow(cityHash64(intDiv(source, 65536), 7) / whole, 4)) AS country_no,
    {{start_us:Int64}} + toInt64(slot * 300000000) AS window_us,
    window_us + toInt64((turn % per_slot + place_in_turn) / per_slot * 300000000) AS at_us
SELECT
    'live', sensor_no, 1, toUInt64(1 + hour * 12 + slot), toUInt32(turn % per_slot),
    multiIf(sensor_no % 100 < 45, 'kanto', sensor_no % 100 < 70, 'kansai', sensor_no % 100 < 85, 'chubu',
        ['kyushu','tohoku','hokkaido','chugoku','shikoku','okinawa','hokuriku'][sensor_no % 7 + 1]),
    sensor_no % 20 = 0, fromUnixTimestamp64Micro(at_us, 'UTC'), 4,
    IPv4ToIPv6(CAST(source, 'IPv4')), IPv4ToIPv6(CAST(destination, 'IPv4')),
    multiIf(kind = 4, 17, kind = 5, 1, 6),
    toUInt16(multiIf(kind = 3, [80,443,22,53][source % 4 + 1], kind = 5, 0, is_masscan, 40000 + source % 20000, 1024 + other_random % 64512)),
    port, if(kind = 5, 8, 0), multiIf(kind = 3, 18, kind < 3, 2, 0), sequence,
    toUInt32(if(kind = 3, other_random % 4294967296, 0)), window, options,
    toUInt8(if(is_zmap OR is_masscan, 240, 40) + source % 9),
    toUInt32(multiIf(is_zmap, 54321, is_masscan, bitAnd(bitXor(bitXor(destination, port), sequence), 65535), other_random % 65536)),
    is_scan AND tool > 3, toUInt32(if(kind < 4, 40, 28) + length(options) + length(content)),
    toUInt32(length(content)), if(content = '', 0, cityHash64(content)), content,
    multiIf(kind = 3, 2, kind = 4, if(which < 5, 4, 3), 1),
    multiIf(kind = 3 AND source % 50 = 0, 2, source % 400 = 0, 1, 0),
    if(kind = 4, {_PROBES}[which + 1], ''),
    toUInt32(multiIf(kind = 1, 1, is_zmap, 2, is_masscan, 8, is_nmap, 32, 0)), 2,
    multiIf(kind = 1, concat(toString(window), ':::'), is_scan, concat(toString(window), {_FP}[tool + 1]), ''),
    concat(char(65 + intDiv(country_no, 20)), char(65 + country_no % 20)),
    toUInt32(64512 + 6000 * pow(cityHash64(intDiv(source, 32768), 9) / whole, 3)),
    multiIf(kind != 0, 0, source % 10 < 8, 1, 2),
    if(kind = 0 AND source % 10 < 8, {_ACTORS}[which + 1], ''),
    fromUnixTimestamp64Micro(intDiv(window_us + 300000000 + sensor_no * 29989 % 300 * 1000000, 60000000) * 60000000, 'UTC')
FROM numbers({{rows:UInt64}})
SETTINGS insert_deduplicate = 0, parallel_view_processing = 1, max_threads = 2
"""
_COVERAGE_OF_HOUR = """
INSERT INTO coverage
WITH
    toUInt32(1 + number % {sensors:UInt64}) AS sensor_no,
    intDiv(number, {sensors:UInt64}) AS slot,
    fromUnixTimestamp64Micro({start_us:Int64} + toInt64(slot * 300000000), 'UTC') AS from_at,
    toUInt32(754974720 + (sensor_no * 7919) % 16777216) AS destination
SELECT
    'live', sensor_no, 1, toUInt64(1 + {hour:UInt32} * 12 + slot), 1,
    multiIf(sensor_no % 100 < 45, 'kanto', sensor_no % 100 < 70, 'kansai', sensor_no % 100 < 85, 'chubu',
        ['kyushu','tohoku','hokkaido','chugoku','shikoku','okinawa','hokuriku'][sensor_no % 7 + 1]),
    from_at, from_at + toIntervalSecond(300), {per_slot:UInt32}, {per_slot:UInt64}, 0, 0, 0, 0, 0, 64, 'boot-0001', '0.1.0',
    [concat(IPv4NumToString(destination), '/32')], [4], [32], [if(sensor_no % 20 = 0, 'answering', 'silent')], [1.],
    from_at + toIntervalSecond(300 + sensor_no * 29989 % 300), toUUID('00000000-0000-4000-8000-000000000000')
FROM numbers({sensors:UInt64} * 12)
SETTINGS insert_deduplicate = 0
"""


class Maker:
    """Makes the store's content step by step, and remembers in a file which steps are done."""

    def __init__(self, store: Store, folder: Path, scale: Scale) -> None:
        self._store = store
        self._scale = scale
        self._notes = folder / "made.json"
        self._done: dict[str, object] = {"scale": str(scale)}
        if self._notes.exists():
            self._done = json.loads(self._notes.read_text(encoding="utf-8"))
        if self._done["scale"] != str(scale):
            raise SystemExit(
                f"{folder} holds another scale ({self._done['scale']}); choose another BENCH_FOLDER"
            )

    def make(self) -> None:
        for hour in range(self._scale.hours):
            self._once(f"hour {hour}", lambda hour=hour: self._make_hour(hour))
        self._once("older hours", lambda: self._make_older(hourly=True))
        self._once("older days", lambda: self._make_older(hourly=False))
        for table in ("packets", "coverage", *PACKET_ROLLUPS, *COVERAGE_ROLLUPS, *COVERAGE_SUMS):
            self._once(
                f"merge {table}", lambda table=table: self._store.command(f"OPTIMIZE TABLE {table} FINAL")
            )

    def _once(self, name: str, work: Callable[[], None]) -> None:
        state = self._done.get(name)
        if state == "done":
            return
        if state == "begun":
            self._clean_up(name)
        self._note(name, "begun")
        began = time.monotonic()
        work()
        self._note(name, "done")
        print(f"{name}: {time.monotonic() - began:.1f} s", file=sys.stderr, flush=True)

    def _note(self, name: str, state: str) -> None:
        self._done[name] = state
        self._notes.write_text(json.dumps(self._done, indent=1), encoding="utf-8")

    def _clean_up(self, name: str) -> None:
        """Take away what a step that was cut short has left."""
        if name.startswith("hour"):
            hour_at = self._start_of(int(name.split()[1]))
            values = {"start": hour_at, "end": hour_at + timedelta(hours=1)}
            for table, column in (("packets", "observed_at"), ("coverage", "window_start_at")):
                self._store.command(
                    f"DELETE FROM {table} WHERE {column} >= {{start:DateTime64(6, 'UTC')}}"
                    f" AND {column} < {{end:DateTime64(6, 'UTC')}}",
                    values,
                )
            rebuild.rebuild_day(self._store, DayOfDataset("live", hour_at.astimezone(ZoneInfo(ZONE)).date()))
        elif name.startswith("older"):
            hourly = name == "older hours"
            for table in _rollups_of(hourly=hourly):
                time_of = "toDate(hour, 'Asia/Tokyo')" if hourly else "day"
                self._store.command(
                    f"ALTER TABLE {table} DELETE WHERE {time_of} < '2026-11-19' SETTINGS mutations_sync = 1"
                )

    def _start_of(self, hour: int) -> datetime:
        return END_AT - timedelta(hours=self._scale.hours - hour)

    def _make_hour(self, hour: int) -> None:
        scale = self._scale
        per_slot = max(1, -(-scale.per_hour // scale.sensors // 12))
        values = {
            "hour": hour,
            "start_us": to_us(self._start_of(hour)),
            "rows": min(scale.per_hour, per_slot * 12 * scale.sensors),
            "sensors": scale.sensors,
            "per_slot": per_slot,
        }
        self._store.command(_PACKETS_OF_HOUR, values)
        self._store.command(_COVERAGE_OF_HOUR, values)

    def _make_older(self, *, hourly: bool) -> None:
        """Copy a thinned day's roll-ups to the days before; coverage is that of the whole fleet."""
        days = self._scale.hourly_days if hourly else self._scale.days
        self._thin_packets()
        for table in _rollups_of(hourly=hourly):
            if rebuild.find_source(self._store, table) not in ("packets", "coverage"):
                # What is inserted by hour has filled it through its view.
                if not hourly:
                    self._repeat_day(table)
                continue
            names = ", ".join(f"`{name}`" for name in _list_columns(self._store, table))
            template = f"{table}_template"
            self._store.command(f"DROP TABLE IF EXISTS {template} SYNC")
            self._store.command(f"CREATE TABLE {template} AS {table}")
            self._store.command(
                f"INSERT INTO {template} ({names}) SELECT {names} FROM ({self._select_template(table)})",
                rebuild.bind_day(DayOfDataset("live", FULL_DAY), ZONE),
            )
            shifted = re.sub(
                r"`(hour|day|first_seen_at|last_seen_at|landed_date|last_window_end_at)`",
                r"t.`\1` - toIntervalDay(back + 1) AS `\1`",
                names,
            )
            for first in range(0, days, DAYS_PER_INSERT):
                count = min(DAYS_PER_INSERT, days - first)
                self._store.command(
                    f"INSERT INTO {table} ({names}) SELECT {shifted} FROM {template} AS t"
                    f" CROSS JOIN (SELECT {first} + 1 + number AS back FROM numbers({count})) AS b"
                    " SETTINGS insert_deduplicate = 0"
                )
            self._store.command(f"DROP TABLE {template} SYNC")
        self._store.command("DROP TABLE packets_thinned SYNC")

    def _repeat_day(self, table: str) -> None:
        """Copy the newest older day of a roll-up that is made from an hourly one to the days that have none."""
        names = ", ".join(f"`{name}`" for name in _list_columns(self._store, table))
        shifted = re.sub(r"`(day|landed_date)`", r"t.`\1` - toIntervalDay(back - 1) AS `\1`", names)
        for first in range(self._scale.hourly_days, self._scale.days, DAYS_PER_INSERT):
            count = min(DAYS_PER_INSERT, self._scale.days - first)
            self._store.command(
                f"INSERT INTO {table} ({names}) SELECT {shifted} FROM {table} AS t"
                f" CROSS JOIN (SELECT {first} + 1 + number AS back FROM numbers({count})) AS b"
                " WHERE t.day = {day:Date} SETTINGS insert_deduplicate = 0",
                {"day": FULL_DAY - timedelta(days=2)},
            )

    def _thin_packets(self) -> None:
        """Take one packet in so many of the whole day, once for all roll-ups."""
        self._store.command("DROP TABLE IF EXISTS packets_thinned SYNC")
        self._store.command("CREATE TABLE packets_thinned AS packets ENGINE = MergeTree ORDER BY tuple()")
        self._store.command(
            f"INSERT INTO packets_thinned SELECT * FROM packets WHERE toDate(observed_at, '{ZONE}') = {{day:Date}}"
            f" AND cityHash64(tcp_seq, src_port, sensor) % {self._scale.thinning} = 0 SETTINGS insert_deduplicate = 0",
            {"day": FULL_DAY},
        )

    def _select_template(self, table: str) -> str:
        if table in COVERAGE_ROLLUPS:
            return rebuild.select_coverage(self._store, table)
        statement = rebuild.select_rollup(self._store, table)
        return re.sub(r"FROM \S*packets\b", "FROM packets_thinned AS packets", statement, count=1)


def _rollups_of(*, hourly: bool) -> list[str]:
    return [table for table in (*PACKET_ROLLUPS, *COVERAGE_ROLLUPS) if table.endswith("_1h") == hourly]


def _list_columns(store: Store, table: str) -> list[str]:
    rows = store.select(
        "SELECT name FROM system.columns WHERE database = currentDatabase() AND table = {table:String} ORDER BY position",
        {"table": table},
        role="maintenance",
    )
    return [str(name) for name in rows["name"].to_pylist()]
