"""Survey lists in a real database: atomic, at once, with their history, and as the loader reads them."""

from __future__ import annotations

import json
import threading
from datetime import datetime, timedelta, timezone

import pytest

from teiten.datasets.config import DatasetsConfig
from teiten.datasets.reading import Defaults
from teiten.portal.testing import Cast

pytestmark = pytest.mark.requirement("R2.2", "R4.1")
HEADER = "network,owner,valid_from,valid_to,source\n"
NOW = datetime(2026, 11, 21, 3, 0, tzinfo=timezone.utc)
DAY = timedelta(days=1)


class Book:
    """Reference data that remember what they were given."""

    def __init__(self) -> None:
        self.given: list[bytes] = []

    def read_survey(self) -> bytes | None:
        return self.given[-1] if self.given else None

    def use_survey(self, content: bytes) -> str:
        self.given.append(content)
        return f"version-{len(self.given)}"


def take(name: str, *rows: str, at: datetime = NOW, actor=None, **defaults):
    from teiten.datasets import importing
    from teiten.fleet.services import Act

    content = (HEADER + "".join(row + "\n" for row in rows)).encode()
    return importing.import_list(
        name, content, file=f"{name}.csv", defaults=Defaults(**defaults), act=Act(at, actor)
    )


def counts(record) -> tuple[int, int, int, int]:
    return record.added, record.changed, record.closed, record.kept


def holding(name: str, at: datetime) -> list[str]:
    from teiten.datasets.selectors import entries_of

    return [entry.network for entry in entries_of(name, at=at)]


def test_it_works(cast: Cast) -> None:
    from teiten.datasets.selectors import imports_of, list_surveys, survey_reasons

    first = take("example", "192.0.2.0/28,Example,,,page", "192.0.2.32,Example,,,page", actor=cast.ann)
    second = take("example", "192.0.2.0/28,Example,,,page", "203.0.113.0/24,Example,,,page", at=NOW + DAY)

    assert (counts(first), counts(second)) == ((2, 0, 0, 0), (1, 0, 1, 1))
    assert holding("example", NOW) == ["192.0.2.0/28", "192.0.2.32/32"]
    assert holding("example", NOW + DAY) == ["192.0.2.0/28", "203.0.113.0/24"]
    assert [(row.name, row.holding, row.entries) for row in list_surveys(NOW + DAY)] == [("example", 2, 3)]
    assert [record.actor for record in imports_of("example")] == [None, cast.ann]
    assert [reason.network for reason in survey_reasons("192.0.2.32", NOW)] == ["192.0.2.32/32"]
    assert survey_reasons("192.0.2.32", NOW + DAY) == []


def test_reasons_name_the_narrowest_network_first(database: str) -> None:
    from teiten.datasets.selectors import survey_reasons

    take("wide", "192.0.2.0/24,Wide,,,a page")
    take("narrow", "192.0.2.0/28,Narrow,,,")
    take("six", "2001:db8::/32,Six,,,")

    assert [(one.owner, one.list) for one in survey_reasons("192.0.2.1", NOW)] == [
        ("Narrow", "narrow"),
        ("Wide", "wide"),
    ]
    assert [one.owner for one in survey_reasons("2001:db8::1", NOW)] == ["Six"]


@pytest.mark.parametrize(
    "row",
    [
        "0.0.0.0/0,All,,,",
        "192.0.2.0/33,Bad,,,",
        "192.0.2.64,Late,2026-11-02,2026-11-01,",
        "192.0.2.0/28,Example,,,",
    ],
)
def test_a_bad_list_changes_nothing(database: str, row: str) -> None:
    from teiten.datasets.errors import DatasetsInputError
    from teiten.datasets.models import SurveyEntry, SurveyImport

    take("example", "192.0.2.0/28,Example,,,page")
    before = list(SurveyEntry.objects.values())

    with pytest.raises(DatasetsInputError, match=r"example\.csv, line 3"):
        take("example", "192.0.2.0/28,Example,,,", row, at=NOW + DAY)

    assert list(SurveyEntry.objects.values()) == before
    assert SurveyImport.objects.count() == 1


@pytest.mark.parametrize("name", ["behaviour", "Has Blank", "", "x" * 41])
def test_a_bad_name_makes_no_list(database: str, name: str) -> None:
    from teiten.datasets.errors import DatasetsInputError
    from teiten.datasets.models import SurveyList

    with pytest.raises(DatasetsInputError, match=r"list|name"):
        take(name, "192.0.2.0/28,Example,,,")

    assert not SurveyList.objects.exists()


def test_imports_at_once_leave_one_of_the_lists(database: str) -> None:
    from django.db import connection

    from teiten.datasets.models import SurveyEntry, SurveyImport

    lists = [
        [f"192.0.2.{number},Example,,," for number in range(start, start + 40)] for start in (0, 30, 60, 90)
    ]
    failures: list[Exception] = []

    def run(number: int) -> None:
        try:
            take("example", *lists[number], at=NOW + number * timedelta(seconds=1))
        except Exception as error:  # noqa: BLE001  # reported below
            failures.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=run, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert not failures
    assert SurveyImport.objects.count() == 4
    last = SurveyImport.objects.order_by("-pk")[0]
    number = round((last.at - NOW).total_seconds())
    now_held = set(SurveyEntry.objects.filter(valid_to=None).values_list("network", flat=True))
    assert now_held == {f"{row.split(',')[0]}/32" for row in lists[number]}


