"""Read survey lists: our CSV, and MISP warninglists.

CSV has the header ``network,owner,valid_from,valid_to,source``; days are UTC,
``valid_to`` is exclusive, and empty means until further notice. A MISP warninglist is
a JSON object with ``name``, ``version``, ``description``, ``type`` and ``list``, and
perhaps ``matching_attributes`` (schema.json of github.com/MISP/misp-warninglists);
only those of the type ``cidr`` name networks. It has no owner and no days: both come
with the import.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any, Literal

from teiten.datasets.entries import (
    LONGEST_OWNER,
    LONGEST_SOURCE,
    StatedEntry,
    read_network,
    read_text,
    refuse_duplicates,
    refuse_reversed,
)
from teiten.datasets.errors import DatasetsInputError

HEADER = ("network", "owner", "valid_from", "valid_to", "source")
#: A list of more bytes or entries is no list of survey scanners.
LARGEST_BYTES = 16 << 20
MOST_ENTRIES = 200_000
_LONGEST_TITLE = 200
_LONGEST_VERSION = 40


@dataclass(frozen=True)
class Defaults:
    """What holds for entries that do not say it themselves."""

    owner: str = ""
    source: str = ""
    #: None: from the first time that the list names an entry.
    valid_from: datetime | None = None


@dataclass(frozen=True)
class StatedList:
    """A whole list, checked."""

    format: Literal["csv", "misp"]
    title: str
    version: str
    entries: tuple[StatedEntry, ...]


def read_list(content: bytes, *, file: str, defaults: Defaults) -> StatedList:
    """Read and check a list; JSON begins with a brace, everything else is CSV.

    Raises:
        DatasetsInputError: naming the file, the line or entry, and the rule.
    """
    if len(content) > LARGEST_BYTES:
        raise DatasetsInputError(file, f"has {len(content)} bytes, at most {LARGEST_BYTES} are read")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DatasetsInputError(file, f"is no UTF-8 text ({error})") from error
    stated = (
        _read_misp(text, file, defaults) if text.lstrip().startswith("{") else _read_csv(text, file, defaults)
    )
    if not stated.entries:
        raise DatasetsInputError(file, "holds no entry; to stop using a list: teiten survey remove")
    refuse_duplicates(stated.entries, file=file)
    return stated


def _read_csv(text: str, file: str, defaults: Defaults) -> StatedList:
    try:
        rows = list(csv.reader(io.StringIO(text, newline=""), strict=True))
    except csv.Error as error:
        raise DatasetsInputError(file, f"is no CSV ({error})") from error
    if not rows or tuple(rows[0]) != HEADER:
        raise DatasetsInputError(f"{file}, line 1", f"must be {','.join(HEADER)}")
    _check_count(file, len(rows) - 1)
    entries = tuple(
        _read_row(f"{file}, line {line}", row, defaults, line)
        for line, row in enumerate(rows[1:], start=2)
        if row
    )
    return StatedList("csv", "", "", entries)


def _read_row(place: str, row: list[str], defaults: Defaults, line: int) -> StatedEntry:
    if len(row) != len(HEADER):
        raise DatasetsInputError(place, f"has {len(row)} fields, {len(HEADER)} are needed")
    network, owner, valid_from, valid_to, source = row
    start_at = _read_day(place, valid_from) if valid_from.strip() else defaults.valid_from
    end_at = _read_day(place, valid_to) if valid_to.strip() else None
    refuse_reversed(place, start_at, end_at)
    return StatedEntry(
        network=read_network(place, network),
        owner=read_text(place, "owner", owner or defaults.owner, longest=LONGEST_OWNER),
        valid_from=start_at,
        valid_to=end_at,
        source=read_text(place, "source", source or defaults.source, longest=LONGEST_SOURCE, is_needed=False),
        place=f"line {line}",
    )


def _read_misp(text: str, file: str, defaults: Defaults) -> StatedList:
    try:
        stated = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DatasetsInputError(file, f"is no JSON ({error})") from error
    if not isinstance(stated, dict):
        raise DatasetsInputError(file, "is no MISP warninglist: a JSON object is needed")
    title = read_text(file, "name", _text_of(file, stated, "name"), longest=_LONGEST_TITLE)
    version = _version_of(file, stated)
    if stated.get("type") != "cidr":
        raise DatasetsInputError(
            f"{file}, type",
            f"{stated.get('type')!r} names no networks; only warninglists of the type 'cidr' can be used",
        )
    items = stated.get("list")
    if not isinstance(items, list):
        raise DatasetsInputError(f"{file}, list", "must be an array of networks")
    _check_count(file, len(items))
    owner = read_text(f"{file}", "owner", defaults.owner or title, longest=LONGEST_OWNER)
    source = defaults.source or f"MISP warninglist {title}, version {version}"[:LONGEST_SOURCE]
    entries = tuple(
        StatedEntry(
            network=_read_item(file, number, item),
            owner=owner,
            valid_from=defaults.valid_from,
            valid_to=None,
            source=source,
            place=f"entry {number}",
        )
        for number, item in enumerate(items, start=1)
    )
    return StatedList("misp", title, version, entries)


def _read_item(file: str, number: int, item: Any) -> str:
    place = f"{file}, entry {number}"
    if not isinstance(item, str):
        raise DatasetsInputError(place, f"{item!r} is no text")
    return read_network(place, item)


def _text_of(file: str, stated: Mapping[str, Any], key: str) -> str:
    value = stated.get(key)
    if not isinstance(value, str):
        raise DatasetsInputError(f"{file}, {key}", "must be a text")
    return value


def _version_of(file: str, stated: Mapping[str, Any]) -> str:
    value = stated.get("version")
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 10**_LONGEST_VERSION:
        raise DatasetsInputError(f"{file}, version", "must be a whole number")
    return str(value)


def _check_count(file: str, count: int) -> None:
    if count > MOST_ENTRIES:
        raise DatasetsInputError(file, f"has {count} entries, at most {MOST_ENTRIES} are read")


def _read_day(place: str, text: str) -> datetime:
    try:
        return datetime.strptime(text.strip(), "%Y-%m-%d").replace(tzinfo=timezone.utc)
    except ValueError as error:
        raise DatasetsInputError(place, f"{text!r} is no day of the form YYYY-MM-DD") from error
