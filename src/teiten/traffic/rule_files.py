"""Rules kept as CSV files: reading them with errors that name the line and the rule."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from datetime import datetime, timezone
from importlib.resources import files
from pathlib import Path
from typing import TypeAlias

from teiten.foundation.clock import to_us
from teiten.traffic.errors import RuleFileError
from teiten.traffic.timed_ranges import FOREVER_US

#: A file's path, or its content as UTF-8.
RuleFile: TypeAlias = "Path | bytes"


def read_shipped(name: str) -> bytes:
    """Give the content of a rule file that ships with Teiten."""
    return files("teiten.traffic").joinpath("data", name).read_bytes()


def read_rows(file: RuleFile, header: Sequence[str], *, kind: str) -> Iterator[tuple[str, list[str]]]:
    """Give each row's place, as errors name it, and its fields without outer blanks.

    Args:
        kind: what the file is, as in ``bogon list``.

    Raises:
        RuleFileError: the file cannot be read, its first line is not ``header``, or a row has
            more or fewer fields.
    """
    rows = csv.reader(io.StringIO(_read_text(file, kind), newline=""), strict=True)
    try:
        if next(rows, None) != list(header):
            raise RuleFileError(f"{kind}, line 1: must read {','.join(header)}")
        for row in rows:
            where = f"{kind}, line {rows.line_num}"
            if len(row) != len(header):
                raise RuleFileError(f"{where}: {len(row)} fields; {','.join(header)} are needed")
            yield where, [field.strip() for field in row]
    except csv.Error as error:
        raise RuleFileError(f"{kind}, line {rows.line_num}: is no CSV: {error}") from error


def _read_text(file: RuleFile, kind: str) -> str:
    try:
        content = file if isinstance(file, bytes) else file.read_bytes()
        return content.decode("utf-8-sig")
    except OSError as error:
        raise RuleFileError(f"{kind} {file!s} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise RuleFileError(f"{kind}: byte {error.start} is not UTF-8") from error


def read_validity(where: str, first_day: str, last_day: str) -> tuple[int, int]:
    """Read validity ``[from, to)`` in µs UTC from days; an empty end means until further notice.

    Raises:
        RuleFileError: a text is no day, or validity ends before it starts.
    """
    start = _read_day(where, "valid_from", first_day)
    end = _read_day(where, "valid_to", last_day) if last_day else FOREVER_US
    if end <= start:
        raise RuleFileError(f"{where}: valid_to {last_day} is not after valid_from {first_day}")
    return start, end


def _read_day(where: str, name: str, text: str) -> int:
    try:
        return to_us(datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=timezone.utc))
    except ValueError as error:
        raise RuleFileError(f"{where}: {name} {text!r} is no day of the form YYYY-MM-DD") from error
