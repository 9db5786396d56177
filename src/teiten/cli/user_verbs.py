"""What `teiten user …` does: functions that change people and give what to print."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from teiten.cli.errors import CliError
from teiten.foundation.clock import Clock

if TYPE_CHECKING:
    # Django's models can be imported only once Django has been set up.
    from teiten.accounts.models import User


@dataclass(frozen=True)
class FirstPassword:
    """A password that its owner must change; it is never seen again."""

    user_id: str
    role: str
    password: str

    def __str__(self) -> str:
        return (
            f"user      {self.user_id} ({self.role})\n"
            f"password  {self.password}\n"
            "It is not shown again, and must be changed at the first sign-in."
        )


@dataclass(frozen=True)
class UserLine:
    """One line of `teiten user list`."""

    user_id: str
    display_name: str
    organisation: str
    role: str
    is_active: bool
    must_change_password: bool
    last_sign_in_at: datetime | None


@dataclass(frozen=True)
class IssuedApiToken:
    """An API token, which is never seen again."""

    user_id: str
    token: str
    scopes: tuple[str, ...]
    expires_at: datetime

    def __str__(self) -> str:
        return (
            f"token  {self.token}\n"
            f"For {self.user_id}, scopes {', '.join(self.scopes)}, until {self.expires_at:%Y-%m-%d} UTC. "
            "It is not shown again."
        )


def create_user(
    *,
    user_id: str,
    role: str,
    organisation: str,
    clock: Clock,
    display_name: str = "",
    language: str = "ja",
    organisation_names: tuple[str, str] | None = None,
    password: str | None = None,
) -> FirstPassword:
    """Enter a person (and their organisation when it is new) with a first password.

    Args:
        user_id: what they sign in with.
        role: ``operator``, ``analyst`` or ``member``.
        organisation: code of their organisation.
        clock: for the times in the log.
        display_name: shown on screens; the user ID when empty.
        language: ``ja`` or ``en``.
        organisation_names: Japanese and English name, for a new organisation.
        password: the first password; a random one when None.

    Raises:
        AccountsInputError: when a value breaks a rule, or the user ID is taken; nothing was made.
    """
    from django.db import transaction

    from teiten.accounts import services

    act = services.Act(clock.now())
    first = password or services.generate_password()
    name_ja, name_en = organisation_names or (organisation, organisation)
    with transaction.atomic():
        user = services.create_user(
            user_id=user_id,
            display_name=display_name or user_id,
            organisation=services.find_or_create_organisation(
                code=organisation, name_ja=name_ja, name_en=name_en, act=act
            ),
            role=role,
            password=first,
            language=language,
            act=act,
        )
    return FirstPassword(user.user_id, user.role, first)


def has_users() -> bool:
    """Tell whether anybody can sign in yet; the first start makes an operator when not."""
    from teiten.accounts.models import User

    return User.objects.exists()


def list_users() -> list[UserLine]:
    """List everybody, by user ID."""
    from teiten.accounts.models import User

    return [
        UserLine(
            user_id=user.user_id,
            display_name=user.display_name,
            organisation=user.organisation.code,
            role=user.role,
            is_active=user.is_active,
            must_change_password=user.must_change_password,
            last_sign_in_at=user.last_login,
        )
        for user in User.objects.select_related("organisation").order_by("user_id")
    ]


def reset_password(user_id: str, *, clock: Clock) -> FirstPassword:
    """Give a person a new first password; their sessions and sign-in locks end.

    Raises:
        CliError: when there is no such user.
    """
    from teiten.accounts import services

    user = _get_user(user_id)
    password = services.reset_password(user, act=services.Act(clock.now()))
    return FirstPassword(user.user_id, user.role, password)


def issue_token(
    user_id: str,
    *,
    days: int,
    label: str,
    clock: Clock,
    scopes: Iterable[str] = ("search", "export", "sensors"),
    cidr: str = "",
) -> IssuedApiToken:
    """Issue an API token for a person.

    Raises:
        CliError: when there is no such user.
        AccountsInputError: when the days, a scope or the network break a rule.
    """
    from teiten.accounts import tokens

    now = clock.now()
    token, text = tokens.issue_token(
        user=_get_user(user_id),
        name=label,
        scopes=scopes,
        expires_at=now + timedelta(days=min(max(days, 0), 10_000)),
        now=now,
        cidr=cidr,
    )
    return IssuedApiToken(token.user.user_id, text, tuple(token.scopes), token.expires_at)


def switch_user(user_id: str, *, is_active: bool, clock: Clock) -> None:
    """Let a person in (again), or shut them out with all their sessions and tokens.

    Raises:
        CliError: when there is no such user.
    """
    from teiten.accounts import services

    services.change_user(_get_user(user_id), is_active=is_active, act=services.Act(clock.now()))


def permit_payload(user_id: str, *, is_allowed: bool, clock: Clock) -> None:
    """Allow an analyst or operator to see payload, each time for a stated reason, or take that back.

    Raises:
        CliError: when there is no such user.
        AccountsInputError: when the person is a member; nothing was changed.
    """
    from teiten.accounts import services

    services.change_user(_get_user(user_id), may_see_payload=is_allowed, act=services.Act(clock.now()))


def _get_user(user_id: str) -> User:
    from teiten.accounts.models import User

    user = User.objects.select_related("organisation").filter(user_id=user_id.strip().lower()).first()
    if user is None:
        raise CliError(f"there is no user {user_id!r}; `teiten user list` names them")
    return user
