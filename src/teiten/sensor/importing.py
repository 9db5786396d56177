"""``teiten-sensor replay``: capture files into the spool as a named import, and off to the gateway.

A name stands for one import. It is noted before the first batch with what it is
made of; an import that broke off goes on where it stopped when the same files are
given again, and a finished one is refused unless the caller insists.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from teiten.protocol.header import LostBatch, Watched
from teiten.sensor.column_sets import WireColumns
from teiten.sensor.errors import ReplayError
from teiten.sensor.replay import Progress, ReplayReport, WindowDraft, replay_files
from teiten.sensor.sealed import SealedBatch, SealingIdentity
from teiten.sensor.sealing import seal_batch
from teiten.sensor.spool import Spool
from teiten.sensor.state import StateFolder

_RECORD = "imports.json"
#: Share of the spool that an import may fill before it waits for sending.
_FILL_SHARE = 0.5
_WAIT_SECONDS = 0.05


@dataclass(frozen=True)
class ImportRequest:
    """What shall be imported."""

    name: str
    files: tuple[Path, ...]
    observed: tuple[Watched, ...] = ()
    payload_bytes: int = 64
    examples_per_window: int = 8
    #: Import under a name that was finished before.
    again: bool = False


class ImportRecord:
    """Which imports this folder has made, and how far each came."""

    def __init__(self, state: StateFolder, request: ImportRequest) -> None:
        self._state = state
        self._name = request.name
        self._contents = _describe(request)
        self._all = state.read_json(_RECORD)

    def find_start(self, *, next_seq: int, again: bool) -> int:
        """Give how many batches of this import are sealed already.

        Raises:
            ReplayError: when the name is taken.
        """
        known = self._all.get(self._name)
        if known is None or (again and known["finished"]):
            return 0
        if known["finished"]:
            raise ReplayError(
                f"import {self._name} was made before; use another --name, or --again to send it twice"
            )
        if known["contents"] != self._contents:
            if again:
                return 0
            raise ReplayError(
                f"import {self._name} was begun with other files or options; give the same ones to finish it, "
                "another --name, or --again to start it anew"
            )
        done = int(known["batches"])
        # The batch that was being sealed is in the spool if its number has been used.
        return done + 1 if known["trying_seq"] is not None and next_seq > int(known["trying_seq"]) else done

    def note(self, batches: int, *, trying_seq: int | None = None, finished: bool = False) -> None:
        """Keep how far the import is, before each batch and at the end."""
        entry: dict[str, Any] = {
            "contents": self._contents,
            "batches": batches,
            "trying_seq": trying_seq,
            "finished": finished,
        }
        self._all[self._name] = entry
        try:
            self._state.write_json(_RECORD, self._all, durable=finished)
        except OSError as error:
            raise ReplayError(
                f"import {self._name} stopped: {_RECORD} cannot be written: {error.strerror}"
            ) from error


class Importer:
    """Seals the batches of one import into the spool.

    Args:
        identity: whose key seals.
        spool: where they go.
        record: of the imports of this folder.
        max_bytes: of the spool.
        wait_for_room: called while the spool is too full; None when nobody empties it.
        start_sending: called before the first batch, when name and files have proven good.
    """

    def __init__(
        self,
        identity: SealingIdentity,
        spool: Spool,
        *,
        record: ImportRecord,
        max_bytes: int,
        wait_for_room: Callable[[], None] | None,
        start_sending: Callable[[], None] = lambda: None,
    ) -> None:
        self._identity = identity
        self._spool = spool
        self._record = record
        self._max_bytes = max_bytes
        self._wait_for_room = wait_for_room
        self._start_sending = start_sending
        self._boot_id = uuid.uuid4().hex
        self._index = 0
        self._skip = 0

    def run(self, request: ImportRequest, progress: Progress) -> ReplayReport:
        """Import everything.

        Raises:
            ReplayError: when a file or the name is refused (nothing was sealed), or the spool is full
                (the same call goes on from there).
        """
        self._skip = self._record.find_start(next_seq=self._spool.next_seq, again=request.again)
        self._index = 0
        report = replay_files(
            request.files,
            dataset_name=request.name,
            make_batch=self._make_batch,
            observed=request.observed,
            payload_bytes=request.payload_bytes,
            examples_per_window=request.examples_per_window,
            progress=progress,
        )
        self._record.note(self._index, finished=True)
        return report

    def _make_batch(self, window: WindowDraft, columns: WireColumns) -> None:
        if self._index == 0:
            self._start_sending()
        if self._index >= self._skip:
            self._make_room()
            self._record.note(self._index, trying_seq=self._spool.next_seq)
            self._spool.add(self._sealer(window, columns))
        self._index += 1

    def _sealer(
        self, window: WindowDraft, columns: WireColumns
    ) -> Callable[[int, tuple[LostBatch, ...]], SealedBatch]:
        draft = window.to_batch_draft(self._boot_id)

        def seal(seq: int, lost: tuple[LostBatch, ...]) -> SealedBatch:
            return seal_batch(self._identity, draft, columns=columns, seq=seq, lost=lost)

        return seal

    def _make_room(self) -> None:
        """Never let the spool's bound drop what is being imported."""
        self._spool.sweep()
        while self._spool.waiting_bytes > self._max_bytes * _FILL_SHARE:
            if self._wait_for_room is None:
                raise ReplayError(
                    f"the spool is half full after {self._index} batches of this import; raise sensor.spool_bytes or "
                    "send it with `teiten-sensor upload`, then give the same command again to go on"
                )
            self._wait_for_room()
            self._spool.sweep()


def wait_for_room(failure: Callable[[], str]) -> Callable[[], None]:
    """Make a wait that ends the import when sending has failed for good."""
    pause = threading.Event()

    def wait() -> None:
        reason = failure()
        if reason:
            raise ReplayError(f"{reason}; give the same command again to go on")
        pause.wait(_WAIT_SECONDS)

    return wait


def _describe(request: ImportRequest) -> dict[str, Any]:
    """Say what an import is made of, so that its repetition can be recognised."""
    return {
        "files": [_describe_file(path) for path in request.files],
        "observed": [[item.prefix, item.mode] for item in request.observed],
        "payload_bytes": request.payload_bytes,
    }


def _describe_file(path: Path) -> list[Any]:
    try:
        found = path.stat()
    except OSError:
        return [path.name, None, None]
    return [path.name, found.st_size, found.st_mtime_ns]


def parse_observed(texts: Sequence[str], mode: str) -> tuple[Watched, ...]:
    """Read the prefixes that a capture watched.

    Raises:
        DeclarationError: for one that is no prefix.
    """
    from teiten.sensor.prefixes import parse_network

    prefixes = [str(parse_network(text, what="--observed")) for text in texts]
    return tuple(Watched(prefix, "silent" if mode == "silent" else "answering") for prefix in prefixes)
