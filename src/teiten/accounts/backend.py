"""Tell Django who a session's user is; signing in itself is ``accounts.signin``.

``authenticate`` is left out on purpose: Django's own entry would go round the
lock-out.
"""

from __future__ import annotations

from django.contrib.auth.backends import BaseBackend

from teiten.accounts.models import User


class UserBackend(BaseBackend):
    """Active people of active organisations."""

    def get_user(self, user_id: int) -> User | None:
        active = User.objects.select_related("organisation").filter(
            is_active=True, organisation__is_active=True
        )
        return active.filter(pk=user_id).first()
