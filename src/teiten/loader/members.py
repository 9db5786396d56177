"""The members of a block: read, cut into parts that fit into memory, verified, set aside.

How a block is cut depends on nothing but its bytes, so that every attempt cuts it
alike, whoever is known or allowed by then.
"""

from __future__ import annotations

import logging
import traceback
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import zstandard

from teiten.foundation.clock import Clock
from teiten.foundation.logs import OncePer
from teiten.landing.blocks import BlockLedger, Member, Quarantine
from teiten.landing.errors import SegmentDamaged
from teiten.loader import verifying
from teiten.loader.config import LoaderConfig
from teiten.loader.doors import Placement, SensorRegister
from teiten.loader.errors import Unbelievable
from teiten.loader.verifying import Verified
from teiten.protocol import batch
from teiten.protocol.errors import BatchError
from teiten.protocol.header import BatchHeader
from teiten.store.writer import BatchSpan

_log = logging.getLogger(__name__)

_LEAST_PER_THREAD = 64


@dataclass(frozen=True)
class Landed:
    """A member with its bytes."""

    member: Member
    body: bytes

    @property
    def unpacked_bytes(self) -> int:
        """What its frame says it unpacks to; 0 where it says nothing."""
        try:
            stated = zstandard.frame_content_size(self.body)
        except zstandard.ZstdError:
            return 0
        return max(0, stated)


@dataclass
class SortedMembers:
    """Members by what becomes of them."""

    verified: list[Verified] = field(default_factory=list)
    aside: list[Quarantine] = field(default_factory=list)
    #: Batches among those set aside that an earlier attempt may have taken.
    refused: list[BatchSpan] = field(default_factory=list)

    def set_aside(self, quarantine: Quarantine, header: BatchHeader | None) -> None:
        self.aside.append(quarantine)
        if header is not None:
            self.refused.append(span_of(header))


class MemberSorter:
    """Reads and verifies members; what fails is set aside with its reason and logged."""

    def __init__(
        self, config: LoaderConfig, *, ledger: BlockLedger, register: SensorRegister, clock: Clock
    ) -> None:
        self._config = config
        self._ledger = ledger
        self._register = register
        self._clock = clock
        self._once = OncePer(10.0)
        self._pool = ThreadPoolExecutor(config.threads, thread_name_prefix="verify")

    def close(self) -> None:
        self._pool.shutdown()

    def read(self, members: Sequence[Member]) -> tuple[list[Landed], list[Quarantine]]:
        """Read the bytes of all members; a damaged segment sets its batches aside."""
        landed, aside = [], []
        for member in members:
            try:
                landed.append(Landed(member, self._ledger.read(member)))
            except SegmentDamaged as error:
                aside.append(self.refuse(member, "segment.damaged", str(error)))
        return landed, aside

    def sort(self, part: Sequence[Landed]) -> SortedMembers:
        """Verify a part, in order."""
        placed = [(one, self._register.find_placement(one.member.sensor, one.member.key_no)) for one in part]
        share = max(_LEAST_PER_THREAD, -(-len(placed) // self._config.threads))
        pieces = [placed[first : first + share] for first in range(0, len(placed), share)]
        found = SortedMembers()
        for outcome in (outcome for piece in self._pool.map(self._verify_piece, pieces) for outcome in piece):
            if isinstance(outcome, Verified):
                found.verified.append(outcome)
            else:
                found.set_aside(*outcome)
        return found

    def refuse(self, member: Member, code: str, message: str) -> Quarantine:
        """Name what is wrong with a member, in the log too, at most once in 10 s per code."""
        if self._once.is_due(code, self._clock.monotonic()):
            named = {"sensor": member.sensor, "epoch": member.epoch, "seq": member.seq}
            _log.error("batch quarantined", extra={**named, "code": code, "reason": message})
        return Quarantine(member, code, message)

    def _verify_piece(
        self, piece: Sequence[tuple[Landed, Placement | None]]
    ) -> list[Verified | tuple[Quarantine, BatchHeader | None]]:
        return [self._verify(landed, placement) for landed, placement in piece]

    def _verify(
        self, landed: Landed, placement: Placement | None
    ) -> Verified | tuple[Quarantine, BatchHeader | None]:
        try:
            return verifying.verify(landed.member, landed.body, placement, config=self._config)
        except Unbelievable as error:
            header = error.header or self._find_header(landed)
            return self.refuse(landed.member, error.code, str(error)), header
        except Exception:  # noqa: BLE001 - a bug over one batch must not stop the others
            _log.exception("a batch cannot be verified", extra={"sensor": landed.member.sensor})
            return self.refuse(landed.member, "internal", traceback.format_exc(limit=-4)), None

    def _find_header(self, landed: Landed) -> BatchHeader | None:
        """Read what a refused batch says about itself: an earlier attempt may have believed it."""
        try:
            return batch.decode_header(landed.body, verifying.limits_of(self._config))
        except BatchError:
            return None


def split_parts(landed: Sequence[Landed], part_bytes: int) -> Iterator[list[Landed]]:
    """Cut a block so that each part unpacks to about ``part_bytes`` at most; a part has at least one member."""
    part: list[Landed] = []
    size = 0
    for one in landed:
        size += one.unpacked_bytes
        if part and size > part_bytes:
            yield part
            part, size = [], one.unpacked_bytes
        part.append(one)
    if part:
        yield part


def span_of(header: BatchHeader) -> BatchSpan:
    """Say where the rows of a batch lie in the store if it is there."""
    return BatchSpan(
        header.dataset, header.sensor, header.epoch, header.seq, header.window_start_us, header.window_end_us
    )