def test_what_is_removed_is_closed_and_can_come_back(database: str) -> None:
    from teiten.datasets import importing
    from teiten.datasets.errors import DatasetsInputError, DatasetsUnknownError
    from teiten.datasets.selectors import list_surveys
    from teiten.fleet.services import Act

    take("example", "192.0.2.0/28,Example,,,")
    importing.remove_list("example", act=Act(NOW + DAY))

    assert holding("example", NOW) == ["192.0.2.0/28"]
    assert holding("example", NOW + DAY) == []
    assert list_surveys(NOW)[0].removed_at == NOW + DAY
    with pytest.raises(DatasetsInputError, match="already"):
        importing.remove_list("example", act=Act(NOW + DAY))
    with pytest.raises(DatasetsUnknownError, match="survey list"):
        importing.remove_list("other", act=Act(NOW))

    take("example", "192.0.2.0/28,Example,,,", at=NOW + 2 * DAY)

    assert holding("example", NOW + 2 * DAY) == ["192.0.2.0/28"]
    assert list_surveys(NOW)[0].removed_at is None


def test_publishing_gives_the_loader_every_list_in_whole_days(database: str) -> None:
    from teiten.datasets import importing, publishing
    from teiten.datasets.models import Annotation
    from teiten.fleet.services import Act

    take("example", "192.0.2.0/28,Example,2026-11-01,,a page", "192.0.2.32,Example,,,", at=NOW)
    take("old", "203.0.113.7,Gone,2020-01-01,2020-02-01,")
    importing.remove_list("example", act=Act(NOW + timedelta(hours=1)))
    take("other", "2001:db8::/32,Other,,,", at=NOW)
    book = Book()

    done = publishing.publish(book, at=NOW, config=DatasetsConfig())

    assert (done.version, done.entries) == ("version-1", 3)
    assert book.given[0].decode().splitlines() == [
        "network,owner,valid_from,valid_to,source,kind",
        "192.0.2.0/28,Example,2026-11-01,2026-11-22,a page,listed",
        "192.0.2.32/32,Example,2026-11-21,2026-11-22,example,listed",
        "2001:db8::/32,Other,2026-11-21,,other,listed",
    ]
    assert Annotation.objects.get().kind == "rule"


def test_a_list_that_was_put_into_use_by_hand_is_not_lost(database: str) -> None:
    from teiten.datasets import publishing

    book = Book()
    book.given.append((HEADER + "203.0.113.0/24,By hand,2026-11-01,,a page\n").encode())
    take("example", "192.0.2.0/28,Example,2026-11-01,,")

    publishing.publish(book, at=NOW, config=DatasetsConfig())
    publishing.publish(book, at=NOW + DAY, config=DatasetsConfig())

    assert holding("installed", NOW + DAY) == ["203.0.113.0/24"]
    assert "203.0.113.0/24,By hand,2026-11-01,,a page,listed" in book.given[-1].decode()
    assert "192.0.2.0/28" in book.given[-1].decode()


def test_a_refused_publication_leaves_no_annotation(database: str) -> None:
    from teiten.datasets import publishing
    from teiten.datasets.models import Annotation
    from teiten.loader.errors import ReferenceFileError

    class Broken(Book):
        def use_survey(self, content: bytes) -> str:
            raise ReferenceFileError("the disk is full")

    take("example", "192.0.2.0/28,Example,,,")

    with pytest.raises(ReferenceFileError, match="full"):
        publishing.publish(Broken(), at=NOW, config=DatasetsConfig())

    assert not Annotation.objects.exists()


def test_a_warninglist_goes_on_where_it_is_named_again(database: str) -> None:
    from teiten.datasets import importing
    from teiten.datasets.models import SurveyEntry, SurveyList
    from teiten.fleet.services import Act

    def warninglist(version: int, *networks: str) -> bytes:
        stated = {"name": "Scanning", "version": version, "description": "", "type": "cidr", "list": networks}
        return json.dumps(stated).encode()

    for number, networks in enumerate((("192.0.2.1", "192.0.2.2"), ("192.0.2.2", "192.0.2.3"))):
        importing.import_list(
            "misp", warninglist(number, *networks), file="list.json",
            defaults=Defaults(owner="Example", source="CIRCL"), act=Act(NOW + number * DAY),
        )  # fmt: skip

    rows = SurveyEntry.objects.order_by("network").values_list("network", "valid_from", "valid_to")
    assert list(rows) == [
        ("192.0.2.1/32", NOW, NOW + DAY),
        ("192.0.2.2/32", NOW, None),
        ("192.0.2.3/32", NOW + DAY, None),
    ]
    listed = SurveyList.objects.get()
    assert (listed.format, listed.title, listed.version) == ("misp", "Scanning", "1")
