"""The simulated Internet: reproducible, calibrated, true to the tools, and nobody real in it."""

from __future__ import annotations

import ipaddress
import itertools
import struct
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from teiten.simulators import ranges
from teiten.simulators.config import TelescopeConfig
from teiten.simulators.errors import ForbiddenAddressError
from teiten.simulators.labels import Origin, Purpose, Tool
from teiten.simulators.population import DAY_US, HOUR_US
from teiten.simulators.streams import ALL_STREAMS, PACKETS_PER_ADDRESS_DAY, PACKETS_PER_PREFIX_DAY
from teiten.simulators.telescope import Outlook, Telescope, Traffic, join_traffic
from teiten.simulators.world import list_networks
from teiten.traffic import rules
from teiten.traffic.hints import Hint
from teiten.traffic.marks import ParseMark
from teiten.traffic.validity import SourceValidity

ANCHOR = TelescopeConfig().anchor_us
HOME = Outlook("kanto-01", ("192.0.2.10/32",))
PREFIX = Outlook("kanto-06", ("2001:db8:100::/48",))
BOTH = Outlook("both", ("198.51.100.7/32", "2001:db8:9::/64"))


#: The hint that fits each tool.
EXPECTED = {
    Tool.MIRAI: Hint.MIRAI,
    Tool.ZMAP_OLD: Hint.ZMAP_OLD,
    Tool.ZMAP_NEW: Hint.ZMAP_NEW,
    Tool.MASSCAN_OLD: Hint.MASSCAN_OLD,
    Tool.MASSCAN_NEW: Hint.MASSCAN_NEW,
    Tool.NMAP: Hint.NMAP_SYN,
}


def make(outlook: Outlook = HOME, *, days: int = 1, until_us: int = ANCHOR, **config: float) -> Traffic:
    telescope = Telescope(TelescopeConfig(**config))  # type: ignore[arg-type]
    parts = list(telescope.observe_units(outlook, until_us - days * DAY_US, until_us))
    return join_traffic(parts, telescope.config.snap_bytes)


@pytest.fixture(scope="module")
def month() -> Traffic:
    return make(days=30)


@pytest.fixture(scope="module")
def mixed() -> Traffic:
    return make(BOTH, days=3, snap_bytes=1500)


@pytest.mark.requirement("R0.2")
def test_same_seed_gives_the_same_bytes_and_another_seed_others():
    first, again, other = make(seed=7), make(seed=7), make(seed=8)

    assert first.raw.tobytes() == again.raw.tobytes()
    assert first.observed_at_us.tobytes() == again.observed_at_us.tobytes()
    assert all(
        np.array_equal(a, b)
        for a, b in zip(vars(first.labels).values(), vars(again.labels).values(), strict=True)
    )
    assert first.raw.tobytes() != other.raw.tobytes()


@settings(max_examples=8, deadline=None)
@given(cuts=st.lists(st.integers(0, 36 * 60), min_size=1, max_size=4, unique=True))
def test_any_cutting_of_time_gives_the_same_packets(cuts):
    telescope = Telescope(TelescopeConfig())
    start = ANCHOR - 36 * HOUR_US
    edges = [start, *sorted(start + cut * 60_000_000 for cut in cuts), ANCHOR + HOUR_US]

    whole = telescope.observe(HOME, start, ANCHOR + HOUR_US)
    pieces = [telescope.observe(HOME, a, b) for a, b in itertools.pairwise(edges)]

    assert sum(map(len, pieces)) == len(whole)
    assert b"".join(piece.raw.tobytes() for piece in pieces) == whole.raw.tobytes()


def test_a_sensor_is_not_changed_by_its_neighbours():
    alone = make(Outlook("x", ("192.0.2.1/32",)))

    assert make(Outlook("y", ("192.0.2.2/32",))).raw.tobytes() != alone.raw.tobytes()
    assert make(Outlook("x", ("192.0.2.1/32",))).raw.tobytes() == alone.raw.tobytes()


def test_packets_stand_in_order_of_time_within_the_period():
    traffic = Telescope(TelescopeConfig()).observe(HOME, ANCHOR + 5, ANCHOR + 3 * HOUR_US)

    assert np.all(np.diff(traffic.observed_at_us) >= 0)
    assert traffic.observed_at_us[0] >= ANCHOR + 5
    assert traffic.observed_at_us[-1] < ANCHOR + 3 * HOUR_US


def test_hourly_units_have_the_same_statistics_as_daily_ones():
    by_hour = make(unit_hours=1, days=2)

    assert len(by_hour) == pytest.approx(2 * PACKETS_PER_ADDRESS_DAY, rel=0.15)
    assert by_hour.labels.survey.mean() == pytest.approx(0.55, abs=0.06)
    with pytest.raises(ValueError, match="unit_hours is 7; it must divide 24"):
        Telescope(TelescopeConfig(unit_hours=7))


