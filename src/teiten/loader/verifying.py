"""Decide whether a batch may be believed: who sealed it, what it says, and whether the two fit.

Pure: bytes, the ledger's entry and the sensor's placement in, a batch or a reason out.
"""

from __future__ import annotations

from dataclasses import dataclass

from teiten.landing.blocks import Member
from teiten.loader.config import LoaderConfig
from teiten.loader.doors import Placement
from teiten.loader.errors import Unbelievable
from teiten.protocol import batch, seal
from teiten.protocol.batch import Batch
from teiten.protocol.errors import BatchError, SealError
from teiten.protocol.header import BatchHeader

_SECOND_US = 1_000_000
_DAY_US = 86_400 * _SECOND_US


@dataclass(frozen=True)
class Verified:
    """A batch that may be believed, and where its sensor stood."""

    member: Member
    batch: Batch
    region: str


def verify(member: Member, body: bytes, placement: Placement | None, *, config: LoaderConfig) -> Verified:
    """Verify one landed batch.

    Raises:
        Unbelievable: with the code and the rule that it breaks.
    """
    known = _check_sensor(member, placement)
    _check_seal(member, known)
    try:
        unpacked = batch.decode(body)
    except BatchError as error:
        raise Unbelievable(error.code, str(error)) from error
    _check_claims(member, unpacked.header)
    _check_dataset(known, unpacked.header)
    _check_window(member, unpacked.header, config)
    return Verified(member, unpacked, known.region)


def _check_sensor(member: Member, placement: Placement | None) -> Placement:
    if placement is None:
        raise Unbelievable("sensor.unknown", f"sensor {member.sensor} is not in the fleet")
    if member.key_no not in placement.keys:
        raise Unbelievable("sensor.key", f"sensor {member.sensor} has no key {member.key_no}")
    return placement


def _check_seal(member: Member, placement: Placement) -> None:
    try:
        seal.verify(
            placement.keys[member.key_no],
            member.seal,
            sensor=member.sensor,
            key_no=member.key_no,
            epoch=member.epoch,
            seq=member.seq,
            digest=member.digest,
        )
    except SealError as error:
        raise Unbelievable(error.code, str(error)) from error


def _check_claims(member: Member, header: BatchHeader) -> None:
    claims = {
        "sensor": (header.sensor, member.sensor),
        "epoch": (header.epoch, member.epoch),
        "seq": (header.seq, member.seq),
    }
    for name, (said, landed) in claims.items():
        if said != landed:
            raise Unbelievable(f"claims.{name}", f"the header says {name} {said}, but it landed as {landed}")


def _check_dataset(placement: Placement, header: BatchHeader) -> None:
    is_import = header.dataset.startswith("import:")
    if is_import and not placement.may_import:
        raise Unbelievable(
            "dataset.import", f"sensor {header.sensor} may not send imports ({header.dataset})"
        )
    if not is_import and header.dataset != placement.dataset:
        raise Unbelievable(
            "dataset.other",
            f"sensor {header.sensor} belongs to data set {placement.dataset}, not {header.dataset}",
        )


def _check_window(member: Member, header: BatchHeader, config: LoaderConfig) -> None:
    if header.window_end_us > member.landed_at_us + config.future_seconds * _SECOND_US:
        ahead = (header.window_end_us - member.landed_at_us) // _SECOND_US
        raise Unbelievable(
            "window.future",
            f"the window ends {ahead} s after the batch landed; at most {config.future_seconds} s are allowed",
        )
    is_import = header.dataset.startswith("import:")
    if not is_import and header.window_start_us < member.landed_at_us - config.max_age_days * _DAY_US:
        raise Unbelievable(
            "window.old",
            f"the window began more than {config.max_age_days} days before the batch landed; send it as an import",
        )
