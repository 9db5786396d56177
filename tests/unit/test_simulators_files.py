"""What the simulators write: capture files, the country/AS database, the survey list; and where they send."""

from __future__ import annotations

import csv
import ipaddress
import itertools
import shutil
import subprocess
from pathlib import Path

import maxminddb
import numpy as np
import pytest

from teiten.simulators import captures, places, ranges, wire, world
from teiten.simulators.config import TelescopeConfig
from teiten.simulators.errors import ForbiddenAddressError, WireError
from teiten.simulators.population import DAY_US, HOUR_US
from teiten.simulators.telescope import Outlook, Telescope

ANCHOR = TelescopeConfig().anchor_us
BAD_CHECKSUM = " || ".join(f"{name}.checksum.status==0" for name in ("ip", "tcp", "udp", "icmp", "icmpv6"))
TSHARK = shutil.which("tshark")


def make_parts(hours: int = 12):
    telescope = Telescope(TelescopeConfig(snap_bytes=1500))
    outlook = Outlook("pcap", ("192.0.2.33/32", "2001:db8:33::/48"))
    return list(telescope.observe_units(outlook, ANCHOR - hours * HOUR_US, ANCHOR))


class TestCaptures:
    @pytest.mark.parametrize("link", ["raw", "ethernet"])
    @pytest.mark.skipif(TSHARK is None, reason="tshark is not installed")
    def test_tshark_reads_every_field_and_finds_every_checksum_right(self, tmp_path, link):
        parts = make_parts()
        path = tmp_path / "a.pcap"
        count = captures.write_capture(path, parts, link)
        fields = ["frame.time_epoch", "ip.src", "ipv6.src", "tcp.dstport", "udp.dstport", "ip.ttl"]
        checks = [f"{p}.check_checksum:TRUE" for p in ("ip", "tcp", "udp")]
        command = [str(TSHARK), "-r", str(path), "-T", "fields", "-E", "occurrence=f"]
        options = [word for check in checks for word in ("-o", check)]
        lines = subprocess.run(
            [*command, *options, *[w for f in fields for w in ("-e", f)]],
            capture_output=True,
            text=True,
            check=True,
        ).stdout.splitlines()
        bad = subprocess.run(
            [str(TSHARK), "-r", str(path), *options, "-Y", BAD_CHECKSUM],
            capture_output=True, text=True, check=True,
        ).stdout  # fmt: skip

        columns = parts[0].parse()
        assert len(lines) == count == len(parts[0])
        assert bad == ""
        for row in range(0, count, 7):
            at, v4, v6, tcp, udp, ttl = lines[row].split("\t")
            assert round(float(at) * 1e6) == parts[0].observed_at_us[row]
            address = ipaddress.IPv6Address(bytes(columns["src_addr"][row]))
            assert str(address.ipv4_mapped or address) == (v4 or v6)
            if tcp or udp:
                assert int(tcp or udp) == columns["dst_port"][row] or columns["protocol"][row] == 1
            assert not ttl or int(ttl) == columns["ttl"][row]

    def test_a_cut_packet_keeps_its_true_length(self, tmp_path):
        telescope = Telescope(TelescopeConfig(snap_bytes=96))
        traffic = telescope.observe(Outlook("pcap", ("192.0.2.33/32",)), ANCHOR - HOUR_US, ANCHOR)
        path = tmp_path / "cut.pcap"
        captures.write_capture(path, [traffic])

        data = path.read_bytes()[24:]
        lengths = []
        while data:
            kept, whole = np.frombuffer(data[8:16], "<u4")
            lengths.append((int(kept), int(whole)))
            data = data[16 + int(kept) :]
        assert lengths == list(
            zip(traffic.captured_length.tolist(), traffic.wire_length.tolist(), strict=True)
        )
        assert max(kept for kept, _ in lengths) == 96

    def test_a_foreign_source_never_reaches_a_file(self, tmp_path):
        (part,) = make_parts(1)
        part.raw[5, 12:16] = (198, 18, 0, 1)

        with pytest.raises(ForbiddenAddressError):
            captures.write_capture(tmp_path / "a.pcap", [part])