class TestCalibration:
    def test_rate_is_that_of_nicter_2025(self, month):
        assert len(month) / 30 == pytest.approx(PACKETS_PER_ADDRESS_DAY, rel=0.06)
        assert pytest.approx(2_500_000 / 365) == PACKETS_PER_ADDRESS_DAY

    def test_more_addresses_and_a_higher_rate_give_more(self):
        pair = make(Outlook("pair", ("192.0.2.10/32", "192.0.2.11/32")))
        double = make(rate=2.0)

        assert len(pair) == pytest.approx(2 * PACKETS_PER_ADDRESS_DAY, rel=0.12)
        assert len(double) == pytest.approx(2 * PACKETS_PER_ADDRESS_DAY, rel=0.12)

    def test_survey_scanners_send_about_55_percent(self, month):
        assert 0.50 <= month.labels.survey.mean() <= 0.60

    def test_other_iot_bots_exceed_mirai(self, month):
        mirai = (month.labels.tool == Tool.MIRAI).mean()
        other = (month.labels.tool == Tool.EMBEDDED).mean()

        assert 0.04 <= mirai <= 0.08
        assert mirai < other < 0.12

    def test_protocols_and_backscatter_have_their_shares(self, month):
        protocol = np.asarray(month.parse()["protocol"])

        assert 0.82 <= (protocol == 6).mean() <= 0.92
        assert 0.06 <= (protocol == 17).mean() <= 0.13
        assert 0.01 <= (protocol == 1).mean() <= 0.05
        assert 0.015 <= (month.labels.purpose == Purpose.BACKSCATTER).mean() <= 0.05

    def test_ports_are_those_of_darknets_with_a_long_tail_of_ports_seen_once(self, month):
        columns = month.parse(0)
        tcp = np.asarray(columns["dst_port"])[np.asarray(columns["protocol"]) == 6]
        udp = np.asarray(columns["dst_port"])[np.asarray(columns["protocol"]) == 17]
        ports, counts = np.unique(tcp, return_counts=True)
        top = ports[np.argsort(-counts)][:25].tolist()

        assert top[:2] == [23, 22]
        assert {80, 443, 8080, 5555, 2323, 3389, 445, 6379} <= set(top)
        udp_ports, udp_counts = np.unique(udp, return_counts=True)
        udp_top = udp_ports[np.argsort(-udp_counts)][:10].tolist()
        assert {53, 123, 161, 1900, 5060, 11211} <= set(udp_top)
        assert (counts == 1).sum() > 5_000

    def test_devices_follow_their_day_and_surveys_do_not(self, month):
        hour = month.observed_at_us // HOUR_US % 24
        stream = np.array([ALL_STREAMS[i].name for i in range(len(ALL_STREAMS))])[month.labels.stream]
        china = {network.number for network in list_networks() if network.country in ("CN", "TW", "HK")}
        devices = np.isin(month.labels.asn, list(china)) & np.isin(stream, ["mirai", "iot"])

        evening = np.bincount(hour[devices], minlength=24)[[11, 12, 13]].sum()
        morning = np.bincount(hour[devices], minlength=24)[[23, 0, 1]].sum()
        survey = np.bincount(hour[month.labels.survey == 1], minlength=24)
        assert evening > 1.3 * morning
        assert survey.max() < 1.1 * survey.min()

    def test_campaigns_begin_and_grow(self, month):
        port = np.asarray(month.parse(0)["dst_port"])
        day = (month.observed_at_us - (ANCHOR - 30 * DAY_US)) // DAY_US

        routers = np.bincount(day[port == 8728], minlength=30)
        new_udp = np.bincount(day[port == 37810], minlength=30)
        assert routers[25:].mean() > 2.5 * routers[:10].mean()
        assert new_udp[:20].sum() < 0.1 * new_udp[25:].sum()

    def test_ipv6_prefixes_get_far_less(self):
        traffic = make(PREFIX, days=4)

        assert len(traffic) == pytest.approx(4 * PACKETS_PER_PREFIX_DAY, rel=0.15)
        assert set(np.asarray(traffic.parse()["ip_version"]).tolist()) == {6}

    def test_an_answering_sensor_is_not_tried_again(self):
        silent = make(HOME, days=3)
        answering = make(Outlook("kanto-01", HOME.prefixes, answers=True), days=3)

        def share_of_repeats(traffic):
            tcp = traffic.raw[(traffic.raw[:, 9] == 6)]
            flows = {row.tobytes() for row in tcp[:, [12, 13, 14, 15, 20, 21, 22, 23, 24, 25, 26, 27]]}
            return 1 - len(flows) / len(tcp)

        assert share_of_repeats(silent) > 0.08
        assert share_of_repeats(answering) < 0.01


