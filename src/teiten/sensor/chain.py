"""The sensor's own audit chain: what it was told, what it did, and when it began.

An append-only file of lines. Each line is one record in canonical JSON that carries
the SHA-256 of the line before, so that nothing can be changed or taken out of the
middle unseen. That nothing was cut off the end is seen by the head, which every
heartbeat tells the base: a base that forgets, and a sensor that forgets, contradict
each other.

A record is on the disk before :meth:`Chain.append` returns. A line that a crash
left unfinished was never told to anyone and is taken back.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import logging
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from teiten.foundation.clock import Clock
from teiten.protocol.heartbeat import ChainHead
from teiten.sensor.errors import StateError

FILE_NAME = "audit.chain"
#: Longest line; a record says what happened, it does not carry output.
MAX_LINE_BYTES = 16_384

_NOTHING = bytes(32)
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ChainRecord:
    """One line."""

    #: 1 for the first.
    number: int
    at_us: int
    #: For example ``command.accepted``.
    kind: str
    facts: Mapping[str, Any]
    #: SHA-256 of the line before; 32 zero bytes in the first.
    previous: bytes

    def to_line(self) -> bytes:
        """Give the one form of this record, without its line feed."""
        value = {
            "number": self.number,
            "at_us": self.at_us,
            "kind": self.kind,
            "facts": dict(self.facts),
            "previous": self.previous.hex(),
        }
        return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


class Chain:
    """Appends to one file; several processes may, in turn.

    Raises:
        StateError: when the file cannot be used.
    """

    def __init__(self, path: Path, clock: Clock) -> None:
        self._path = path
        self._clock = clock
        self._end = 0
        self._head = ChainHead(0, _NOTHING)
        try:
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            with self._locked():
                self._catch_up()
        except OSError as error:
            raise StateError(f"audit chain {path} cannot be used: {error.strerror}") from error

    @property
    def head(self) -> ChainHead:
        """Number and SHA-256 of the last record that this process knows."""
        return self._head

    @classmethod
    def open(cls, path: Path, clock: Clock) -> Chain:
        """Open a chain; one whose end is damaged is moved aside, and the new one says so.

        Raises:
            StateError: when the folder cannot be used either.
        """
        try:
            return cls(path, clock)
        except StateError as error:
            aside = path.with_name(f"{path.name}.broken-{clock.now_us()}")
            try:
                path.rename(aside)
            except OSError:
                raise error from None
            _log.critical("The audit chain is damaged and was moved aside", extra={"error": str(error)})
            chain = cls(path, clock)
            chain.append("chain.restarted", {"moved_to": aside.name})
            return chain

    def append(self, kind: str, facts: Mapping[str, Any]) -> ChainHead:
        """Add a record, durably.

        Raises:
            StateError: when it is too long or the disk refuses; nothing was added then.
        """
        try:
            with self._locked():
                self._catch_up()
                return self._append(kind, facts)
        except OSError as error:
            raise StateError(f"audit chain {self._path} cannot be written: {error.strerror}") from error

    def close(self) -> None:
        os.close(self._file)

    def _append(self, kind: str, facts: Mapping[str, Any]) -> ChainHead:
        record = ChainRecord(self._head.count + 1, self._clock.now_us(), kind, facts, self._head.head)
        line = record.to_line()
        if len(line) > MAX_LINE_BYTES:
            raise StateError(f"a record of {len(line)} bytes is too long for the audit chain")
        try:
            self._write(line + b"\n")
        except OSError:
            os.ftruncate(self._file, self._end)
            raise
        self._end += len(line) + 1
        self._head = ChainHead(record.number, hashlib.sha256(line).digest())
        return self._head

    def _write(self, line: bytes) -> None:
        written = os.write(self._file, line)
        if written != len(line):
            raise OSError(28, "no space left for a whole record")
        os.fdatasync(self._file)

    def _catch_up(self) -> None:
        """Learn what another process has added, and take back what a crash left unfinished."""
        size = os.fstat(self._file).st_size
        if size == self._end:
            return
        whole, line = _find_last_line(self._file, size)
        if whole != size:
            _log.warning("The audit chain ended in an unfinished record", extra={"bytes": size - whole})
            os.ftruncate(self._file, whole)
            os.fdatasync(self._file)
        self._end = whole
        self._head = (
            ChainHead(0, _NOTHING)
            if line is None
            else ChainHead(_read_line(line).number, hashlib.sha256(line).digest())
        )

    def _locked(self) -> _Lock:
        return _Lock(self._file)


class _Lock:
    """Keeps other processes out of the file for one step."""

    def __init__(self, file: int) -> None:
        self._file = file

    def __enter__(self) -> None:
        fcntl.flock(self._file, fcntl.LOCK_EX)

    def __exit__(self, *_: object) -> None:
        fcntl.flock(self._file, fcntl.LOCK_UN)


def read_chain(path: Path) -> Iterator[ChainRecord]:
    """Read a chain from its beginning, checking every link; an unfinished last line is left out.

    Raises:
        StateError: naming the first record that does not follow from the one before.
    """
    previous = _NOTHING
    for number, line in enumerate(_read_lines(path), start=1):
        try:
            record = _read_line(line)
        except StateError as error:
            raise StateError(f"audit chain {path} is broken at record {number}: {error}") from error
        if (record.number, record.previous) != (number, previous):
            raise StateError(
                f"audit chain {path} is broken at record {number}: it does not follow from the one before"
            )
        previous = hashlib.sha256(line).digest()
        yield record


def verify_chain(path: Path) -> ChainHead:
    """Check a whole chain and give its head.

    Raises:
        StateError: as :func:`read_chain`.
    """
    head = ChainHead(0, _NOTHING)
    for record in read_chain(path):
        head = ChainHead(record.number, hashlib.sha256(record.to_line()).digest())
    return head


def _read_lines(path: Path) -> Iterator[bytes]:
    try:
        with path.open("rb") as file:
            for line in file:
                if line.endswith(b"\n"):
                    yield line[:-1]
    except FileNotFoundError:
        return
    except OSError as error:
        raise StateError(f"audit chain {path} cannot be read: {error.strerror}") from error


def _read_line(line: bytes) -> ChainRecord:
    """Read one line, in its one form only.

    Raises:
        StateError: when it is none.
    """
    try:
        told = json.loads(line)
        record = ChainRecord(
            told["number"], told["at_us"], told["kind"], told["facts"], bytes.fromhex(told["previous"])
        )
        if type(record.number) is int and record.to_line() == line:
            return record
    except (ValueError, KeyError, TypeError, RecursionError):
        pass
    raise StateError("it is no record in its one form")


def _find_last_line(file: int, size: int) -> tuple[int, bytes | None]:
    """Give where the last finished line ends, and that line; whatever stands after it is unfinished.

    Raises:
        StateError: when that line is no record.
    """
    start = max(0, size - 2 * MAX_LINE_BYTES)
    tail = os.pread(file, size - start, start)
    feed = tail.rfind(b"\n")
    if feed < 0 and start == 0:
        return 0, None
    line = tail[tail.rfind(b"\n", 0, max(feed, 0)) + 1 : max(feed, 0)]
    _read_line(line)
    return start + feed + 1, line
