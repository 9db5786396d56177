"""Sign-in by user ID and password.

Every refusal has the same text and costs the same time: a password is hashed
whether the user exists or not, is active or not, is locked or not.
"""

from __future__ import annotations

import logging
import re
from datetime import datetime
from typing import NoReturn

from django.contrib.auth.hashers import make_password

from teiten.accounts import audit, lockout
from teiten.accounts.config import AccountsConfig
from teiten.accounts.errors import SignInRefusedError
from teiten.accounts.models import USER_ID_PATTERN, SecurityEventKind, User

_log = logging.getLogger(__name__)

#: The one text of every refusal (English; the portal translates it).
REFUSED = "The user ID or the password is wrong, or sign-in is locked for a while."
_MAX_PASSWORD_LENGTH = 1024


def verify_credentials(
    *, user_id: str, password: str, address: str, now: datetime, config: AccountsConfig
) -> User:
    """Give the person whose user ID and password these are.

    Raises:
        SignInRefusedError: for whatever reason; the log and the audit know which.
        TooBusyError: too many passwords are being checked; nothing but the count was done.
    """
    known_as = user_id.strip().lower()[:200]
    user = _find_user(known_as)
    if not lockout.count_attempt(user_id=known_as, address=address, now=now, config=config):
        _burn_time(password)
        _refuse(
            SecurityEventKind.SIGN_IN_LOCKED, user=user, address=address, now=now, reason="too many attempts"
        )
    if user is None:
        _burn_time(password)
        _refuse(SecurityEventKind.SIGN_IN_FAILED, user=None, address=address, now=now, reason="unknown user")
    if not user.check_password(password[:_MAX_PASSWORD_LENGTH]):
        _refuse(
            SecurityEventKind.SIGN_IN_FAILED, user=user, address=address, now=now, reason="wrong password"
        )
    if not (user.is_active and user.organisation.is_active):
        _refuse(SecurityEventKind.SIGN_IN_FAILED, user=user, address=address, now=now, reason="switched off")
    lockout.forget_attempts(user_id=known_as, address=address, config=config)
    audit.record_event(SecurityEventKind.SIGN_IN, at=now, user=user, actor=user, address=address)
    return user


def _find_user(user_id: str) -> User | None:
    if re.fullmatch(USER_ID_PATTERN, user_id) is None:
        return None
    return User.objects.select_related("organisation").filter(user_id=user_id).first()


def _burn_time(password: str) -> None:
    make_password(password[:_MAX_PASSWORD_LENGTH])


def _refuse(
    kind: SecurityEventKind, *, user: User | None, address: str, now: datetime, reason: str
) -> NoReturn:
    audit.record_event(kind, at=now, user=user, address=address, reason=reason)
    _log.warning("Sign-in was refused.", extra={"kind": kind.value, "reason": reason})
    raise SignInRefusedError(REFUSED)