class TestAddresses:
    """No real address is ever accused."""

    @pytest.mark.requirement("R0.1")
    def test_every_source_and_destination_is_reserved(self, month, mixed):
        v6 = make(PREFIX, days=2)
        for traffic in (month, mixed, v6):
            columns = traffic.parse()
            sources, targets = np.asarray(columns["src_addr"]), np.asarray(columns["dst_addr"])
            version = np.asarray(columns["ip_version"])
            is_v4 = version == 4
            assert set(version.tolist()) <= {4, 6}
            origin = np.array([stream.origin for stream in ALL_STREAMS])[traffic.labels.stream]
            assert np.all(sources[is_v4 & (origin == Origin.OWN)][:, 12] >> 4 == 0xF)
            assert np.all(sources[origin == Origin.DESTINATION] == targets[origin == Origin.DESTINATION])
            for address in sources[origin == Origin.BOGON][:, 12:]:
                text = ipaddress.IPv4Address(address.tobytes())
                assert any(text in network for network in ranges.BOGONS_V4)
            assert np.all(sources[~is_v4][:, :2] == (0x3F, 0xFF))
            assert np.all(sources[~is_v4][:, 2] >> 4 == 0)
            assert {tuple(row) for row in targets[is_v4][:, 12:15].tolist()} <= {
                (192, 0, 2),
                (198, 51, 100),
                (203, 0, 113),
            }
            assert np.all(targets[~is_v4][:, :4] == (0x20, 0x01, 0x0D, 0xB8))

    def test_quoted_packets_name_reserved_addresses_only(self, month):
        columns = month.parse()
        quoting = (np.asarray(columns["protocol"]) == 1) & np.isin(np.asarray(columns["icmp_type"]), (3, 11))
        inner = month.raw[quoting][:, 28:48]

        assert len(inner) > 50
        assert np.all(inner[:, 12:15] == (192, 0, 2))
        assert np.all(inner[:, 16] >> 4 == 0xF)

    def test_every_as_number_is_private(self, month, mixed):
        for traffic in (month, mixed):
            origin = np.array([stream.origin for stream in ALL_STREAMS])[traffic.labels.stream]
            own = traffic.labels.asn[origin == Origin.OWN]
            assert all(ranges.is_private_as(number) for number in np.unique(own).tolist())
            assert not traffic.labels.asn[origin != Origin.OWN].any()

    @pytest.mark.parametrize(
        "prefix", ["198.18.0.1/32", "240.0.0.1/32", "2001:db9::/48", "172.16.3.0/24", "x", "192.0.2.1/8"]
    )
    def test_a_sensor_elsewhere_is_refused(self, prefix):
        with pytest.raises(ForbiddenAddressError, match="observed prefix"):
            make(Outlook("bad", (prefix,)))

    def test_a_foreign_source_is_noticed_in_the_bytes(self, mixed):
        raw = mixed.raw[:3].copy()
        ranges.check_frames(raw)
        raw[1] = np.resize(
            np.frombuffer(bytes.fromhex("45000028000000004006000009090909c0000201"), np.uint8), raw.shape[1]
        )

        with pytest.raises(ForbiddenAddressError, match=r"packet 1 has the source 9\.9\.9\.9"):
            ranges.check_frames(raw)


def checksum_of(data: bytes) -> int:
    """RFC 1071, written plainly and apart from the code under test."""
    data += b"\0" * (len(data) % 2)
    total = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def upper_of(packet: bytes) -> tuple[int, bytes, bytes]:
    """Give protocol, pseudo header and upper-layer bytes of one packet."""
    if packet[0] >> 4 == 4:
        length = struct.unpack(">H", packet[2:4])[0]
        upper = packet[20:length]
        return packet[9], packet[12:20] + struct.pack(">BBH", 0, packet[9], len(upper)), upper
    length = struct.unpack(">H", packet[4:6])[0]
    upper = packet[40 : 40 + length]
    return packet[6], packet[8:40] + struct.pack(">IHBB", length, 0, 0, packet[6]), upper


