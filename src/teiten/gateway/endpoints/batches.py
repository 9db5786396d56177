"""``PUT /v1/batches/{epoch}/{seq}``: land a batch and give its receipt."""

from __future__ import annotations

import re
from dataclasses import dataclass

from aiohttp import web

from teiten.gateway import metrics, requests
from teiten.gateway.authenticating import Authenticated, Desk
from teiten.gateway.doors import SealKey, SensorIdentity
from teiten.gateway.errors import Refusal
from teiten.gateway.pacing import OUTAGE_SECONDS, Pace
from teiten.gateway.routing import Reply, Route
from teiten.landing.errors import LandingError, LandingFull, ReceiptExpired, SequenceConflict
from teiten.landing.groups import Landed
from teiten.landing.segments import Arrival
from teiten.protocol import seal
from teiten.protocol.errors import SealError
from teiten.protocol.seal import SealField

_SHOWN = "/v1/batches/{epoch}/{seq}"
#: Windows of one second for nine million years. Close to 2^63 the ledger's ranges have no end, and one
#: sensor's number would undo the transaction that it shares with others; sums of holes would overflow.
_MAX_SEQ = 1 << 48
#: A byte that is kept back counts so many times: it stays on the disk until somebody has looked, and its sender is suspected.
_HELD_WEIGHT = 16


@dataclass(frozen=True)
class BatchName:
    """Which batch a path names."""

    epoch: int
    seq: int


@dataclass(frozen=True)
class Sealed:
    """A seal, and the number of the key that made it: the request may come under a later one."""

    seal: bytes
    key_no: int


async def land(desk: Desk, request: web.BaseRequest, match: re.Match[str]) -> Reply:
    """Land a batch and give its receipt."""
    name = _read_name(match)
    field = _read_seal(request)
    length = requests.length_of(request, at_most=desk.config.max_batch_bytes)
    sender = await desk.authenticate(request, pace=_pace_of_batches(desk))
    weight = _HELD_WEIGHT if _is_held(sender.identity, name.epoch) else 1
    desk.paces.spend(_pace_of_bytes(desk), sender.identity.sensor, amount=length * weight)
    _check_may_send(sender.identity, name.epoch)
    sealed = Sealed(field.seal, field.key_no or sender.identity.key_no)
    await _check_seal(desk, sender, name=name, sealed=sealed)
    with desk.bodies.holding(length, sender.identity.sensor):
        body = await desk.read(request, length, sender)
        landed = await _land(desk, sender, name=name, sealed=sealed, body=body)
    if not landed.is_new:
        return 200, landed.receipt
    metrics.BATCH_BYTES.inc(length)
    return 201, landed.receipt


ROUTE = Route("batch", "PUT", re.compile(r"/v1/batches/([1-9][0-9]{0,9})/([1-9][0-9]{0,18})"), _SHOWN, land)


def _is_held(identity: SensorIdentity, epoch: int) -> bool:
    """Tell whether a batch is kept back until somebody has looked."""
    return identity.state == "quarantined" or epoch <= identity.held_epoch


def _pace_of_batches(desk: Desk) -> Pace:
    return Pace("batches", desk.config.sensor_batches_per_second, OUTAGE_SECONDS)


def _pace_of_bytes(desk: Desk) -> Pace:
    return Pace("bytes", desk.config.sensor_bytes_per_second, OUTAGE_SECONDS)


def _read_name(match: re.Match[str]) -> BatchName:
    name = BatchName(int(match[1]), int(match[2]))
    if name.epoch >= 1 << 32 or name.seq > _MAX_SEQ:
        raise Refusal(404, "unknown_path", f"epoch and sequence of {_SHOWN} are too large")
    return name


async def _land(desk: Desk, sender: Authenticated, *, name: BatchName, sealed: Sealed, body: bytes) -> Landed:
    identity = sender.identity
    arrival = Arrival(
        sensor=identity.sensor,
        key_no=sealed.key_no,
        epoch=name.epoch,
        seq=name.seq,
        digest=sender.digest,
        seal=sealed.seal,
        body=body,
        held=_is_held(identity, name.epoch),
    )
    try:
        return await desk.landing.land(arrival)
    except SequenceConflict as error:
        await _suspect(desk, identity, name, detail=str(error))
        raise Refusal(409, "sequence_conflict", str(error)) from error
    except ReceiptExpired as error:
        raise Refusal(410, "receipt_expired", str(error)) from error
    except LandingFull as error:
        raise Refusal(
            503, "landing_full", str(error), retry_after_seconds=error.retry_after_seconds
        ) from error
    except LandingError as error:
        raise Refusal(503, "landing_unavailable", str(error)) from error


async def _suspect(desk: Desk, identity: SensorIdentity, name: BatchName, *, detail: str) -> None:
    """Tell the fleet that a number came twice; of an epoch that is over, that was to be expected."""
    if desk.doors.suspect is not None and name.epoch == identity.epoch and identity.state == "active":
        await desk.doors.suspect.suspect(identity, why="sequence_conflict", detail=detail)


def _read_seal(request: web.BaseRequest) -> SealField:
    try:
        return seal.parse_field(request.headers.get(seal.SEAL_FIELD, ""))
    except SealError as error:
        raise Refusal(400, error.code, str(error)) from error


_KEPT_OUT = {
    "pending_approval": "is enrolled and waits for its operator's approval; keep recording",
    "suspended": "is suspended; ask its operator",
    "revoked": "has been revoked",
}


def _check_may_send(identity: SensorIdentity, epoch: int) -> None:
    reason = _KEPT_OUT.get(identity.state)
    if reason is not None:
        raise Refusal(403, f"sensor_{identity.state}", f"sensor {identity.sensor} {reason}")
    if epoch > identity.epoch:
        raise Refusal(
            403, "epoch_unknown", f"sensor {identity.sensor} is in epoch {identity.epoch}, not {epoch}"
        )


async def _check_seal(desk: Desk, sender: Authenticated, *, name: BatchName, sealed: Sealed) -> None:
    identity = sender.identity
    key = await _find_key(desk, identity, sealed.key_no)
    named = f"key {identity.sensor}.{sealed.key_no}"
    if key is None:
        raise Refusal(400, "seal.key", f"there is no {named}, which the seal names")
    try:
        seal.verify(
            key.public_key,
            sealed.seal,
            sensor=identity.sensor,
            key_no=sealed.key_no,
            epoch=name.epoch,
            seq=name.seq,
            digest=sender.digest,
        )
    except SealError as error:
        raise Refusal(400, error.code, str(error)) from error
    if identity.seals is not None and not key.covers(name.epoch, name.seq):
        raise Refusal(400, "seal.range", f"{named} was not good for epoch {name.epoch}, sequence {name.seq}")


async def _find_key(desk: Desk, identity: SensorIdentity, key_no: int) -> SealKey | None:
    if key_no == identity.key_no:
        return identity.seals or SealKey(identity.public_key, identity.epoch)
    if desk.doors.seal_keys is None:
        return None
    return await desk.doors.seal_keys.find_seal_key(identity.sensor, key_no)
