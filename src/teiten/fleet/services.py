"""Changes to the fleet: make, let in, pause and end sensors. Each leaves its line in the sensor's history."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import F

from teiten.accounts.models import Organisation, User
from teiten.fleet import journal, landing_facts, sealing
from teiten.fleet.checking import check_reason, check_row, checked_cidr
from teiten.fleet.config import FleetConfig
from teiten.fleet.errors import SensorStateError, SensorUnknownError
from teiten.fleet.models import (
    EnrolmentToken,
    Region,
    Sensor,
    SensorEventKind,
    SensorHealth,
    SensorKey,
    SensorPlacement,
    SensorState,
    StoppedBy,
    TokenPurpose,
)
from teiten.fleet.naming import check_name
from teiten.fleet.sites import UNKNOWN_SITE, Site
from teiten.protocol import enrolment
from teiten.protocol.sensor_config import SensorConfig

#: State → states from which it may be reached by a person's word.
_FROM: dict[SensorState, frozenset[SensorState]] = {
    SensorState.SUSPENDED: frozenset({SensorState.ACTIVE, SensorState.QUARANTINED}),
    SensorState.ACTIVE: frozenset({SensorState.SUSPENDED, SensorState.QUARANTINED}),
    SensorState.REVOKED: frozenset(set(SensorState) - {SensorState.REVOKED}),
}

_PREFIXES = {TokenPurpose.ENROL: enrolment.ENROL_PREFIX, TokenPurpose.RECOVER: enrolment.RECOVER_PREFIX}


@dataclass(frozen=True)
class Act:
    """Who does it and when; ``actor`` is None on the command line."""

    at: datetime
    actor: User | None = None


@dataclass(frozen=True)
class IssuedToken:
    """An enrolment token; ``text`` is never seen again."""

    sensor: Sensor
    text: str
    expires_at: datetime
    #: Its public part, as the history names it.
    token_id: str = ""


def find_or_create_region(*, code: str, name_ja: str, name_en: str, position: int = 0) -> Region:
    """Give the region ``code``, entering it when it is new.

    Raises:
        FleetInputError: when the code or a name breaks a rule.
    """
    found = Region.objects.filter(code=code).first()
    if found is not None:
        return found
    region = Region(code=code, name_ja=name_ja, name_en=name_en, position=position)
    check_row(region)
    region.save(force_insert=True)
    return region


def create_sensor(
    *,
    name: str,
    region: Region,
    organisation: Organisation,
    dataset: str,
    act: Act,
    config: FleetConfig,
    may_import: bool = False,
    needs_approval: bool = False,
    tags: Iterable[str] = (),
    note: str = "",
    cidr: str = "",
    site: Site = UNKNOWN_SITE,
) -> IssuedToken:
    """Enter a sensor, open its first placement and issue its first enrolment token.

    With ``needs_approval`` it waits after its enrolment until somebody has approved it.

    Raises:
        FleetInputError: when a value breaks a rule or the name is taken; nothing was made.
    """
    sensor = Sensor(
        name=name,
        region=region,
        organisation=organisation,
        dataset=dataset,
        may_import=may_import,
        needs_approval=needs_approval,
        tags=sorted(set(tags)),
        note=note,
        created_at=act.at,
    )
    check_name(name)
    check_row(sensor)
    with transaction.atomic():
        sensor.save(force_insert=True)
        open_placement(sensor, region=region, site=site, since=act.at)
        journal.record_event(
            SensorEventKind.CREATED, sensor, at=act.at, actor=act.actor, name=name, dataset=dataset
        )
        return issue_token(sensor, act=act, config=config, cidr=cidr)


def open_placement(sensor: Sensor, *, region: Region, site: Site, since: datetime) -> SensorPlacement:
    """Say where a sensor stands from ``since`` on, in a transaction of the caller's.

    Raises:
        FleetInputError: when a value breaks a rule.
    """
    placement = SensorPlacement(sensor=sensor, valid_from=since, region=region, **asdict(site))
    check_row(placement)
    placement.save(force_insert=True)
    return placement


def issue_token(sensor: Sensor, *, act: Act, config: FleetConfig, cidr: str = "") -> IssuedToken:
    """Issue a new enrolment token; older unused ones of the sensor stop working.

    Raises:
        SensorStateError: when the sensor is enrolled already, or revoked.
        FleetInputError: when ``cidr`` is no network.
    """
    network = checked_cidr(cidr)
    with transaction.atomic():
        locked = lock_sensor(sensor.pk)
        if locked.state not in (SensorState.CREATED, SensorState.TOKEN_ISSUED):
            raise SensorStateError(
                f"sensor {locked.name} is {locked.state}; a token is for a sensor that has not enrolled yet"
                " (one that lost its key: `teiten sensor recover`)"
            )
        issued = add_token(locked, purpose=TokenPurpose.ENROL, network=network, act=act, config=config)
        _set_state(locked, SensorState.TOKEN_ISSUED)
        journal.record_event(
            SensorEventKind.TOKEN_ISSUED, locked, at=act.at, actor=act.actor, token=issued.token_id
        )
    return issued


def add_token(
    sensor: Sensor, *, purpose: TokenPurpose, network: str, act: Act, config: FleetConfig
) -> IssuedToken:
    """Make a token for a sensor whose row is locked; its older unused ones stop working."""
    secret = secrets.token_bytes(enrolment.SECRET_BYTES)
    token_id = secrets.token_hex(8)
    expires_at = act.at + timedelta(hours=config.token_hours)
    revoke_tokens(sensor, at=act.at)
    EnrolmentToken.objects.create(
        id=token_id,
        sensor=sensor,
        purpose=purpose,
        sealed_secret=sealing.seal(secret, name=token_id),
        cidr=network,
        created_at=act.at,
        expires_at=expires_at,
    )
    text = str(enrolment.make_token(token_id, secret, prefix=_PREFIXES[purpose]))
    return IssuedToken(sensor, text, expires_at, token_id)


def revoke_tokens(sensor: Sensor, *, at: datetime) -> None:
    """Let the unused tokens of a sensor open nothing any more."""
    sensor.enrolment_tokens.filter(used_at=None, revoked_at=None).update(revoked_at=at, sealed_secret=None)


def approve_sensor(sensor: Sensor, *, act: Act, reason: str = "") -> Sensor:
    """Let in a sensor that has enrolled and waits for approval; effective at its next request.

    Raises:
        SensorStateError: when it does not wait for approval.
    """
    with transaction.atomic():
        locked = lock_sensor(sensor.pk)
        if locked.state != SensorState.PENDING_APPROVAL:
            raise SensorStateError(f"sensor {locked.name} is {locked.state}; it does not wait for approval")
        _set_state(locked, SensorState.ACTIVE)
        journal.record_event(
            SensorEventKind.APPROVED, locked, at=act.at, actor=act.actor, reason=reason.strip()
        )
    return locked


def suspend_sensor(sensor: Sensor, *, reason: str, act: Act, by: StoppedBy = StoppedBy.OPERATOR) -> Sensor:
    """Refuse a sensor's data until it is resumed; effective at its next request.

    One that its host paused may be suspended by an operator too: then the host cannot resume it.

    Raises:
        SensorStateError: when its state does not allow it.
        FleetInputError: without a reason.
    """
    return _move(sensor, SensorState.SUSPENDED, SensorEventKind.SUSPENDED, reason=reason, act=act, by=by)


def resume_sensor(sensor: Sensor, *, reason: str, act: Act) -> Sensor:
    """Accept a suspended or quarantined sensor (again).

    From quarantine this says that it was one machine after all: batches that were kept back go to
    the loader, and what was noticed is forgotten. A sensor that was suspended while somebody should
    have looked at it is quarantined again: suspending decides nothing about its batches.

    Raises:
        SensorStateError: when its state does not allow it.
        FleetInputError: without a reason.
    """
    with transaction.atomic():
        before = lock_sensor(sensor.pk)
        moved = _move(sensor, SensorState.ACTIVE, SensorEventKind.RESUMED, reason=reason, act=act)
        if before.state == SensorState.QUARANTINED:
            forget_suspicion(moved)
            moved.held_epoch = 0
            moved.save(update_fields=["held_epoch"])
            landing_facts.release_held(moved.pk)
        elif moved.held_epoch >= moved.epoch:
            _set_state(moved, SensorState.QUARANTINED)
    return moved


def forget_suspicion(sensor: Sensor) -> None:
    """Forget which starts were heard of: none of them is one that comes back."""
    SensorHealth.objects.filter(sensor=sensor).update(boot_id="", previous_boot_id="")


def revoke_sensor(sensor: Sensor, *, reason: str, act: Act, by: StoppedBy = StoppedBy.OPERATOR) -> Sensor:
    """Refuse a sensor for ever, with its keys and tokens; effective at its next request.

    One that its host withdraws may be recovered, with a new key (:mod:`teiten.fleet.recovering`); an operator
    may revoke it too: then it may not.

    Raises:
        SensorStateError: when it is revoked already.
        FleetInputError: without a reason.
    """
    with transaction.atomic():
        kind = SensorEventKind.WITHDRAWN if by == StoppedBy.HOST else SensorEventKind.REVOKED
        moved = _move(sensor, SensorState.REVOKED, kind, reason=reason, act=act, by=by)
        revoke_tokens(moved, at=act.at)
    return moved


def configure_sensor(
    sensor: Sensor,
    *,
    act: Act,
    live: bool | None = None,
    window_seconds: int | None = None,
    payload_bytes: int | None = None,
    examples_per_window: int | None = None,
) -> Sensor:
    """Change how soon a sensor's data arrive, or how little payload it keeps.

    It learns of it with its next heartbeat. None changes nothing; ``payload_bytes`` 0 switches payload off.

    Raises:
        FleetInputError: when the window is not 1 to 3600 seconds, or a payload figure is too large.
    """
    with transaction.atomic():
        locked = lock_sensor(sensor.pk)
        wanted: dict[str, int | None] = {
            "live": live,
            "window_seconds": window_seconds,
            "payload_bytes": payload_bytes,
            "examples_per_window": examples_per_window,
        }
        changed = {
            name: value
            for name, value in wanted.items()
            if value is not None and value != getattr(locked, name)
        }
        if not changed:
            return locked
        for name, value in changed.items():
            setattr(locked, name, value)
        locked.config_version += 1
        check_row(locked)
        locked.save(update_fields=[*changed, "config_version"])
        journal.record_event(SensorEventKind.CONFIGURED, locked, at=act.at, actor=act.actor, **changed)
    return locked


def config_of(sensor: Sensor) -> SensorConfig:
    """Give what a sensor is told."""
    return SensorConfig(
        version=sensor.config_version,
        live=sensor.live,
        window_seconds=sensor.window_seconds,
        payload_bytes=sensor.payload_bytes,
        examples_per_window=sensor.examples_per_window,
    )


def quarantine_sensor(sensor_id: int, *, at: datetime, epoch: int | None = None, **why: Any) -> bool:
    """Mark an active sensor as suspected to run twice; gives False when it was not active.

    Its batches are landed and kept back until somebody has looked. What was noticed about
    an ``epoch`` that is over says nothing about the machine that sends now.
    """
    with transaction.atomic():
        suspects = Sensor.objects.filter(pk=sensor_id, state=SensorState.ACTIVE)
        if epoch is not None:
            suspects = suspects.filter(epoch=epoch)
        moved = suspects.update(state=SensorState.QUARANTINED, held_epoch=F("epoch"))
        if moved:
            journal.record_event(SensorEventKind.CLONE_SUSPECTED, sensor_id, at=at, **why)
    return bool(moved)


def get_sensor(name_or_number: str) -> Sensor:
    """Give the sensor with this name, or else with this number.

    Raises:
        SensorUnknownError: when there is none, or one is called like another's number.
    """
    sensors = Sensor.objects.select_related("region", "organisation")
    found = sensors.filter(name=name_or_number).first()
    numbered = None
    if name_or_number.isascii() and name_or_number.isdigit() and len(name_or_number) < 10:
        numbered = sensors.filter(pk=int(name_or_number)).first()
    if found is not None and numbered is not None and found != numbered:
        raise SensorUnknownError(
            f"{name_or_number!r} is the name of sensor {found.pk} and the number of sensor {numbered.name};"
            f" say {found.pk} or {numbered.name}"
        )
    either = found or numbered
    if either is None:
        raise SensorUnknownError(f"there is no sensor {name_or_number!r}; `teiten sensor list` names them")
    return either


def lock_sensor(sensor_id: int) -> Sensor:
    """Give a sensor's row, locked until the transaction ends."""
    return (
        Sensor.objects.select_for_update(of=("self",))
        .select_related("region", "organisation")
        .get(pk=sensor_id)
    )


