"""One sealed batch in one file, and the folders it moves through.

::

    spool/ready/    sealed, to be sent        <epoch>-<seq>-<start µs>-<end µs>.batch (or .import)
    spool/done/     receipted, to be removed
    spool/failed/   corrupt, or refused for ever; to be noted as lost
    spool/aside/    kept for a person to look at, bounded

A file changes folder by one atomic rename; whoever renames first has it. The
capturing process writes ``ready`` and empties ``done`` and ``failed``; the sending
process only moves files out of ``ready``. The name alone says which batch and which
window is concerned, also when the content is lost.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import struct
import zlib
from dataclasses import dataclass, field
from pathlib import Path

from teiten.protocol import seal
from teiten.protocol.header import LostBatch
from teiten.sensor.errors import SpoolFileError
from teiten.sensor.sealed import SealedBatch

READY, DONE, FAILED, ASIDE = "ready", "done", "failed", "aside"
_log = logging.getLogger(__name__)

FOLDERS = (READY, DONE, FAILED, ASIDE)
#: Suffixes in ``failed`` and ``aside``: why a batch is there.
CORRUPT, REFUSED, CONFLICT = ".corrupt", ".refused", ".conflict"
FAILURES = (CORRUPT, REFUSED, CONFLICT)

_NAME = re.compile(
    r"(\d{10})-(\d{19})-(\d{1,19})-(\d{1,19})\.(batch|import)(\.corrupt|\.refused|\.conflict)?"
)
_MAGIC = b"TTSPOOL1"
#: Magic, sensor, key number, epoch, seq, window start, window end, body bytes, digest, seal, data set.
_HEAD = struct.Struct(">8sIIIQqqI32s64s48s")
_CHECKSUM = struct.Struct(">I")


@dataclass(frozen=True, order=True)
class SpoolName:
    """What a file name says; ascending order is the order of sending."""

    epoch: int
    seq: int
    window_start_us: int
    window_end_us: int
    #: False for a replayed capture, whose window says nothing about when we watched.
    is_live: bool = field(default=True, compare=False)

    @property
    def text(self) -> str:
        kind = "batch" if self.is_live else "import"
        return f"{self.epoch:010d}-{self.seq:019d}-{self.window_start_us}-{self.window_end_us}.{kind}"

    def as_lost(self) -> LostBatch:
        return LostBatch(self.seq, self.seq, self.window_start_us, self.window_end_us)


def name_of(sealed: SealedBatch) -> SpoolName:
    return SpoolName(
        sealed.epoch,
        sealed.seq,
        sealed.window_start_us,
        sealed.window_end_us,
        is_live=not sealed.dataset.startswith("import:"),
    )


def parse_name(text: str) -> SpoolName | None:
    """Read a file name; None when it is not one of ours."""
    match = _NAME.fullmatch(text)
    if match is None:
        return None
    epoch, seq, start_us, end_us = (int(group) for group in match.groups()[:4])
    return SpoolName(epoch, seq, start_us, end_us, is_live=match[5] == "batch")


def list_names(folder: Path) -> list[str]:
    """Give the names in ``folder`` that are ours, in the order of sending."""
    with os.scandir(folder) as entries:
        return sorted(entry.name for entry in entries if _NAME.fullmatch(entry.name))


def make_folders(spool: Path) -> None:
    for name in FOLDERS:
        (spool / name).mkdir(mode=0o700, parents=True, exist_ok=True)


def write_sealed(spool: Path, sealed: SealedBatch) -> int:
    """Put a sealed batch into ``ready``, wholly and durably, or not at all; give its bytes.

    Raises:
        OSError: when the disk refuses; nothing is left behind.
    """
    part = spool / f"{sealed.epoch}-{sealed.seq}.part"
    head = _pack_head(sealed)
    try:
        with os.fdopen(
            os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "wb"
        ) as file:
            file.write(head)
            file.write(sealed.body)
            file.flush()
            os.fsync(file.fileno())
        part.rename(spool / READY / name_of(sealed).text)
    except OSError:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
        raise
    sync_folder(spool / READY)
    return len(head) + len(sealed.body)


def read_sealed(path: Path) -> SealedBatch:
    """Read a spool file back.

    Raises:
        SpoolFileError: when it does not hold what was written.
        FileNotFoundError: when it has been moved meanwhile.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise
    except OSError as error:
        raise SpoolFileError(f"spool file {path.name} cannot be read: {error.strerror}") from error
    start = _HEAD.size + _CHECKSUM.size
    if len(content) < start or _CHECKSUM.unpack_from(content, _HEAD.size)[0] != zlib.crc32(
        content[: _HEAD.size]
    ):
        raise SpoolFileError(f"spool file {path.name} is corrupt: its head fails the checksum")
    magic, sensor, key_no, epoch, seq, begin, end, size, digest, sealed, dataset = _HEAD.unpack_from(content)
    body = content[start:]
    if magic != _MAGIC or parse_name(path.name) != SpoolName(epoch, seq, begin, end):
        raise SpoolFileError(f"spool file {path.name} is corrupt: its head is that of another batch")
    if len(body) != size or seal.digest_of(body) != digest:
        raise SpoolFileError(f"spool file {path.name} is corrupt: its content fails the digest")
    return SealedBatch(
        sensor=sensor,
        key_no=key_no,
        epoch=epoch,
        seq=seq,
        digest=digest,
        seal=sealed,
        window_start_us=begin,
        window_end_us=end,
        dataset=dataset.rstrip(b"\0").decode(),
        body=body,
    )


def sync_folder(folder: Path) -> None:
    """Make renames in ``folder`` durable; a disk that fails here is logged, the rename stands."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        _log.error("A spool folder cannot be synced", extra={"folder": str(folder), "error": str(error)})


def _pack_head(sealed: SealedBatch) -> bytes:
    head = _HEAD.pack(
        _MAGIC,
        sealed.sensor,
        sealed.key_no,
        sealed.epoch,
        sealed.seq,
        sealed.window_start_us,
        sealed.window_end_us,
        len(sealed.body),
        sealed.digest,
        sealed.seal,
        sealed.dataset.encode(),
    )
    return head + _CHECKSUM.pack(zlib.crc32(head))