class TestPlaces:
    def test_database_answers_for_the_simulated_world_only(self, tmp_path):
        path = tmp_path / "simulated.mmdb"
        assert places.write_database(path) == 2 * len(world.list_networks())

        with maxminddb.open_database(path) as reader:
            for network in world.list_networks():
                for prefix in (network.v4_prefix, network.v6_prefix):
                    found = reader.get(ipaddress.ip_network(prefix)[-1])
                    assert found == {
                        "country": {"iso_code": network.country},
                        "autonomous_system_number": network.number,
                        "autonomous_system_organization": network.organization,
                    }
            for stranger in ("192.0.2.1", "198.18.0.1", "239.255.255.255", "2001:db8::1", "3fff:1000::1"):
                assert reader.get(stranger) is None

    def test_database_is_the_same_bytes_every_time(self, tmp_path):
        places.write_database(tmp_path / "a")
        places.write_database(tmp_path / "b")

        assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
        assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]

    def test_world_has_many_countries_and_invented_names_in_reserved_ranges(self):
        networks = world.list_networks()

        assert len({network.country for network in networks}) >= 190
        assert 300 <= len(networks) <= 450
        assert len({network.number for network in networks}) == len(networks)
        for network in networks:
            assert ranges.is_private_as(network.number)
            assert ipaddress.IPv4Network(network.v4_prefix).subnet_of(ranges.SOURCES_V4)
            assert ipaddress.IPv6Network(network.v6_prefix).subnet_of(ranges.SOURCES_V6)
            first = network.organization.split()[0]
            assert first in ("Example", "Sample", "Specimen", "Placeholder", "Fictional", "Demo")

    def test_networks_do_not_overlap(self):
        prefixes = sorted(ipaddress.IPv4Network(network.v4_prefix) for network in world.list_networks())

        assert all(not a.overlaps(b) for a, b in itertools.pairwise(prefixes))

    def test_survey_list_covers_every_survey_packet_and_no_other(self, tmp_path):
        path = tmp_path / "survey.csv"
        count = places.write_survey_list(path, anchor_us=ANCHOR)
        rows = list(csv.DictReader(path.read_text().splitlines()))

        assert len(rows) == count == 2 * len(world.SURVEY_OWNERS)
        assert tuple(rows[0]) == ("network", "owner", "valid_from", "valid_to", "source")
        listed = [ipaddress.ip_network(row["network"]) for row in rows]
        telescope = Telescope(TelescopeConfig())
        traffic = telescope.observe(Outlook("s", ("192.0.2.33/32",)), ANCHOR - DAY_US, ANCHOR)
        sources = traffic.raw[:, 12:16].copy().view(">u4")[:, 0].astype(np.int64)
        inside = np.zeros(len(traffic), bool)
        for network in listed:
            if network.version == 4:
                first = int(network.network_address)
                inside |= (sources >= first) & (sources < first + network.num_addresses)
        assert np.array_equal(inside, traffic.labels.survey == 1)

    def test_a_new_survey_scanner_is_listed_from_the_day_it_begins(self, tmp_path):
        path = tmp_path / "survey.csv"
        places.write_survey_list(path, anchor_us=ANCHOR)
        rows = {row["owner"]: row for row in csv.DictReader(path.read_text().splitlines())}
        newest = min(world.SURVEY_OWNERS, key=lambda owner: -owner.since_days)

        assert newest.since_days == -19
        number = next(n.number for n in world.list_networks() if n.organization == newest.organization)
        telescope = Telescope(TelescopeConfig())
        outlook = Outlook("s", tuple(f"192.0.2.{i}/32" for i in range(40, 44)))
        before = telescope.observe(outlook, ANCHOR - 21 * DAY_US, ANCHOR - 19 * DAY_US)
        after = telescope.observe(outlook, ANCHOR - 19 * DAY_US, ANCHOR - 18 * DAY_US)
        assert number not in before.labels.asn
        assert number in after.labels.asn
        assert rows[newest.organization]["valid_from"] == "2026-11-02"


class TestWire:
    def fake(
        self, folder: Path, name: str, *, kind: str = "1", uevent: str = "", virtual: bool = True
    ) -> None:
        home = folder / ("devices/virtual/net" if virtual else "devices/pci0000:00/net") / name
        home.mkdir(parents=True)
        (home / "type").write_text(f"{kind}\n")
        (home / "uevent").write_text(uevent)
        (folder / "class").mkdir(exist_ok=True)
        (folder / "class" / name).symlink_to(home)

    def test_loopback_veth_and_dummy_are_allowed(self, tmp_path):
        self.fake(tmp_path, "lo", kind="772")
        self.fake(tmp_path, "veth0")

        wire.check_interface("lo", tmp_path / "class")
        wire.check_interface("veth0", tmp_path / "class")

    @pytest.mark.parametrize(
        "case",
        [{"virtual": False}, {"uevent": "DEVTYPE=bridge\n"}, {"uevent": "DEVTYPE=vlan\n"}, {"kind": "65534"}],
    )
    def test_what_may_lead_to_a_real_network_is_refused(self, tmp_path, case):
        self.fake(tmp_path, "eth0", **case)

        with pytest.raises(WireError, match="interface eth0 may lead to a real network"):
            wire.check_interface("eth0", tmp_path / "class")

    def test_an_unknown_interface_is_named(self, tmp_path):
        with pytest.raises(WireError, match="interface 'nix0' does not exist"):
            wire.check_interface("nix0", tmp_path)