def add_key(sensor: Sensor, *, public_key: bytes, at: datetime, from_seq: int = 1) -> SensorKey:
    """Bind the next key to a sensor whose row is locked; the one before must have been replaced or revoked."""
    numbers = sensor.keys.order_by("-key_no").values_list("key_no", flat=True)
    return SensorKey.objects.create(
        sensor=sensor,
        key_no=(numbers[0] if numbers else 0) + 1,
        public_key=public_key,
        epoch=sensor.epoch,
        from_seq=from_seq,
        created_at=at,
    )


def _move(
    sensor: Sensor,
    to: SensorState,
    kind: SensorEventKind,
    *,
    reason: str,
    act: Act,
    by: StoppedBy = StoppedBy.NOBODY,
) -> Sensor:
    check_reason(reason)
    with transaction.atomic():
        locked = lock_sensor(sensor.pk)
        is_taken_over = (
            locked.state == to and locked.stopped_by == StoppedBy.HOST and by == StoppedBy.OPERATOR
        )
        if SensorState(locked.state) not in _FROM[to] and not is_taken_over:
            raise SensorStateError(f"sensor {locked.name} is {locked.state}; it cannot become {to.value}")
        locked.state, locked.stopped_by = to, by
        locked.save(update_fields=["state", "stopped_by"])
        detail = {"by": by.value} if by == StoppedBy.HOST else {}
        journal.record_event(kind, locked, at=act.at, actor=act.actor, reason=reason.strip(), **detail)
    return locked


def _set_state(sensor: Sensor, state: SensorState) -> None:
    sensor.state = state
    sensor.save(update_fields=["state"])
