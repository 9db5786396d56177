"""Survey scanners by behaviour: from stored packets to the list that the loader uses."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from datetime import date, datetime, timedelta, timezone

import pytest

from teiten.cli.survey_doors import SurveyCounts
from teiten.datasets.config import DatasetsConfig
from teiten.foundation.clock import FixedClock
from teiten.store import writer
from teiten.store.service import Store
from teiten.store.testing import make_coverage, make_packets, temporary_store
from teiten.store.writer import BlockRows

pytestmark = pytest.mark.requirement("R2.2", "R5.1")
#: Noon in Tokyo.
NOON = datetime(2026, 11, 20, 3, 0, tzinfo=timezone.utc)
DAY = date(2026, 11, 20)
NOW = datetime(2026, 11, 20, 17, 10, tzinfo=timezone.utc)
SENSORS = range(1, 6)
CONFIG = DatasetsConfig()
SURVEY, FEW_PORTS, ONE_SENSOR, SPOOFED, ANSWERS = (f"240.0.0.{number}" for number in range(1, 6))


@pytest.fixture(scope="module")
def store() -> Iterator[Store]:
    clock = FixedClock(NOW)
    with temporary_store(clock) as opened:
        writer.insert_block(opened, make_block(clock))
        yield opened


class Book:
    def __init__(self) -> None:
        self.given: list[str] = []

    def read_survey(self) -> bytes | None:
        return self.given[-1].encode() if self.given else None

    def use_survey(self, content: bytes) -> str:
        self.given.append(content.decode())
        return f"version-{len(self.given)}"


def make_block(clock: FixedClock) -> BlockRows:
    packets, windows = [], []
    for sensor in SENSORS:
        shared = {
            "sensor": sensor,
            "batch_seq": 1,
            "landed_at": NOON + timedelta(minutes=5),
            "observed_at": NOON,
        }
        own = [{"src_addr": SURVEY, "dst_port": 1000 + port} for port in range(40)]
        own += [{"src_addr": FEW_PORTS, "dst_port": 23} for _ in range(40)]
        own += [{"src_addr": SPOOFED, "dst_port": 1000 + port, "validity": 1} for port in range(40)]
        own += [
            {"src_addr": ANSWERS, "dst_port": 1000 + port, "tcp_flags": 0x12, "nature": 2}
            for port in range(40)
        ]
        if sensor == 1:
            own += [{"src_addr": ONE_SENSOR, "dst_port": 1000 + port} for port in range(200)]
        packets += [{**shared, **row, "row": number} for number, row in enumerate(own)]
        windows.append({"sensor": sensor, "batch_seq": 1, "rows": len(own), "window_start_at": NOON,
                        "window_end_at": NOON + timedelta(hours=1)})  # fmt: skip
    return BlockRows(str(uuid.uuid4()), clock.now_us(), make_packets(*packets), make_coverage(*windows))


def mark(store: Store, book: Book, *, now: datetime = NOW, days=(DAY,), config: DatasetsConfig = CONFIG):
    from teiten.datasets.behaviour import mark_surveys

    return mark_surveys(SurveyCounts(store), book, days=days, now=now, zone="Asia/Tokyo", config=config)


def test_it_works(store: Store, database: str) -> None:
    from teiten.datasets.models import Annotation
    from teiten.datasets.selectors import survey_reasons

    book = Book()

    found = mark(store, book)

    assert (found.surveys, found.added, found.version) == (1, 1, "version-1")
    (reason,) = survey_reasons(SURVEY, NOW)
    assert (reason.owner, reason.list, reason.kind) == ("behaviour", "behaviour", "behaviour")
    assert reason.reason.startswith("2026-11-20: as many SYN and UDP packets")
    # What this fleet saw of it (200 packets, 40 ports, 5 sensors) is for those who may see it.
    assert "200" not in reason.reason.replace("2026", "").replace("290,000", "").replace("300,000", "")
    assert "5 sensors" not in reason.reason
    # Until 14 days after the end of that day in Tokyo.
    assert reason.valid_to == datetime(2026, 12, 4, 15, 0, tzinfo=timezone.utc)
    for other in (FEW_PORTS, ONE_SENSOR, SPOOFED, ANSWERS):
        assert survey_reasons(other, NOW) == []
    assert book.given[0].splitlines()[1].startswith(f"{SURVEY}/32,behaviour,2026-11-20,2026-12-05,")
    assert book.given[0].splitlines()[1].endswith(",behaviour")
    assert not Annotation.objects.exists()


def test_the_same_again_changes_nothing(store: Store, database: str) -> None:
    book = Book()
    mark(store, book)

    again = mark(store, book, now=NOW + timedelta(hours=1))

    assert (again.surveys, again.added, again.closed, again.version) == (1, 0, 0, "")
    assert len(book.given) == 1


def test_what_was_cut_off_before_its_publication_is_published_by_the_next_run(
    store: Store, database: str
) -> None:
    class Dying(Book):
        def use_survey(self, content: bytes) -> str:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        mark(store, Dying())
    book = Book()

    again = mark(store, book, now=NOW + timedelta(minutes=5))

    assert (again.added, again.version) == (0, "version-1")
    assert SURVEY in book.given[0]


def test_an_entry_outlives_quiet_days_and_then_ends(store: Store, database: str) -> None:
    from teiten.datasets.selectors import survey_reasons

    book = Book()
    mark(store, book)

    later = NOW + timedelta(days=5)
    assert mark(store, book, now=later, days=(DAY + timedelta(days=5),)).closed == 0
    assert len(survey_reasons(SURVEY, later)) == 1

    over = NOW + timedelta(days=15)
    mark(store, book, now=over, days=(DAY + timedelta(days=15),))
    assert survey_reasons(SURVEY, over) == []
    assert len(survey_reasons(SURVEY, later)) == 1


def test_what_a_list_names_is_left_to_the_list(store: Store, database: str) -> None:
    from teiten.datasets import importing
    from teiten.datasets.reading import Defaults
    from teiten.datasets.selectors import survey_reasons
    from teiten.fleet.services import Act

    book = Book()
    mark(store, book)
    content = b"network,owner,valid_from,valid_to,source\n240.0.0.0/28,Example,,,\n"
    importing.import_list("example", content, file="x.csv", defaults=Defaults(), act=Act(NOW))

    later = NOW + timedelta(hours=1)
    assert mark(store, book, now=later).closed == 1
    assert [one.owner for one in survey_reasons(SURVEY, later)] == ["Example"]


def test_what_is_erased_is_no_longer_said_to_survey(store: Store, database: str, clock: FixedClock) -> None:
    from teiten.automation.custody_jobs import erase
    from teiten.cli.doors import StoreMaintenance
    from teiten.custody import services
    from teiten.custody.config import CustodyConfig
    from teiten.datasets.models import SurveyEntry
    from teiten.fleet.services import Act

    class Nothing(StoreMaintenance):
        def erase_address(self, **what):
            return {"rows": 0}

    book = Book()
    mark(store, book)
    services.erase_address("240.0.0.0/29", reason="asked for by its user", act=Act(NOW))

    facts = erase(
        Nothing(store), book, clock=FixedClock(NOW), custody=CustodyConfig(), datasets=DatasetsConfig()
    )

    assert (facts["done"], facts["surveys"]) == (1, 1)
    assert not SurveyEntry.objects.exists()
    assert SURVEY not in book.given[-1]


def test_too_many_findings_are_taken_for_an_attack(store: Store, database: str) -> None:
    from teiten.datasets.errors import DatasetsError
    from teiten.datasets.models import SurveyEntry

    with pytest.raises(DatasetsError, match="more than 0 sources of live on 2026-11-20"):
        mark(store, Book(), config=DatasetsConfig(behaviour_limit=0))

    assert not SurveyEntry.objects.exists()


def test_a_day_that_nobody_watched_finds_nothing(store: Store, database: str) -> None:
    assert mark(store, Book(), days=(DAY - timedelta(days=1),)).surveys == 0


def test_what_is_published_is_what_the_loader_reads(store: Store, database: str, tmp_path) -> None:
    import numpy as np

    from teiten.foundation.clock import to_us
    from teiten.loader.survey_list import read_survey_list
    from teiten.traffic import addresses
    from teiten.traffic.survey import SurveyKind

    book = Book()
    mark(store, book)
    path = tmp_path / "survey.csv"
    path.write_text(book.given[0])

    table = read_survey_list(path)

    known, owners = table.lookup(addresses.from_texts([SURVEY, FEW_PORTS]), np.full(2, to_us(NOW), np.int64))
    assert known.tolist() == [True, False]
    assert (table.owners[owners[0]], table.kinds[owners[0]]) == ("behaviour", SurveyKind.BEHAVIOUR)
