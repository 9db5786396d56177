"""Who may send more than forms have: operators, with a command and the list of sensors that it is for.

A list of 10,000 sensors with their names has half a megabyte and more. It is asked
before the body is read, so that a stranger cannot fill the memory with bodies.
"""

from __future__ import annotations

from collections.abc import Mapping
from http.cookies import CookieError, SimpleCookie
from typing import Any

from asgiref.sync import sync_to_async
from django.conf import settings
from django.contrib.auth import SESSION_KEY
from django.db import Error as DatabaseError
from django.db import connection
from django.urls import reverse

from teiten.accounts.backend import UserBackend
from teiten.accounts.models import Role
from teiten.accounts.sessions import SessionStore

#: An envelope, and the names of ten thousand sensors with 63 characters each.
MOST_BYTES = 3 * 1024 * 1024


async def most_bytes_of(scope: Mapping[str, Any]) -> int | None:
    """Give how many bytes a request may have; None: as many as any other."""
    if scope["method"] != "POST" or scope["path"] != reverse("submit-command"):
        return None
    cookies = b"; ".join(value for name, value in scope["headers"] if name == b"cookie")
    return MOST_BYTES if await sync_to_async(_is_operator)(cookies.decode("latin-1")) else None


def _is_operator(cookies: str) -> bool:
    try:
        morsel = SimpleCookie(cookies).get(settings.SESSION_COOKIE_NAME)
        user_id = SessionStore(morsel.value).get(SESSION_KEY) if morsel is not None else None
        user = UserBackend().get_user(int(user_id)) if user_id is not None else None
        return user is not None and user.has_role(Role.OPERATOR)
    except (CookieError, DatabaseError):
        return False
    finally:
        # This runs outside of Django's requests, which give their connections back themselves.
        connection.close()
