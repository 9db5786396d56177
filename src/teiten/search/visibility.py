"""Who may see what: the argument that every search takes first (`docs/design.md` §7, `docs/adr/0010`).

Three levels. *Real*: an operator, an analyst, and a member asking only about the own
organisation's sensors. *Pseudonym*: any other member: sensors by names that are the
organisation's own, groups of packets instead of packets, hours instead of instants,
nothing that stands on fewer than *k* sensors of others. *Aggregate*: the same without
any sensor. What a viewer may not see they may not filter or split by either: a filter
would tell by its count what the column hides.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Literal, TypeAlias, get_args
from uuid import UUID

from teiten.search.errors import NotPermitted
from teiten.search.recording import Recorder

Role: TypeAlias = Literal["operator", "analyst", "member"]
Level: TypeAlias = Literal["real", "pseudonym", "aggregate"]
#: What a field may need before it is shown or filtered by. ``marker``: whoever sends a
#: packet chooses it, and so could recognise the packet by it.
Permission: TypeAlias = Literal["open", "sensor", "destination", "payload", "marker"]
#: Sensors of others that a member's figure stands on, unless the setting says otherwise.
LEAST_SENSORS = 3
#: How far behind now a member's newest data are, seconds, unless the setting says otherwise.
DELAY_SECONDS = 3_600


@dataclass(frozen=True)
class Visibility:
    """What one viewer may see. Build it with :func:`for_viewer`."""

    role: Role
    #: Disclosure level of sensors in this viewer's answers.
    level: Level
    may_see_sensor: bool
    may_see_destination: bool
    may_see_payload: bool
    #: Live mode shows single packets as they come.
    may_see_live: bool
    organisation_id: UUID | int | None = None
    #: Numbers of the sensors that the viewer's organisation hosts: real when only they are asked about.
    own_sensors: frozenset[int] = frozenset()
    #: Key of this organisation's pseudonyms and roundings, 32 bytes; None where nothing is masked.
    pseudonym_key: bytes | None = None
    #: Sensors of others that a shown figure stands on (*k*); 1 where nothing is masked.
    least_sensors: int = 1
    #: Data younger than this are not shown, seconds.
    delay_seconds: int = 0
    #: Real only because the question keeps to these sensors; a statement without them is refused.
    bound_to: frozenset[int] = frozenset()
    #: Keeps the record of what this viewer is given; None for tests and jobs.
    recorder: Recorder | None = field(default=None, compare=False, repr=False)

    @property
    def is_guarded(self) -> bool:
        """Whether figures must stand on enough sensors and be coarse."""
        return self.level != "real"

    @property
    def may_see_markers(self) -> bool:
        """Whether exact values are shown that a sender can choose."""
        return not self.is_guarded

    @property
    def cache_key(self) -> tuple[object, ...]:
        """What answers that depend on the viewer must be remembered under.

        Of a guarded one all that guarding counts by: whose sensors do not count, how many must, and whose rounding.
        """
        masked = (self.pseudonym_key, self.own_sensors, self.least_sensors) if self.is_guarded else ()
        return self.level, self.may_see_payload, self.bound_to, *masked

    @property
    def rounding_keys(self) -> tuple[int, int]:
        """Two 64-bit numbers that decide how this recipient's figures are rounded."""
        digest = hashlib.sha256(b"rounding" + (self.pseudonym_key or b"")).digest()
        return int.from_bytes(digest[:8], "big"), int.from_bytes(digest[8:16], "big")

    def grants(self, permission: Permission) -> bool:
        """Tell whether fields that need ``permission`` are shown."""
        return {
            "open": True,
            "sensor": self.may_see_sensor,
            "destination": self.may_see_destination,
            "payload": self.may_see_payload,
            "marker": self.may_see_markers,
        }[permission]

    def for_own_sensors(self) -> Visibility:
        """Give what the same viewer may see of the own organisation's sensors: everything but payload and live."""
        return replace(
            self,
            level="real",
            may_see_sensor=True,
            may_see_destination=True,
            least_sensors=1,
            delay_seconds=0,
            pseudonym_key=None,
            bound_to=self.own_sensors,
        )


def for_viewer(
    role: str,
    *,
    organisation_id: UUID | int | None = None,
    own_sensors: Iterable[int] = (),
    secret: bytes = b"",
    may_see_payload: bool = False,
    member_level: Level = "pseudonym",
    least_sensors: int = LEAST_SENSORS,
    delay_seconds: int = DELAY_SECONDS,
    recorder: Recorder | None = None,
) -> Visibility:
    """Give what a person with ``role`` may see.

    Args:
        role: operator, analyst or member.
        organisation_id: the person's organisation; it has its own pseudonyms.
        own_sensors: the sensors that it hosts.
        secret: of the installation; pseudonyms and roundings last as long as it.
        may_see_payload: granted to this person, and the reason is in the log.
        member_level: how a member sees sensors.
        least_sensors: *k*, 2 to 5.
        delay_seconds: how far behind now a member's data end.
        recorder: keeps the record of what this person is given.

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
        level="real" if trusted else member_level,
        may_see_sensor=trusted,
        may_see_destination=trusted,
        may_see_payload=trusted and may_see_payload,
        may_see_live=trusted,
        organisation_id=organisation_id,
        own_sensors=frozenset() if trusted else frozenset(own_sensors),
        pseudonym_key=None if trusted else derive_key(secret, organisation_id),
        least_sensors=1 if trusted else least_sensors,
        delay_seconds=0 if trusted else delay_seconds,
        recorder=recorder,
    )


def for_role(role: str, *, organisation_id: UUID | int | None = None) -> Visibility:
    """Give the visibility of a role with the defaults of :func:`for_viewer`; payload as if it were granted."""
    return for_viewer(role, organisation_id=organisation_id, may_see_payload=True)


def derive_key(secret: bytes, organisation_id: UUID | int | None) -> bytes:
    """Give the key of one organisation: those of two tell nothing of each other."""
    return hmac.digest(secret, f"teiten disclosure {organisation_id}".encode(), "sha256")
