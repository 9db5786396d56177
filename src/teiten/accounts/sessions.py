"""Where sessions live: in PostgreSQL, under the hash of their key.

Who can read the table cannot take over a session, and each person's sessions can
be listed and ended. Named by Django's ``SESSION_ENGINE``.
"""

from __future__ import annotations

import hashlib
from datetime import datetime
from typing import Any

from asgiref.sync import sync_to_async
from django.contrib.sessions.backends.db import SessionStore as DatabaseStore
from django.utils import timezone

from teiten.accounts.models import Session

#: Keys inside a session; instants as ISO text.
SIGNED_IN_AT = "teiten_signed_in_at"
SEEN_AT = "teiten_seen_at"
ADDRESS = "teiten_address"
USER_AGENT = "teiten_user_agent"
_USER = "_auth_user_id"


def hash_key(session_key: str) -> str:
    """Give the form of a session key under which it is stored."""
    return hashlib.sha256(session_key.encode()).hexdigest()


class SessionStore(DatabaseStore):
    """Django's database store, with hashed keys and the owner beside the content."""

    @classmethod
    def get_model_class(cls) -> type[Session]:
        return Session

    def load(self) -> dict[str, Any]:
        row = self._find_row()
        if row is None:
            self._session_key = None
            return {}
        content: dict[str, Any] = self.decode(row.session_data)
        return content

    def exists(self, session_key: str) -> bool:
        return Session.objects.filter(session_key=hash_key(session_key)).exists()

    def delete(self, session_key: str | None = None) -> None:
        key = session_key or self.session_key
        if key is not None:
            Session.objects.filter(session_key=hash_key(key)).delete()

    def create_model_instance(self, data: dict[str, Any]) -> Session:
        return Session(
            session_key=hash_key(self._get_or_create_session_key()),  # type: ignore[attr-defined]  # django-stubs forgot it
            session_data=self.encode(data),
            expire_date=self.get_expiry_date(),
            user_id=_as_int(data.get(_USER)),
            signed_in_at=_as_instant(data.get(SIGNED_IN_AT)),
            seen_at=_as_instant(data.get(SEEN_AT)),
            address=data.get(ADDRESS),
            user_agent=data.get(USER_AGENT, ""),
        )

    async def aload(self) -> dict[str, Any]:
        return await sync_to_async(self.load)()

    async def aexists(self, session_key: str) -> bool:
        return await sync_to_async(self.exists)(session_key)

    async def adelete(self, session_key: str | None = None) -> None:
        await sync_to_async(self.delete)(session_key)

    async def asave(self, must_create: bool = False) -> None:  # noqa: FBT001, FBT002  # Django's signature
        await sync_to_async(self.save)(must_create)

    async def acreate(self) -> None:
        await sync_to_async(self.create)()

    def _find_row(self) -> Session | None:
        if self.session_key is None:
            return None
        living = Session.objects.filter(expire_date__gt=timezone.now())
        return living.filter(session_key=hash_key(self.session_key)).first()


def _as_int(value: Any) -> int | None:
    return None if value is None else int(value)


def _as_instant(value: Any) -> datetime | None:
    return None if value is None else datetime.fromisoformat(value)
