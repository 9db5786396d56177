"""What an answer gave away, told to whoever keeps the record of it.

The record hangs on the visibility, so that no screen and no call can forget it: every
search that gives rows tells it here. Searches of tests and jobs have no recorder.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from teiten.search.recording import Disclosed, Recorder
from teiten.search.visibility import Visibility


def tell(visibility: Visibility, disclosed: Disclosed) -> None:
    """Tell the recorder, if there is one; an answer without rows gives nothing away."""
    if visibility.recorder is not None and disclosed.rows:
        visibility.recorder.give(disclosed)


def watch_file(visibility: Visibility, disclosed: Disclosed, pieces: Iterator[bytes]) -> Iterator[bytes]:
    """Give the pieces of a file, and write down its begin, its end, and its hash."""
    if visibility.recorder is None:
        return pieces
    return _watch(visibility.recorder, disclosed, pieces)


def _watch(recorder: Recorder, disclosed: Disclosed, pieces: Iterator[bytes]) -> Iterator[bytes]:
    record = recorder.open_file(disclosed)
    digest, byte_count, is_whole = hashlib.sha256(), 0, False
    try:
        for piece in pieces:
            digest.update(piece)
            byte_count += len(piece)
            yield piece
        is_whole = True
    finally:
        record.close(is_whole=is_whole, byte_count=byte_count, sha256=digest.hexdigest())
