"""What a reader is told of a refusal, in the reader's language."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timezone
from typing import Any, cast

import pytest

from teiten.portal.testing import start_django_for_tests
from teiten.search import language, parting
from teiten.search.errors import SearchError
from teiten.search.query import for_period
from teiten.search.visibility import for_viewer

NOW = datetime(2026, 11, 21, 3, 0, tzinfo=timezone.utc)
MEMBER = for_viewer("member", organisation_id=1, secret=b"s" * 32)


@pytest.mark.requirement("R0.1", "R3.1")
@pytest.mark.parametrize(
    ("text", "english", "japanese"),
    [
        ("dst_port <= 1024", "dst_port cannot be filtered by a range", "dst_port は範囲で絞り込めません"),
        ("(protocol = tcp and dst_port in (1, 2)) or asn = 5", "Write each alternative out", "選択肢ごとに"),
        (
            f"dst_port in ({', '.join(map(str, range(1, 60)))})",
            "too many excluded or listed",
            "値が多すぎます",
        ),
    ],
)
def test_what_is_refused_to_members_is_explained_in_both_languages(
    text: str, english: str, japanese: str
) -> None:
    start_django_for_tests()
    from django.utils import translation

    from teiten.portal.problems import describe_problem

    query = replace(for_period("live", "24h", now=NOW), filters=language.parse(text))
    # Refused before the store is asked.
    with pytest.raises(SearchError) as refused:
        parting.keep_supported(cast(Any, None), MEMBER, query)

    for code, wanted in (("en", english), ("ja", japanese)):
        with translation.override(code):
            assert wanted in describe_problem(refused.value).summary
