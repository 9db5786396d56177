"""What enrolment and recovery share: a token is used once, by one key, in time, from where it may."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TypeVar

from django.db import IntegrityError, transaction

from teiten.fleet import journal, sealing
from teiten.fleet.errors import EnrolmentError, FleetError
from teiten.fleet.models import EnrolmentToken, SensorEvent, SensorEventKind, TokenPurpose
from teiten.protocol.errors import SignatureError, TokenError

Outcome = TypeVar("Outcome")

_REUSED = "token_used"
#: A refused or reused token is written into the history at most this often.
_ALARM_EVERY = timedelta(hours=1)


def lock_token(token_id: str, purpose: TokenPurpose) -> EnrolmentToken | EnrolmentError:
    """Give a token's row, locked, or the reason why there is none for this purpose."""
    token = EnrolmentToken.objects.select_for_update().filter(pk=token_id).first()
    if token is None:
        return EnrolmentError("token_unknown", "this token is unknown; ask for a new one")
    if token.purpose != purpose:
        verb = {TokenPurpose.ENROL: "enrol", TokenPurpose.RECOVER: "recover"}[TokenPurpose(token.purpose)]
        return EnrolmentError("token_purpose", f"this token is for `teiten-sensor {verb}`")
    return token


def check_repeat(
    token: EnrolmentToken, public_key: bytes, *, peer: str | None, now: datetime
) -> EnrolmentError | None:
    """Say why a used token is refused; None: the same request is repeated, and gets the same answer."""
    if bytes(token.used_key or b"") != public_key:
        _write_once(SensorEventKind.TOKEN_REUSED, token, now=now, code=_REUSED, peer=peer)
        return EnrolmentError(_REUSED, "this token was used with another key; an operator has been told")
    if now >= token.expires_at:
        return EnrolmentError("token_expired", "this token was used already and has expired since")
    return None


def check_token(token: EnrolmentToken, *, peer: str | None, now: datetime) -> EnrolmentError | None:
    """Say why an unused token is refused, or None."""
    if token.revoked_at is not None or token.sealed_secret is None:
        return EnrolmentError("token_revoked", "this token was replaced or revoked; ask for a new one")
    if now >= token.expires_at:
        return EnrolmentError("token_expired", "this token has expired; ask for a new one")
    if token.cidr and not _is_inside(peer, token.cidr):
        return EnrolmentError("token_address", "this token may not be used from this address")
    return None


def open_secret(token: EnrolmentToken) -> bytes | EnrolmentError:
    """Give the secret of an unused token, or the reason why it cannot be read."""
    try:
        return sealing.unseal(bytes(token.sealed_secret or b""), name=token.pk)
    except FleetError as error:
        return EnrolmentError("token_unreadable", str(error))


def check_proof(token: EnrolmentToken, verify: Callable[[bytes], None]) -> EnrolmentError | None:
    """Say why the sender was not given the token, or None; ``verify`` raises TokenError for another secret."""
    secret = open_secret(token)
    if isinstance(secret, EnrolmentError):
        return secret
    try:
        verify(secret)
    except TokenError:
        return EnrolmentError("token_proof", "the proof is not of this token; copy the whole token again")
    return None


def settle(decide: Callable[[], Outcome | EnrolmentError]) -> Outcome | EnrolmentError:
    """Take a decision in one transaction; what is written with a refusal (an alarm) stays written."""
    try:
        with transaction.atomic():
            return decide()
    except SignatureError as error:
        return EnrolmentError("bad_signature", str(error))
    except IntegrityError:
        return EnrolmentError("key_taken", "this public key belongs to a sensor already; make a new key")


def use_token(token: EnrolmentToken, public_key: bytes, *, peer: str | None, now: datetime) -> None:
    """Note the one use; the secret goes."""
    token.used_at, token.used_key, token.used_from, token.sealed_secret = now, public_key, peer, None
    token.save(update_fields=["used_at", "used_key", "used_from", "sealed_secret"])


def note_refusal(token: EnrolmentToken, error: EnrolmentError, *, peer: str | None, now: datetime) -> None:
    """Write into the history that a token of this sensor was refused; one used with another key is an alarm."""
    if error.code != _REUSED:
        _write_once(SensorEventKind.ENROLMENT_REFUSED, token, now=now, code=error.code, peer=peer)


def _write_once(
    kind: SensorEventKind, token: EnrolmentToken, *, now: datetime, code: str, peer: str | None
) -> None:
    """Write an event, but not a row for each try of somebody who only knows the token's id."""
    earlier = SensorEvent.objects.filter(
        sensor=token.sensor_id,
        kind=kind,
        at__gt=now - _ALARM_EVERY,
        detail__token=token.pk,
        detail__code=code,
    )
    if not earlier.exists():
        journal.record_event(kind, token.sensor_id, at=now, token=token.pk, code=code, peer=peer)


def _is_inside(peer: str | None, cidr: str) -> bool:
    return peer is not None and ipaddress.ip_address(peer) in ipaddress.ip_network(cidr)
