"""Annotations as a trend shows them: numbered marks on the chart, and the same numbers in a list beside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from teiten.datasets.models import Annotation
from teiten.datasets.selectors import annotations_between
from teiten.portal.screen import Screen


@dataclass(frozen=True)
class Note:
    """One annotation with its number on this screen."""

    number: int
    at: datetime
    until_at: datetime | None
    when: str
    kind: str
    text: str
    link: str
    author: str
    #: When it was written.
    written: str


def list_notes(screen: Screen) -> list[Note]:
    """Give the annotations of the screen's period and data set, oldest first."""
    query = screen.query
    found = annotations_between(query.start, query.end, query.dataset)
    return [describe_note(row, number, screen) for number, row in enumerate(found, 1)]


def describe_note(row: Annotation, number: int, screen: Screen) -> Note:
    """Turn an annotation into words."""
    instants = screen.instants
    until = f" – {instants.moment(row.until_at)}" if row.until_at else ""  # noqa: RUF001 - a range
    return Note(
        number=number,
        at=row.at,
        until_at=row.until_at,
        when=f"{instants.moment(row.at)}{until}",
        kind=row.get_kind_display(),
        text=row.text_ja if screen.language == "ja" else row.text_en,
        link=row.link,
        author=row.author.display_name if row.author else "",
        written=instants.moment(row.created_at),
    )


def mark_trend(trend: dict[str, Any], notes: Sequence[Note], screen: Screen) -> dict[str, Any]:
    """Put the notes on a trend (``charts.trend``): their marks on the chart, their words beside it."""
    wall = screen.instants.wall_ms
    marks = [
        {
            "at": wall(max(note.at, screen.query.start)),
            "until": wall(note.until_at) if note.until_at else None,
            "number": note.number,
            "text": note.text,
        }
        for note in notes
    ]
    return {**trend, "data": {**trend["data"], "marks": marks}, "notes": notes}
