"""Country, AS number and survey of sources, from any MaxMind-DB file and a list."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path

import numpy as np
import pytest
from mmdb_writer import MmdbU32, MMDBWriter
from netaddr import IPSet

from teiten.foundation.clock import to_us
from teiten.loader import places
from teiten.loader.errors import ReferenceFileError, ReferenceMissing
from teiten.loader.reference import NONE, ReferenceBook
from teiten.traffic import addresses

pytestmark = pytest.mark.requirement("R2.1")


def write_file(path: Path, records: dict[str, dict], *, name: str = "Test") -> Path:
    writer = MMDBWriter(6, name, ipv4_compatible=True)
    for network, record in records.items():
        writer.insert_network(IPSet([network]), record)
    writer.to_db_file(str(path))
    return path


def look_up(table: places.PlaceTable, *texts: str) -> list[tuple[str, int]]:
    countries, asns = table.lookup(addresses.from_texts(texts))
    return list(zip(countries.tolist(), asns.tolist(), strict=True))


FORMS = {
    "geolite country": ({"country": {"iso_code": "JP"}}, ("JP", 0)),
    "geolite registered": ({"registered_country": {"iso_code": "JP"}}, ("JP", 0)),
    "geolite asn": ({"autonomous_system_number": MmdbU32(64512)}, ("", 64512)),
    "flat": ({"country_code": "JP"}, ("JP", 0)),
    "ipinfo": ({"country": "JP", "asn": "AS64512"}, ("JP", 64512)),
    "geo open": ({"country": {"iso_code": "JP", "AutonomousSystemNumber": "64512"}}, ("JP", 64512)),
}


@pytest.mark.parametrize(("record", "expected"), FORMS.values(), ids=FORMS)
def test_every_known_form_is_read(tmp_path: Path, record: dict, expected: tuple[str, int]) -> None:
    path = write_file(tmp_path / "a.mmdb", {"240.1.0.0/16": record, "3fff:1::/32": record})

    table = places.read_table(path)

    assert look_up(table, "240.1.2.3", "3fff:1::9") == [expected, expected]
    assert look_up(table, "240.2.0.0", "3fff:2::") == [("", 0), ("", 0)]


def test_narrow_networks_lie_in_wide_ones(tmp_path: Path) -> None:
    path = write_file(
        tmp_path / "a.mmdb",
        {"240.0.0.0/8": {"country_code": "JP"}, "240.0.1.0/24": {"country_code": "KR"}},
    )

    assert look_up(places.read_table(path), "240.0.0.255", "240.0.1.0", "240.0.1.255", "240.0.2.0") == [
        ("JP", 0), ("KR", 0), ("KR", 0), ("JP", 0),
    ]  # fmt: skip


@pytest.mark.parametrize("content", [b"", b"hello", b"\x00" * 5_000])
def test_what_is_no_such_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.mmdb"
    path.write_bytes(content)

    with pytest.raises(ReferenceFileError, match=r"a\.mmdb"):
        places.read_table(path)


def test_a_damaged_file_is_refused_and_the_one_in_use_stays(tmp_path: Path) -> None:
    good = write_file(tmp_path / "good.mmdb", {"240.0.0.0/8": {"country_code": "JP"}})
    bad = tmp_path / "bad.mmdb"
    content = good.read_bytes()
    marker = content.rindex(b"\xab\xcd\xefMaxMind.com")
    bad.write_bytes(content[: marker // 2] + content[marker:])
    book = ReferenceBook(tmp_path / "reference")
    book.use([good])
    version = book.current_version()

    with pytest.raises(ReferenceFileError):
        book.use([bad])

    assert book.current_version() == version
    assert book.open(version).place(addresses.from_texts(["240.0.0.1"]))[0].tolist() == ["JP"]


def test_a_file_without_places_is_refused(tmp_path: Path) -> None:
    path = write_file(tmp_path / "a.mmdb", {"240.0.0.0/8": {"is_anonymous": True}})

    with pytest.raises(ReferenceFileError, match="neither a country nor an AS"):
        places.read_table(path)


def test_two_files_answer_together(tmp_path: Path) -> None:
    country = write_file(tmp_path / "country.mmdb", {"240.0.0.0/8": {"country": {"iso_code": "JP"}}})
    asn = write_file(tmp_path / "asn.mmdb", {"240.0.0.0/16": {"autonomous_system_number": MmdbU32(64512)}})

    data = ReferenceBook(tmp_path / "reference").use([country, asn])

    countries, asns = data.place(addresses.from_texts(["240.0.0.1", "240.1.0.1", "241.0.0.1"]))
    assert countries.tolist() == ["JP", "JP", ""]
    assert asns.tolist() == [64512, 0, 0]


def test_no_file_means_empty_columns(tmp_path: Path) -> None:
    book = ReferenceBook(tmp_path / "reference")

    assert book.current_version() == NONE
    countries, asns = book.open(NONE).place(addresses.from_texts(["240.0.0.1"]))
    assert (countries.tolist(), asns.tolist()) == ([""], [0])


def test_an_earlier_version_still_answers_as_it_did(tmp_path: Path) -> None:
    book = ReferenceBook(tmp_path / "reference")
    for country in ("JP", "KR"):
        book.use([write_file(tmp_path / f"{country}.mmdb", {"240.0.0.0/8": {"country_code": country}})])
        if country == "JP":
            first = book.current_version()

    assert (
        ReferenceBook(tmp_path / "reference").open(first).place(addresses.from_texts(["240.0.0.1"]))[0][0]
        == "JP"
    )
    with pytest.raises(ReferenceMissing, match="put the folder back"):
        book.open("0123456789abcdef")


def test_a_survey_list_holds_between_its_days(tmp_path: Path) -> None:
    path = tmp_path / "survey.csv"
    path.write_text(
        "network,owner,valid_from,valid_to,source\n240.9.0.0/24,Example Research,2026-01-01,2026-02-01,test\n"
    )
    data = ReferenceBook(tmp_path / "reference").use(survey_list=path)
    instants = [datetime(2026, *day, tzinfo=timezone.utc) for day in ((1, 1), (1, 31), (2, 1))]
    sources = addresses.from_texts(["240.9.0.1"] * 3)

    kinds, actors = data.find_survey(sources, np.array([to_us(at) for at in instants]))

    assert kinds.tolist() == [1, 1, 0]
    assert actors.tolist() == ["Example Research", "Example Research", ""]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("240.9.0.0/24,A,2026-01-01", "3 fields"),
        ("240.0.0.0/4,A,2026-01-01,,x", "too broad"),
        ("240.9.0.0/24,A,yesterday,,x", "no day"),
        ("240.9.0.300,A,2026-01-01,,x", "240.9.0.300"),
        ("240.9.0.0/24,A,2026-02-01,2026-01-01,x", "ends before"),
    ],
)
def test_a_wrong_line_of_a_survey_list_is_named(tmp_path: Path, line: str, said: str) -> None:
    path = tmp_path / "survey.csv"
    path.write_text(f"network,owner,valid_from,valid_to,source\n{line}\n")

    with pytest.raises(ReferenceFileError, match=said):
        ReferenceBook(tmp_path / "reference").use(survey_list=path)


def test_systems_are_named_by_the_file_in_use(tmp_path: Path) -> None:
    from teiten.simulators import places

    database = tmp_path / "simulated.mmdb"
    places.write_database(database)
    book = ReferenceBook(tmp_path / "reference")
    assert book.list_names([64512]) == {}

    book.use([database])

    assert list(book.list_names([64512, 1])) == [64512]
