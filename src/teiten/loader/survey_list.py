"""Survey lists: who is known to scan as a survey, from where, from when to when.

CSV with the header ``network,owner,valid_from,valid_to,source``; days are UTC,
``valid_to`` is exclusive, and empty means until further notice.
"""

from __future__ import annotations

import csv
from datetime import datetime, timezone
from pathlib import Path

from teiten.foundation.clock import to_us
from teiten.loader.errors import ReferenceFileError
from teiten.traffic.errors import AddressError
from teiten.traffic.survey import FOREVER_US, SurveyNetwork, SurveyTable

HEADER = ["network", "owner", "valid_from", "valid_to", "source"]
#: A shorter prefix than these would call half the Internet a survey.
_SHORTEST = {4: 8, 6: 16}


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
    if not rows or rows[0] != HEADER:
        raise ReferenceFileError(f"survey list {path.name} must begin with the line {','.join(HEADER)}")
    networks = [_read_row(path, number, row) for number, row in enumerate(rows[1:], start=2)]
    try:
        return SurveyTable(networks)
    except AddressError as error:
        raise ReferenceFileError(f"survey list {path.name}: {error}") from error


def _read_row(path: Path, line: int, row: list[str]) -> SurveyNetwork:
    where = f"survey list {path.name}, line {line}"
    if len(row) != len(HEADER):
        raise ReferenceFileError(f"{where}: {len(row)} fields, {len(HEADER)} are needed")
    network, owner, valid_from, valid_to, source = (field.strip() for field in row)
    _check_breadth(where, network)
    return SurveyNetwork(
        network=network,
        owner=owner,
        valid_from_us=_read_day(where, valid_from),
        valid_to_us=_read_day(where, valid_to) if valid_to else FOREVER_US,
        source=source,
    )


def _check_breadth(where: str, network: str) -> None:
    version = 6 if ":" in network else 4
    _, _, length = network.partition("/")
    if length.isdecimal() and int(length) < _SHORTEST[version]:
        raise ReferenceFileError(
            f"{where}: {network} is too broad; an IPv{version} entry is /{_SHORTEST[version]} or longer"
        )


def _read_day(where: str, text: str) -> int:
    try:
        return to_us(datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=timezone.utc))
    except ValueError as error:
        raise ReferenceFileError(f"{where}: {text!r} is no day of the form YYYY-MM-DD") from error
