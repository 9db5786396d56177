"""API tokens: ``tto_<id>_<secret>``, shown once, kept as a hash.

The secret has 256 random bits, so a plain SHA-256 is enough: there is nothing to
guess.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import re
import secrets
from collections.abc import Iterable
from datetime import datetime, timedelta

from django.db import transaction

from teiten.accounts import audit, metrics
from teiten.accounts.errors import AccountsInputError, TokenRefusedError
from teiten.accounts.models import ApiToken, Scope, SecurityEventKind, User

PREFIX = "tto"
MAX_LIFE = timedelta(days=365)
_ID_ALPHABET = "abcdefghijkmnpqrstuvwxyz23456789"
_ID_LENGTH = 10
_TOKEN = re.compile(r"tto_([a-z0-9]{10})_([A-Za-z0-9_-]{43})")
#: ``last_used_at`` is written at most this often, so that reading costs no write.
_USE_RECORDED_EVERY = timedelta(minutes=1)


def issue_token(
    *,
    user: User,
    name: str,
    scopes: Iterable[str],
    expires_at: datetime,
    now: datetime,
    actor: User | None = None,
    cidr: str = "",
    address: str | None = None,
) -> tuple[ApiToken, str]:
    """Make a token for ``user``; gives the row and the text, which is never seen again.

    Raises:
        AccountsInputError: naming the value and the rule it breaks.
    """
    if not name.strip():
        raise AccountsInputError("name", "give the token a name that says what it is for")
    _check_life(expires_at, now)
    secret = secrets.token_urlsafe(32)
    with transaction.atomic():
        token = ApiToken.objects.create(
            id="".join(secrets.choice(_ID_ALPHABET) for _ in range(_ID_LENGTH)),
            user=user,
            name=name.strip()[:100],
            secret_sha256=_hash(secret),
            scopes=_checked_scopes(scopes),
            cidr=_checked_cidr(cidr),
            created_at=now,
            expires_at=expires_at,
        )
        audit.record_event(
            SecurityEventKind.TOKEN_ISSUED, at=now, user=user, actor=actor, address=address, token=token.id
        )
    return token, f"{PREFIX}_{token.id}_{secret}"


def revoke_token(
    token: ApiToken, *, now: datetime, actor: User | None = None, address: str | None = None
) -> None:
    """End a token at once; doing it twice changes nothing."""
    with transaction.atomic():
        ended = ApiToken.objects.filter(pk=token.pk, revoked_at=None).update(revoked_at=now)
        if ended:
            audit.record_event(
                SecurityEventKind.TOKEN_REVOKED,
                at=now,
                user=token.user,
                actor=actor,
                address=address,
                token=token.id,
            )


def authenticate_token(text: str, *, address: str, now: datetime, scope: str | None = None) -> ApiToken:
    """Give the token that ``text`` is, with its user and organisation loaded.

    Raises:
        TokenRefusedError: when it is malformed, unknown, expired, revoked, used from
            outside its network or lacks ``scope``, or its owner is switched off.
    """
    token = _find_token(text)
    if token is None:
        metrics.TOKEN_CHECKS.labels("unknown").inc()
        raise TokenRefusedError("this API token is unknown")
    reason = _reason_to_refuse(token, address=address, now=now, scope=scope)
    if reason is not None:
        metrics.TOKEN_CHECKS.labels("refused").inc()
        raise TokenRefusedError(f"API token tto_{token.id} {reason}")
    metrics.TOKEN_CHECKS.labels("accepted").inc()
    _record_use(token, now)
    return token


def _find_token(text: str) -> ApiToken | None:
    match = _TOKEN.fullmatch(text)
    if match is None:
        return None
    token = ApiToken.objects.select_related("user__organisation").filter(pk=match[1]).first()
    if token is None or not hmac.compare_digest(bytes(token.secret_sha256), _hash(match[2])):
        return None
    return token


def _reason_to_refuse(token: ApiToken, *, address: str, now: datetime, scope: str | None) -> str | None:
    if token.revoked_at is not None:
        return "was revoked"
    if token.expires_at <= now:
        return "has expired; issue a new one"
    if not (token.user.is_active and token.user.organisation.is_active):
        return "belongs to somebody who is switched off"
    if token.cidr and not _is_inside(address, token.cidr):
        return "may not be used from this address"
    if scope is not None and scope not in token.scopes:
        return f"has no scope {scope!r}"
    return None


def _record_use(token: ApiToken, now: datetime) -> None:
    if token.last_used_at is None or now - token.last_used_at >= _USE_RECORDED_EVERY:
        ApiToken.objects.filter(pk=token.pk).update(last_used_at=now)
        token.last_used_at = now


def _check_life(expires_at: datetime, now: datetime) -> None:
    if not now < expires_at <= now + MAX_LIFE:
        raise AccountsInputError(
            "expires_at", f"a token lives at least a moment and at most {MAX_LIFE.days} days"
        )


def _checked_scopes(scopes: Iterable[str]) -> list[str]:
    chosen = sorted(set(scopes))
    unknown = [scope for scope in chosen if scope not in Scope.values]
    if unknown or not chosen:
        raise AccountsInputError("scopes", f"choose from {', '.join(Scope.values)}; got {chosen!r}")
    return chosen


def _checked_cidr(cidr: str) -> str:
    if not cidr:
        return ""
    try:
        return str(ipaddress.ip_network(cidr))
    except ValueError as error:
        raise AccountsInputError("cidr", f"{cidr!r} is no network such as 192.0.2.0/24 ({error})") from error


def _is_inside(address: str, cidr: str) -> bool:
    parsed = ipaddress.ip_address(address)
    mapped = getattr(parsed, "ipv4_mapped", None)
    return (mapped or parsed) in ipaddress.ip_network(cidr)


def _hash(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()
