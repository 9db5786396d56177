"""The streams of unsolicited traffic, declared as data: who, with what, to which ports, how often.

Shares follow NICTER 2025 as ``field.md`` quotes it (2.5 million packets per address
and year, about 55 % of them from survey scanners, non-Mirai IoT bots above
Mirai-like ones); the port order follows published darknet reports. To add a stream,
add one declaration.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, field

import numpy as np

from teiten.simulators import datagrams, tools
from teiten.simulators.hashes import F64, I64, U16
from teiten.simulators.labels import Origin, Purpose, Tool
from teiten.simulators.payloads import BY_NAME, PAYLOADS
from teiten.simulators.population import Habit
from teiten.simulators.tools import Maker
from teiten.simulators.world import Trade

#: NICTER 2025: packets per IPv4 address and day (2.5 million a year).
PACKETS_PER_ADDRESS_DAY = 2_500_000 / 365
#: Packets per watched IPv6 prefix and day; an assumption, two orders below IPv4.
PACKETS_PER_PREFIX_DAY = 420.0


@dataclass(frozen=True)
class Menu:
    """What a stream asks for: ports or payloads with weights, and a tail over all ports."""

    #: ``port:weight`` or ``payload-name:weight`` pairs.
    entries: str
    #: Share of packets to a port chosen evenly from 1 to 65535.
    tail: float = 0.0
    #: How many entries one source asks for.
    per_source: int = 2


@dataclass(frozen=True)
class Campaign:
    """A change that starts on a day and grows: what an analyst should notice."""

    #: Days after the telescope's anchor.
    start_day: float
    rise_days: float
    hold_days: float
    fall_days: float
    #: What comes on top at the height, as a multiple of the stream's own rate.
    growth: float


@dataclass(frozen=True)
class Stream:
    """One kind of traffic."""

    name: str
    tool: Tool
    purpose: Purpose
    trade: Trade
    #: Share of the address's (or prefix's) packets before campaigns.
    share: float
    menu: Menu
    maker: Maker
    habit: Habit
    ip_version: int = 4
    #: How often a connection is tried, when nothing answers.
    tries: int = 1
    #: Gaps double from one second (Linux) or are even (0: a scanner's second probe).
    doubling: bool = True
    #: Share of sources that send to one place only (Richter and Berger: about 30 %).
    localised: float = 0.0
    #: Victims' answers come in attacks of minutes to hours.
    in_attacks: bool = False
    spoilt: bool = False
    origin: Origin = Origin.OWN
    campaigns: tuple[Campaign, ...] = field(default=())

    @property
    def is_survey(self) -> bool:
        return self.trade is Trade.SURVEY


_WIDE = Menu(
    "443:5 80:5 22:3.5 8080:3.2 8443:2.6 21:1.6 23:1.8 25:1.6 3389:2.2 445:1.4 5900:1.3 3306:1.5 5432:1.3 6379:1.6 "
    "8888:1.4 9200:1.3 27017:1.2 2375:1 2376:.6 1433:1.2 5060:.8 7547:.9 8728:.7 8291:.7 5555:.9 9000:1.1 8000:1.5 "
    "8081:1.5 81:1.1 82:.5 88:.5 110:.8 143:.8 993:.9 995:.8 587:.7 465:.7 53:1.1 111:.7 135:.7 139:.6 389:.7 502:.7 "
    "102:.6 20000:.4 44818:.4 47808:.3 1883:.7 8883:.5 5672:.5 11211:.6 9090:.9 10000:.8 2222:.9 2083:.5 2087:.5 "
    "3000:.9 5000:1 5001:.5 5601:.6 6443:.7 7001:.7 8009:.5 8086:.5 8161:.4 8500:.4 9100:.6 9418:.3 49152:.4 50000:.5",
    tail=0.42,
    per_source=500,
)
_WIDE_MASSCAN = Menu(
    "80:4 443:4 8080:3 22:3 23:2 3389:2 21:1.5 8443:1.5 5900:1 6379:1.2 2375:1 9200:1", 0.55, 900
)
_SERVERS = Menu(
    "22:4 80:3 443:3 8080:3 3389:2 6379:3.2 2375:1.6 5432:1.6 3306:1.7 1433:1.6 9200:1.2 27017:1 8443:1.6 5900:1.2 "
    "8888:1.2 8000:1 5060:.8 1080:1 3128:1.2 8088:.8 7001:.7 10250:.6 8545:.6 4444:.3 81:.6 8081:1 60000:.2",
    tail=0.18,
    per_source=4,
)
_TELNET = Menu("23:81 2323:9 80:2 8080:2 5555:2.4 7547:1 37215:1.2 52869:.6 81:.8", per_source=10)
_IOT = Menu(
    "23:30 22:9 2323:4 80:7 8080:8 5555:7 81:2.5 8081:2.5 8443:2.5 443:3 60023:1.2 26:1 2222:2 7547:2 37215:3 52869:2 "
    "9000:1.5 34567:1.6 88:1.4 5038:.6 9530:.5 4567:.6 8888:1.6 49152:1",
    per_source=5,
)
_PROBES = Menu(
    "dns-any:10 dns-a:5 ntp-monlist:8 snmp-bulk:5 snmp-get:4 ssdp-all:9 memcached-stats:6 cldap-root:6 coap-core:4 "
    "netbios-status:4 portmap-dump:4 wsd-probe:4 ard-info:3 chargen:2 qotd:1 mssql-browse:2 sip-options:14 valve-info:2 "
    "ubiquiti-discover:2 netis-backdoor:2 tftp-read:2 openvpn-reset:1.5 quic-version:1 mdns-services:2 rip-v1:1",
    tail=0.04,
    per_source=2,
)
_SURVEY_PROBES = Menu(
    "dns-a:8 dns-version:5 ntp-client:6 ntp-monlist:5 snmp-get:7 snmp-get-v1:4 ssdp-all:4 ssdp-root:5 memcached-stats:2 "
    "memcached-version:4 cldap-root:5 coap-core:4 netbios-status:4 portmap-dump:4 wsd-probe:3 ard-info:3 sip-options:6 "
    "mdns-services:4 chargen:2 qotd:1.5 tftp-read:2.5 ipmi-channel:4 rip-v1:2 mssql-browse:3 openvpn-reset:2 "
    "natpmp-address:2 ubiquiti-discover:2.5 bacnet-read:3 valve-info:1.5 xdmcp-query:2 netis-backdoor:2 quic-version:4 "
    "dtls-hello:3",
    per_source=200,
)
_VICTIMS = Menu("80:30 443:38 22:6 25565:5 53:4 3074:2 8080:4 30120:3 21:1 25:1", tail=0.05, per_source=1)
_NOWHERE = Menu("514:4 137:3 6881:5 4500:2 500:2 51413:3 3478:3 1194:1 4672:3", tail=0.45, per_source=1)
_NONE = Menu("0:1", per_source=1)

_SURVEYOR = Habit(active_sources=260, concentration=1.5, churn_per_day=0.0)
_SERVER = Habit(active_sources=900, concentration=2.8, churn_per_day=0.06, daily_wave=0.05)
_DEVICE = Habit(
    active_sources=7_000, concentration=2.6, churn_per_day=0.09, daily_wave=0.34, weekend_factor=1.06
)
_OFFICE = Habit(
    active_sources=2_500, concentration=2.6, churn_per_day=0.05, daily_wave=0.45, weekend_factor=0.62
)
_VICTIM = Habit(active_sources=34, concentration=1.4, churn_per_day=0.9)


def _survey(name: str, tool: Tool, share: float, menu: Menu, maker: Maker) -> Stream:
    purpose = Purpose.UDP_PROBE if menu is _SURVEY_PROBES else Purpose.SCAN
    return Stream(f"survey-{name}", tool, purpose, Trade.SURVEY, share, menu, maker, _SURVEYOR)


def _scan(  # one line a stream keeps the table readable
    name: str, tool: Tool, trade: Trade, share: float, menu: Menu, maker: Maker, habit: Habit, **rest: object
) -> Stream:
    return Stream(name, tool, Purpose.SCAN, trade, share, menu, maker, habit, **rest)  # type: ignore[arg-type]  # keywords are Stream's own


STREAMS_V4: tuple[Stream, ...] = (
    _survey("zmap-new", Tool.ZMAP_NEW, 0.160, _WIDE, tools.make_zmap_new),
    _survey("zmap-old", Tool.ZMAP_OLD, 0.055, _WIDE, tools.make_zmap_old),
    _survey("masscan-new", Tool.MASSCAN_NEW, 0.090, _WIDE_MASSCAN, tools.make_masscan_new),
    _survey("masscan-old", Tool.MASSCAN_OLD, 0.030, _WIDE_MASSCAN, tools.make_masscan_old),
    _survey("custom", Tool.CUSTOM, 0.120, _WIDE, tools.make_custom),
    _survey("connect", Tool.LINUX, 0.025, _WIDE, tools.make_linux),
    _survey("udp", Tool.ZMAP_OLD, 0.058, _SURVEY_PROBES, datagrams.make_udp_zmap),
    Stream("survey-ping", Tool.LINUX, Purpose.SCAN, Trade.SURVEY, 0.014, _NONE, datagrams.make_ping, _SURVEYOR),
    _scan("mirai", Tool.MIRAI, Trade.ACCESS, 0.055, _TELNET, tools.make_mirai, _DEVICE,
          campaigns=(Campaign(-4.5, 2.5, 6, 5, 0.55),)),
    _scan("iot", Tool.EMBEDDED, Trade.ACCESS, 0.084, _IOT, tools.make_embedded, _DEVICE, tries=3, localised=0.3),
    _scan("ssh", Tool.LINUX, Trade.HOSTING, 0.047, Menu("22:90 2222:8 22222:1 222:1"), tools.make_linux, _SERVER,
          tries=3, localised=0.2),
    _scan("rdp", Tool.WINDOWS, Trade.HOSTING, 0.0145, Menu("3389:80 3390:4 3388:4 33890:3", 0.05), tools.make_windows,
          _SERVER, tries=2, localised=0.25),
    _scan("smb", Tool.WINDOWS, Trade.ACCESS, 0.029, Menu("445:90 139:5 135:5"), tools.make_windows, _OFFICE, tries=2,
          localised=0.3),
    _scan("masscan-new", Tool.MASSCAN_NEW, Trade.HOSTING, 0.036, _SERVERS, tools.make_masscan_new, _SERVER),
    _scan("masscan-old", Tool.MASSCAN_OLD, Trade.HOSTING, 0.022, _SERVERS, tools.make_masscan_old, _SERVER),
    _scan("zmap-old", Tool.ZMAP_OLD, Trade.HOSTING, 0.022, _SERVERS, tools.make_zmap_old, _SERVER),
    _scan("zmap-new", Tool.ZMAP_NEW, Trade.HOSTING, 0.018, _SERVERS, tools.make_zmap_new, _SERVER),
    _scan("nmap", Tool.NMAP, Trade.HOSTING, 0.004, Menu("22:3 80:3 443:3 21:2 25:2 3389:2 8080:2 445:2", 0.5, 40),
          tools.make_nmap, _SERVER, tries=2, doubling=False),
    _scan("web", Tool.LINUX, Trade.HOSTING, 0.021, Menu("80:30 443:30 8080:12 8443:8 8000:5 8888:5 3000:4 5000:4", 0.02),
          tools.make_linux, _SERVER, tries=2, localised=0.3),
    _scan("router", Tool.CUSTOM, Trade.ACCESS, 0.0032, Menu("8728:78 8291:18 8729:4", per_source=1), tools.make_custom,
          _DEVICE, campaigns=(Campaign(-17, 12, 40, 20, 8.0),)),
    _scan("redis-burst", Tool.MASSCAN_NEW, Trade.HOSTING, 0.0011, Menu("6379:1"), tools.make_masscan_new, _SERVER,
          campaigns=(Campaign(-11.3, 0.4, 1.2, 1.1, 34.0),)),
    Stream("udp-probe", Tool.CUSTOM, Purpose.UDP_PROBE, Trade.HOSTING, 0.020, _PROBES, datagrams.make_udp_probe, _SERVER),
    Stream("udp-new-port", Tool.CUSTOM, Purpose.UDP_PROBE, Trade.ACCESS, 0.00004, Menu("37810:1"),
           datagrams.make_udp_probe, _DEVICE, campaigns=(Campaign(-6.6, 3, 12, 12, 240.0),)),
    Stream("reflection", Tool.CUSTOM, Purpose.REFLECTION, Trade.ACCESS, 0.004,
           Menu("dns-any:5 ntp-monlist:3 cldap-root:3 ssdp-all:2 memcached-stats:1", per_source=1),
           datagrams.make_reflection_trigger, _VICTIM, in_attacks=True),
    Stream("syn-ack", Tool.LINUX, Purpose.BACKSCATTER, Trade.HOSTING, 0.016, _VICTIMS, datagrams.make_syn_ack, _VICTIM,
           in_attacks=True),
    Stream("rst", Tool.LINUX, Purpose.BACKSCATTER, Trade.HOSTING, 0.0065, _VICTIMS, datagrams.make_rst, _VICTIM,
           in_attacks=True),
    Stream("unreachable", Tool.LINUX, Purpose.BACKSCATTER, Trade.ACCESS, 0.0055, _VICTIMS, datagrams.make_unreachable,
           _VICTIM, in_attacks=True),
    Stream("leftover", Tool.LINUX, Purpose.RESIDUAL, Trade.ACCESS, 0.0055, _NOWHERE, datagrams.make_leftover, _OFFICE,
           localised=1.0),
    Stream("ping", Tool.LINUX, Purpose.SCAN, Trade.ACCESS, 0.009, _NONE, datagrams.make_ping, _DEVICE),
    _scan("stealth", Tool.CUSTOM, Trade.HOSTING, 0.0012, _SERVERS, datagrams.make_stealth, _SERVER),
    Stream("fragment", Tool.CUSTOM, Purpose.RESIDUAL, Trade.ACCESS, 0.0005, _NOWHERE, datagrams.make_fragment, _OFFICE),
    Stream("malformed", Tool.CUSTOM, Purpose.MALFORMED, Trade.HOSTING, 0.0004, _SERVERS, datagrams.make_malformed,
           _SERVER, spoilt=True),
)  # fmt: skip

_V6_SURVEYOR = Habit(active_sources=180, concentration=1.5, churn_per_day=0.0)
_V6_SERVER = Habit(active_sources=60, concentration=2.5, churn_per_day=0.05)
STREAMS_V6: tuple[Stream, ...] = (
    Stream("v6-survey-syn", Tool.CUSTOM, Purpose.SCAN, Trade.SURVEY, 0.34, _WIDE, tools.make_custom, _V6_SURVEYOR, 6),
    Stream("v6-survey-ping", Tool.LINUX, Purpose.SCAN, Trade.SURVEY, 0.27, _NONE, datagrams.make_ping_v6, _V6_SURVEYOR, 6),
    Stream("v6-survey-udp", Tool.CUSTOM, Purpose.UDP_PROBE, Trade.SURVEY, 0.07, _SURVEY_PROBES, datagrams.make_udp_probe,
           _V6_SURVEYOR, 6),
    Stream("v6-custom", Tool.CUSTOM, Purpose.SCAN, Trade.HOSTING, 0.16, _SERVERS, tools.make_custom, _V6_SERVER, 6),
    Stream("v6-ssh", Tool.LINUX, Purpose.SCAN, Trade.HOSTING, 0.07, Menu("22:9 2222:1"), tools.make_linux, _V6_SERVER, 6,
           tries=3),
    Stream("v6-ping", Tool.LINUX, Purpose.SCAN, Trade.HOSTING, 0.05, _NONE, datagrams.make_ping_v6, _V6_SERVER, 6),
    Stream("v6-syn-ack", Tool.LINUX, Purpose.BACKSCATTER, Trade.HOSTING, 0.04, _VICTIMS, datagrams.make_syn_ack, _VICTIM, 6,
           in_attacks=True),
)  # fmt: skip
#: Sources that cannot be what they say, and payloads in SYNs (data before any answer); few of each.
STREAMS_ODD: tuple[Stream, ...] = (
    _scan("bogon-leak", Tool.EMBEDDED, Trade.ACCESS, 0.0022, _IOT, tools.make_embedded, _DEVICE, tries=3,
          origin=Origin.BOGON),
    Stream("bogon-udp", Tool.LINUX, Purpose.RESIDUAL, Trade.ACCESS, 0.0008, _NOWHERE, datagrams.make_leftover, _OFFICE,
           origin=Origin.BOGON),
    _scan("land", Tool.CUSTOM, Trade.HOSTING, 0.0005, Menu("80:3 445:3 139:2 443:2"), tools.make_custom, _SERVER,
          origin=Origin.DESTINATION),
    _scan("syn-payload", Tool.CUSTOM, Trade.HOSTING, 0.0026, Menu("http-get:60 tls-hello:25 redis-info:6 rdp-cookie:9"),
          datagrams.make_syn_payload, _SERVER),
)  # fmt: skip
#: Every stream; its place here is its number in the labels.
ALL_STREAMS: tuple[Stream, ...] = (*STREAMS_V4, *STREAMS_V6, *STREAMS_ODD)


@dataclass(frozen=True)
class MenuTable:
    """A menu as arrays of one length."""

    #: Upper ends of the entries' shares, the last is 1.
    ladder: F64
    port: U16
    #: Index into PAYLOADS; -1 for none.
    payload: I64


@functools.lru_cache(maxsize=64)
def read_menu(menu: Menu) -> MenuTable:
    names = [payload.name for payload in PAYLOADS]
    pairs = [entry.rsplit(":", 1) for entry in menu.entries.split()]
    weights = np.array([float(weight) for _, weight in pairs])
    known = [name in BY_NAME for name, _ in pairs]
    return MenuTable(
        ladder=np.cumsum(weights) / weights.sum(),
        port=np.array(
            [BY_NAME[name].port if is_known else int(name) for (name, _), is_known in zip(pairs, known, strict=True)],
            np.uint16,
        ),
        payload=np.array(
            [names.index(name) if is_known else -1 for (name, _), is_known in zip(pairs, known, strict=True)]
        ),
    )  # fmt: skip
