"""Who may see what: the argument that every search takes first (`docs/design.md` §7).

In this version it follows from the role alone. An operator and an analyst see
real sensors and destinations. A member sees neither sensors nor destinations,
nor anything from which a destination follows (sequence numbers, IP id, payload),
and may not filter by them either: a filter would tell by its count what the
column hides.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args
from uuid import UUID

from teiten.search.errors import NotPermitted

Role: TypeAlias = Literal["operator", "analyst", "member"]
Level: TypeAlias = Literal["real", "pseudonym", "aggregate"]
#: What a field may need before it is shown or filtered by.
Permission: TypeAlias = Literal["open", "sensor", "destination", "payload"]


@dataclass(frozen=True)
class Visibility:
    """What one viewer may see. Build it with :func:`for_role`."""

    role: Role
    #: Disclosure level of sensors in this viewer's answers.
    level: Level
    may_see_sensor: bool
    may_see_destination: bool
    may_see_payload: bool
    #: Live mode shows single packets as they come.
    may_see_live: bool
    organisation_id: UUID | int | None = None

    def grants(self, permission: Permission) -> bool:
        """Tell whether fields that need ``permission`` are shown."""
        return {
            "open": True,
            "sensor": self.may_see_sensor,
            "destination": self.may_see_destination,
            "payload": self.may_see_payload,
        }[permission]


def for_role(role: str, *, organisation_id: UUID | int | None = None) -> Visibility:
    """Give the visibility of a role.

    Raises:
        NotPermitted: for a role that this version does not know.
    """
    if role not in get_args(Role):
        raise NotPermitted(
            f"role {role!r} has no visibility; known roles: {', '.join(get_args(Role))}", field="role"
        )
    trusted = role in ("operator", "analyst")
    return Visibility(
        role=role,  # type: ignore[arg-type]  # checked above
        level="real" if trusted else "aggregate",
        may_see_sensor=trusted,
        may_see_destination=trusted,
        may_see_payload=trusted,
        may_see_live=trusted,
        organisation_id=organisation_id,
    )
