"""Changes to organisations and people. Each leaves its line in the security log."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.db.models import Q

from teiten.accounts import audit, lockout
from teiten.accounts.errors import AccountsInputError
from teiten.accounts.models import Language, Organisation, Role, SecurityEventKind, Session, User
from teiten.accounts.sessions import hash_key

#: Words and figures that are not confused when read aloud.
_READABLE = "abcdefghjkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789"
_GENERATED_LENGTH = 16
_MAX_PASSWORD_LENGTH = 1024


@dataclass(frozen=True)
class Act:
    """Who does it, when and from where; ``actor`` is None on the command line."""

    at: datetime
    actor: User | None = None
    address: str | None = None


def generate_password() -> str:
    """Give a password of 16 random characters (about 92 bits)."""
    return "".join(secrets.choice(_READABLE) for _ in range(_GENERATED_LENGTH))


def create_organisation(*, code: str, name_ja: str, name_en: str, act: Act) -> Organisation:
    """Enter a member organisation.

    Raises:
        AccountsInputError: when a value breaks a rule or the code is taken.
    """
    organisation = Organisation(code=code, name_ja=name_ja, name_en=name_en, created_at=act.at)
    _check(organisation)
    with transaction.atomic():
        organisation.save(force_insert=True)
        audit.append("organisation.created", f"organisation:{code}", {"name": name_en}, act)
    return organisation


def find_or_create_organisation(*, code: str, name_ja: str, name_en: str, act: Act) -> Organisation:
    """Give the organisation ``code``, entering it when it is new."""
    found = Organisation.objects.filter(code=code).first()
    return found or create_organisation(code=code, name_ja=name_ja, name_en=name_en, act=act)


def create_user(
    *,
    user_id: str,
    display_name: str,
    organisation: Organisation,
    role: str,
    password: str,
    act: Act,
    language: str = Language.JAPANESE,
    must_change_password: bool = True,
) -> User:
    """Enter a person.

    Raises:
        AccountsInputError: when a value breaks a rule, or the user ID is taken.
    """
    user = User(
        user_id=user_id.strip().lower(),
        display_name=display_name,
        organisation=organisation,
        role=role,
        language=language,
        must_change_password=must_change_password,
        created_at=act.at,
        password_changed_at=act.at,
    )
    _check_password(password, user)
    user.set_password(password)
    _check(user)
    with _in_transaction("user_id", f"{user.user_id!r} is taken"):
        user.save(force_insert=True)
        _record(SecurityEventKind.USER_CREATED, user, act, role=role)
    return user


def change_password(user: User, *, old: str, new: str, act: Act, keep_session: str | None = None) -> None:
    """Let a person change their own password; their other sessions end.

    Raises:
        AccountsInputError: when the old one is wrong or the new one breaks a rule.
    """
    if not user.check_password(old):
        raise AccountsInputError("old_password", "this is not your present password")
    if old == new:
        raise AccountsInputError("new_password", "the new password is the old one")
    _set_password(user, new, SecurityEventKind.PASSWORD_CHANGED, act, must_change=False)
    end_sessions(user, except_key=keep_session)


def reset_password(user: User, *, act: Act, password: str | None = None) -> str:
    """Give a person a new password that they must change; ends sessions and locks."""
    chosen = password or generate_password()
    _set_password(user, chosen, SecurityEventKind.PASSWORD_RESET, act, must_change=True)
    end_sessions(user)
    lockout.unlock_user(user.user_id)
    return chosen


def change_user(
    user: User,
    *,
    act: Act,
    role: str | None = None,
    is_active: bool | None = None,
    language: str | None = None,
    display_name: str | None = None,
    may_see_payload: bool | None = None,
) -> None:
    """Change what is given; a change of role, or switching off, ends all sessions.

    Whoever becomes a member loses the permission to see payload.

    Raises:
        AccountsInputError: when a value breaks a rule; nothing was changed.
    """
    if (role or user.role) == Role.MEMBER:
        if may_see_payload:
            raise AccountsInputError(
                "may_see_payload", "payload is never for members; make the person an analyst first"
            )
        may_see_payload = False
    wanted = {
        "role": role,
        "is_active": is_active,
        "language": language,
        "display_name": display_name,
        "may_see_payload": may_see_payload,
    }
    changed: dict[str, Any] = {
        field: value for field, value in wanted.items() if value is not None and value != getattr(user, field)
    }
    for field, value in changed.items():
        setattr(user, field, value)
    if not changed:
        return
    _check(user)
    with transaction.atomic():
        user.save(update_fields=list(changed))
        _record(SecurityEventKind.USER_CHANGED, user, act, **changed)
    if changed.keys() & {"role", "is_active"}:
        end_sessions(user)


def end_sessions(user: User, *, except_key: str | None = None) -> int:
    """End a person's sessions, but the one with the key ``except_key``; gives how many."""
    sessions = Session.objects.filter(user=user)
    if except_key is not None:
        sessions = sessions.exclude(session_key=hash_key(except_key))
    ended, _ = sessions.delete()
    return ended


def end_other_sessions(user: User, *, keep: str | None, act: Act) -> int:
    """End a person's own sessions but the one with the key ``keep``; gives how many."""
    with transaction.atomic():
        ended = end_sessions(user, except_key=keep)
        if ended:
            _record(SecurityEventKind.SESSION_ENDED, user, act, sessions=ended)
    return ended


def end_session(user: User, *, stored_key: str, act: Act) -> bool:
    """End one of a person's own sessions, named by its stored (hashed) key."""
    with transaction.atomic():
        ended, _ = Session.objects.filter(user=user, session_key=stored_key).delete()
        if ended:
            _record(SecurityEventKind.SESSION_ENDED, user, act)
    return bool(ended)


def remove_dead_sessions(*, now: datetime, idle: timedelta) -> int:
    """Remove sessions that are over, or that nobody used for ``idle``; gives how many."""
    dead = Q(expire_date__lte=now) | Q(seen_at__lte=now - idle)
    removed, _ = Session.objects.filter(dead).delete()
    return removed


def _set_password(user: User, password: str, kind: SecurityEventKind, act: Act, *, must_change: bool) -> None:
    _check_password(password, user)
    user.set_password(password)
    user.password_changed_at = act.at
    user.must_change_password = must_change
    with transaction.atomic():
        user.save(update_fields=["password", "password_changed_at", "must_change_password"])
        _record(kind, user, act)


def _record(kind: SecurityEventKind, user: User, act: Act, **detail: Any) -> None:
    audit.record_event(kind, at=act.at, user=user, actor=act.actor, address=act.address, **detail)


def _check_password(password: str, user: User) -> None:
    if len(password) > _MAX_PASSWORD_LENGTH:
        raise AccountsInputError("password", f"at most {_MAX_PASSWORD_LENGTH} characters")
    try:
        validate_password(password, user)
    except ValidationError as error:
        raise AccountsInputError("password", " ".join(error.messages)) from error


def _check(row: Organisation | User) -> None:
    """Check all fields and uniqueness; name the first field that fails."""
    try:
        row.full_clean()
    except ValidationError as error:
        field, messages = next(iter(error.message_dict.items()))
        raise AccountsInputError(field, " ".join(messages)) from error


@contextmanager
def _in_transaction(field: str, message: str) -> Iterator[None]:
    """One transaction; a broken uniqueness rule (a race) becomes an input error."""
    try:
        with transaction.atomic():
            yield
    except IntegrityError as error:
        raise AccountsInputError(field, message) from error
