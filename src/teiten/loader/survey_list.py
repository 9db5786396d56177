"""Survey lists: who is known to scan as a survey, from where, from when to when.

CSV with the header ``network,owner,valid_from,valid_to,source`` and perhaps ``kind``
(``listed`` or ``behaviour``); days are UTC, ``valid_to`` is exclusive, and empty means
until further notice.
"""

from __future__ import annotations

import csv
from datetime import datetime, timezone
from pathlib import Path

from teiten.foundation.clock import to_us
from teiten.loader.errors import ReferenceFileError
from teiten.traffic.errors import AddressError
from teiten.traffic.survey import FOREVER_US, SurveyKind, SurveyNetwork, SurveyTable, check_network

HEADER = ("network", "owner", "valid_from", "valid_to", "source")
HEADER_WITH_KIND = (*HEADER, "kind")
_KINDS = {"listed": SurveyKind.LISTED, "behaviour": SurveyKind.BEHAVIOUR}


def read_survey_list(path: Path) -> SurveyTable:
    """Read and check a list.

    Raises:
        ReferenceFileError: naming the line and the rule.
    """
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.reader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ReferenceFileError(f"survey list {path.name} cannot be read: {error}") from error
    if not rows or tuple(rows[0]) not in (HEADER, HEADER_WITH_KIND):
        raise ReferenceFileError(f"survey list {path.name} must begin with the line {','.join(HEADER)}")
    networks = [
        _read_row(path, number, row, size=len(rows[0])) for number, row in enumerate(rows[1:], start=2)
    ]
    try:
        return SurveyTable(networks)
    except AddressError as error:
        raise ReferenceFileError(f"survey list {path.name}: {error}") from error


def _read_row(path: Path, line: int, row: list[str], *, size: int) -> SurveyNetwork:
    where = f"survey list {path.name}, line {line}"
    if len(row) != size:
        raise ReferenceFileError(f"{where}: {len(row)} fields, {size} are needed")
    network, owner, valid_from, valid_to, source, kind = [*(field.strip() for field in row), "listed"][:6]
    if kind not in _KINDS:
        raise ReferenceFileError(f"{where}: kind {kind!r} must be one of {', '.join(_KINDS)}")
    entry = SurveyNetwork(
        network=network,
        owner=owner,
        valid_from_us=_read_day(where, valid_from),
        valid_to_us=_read_day(where, valid_to) if valid_to else FOREVER_US,
        source=source,
        kind=_KINDS[kind],
    )
    try:
        check_network(entry)
    except AddressError as error:
        raise ReferenceFileError(f"{where}: {error}") from error
    return entry


def _read_day(where: str, text: str) -> int:
    try:
        return to_us(datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=timezone.utc))
    except ValueError as error:
        raise ReferenceFileError(f"{where}: {text!r} is no day of the form YYYY-MM-DD") from error
