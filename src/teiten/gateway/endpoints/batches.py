"""``PUT /v1/batches/{epoch}/{seq}``: land a batch and give its receipt."""

from __future__ import annotations

import re
from dataclasses import dataclass

from aiohttp import web

from teiten.gateway import metrics, requests
from teiten.gateway.authenticating import Authenticated, Desk
from teiten.gateway.doors import SensorIdentity
from teiten.gateway.errors import Refusal
from teiten.gateway.routing import Reply, Route
from teiten.landing.errors import LandingError, LandingFull, ReceiptExpired, SequenceConflict
from teiten.landing.groups import Landed
from teiten.landing.segments import Arrival
from teiten.protocol import seal
from teiten.protocol.errors import SealError

_SHOWN = "/v1/batches/{epoch}/{seq}"


@dataclass(frozen=True)
class BatchName:
    """Which batch a path names."""

    epoch: int
    seq: int


async def land(desk: Desk, request: web.BaseRequest, match: re.Match[str]) -> Reply:
    """Land a batch and give its receipt."""
    name = _read_name(match)
    sealed = _read_seal(request)
    length = requests.length_of(request, at_most=desk.config.max_batch_bytes)
    sender = await desk.authenticate(request)
    _check_may_send(sender.identity, name.epoch)
    _check_seal(sender, name, sealed)
    with desk.holding(length):
        body = await desk.read(request, length, sender)
        landed = await _land(desk, sender, name=name, sealed=sealed, body=body)
    if not landed.is_new:
        return 200, landed.receipt
    metrics.BATCH_BYTES.inc(length)
    return 201, landed.receipt


ROUTE = Route("batch", "PUT", re.compile(r"/v1/batches/([1-9][0-9]{0,9})/([1-9][0-9]{0,18})"), _SHOWN, land)


def _read_name(match: re.Match[str]) -> BatchName:
    name = BatchName(int(match[1]), int(match[2]))
    if name.epoch >= 1 << 32 or name.seq >= 1 << 63:
        raise Refusal(404, "unknown_path", f"epoch and sequence of {_SHOWN} are too large")
    return name


async def _land(desk: Desk, sender: Authenticated, *, name: BatchName, sealed: bytes, body: bytes) -> Landed:
    arrival = Arrival(
        sensor=sender.identity.sensor,
        key_no=sender.identity.key_no,
        epoch=name.epoch,
        seq=name.seq,
        digest=sender.digest,
        seal=sealed,
        body=body,
        held=sender.identity.state == "quarantined",
    )
    try:
        return await desk.landing.land(arrival)
    except SequenceConflict as error:
        raise Refusal(409, "sequence_conflict", str(error)) from error
    except ReceiptExpired as error:
        raise Refusal(410, "receipt_expired", str(error)) from error
    except LandingFull as error:
        raise Refusal(
            503, "landing_full", str(error), retry_after_seconds=error.retry_after_seconds
        ) from error
    except LandingError as error:
        raise Refusal(503, "landing_unavailable", str(error)) from error


def _read_seal(request: web.BaseRequest) -> bytes:
    try:
        return seal.parse_seal(request.headers.get(seal.SEAL_FIELD, ""))
    except SealError as error:
        raise Refusal(400, error.code, str(error)) from error


def _check_may_send(identity: SensorIdentity, epoch: int) -> None:
    if identity.state in ("suspended", "revoked"):
        raise Refusal(
            403, f"sensor_{identity.state}", f"sensor {identity.sensor} is {identity.state}; ask its operator"
        )
    if epoch > identity.epoch:
        raise Refusal(
            403, "epoch_unknown", f"sensor {identity.sensor} is in epoch {identity.epoch}, not {epoch}"
        )


def _check_seal(sender: Authenticated, name: BatchName, sealed: bytes) -> None:
    identity = sender.identity
    try:
        seal.verify(
            identity.public_key,
            sealed,
            sensor=identity.sensor,
            key_no=identity.key_no,
            epoch=name.epoch,
            seq=name.seq,
            digest=sender.digest,
        )
    except SealError as error:
        raise Refusal(400, error.code, str(error)) from error