class TestBytes:
    def test_checksums_are_right(self, mixed):
        stream = [ALL_STREAMS[i].name for i in mixed.labels.stream]
        checked = 0
        for row, name in zip(mixed.raw, stream, strict=True):
            if name in ("malformed", "fragment"):
                continue
            packet = row.tobytes()
            protocol, pseudo, upper = upper_of(packet)
            if packet[0] >> 4 == 4:
                assert checksum_of(packet[:20]) == 0
            base = b"" if protocol == 1 else pseudo
            assert checksum_of(base + upper) == 0, name
            checked += 1
        assert checked > 15_000

    def test_rows_are_zero_beyond_the_packet(self, mixed):
        beyond = np.arange(mixed.raw.shape[1])[None, :] >= mixed.captured_length[:, None]

        assert not mixed.raw[beyond].any()

    def test_cut_packets_keep_their_length_on_the_wire(self):
        short, whole = make(BOTH, snap_bytes=100), make(BOTH, snap_bytes=1500)

        assert np.array_equal(short.wire_length, whole.wire_length)
        assert np.array_equal(short.raw, whole.raw[:, :100])
        assert short.captured_length.max() == 100

    def test_malformed_ones_are_marked_and_nothing_else_is(self, month):
        marks = np.asarray(month.parse()["parse_marks"])
        ordinary = np.uint16(ParseMark.HAS_PORTS | ParseMark.CUT)
        names = np.array([stream.name for stream in ALL_STREAMS])[month.labels.stream]
        odd = np.isin(names, ("malformed", "fragment"))

        assert not (marks[~odd] & ~ordinary).any()
        assert (marks[names == "malformed"] & ~ordinary).astype(bool).mean() > 0.5
        assert (marks[names == "fragment"] & ParseMark.LATER_FRAGMENT).any()


def derive(traffic):
    columns = traffic.parse()
    return rules.derive_columns(columns, rules.take_as_recorded(columns))


class TestTruth:
    """The labels agree with rules written by others from the same sources."""

    @pytest.mark.requirement("R2.3")
    def test_hints_find_the_tools(self, month):
        found = derive(month)["hints"]
        for tool, hint in EXPECTED.items():
            truth, matched = month.labels.tool == tool, (found & hint) != 0
            recall = (truth & matched).sum() / truth.sum()
            precision = (truth & matched).sum() / max(1, matched.sum())
            print(f"{tool.name:12} recall {recall:.4f} precision {precision:.4f} of {truth.sum()}")
            assert recall == 1.0, tool
            assert precision > 0.999, tool

    @pytest.mark.requirement("R2.3")
    def test_sources_that_cannot_be_are_found(self, month):
        columns = month.parse()
        context = replace(rules.take_as_recorded(columns), is_exempt=np.ones(len(month), bool))
        found = rules.derive_columns(columns, context)["validity"]
        origin = np.array([stream.origin for stream in ALL_STREAMS])[month.labels.stream]

        assert np.array_equal(found == SourceValidity.BOGON, origin == Origin.BOGON)
        assert np.array_equal(found == SourceValidity.SPOOF_SUSPECT, origin == Origin.DESTINATION)
        assert 0.002 < (found == SourceValidity.BOGON).mean() < 0.005
        assert (found == SourceValidity.SPOOF_SUSPECT).any()

    @pytest.mark.requirement("R2.3")
    def test_every_simulated_payload_has_a_label(self, month):
        columns = month.parse()
        probe = derive(month)["probe"]
        ours = np.isin(month.labels.purpose, (Purpose.UDP_PROBE, Purpose.REFLECTION))
        ours &= np.asarray(columns["payload_length"]) > 0
        syn_payload = np.array([stream.name == "syn-payload" for stream in ALL_STREAMS])[month.labels.stream]

        assert (probe[ours] != "").all()
        assert set(probe[syn_payload].tolist()) == {"http-get", "tls-hello", "redis-command", "rdp-cookie"}
        assert len(set(probe.tolist())) > 30

    def test_natures_fit_the_purposes(self, month):
        found = derive(month)["nature"]
        purpose = month.labels.purpose
        queries = (Purpose.UDP_PROBE, Purpose.REFLECTION)
        for wanted in Purpose:
            truth = np.isin(purpose, queries) if wanted in queries else purpose == wanted
            matched = np.isin(found, queries) if wanted in queries else found == wanted
            recall = (truth & matched).sum() / truth.sum()
            precision = (truth & matched).sum() / max(1, matched.sum())
            print(f"{wanted.name:12} recall {recall:.4f} precision {precision:.4f} of {truth.sum()}")
            if wanted in (Purpose.SCAN, Purpose.BACKSCATTER, *queries):
                assert recall > 0.97, wanted
                assert precision > 0.9, wanted

    def test_nmap_probes_come_in_pairs_with_its_sequence_rule(self, month):
        rows = month.raw[month.labels.tool == Tool.NMAP]
        seq = rows[:, 24:28].copy().view(">u4")[:, 0].astype(np.uint32)
        source = rows[:, 12:16].copy().view(">u4")[:, 0]
        for address in np.unique(source):
            mixed = seq[source == address][:1] ^ seq[source == address]
            same_day = mixed >> 16 == mixed & 0xFFFF
            assert same_day.any()


def test_it_is_fast():
    """Not a timed test of the machine: a day of 40 addresses must not take a minute."""
    traffic = make(Outlook("wide", tuple(f"192.0.2.{i}/32" for i in range(1, 41))))

    assert len(traffic) > 200_000
    assert len(np.asarray(traffic.parse()["protocol"])) == len(traffic)
