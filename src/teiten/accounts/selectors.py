"""What a person may read about people; every function starts from the viewer."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from django.db.models import QuerySet

from teiten.accounts.models import (
    Organisation,
    Role,
    SecurityEvent,
    Session,
    User,
)
from teiten.accounts.sessions import hash_key


@dataclass(frozen=True)
class SessionRow:
    """One signed-in browser, for its owner's list."""

    #: The stored key, which names the session and opens nothing.
    stored_key: str
    signed_in_at: datetime | None
    seen_at: datetime | None
    address: str | None
    user_agent: str
    is_this_one: bool


def users_visible_to(viewer: User) -> QuerySet[User]:
    """Operators see everybody, others the people of their own organisation."""
    users = User.objects.select_related("organisation").order_by("user_id")
    if viewer.has_role(Role.OPERATOR):
        return users
    return users.filter(organisation=viewer.organisation_id)


def organisations_visible_to(viewer: User) -> QuerySet[Organisation]:
    """Operators see every organisation, others their own."""
    organisations = Organisation.objects.order_by("code")
    if viewer.has_role(Role.OPERATOR):
        return organisations
    return organisations.filter(pk=viewer.organisation_id)


def list_sessions(viewer: User, *, present_key: str | None) -> list[SessionRow]:
    """A person's own sessions, newest first."""
    present = None if present_key is None else hash_key(present_key)
    rows = Session.objects.filter(user=viewer).order_by("-signed_in_at", "session_key")
    return [
        SessionRow(
            stored_key=row.session_key,
            signed_in_at=row.signed_in_at,
            seen_at=row.seen_at,
            address=row.address,
            user_agent=row.user_agent,
            is_this_one=row.session_key == present,
        )
        for row in rows
    ]


def events_visible_to(viewer: User) -> QuerySet[SecurityEvent]:
    """Operators see the whole security log, others what concerns themselves."""
    events = SecurityEvent.objects.select_related("user", "actor").order_by("-id")
    if viewer.has_role(Role.OPERATOR):
        return events
    return events.filter(user=viewer)
