"""Annotations and names of fingerprints: written, found, withdrawn, never changed."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest

from teiten.portal.testing import Cast

pytestmark = pytest.mark.requirement("R0.2", "R2.2")
DAY = datetime(2026, 11, 20, tzinfo=timezone.utc)
FINGERPRINT = "1024:::"


def act_of(user, at=DAY):
    from teiten.fleet.services import Act

    return Act(at, user)


def annotate(user=None, **given):
    from teiten.datasets import annotating

    values = {
        "at": DAY,
        "kind": "cve",
        "text_ja": "公表",
        "text_en": "Published",
        "act": act_of(user),
        **given,
    }
    return annotating.create_annotation(**values)


def name(user=None, **given):
    from teiten.datasets import naming

    values = {
        "kind": "tcp_fp", "value": FINGERPRINT, "name": "ZMap-like", "act": act_of(user), "valid_from": DAY, **given,
    }  # fmt: skip
    return naming.name_fingerprint(**values)


def found(start, end, dataset=None, **more):
    from teiten.datasets.selectors import annotations_between

    return [row.pk for row in annotations_between(start, end, dataset, **more)]


def test_it_works(cast: Cast) -> None:
    from teiten.datasets import annotating

    row = annotate(cast.ann)

    assert (row.author, row.created_at) == (cast.ann, DAY)
    assert found(DAY, DAY + timedelta(days=1)) == [row.pk]
    assert found(DAY - timedelta(days=1), DAY) == []

    annotating.withdraw_annotation(row.pk, at=DAY, actor=cast.dana)

    assert found(DAY, DAY + timedelta(days=1)) == []


def test_what_lasted_is_found_in_every_period_that_it_touches(cast: Cast) -> None:
    hour = timedelta(hours=1)
    long = annotate(until_at=DAY + 3 * hour, kind="campaign")
    simulated = annotate(at=DAY + hour, dataset="simulated")

    assert found(DAY + 2 * hour, DAY + 5 * hour) == [long.pk]
    assert found(DAY + 3 * hour, DAY + 5 * hour) == []
    assert found(DAY, DAY + 5 * hour, "live") == [long.pk]
    assert found(DAY, DAY + 5 * hour, "simulated") == [long.pk, simulated.pk]
    assert found(DAY, DAY + 5 * hour, kinds=["cve"]) == [simulated.pk]


@pytest.mark.parametrize(
    ("given", "rule"),
    [
        ({"kind": "rumour"}, r"^kind: "),
        ({"text_ja": " "}, r"^text_ja: "),
        ({"text_en": ""}, r"^text_en: "),
        ({"link": "javascript:alert(1)"}, r"^link: .*https://"),
        ({"link": "https://"}, r"^link: "),
        ({"until_at": DAY}, r"^until_at: .*not after the start"),
        ({"text_en": "x" * 301}, r"^text_en: "),
    ],
)
def test_a_bad_annotation_is_refused_by_field(database: str, given, rule: str) -> None:
    from teiten.datasets.errors import DatasetsInputError
    from teiten.datasets.models import Annotation

    with pytest.raises(DatasetsInputError, match=rule):
        annotate(**given)

    assert not Annotation.objects.exists()


def test_a_name_holds_for_its_time(cast: Cast) -> None:
    from teiten.datasets.selectors import names_of

    old = name(cast.ann, name="Old", valid_to=DAY + timedelta(days=5))
    new = name(cast.ann, name="New", version="4.1", valid_from=DAY + timedelta(days=5))

    def at(days: float):
        return {
            value: row.pk
            for value, row in names_of("tcp_fp", [FINGERPRINT, "x"], DAY + timedelta(days=days)).items()
        }

    assert at(-1) == {}
    assert at(0) == at(4.9) == {FINGERPRINT: old.pk}
    assert at(5) == at(900) == {FINGERPRINT: new.pk}
    assert names_of("payload_hash", [FINGERPRINT], DAY) == {}


def test_a_second_name_for_the_same_time_is_refused_by_the_first(cast: Cast) -> None:
    from teiten.datasets import naming
    from teiten.datasets.errors import DatasetsInputError

    first = name(valid_to=DAY + timedelta(days=5))

    with pytest.raises(DatasetsInputError, match=rf"'ZMap-like' \(name {first.pk}\) .*withdraw"):
        name(name="Other", valid_from=DAY + timedelta(days=4))

    naming.withdraw_name(first.pk, at=DAY, actor=None)
    name(name="Other", valid_from=DAY + timedelta(days=4))


@pytest.mark.parametrize(
    ("given", "rule"),
    [
        ({"kind": "colour"}, "^kind: 'colour' is none of tcp_fp, payload_hash, probe"),
        ({"value": "64k"}, "^value: '64k' is no tcp_fp"),
        ({"kind": "payload_hash", "value": "beef"}, "^value: 'beef' is no payload_hash.*16 hexadecimal"),
        ({"kind": "probe", "value": " "}, "^value: "),
        ({"name": ""}, "^name: "),
        ({"valid_to": DAY}, "^valid_to: .*not after"),
    ],
)
def test_a_bad_name_is_refused_by_field(database: str, given, rule: str) -> None:
    from teiten.datasets.errors import DatasetsInputError

    with pytest.raises(DatasetsInputError, match=rule):
        name(**given)


def test_what_was_written_stays_as_it_was(cast: Cast) -> None:
    from django.db import DatabaseError, transaction

    from teiten.datasets import annotating, naming
    from teiten.datasets.errors import DatasetsInputError, DatasetsUnknownError
    from teiten.datasets.models import Annotation, FingerprintName

    note, given = annotate(), name()

    for change in (
        lambda: Annotation.objects.update(text_en="Something else"),
        lambda: FingerprintName.objects.update(name="Something else"),
        lambda: Annotation.objects.all().delete(),
        lambda: FingerprintName.objects.all().delete(),
    ):
        with pytest.raises(DatabaseError, match=r"refused|withdrawn"), transaction.atomic():
            change()

    annotating.withdraw_annotation(note.pk, at=DAY, actor=None)
    naming.withdraw_name(given.pk, at=DAY, actor=None)
    with pytest.raises(DatasetsInputError, match="already"):
        annotating.withdraw_annotation(note.pk, at=DAY, actor=None)
    with pytest.raises(DatasetsInputError, match="already"):
        naming.withdraw_name(given.pk, at=DAY, actor=None)
    with pytest.raises(DatasetsUnknownError, match="note list"):
        annotating.withdraw_annotation(note.pk + 1, at=DAY, actor=None)
    with pytest.raises(DatasetsUnknownError, match="name list"):
        naming.withdraw_name(given.pk + 1, at=DAY, actor=None)
