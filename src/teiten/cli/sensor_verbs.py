"""What `teiten sensor …` does: functions that change the fleet and give what to print."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from teiten.fleet.config import FleetConfig
from teiten.fleet.sites import UNKNOWN_SITE, Site
from teiten.foundation.clock import Clock

if TYPE_CHECKING:
    # Django's models can be imported only once Django has been set up.
    from teiten.fleet.models import Sensor
    from teiten.fleet.services import Act, IssuedToken

#: Organisation that houses a sensor when none is named.
DEFAULT_ORGANISATION = "observatory"


@dataclass(frozen=True)
class SensorToken:
    """A sensor and its one-time token, which is never seen again."""

    sensor: int
    name: str
    dataset: str
    token: str
    expires_at: datetime

    def __str__(self) -> str:
        return (
            f"sensor {self.sensor} {self.name} ({self.dataset})\n"
            f"token  {self.token}\n"
            f"It works once, until {self.expires_at:%Y-%m-%d %H:%M} UTC. Give it to `teiten-sensor enrol` as a file "
            "or on standard input; it is not shown again."
        )


@dataclass(frozen=True)
class SensorLine:
    """One line of `teiten sensor list`."""

    sensor: int
    name: str
    region: str
    organisation: str
    dataset: str
    #: What its row says: may it send?
    standing: str
    #: What is true of it, worst first.
    conditions: tuple[str, ...]
    heartbeat_at: datetime | None
    software: str


@dataclass(frozen=True)
class SensorMoved:
    """A sensor's new state."""

    sensor: int
    name: str
    state: str

    def __str__(self) -> str:
        return f"sensor {self.sensor} {self.name} is {self.state} now"


def create_sensor(
    *,
    name: str,
    region: str,
    clock: Clock,
    config: FleetConfig,
    organisation: str = "",
    dataset: str = "live",
    may_import: bool = False,
    needs_approval: bool = False,
    region_names: tuple[str, str] | None = None,
    cidr: str = "",
    note: str = "",
    site: Site = UNKNOWN_SITE,
) -> SensorToken:
    """Enter a sensor (and its region and organisation when they are new) and issue its token.

    Raises:
        FleetInputError: when a value breaks a rule; nothing was made.
        AccountsInputError: when the organisation's code breaks a rule.
    """
    from django.db import transaction

    from teiten.accounts import services as accounts
    from teiten.fleet import services

    house = organisation or DEFAULT_ORGANISATION
    name_ja, name_en = region_names or (region, region)
    with transaction.atomic():
        issued = services.create_sensor(
            name=name,
            region=services.find_or_create_region(code=region, name_ja=name_ja, name_en=name_en),
            organisation=accounts.find_or_create_organisation(
                code=house, name_ja=house, name_en=house, act=accounts.Act(clock.now())
            ),
            dataset=dataset,
            may_import=may_import,
            needs_approval=needs_approval,
            note=note,
            cidr=cidr,
            site=site,
            act=services.Act(clock.now()),
            config=config,
        )
    return token_of(issued)


def create_sensors(
    *,
    names: Sequence[str],
    region: str,
    clock: Clock,
    config: FleetConfig,
    organisation: str = "",
    may_import: bool = False,
    needs_approval: bool = False,
    cidr: str = "",
    site: Site = UNKNOWN_SITE,
) -> list[IssuedToken]:
    """Enter sensors of one place (and their region and organisation when they are new) with a token each.

    Raises:
        FleetInputError: when a value breaks a rule; nothing was made.
        AccountsInputError: when the organisation's code breaks a rule.
    """
    from django.db import transaction

    from teiten.accounts import services as accounts
    from teiten.fleet import making, services

    house = organisation or DEFAULT_ORGANISATION
    with transaction.atomic():
        return making.create_sensors(
            names,
            region=services.find_or_create_region(code=region, name_ja=region, name_en=region),
            organisation=accounts.find_or_create_organisation(
                code=house, name_ja=house, name_en=house, act=accounts.Act(clock.now())
            ),
            dataset="live",
            may_import=may_import,
            needs_approval=needs_approval,
            cidr=cidr,
            site=site,
            act=services.Act(clock.now()),
            config=config,
        )


def find_unknown_places(region: str, organisation: str) -> list[str]:
    """Name what of these does not exist yet: a slip of the pen would make it."""
    from teiten.accounts.models import Organisation
    from teiten.fleet.models import Region

    house = organisation or DEFAULT_ORGANISATION
    unknown = []
    if not Region.objects.filter(code=region).exists():
        unknown.append(f"region {region!r}")
    if not Organisation.objects.filter(code=house).exists():
        unknown.append(f"organisation {house!r}")
    return unknown


def issue_token(name: str, *, clock: Clock, config: FleetConfig, cidr: str = "") -> SensorToken:
    """Issue a new token for a sensor that has not enrolled yet; its older ones stop working.

    Raises:
        SensorUnknownError: when there is no such sensor.
        SensorStateError: when it has enrolled, or is revoked.
    """
    from teiten.fleet import services

    sensor = services.get_sensor(name)
    return token_of(services.issue_token(sensor, act=services.Act(clock.now()), config=config, cidr=cidr))


def list_sensors(*, clock: Clock, config: FleetConfig) -> list[SensorLine]:
    """List the sensors with their states, by number."""
    from teiten.fleet import health, known

    now = clock.now()
    judge = health.Judge(now=now, config=config)
    return [
        SensorLine(
            sensor=one.id,
            name=one.name,
            region=one.region,
            organisation=one.organisation,
            dataset=one.dataset,
            standing=one.standing,
            conditions=tuple(found.value for found in judge(one)),
            heartbeat_at=one.heartbeat_at,
            software=one.software,
        )
        for one in known.read_known(now=now)
    ]


def suspend_sensor(name: str, *, reason: str, clock: Clock) -> SensorMoved:
    """Refuse a sensor's data until it is resumed.

    Raises:
        SensorUnknownError: when there is no such sensor.
        SensorStateError: when its state does not allow it.
    """
    from teiten.fleet import services

    return _move(name, services.suspend_sensor, reason=reason, clock=clock)


def resume_sensor(name: str, *, reason: str, clock: Clock) -> SensorMoved:
    """Accept a suspended or quarantined sensor (again).

    Raises:
        SensorUnknownError: when there is no such sensor.
        SensorStateError: when its state does not allow it.
    """
    from teiten.fleet import services

    return _move(name, services.resume_sensor, reason=reason, clock=clock)


def revoke_sensor(name: str, *, reason: str, clock: Clock) -> SensorMoved:
    """Refuse a sensor for ever.

    Raises:
        SensorUnknownError: when there is no such sensor.
        SensorStateError: when it is revoked already.
    """
    from teiten.fleet import services

    return _move(name, services.revoke_sensor, reason=reason, clock=clock)


def _move(name: str, change: Callable[..., Sensor], *, reason: str, clock: Clock) -> SensorMoved:
    from teiten.fleet import services

    act: Act = services.Act(clock.now())
    moved = change(services.get_sensor(name), reason=reason, act=act)
    return SensorMoved(moved.pk, moved.name, str(moved.state))


def token_of(issued: IssuedToken) -> SensorToken:
    """Give what is printed of a token."""
    return SensorToken(
        issued.sensor.pk,
        issued.sensor.name,
        dataset=str(issued.sensor.dataset),
        token=issued.text,
        expires_at=issued.expires_at,
    )
