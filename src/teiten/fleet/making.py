"""Make many sensors at once: names, rows, placements and tokens in one transaction, all or nothing."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import asdict
from datetime import timedelta

from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction

from teiten.accounts.models import Organisation
from teiten.fleet import journal, sealing
from teiten.fleet.checking import checked_cidr
from teiten.fleet.config import FleetConfig
from teiten.fleet.errors import FleetInputError
from teiten.fleet.models import (
    EnrolmentToken,
    Region,
    Sensor,
    SensorEventKind,
    SensorPlacement,
    SensorState,
    TokenPurpose,
)
from teiten.fleet.naming import check_name
from teiten.fleet.services import Act, IssuedToken
from teiten.fleet.sites import UNKNOWN_SITE, Site
from teiten.protocol import enrolment

_ROWS = 1_000


def create_sensors(
    names: Sequence[str],
    *,
    region: Region,
    organisation: Organisation,
    dataset: str,
    act: Act,
    config: FleetConfig,
    may_import: bool = False,
    needs_approval: bool = False,
    cidr: str = "",
    site: Site = UNKNOWN_SITE,
) -> list[IssuedToken]:
    """Enter sensors that differ only in their names, each with its placement and its first token.

    Raises:
        FleetInputError: when a value breaks a rule or a name is taken; nothing was made.
    """
    network = checked_cidr(cidr)
    common = {"region": region, "organisation": organisation, "dataset": dataset, "may_import": may_import}
    common |= {"needs_approval": needs_approval, "state": SensorState.TOKEN_ISSUED, "created_at": act.at}
    sensors = [Sensor(name=name, **common) for name in names]
    _check_all(sensors)
    with transaction.atomic():
        _refuse_taken(names)
        sensors = _insert(sensors)
        _open_placements(sensors, site=site, act=act)
        created = {sensor.pk: {"name": sensor.name, "dataset": dataset} for sensor in sensors}
        _record(SensorEventKind.CREATED, created, act=act)
        issued = _issue_tokens(sensors, network=network, act=act, config=config)
        tokens = {one.sensor.pk: {"token": one.token_id} for one in issued}
        _record(SensorEventKind.TOKEN_ISSUED, tokens, act=act)
    return issued


def _insert(sensors: Sequence[Sensor]) -> list[Sensor]:
    try:
        with transaction.atomic():
            return Sensor.objects.bulk_create(sensors, batch_size=_ROWS)
    except IntegrityError as error:
        raise FleetInputError(
            "name", "somebody else has made sensors of these names in this moment; choose another name"
        ) from error


def _open_placements(sensors: Sequence[Sensor], *, site: Site, act: Act) -> None:
    placements = [
        SensorPlacement(sensor=sensor, valid_from=act.at, region=sensor.region, **asdict(site))
        for sensor in sensors
    ]
    _check(placements[0])
    SensorPlacement.objects.bulk_create(placements, batch_size=_ROWS)


def _issue_tokens(
    sensors: Sequence[Sensor], *, network: str, act: Act, config: FleetConfig
) -> list[IssuedToken]:
    expires_at = act.at + timedelta(hours=config.token_hours)
    rows, issued = [], []
    for sensor in sensors:
        secret, token_id = secrets.token_bytes(enrolment.SECRET_BYTES), secrets.token_hex(8)
        rows.append(
            EnrolmentToken(
                id=token_id,
                sensor=sensor,
                purpose=TokenPurpose.ENROL,
                sealed_secret=sealing.seal(secret, name=token_id),
                cidr=network,
                created_at=act.at,
                expires_at=expires_at,
            )
        )
        issued.append(IssuedToken(sensor, str(enrolment.make_token(token_id, secret)), expires_at, token_id))
    EnrolmentToken.objects.bulk_create(rows, batch_size=_ROWS)
    return issued


def _record(kind: SensorEventKind, details: dict[int, dict[str, str]], *, act: Act) -> None:
    journal.record_events(kind, details, at=act.at, actor=act.actor)


def _check_all(sensors: Sequence[Sensor]) -> None:
    """Check the first wholly, of the others their names: nothing else differs."""
    _check(sensors[0], exclude=("name",))
    field = Sensor._meta.get_field("name")  # noqa: SLF001  # Django's documented interface
    for sensor in sensors:
        check_name(sensor.name)
        try:
            field.clean(sensor.name, sensor)
        except ValidationError as error:
            raise FleetInputError("name", f"{sensor.name!r}: {' '.join(error.messages)}") from error


def _refuse_taken(names: Sequence[str]) -> None:
    taken = Sensor.objects.filter(name__in=names).order_by("name").values_list("name", flat=True)[:5]
    if taken:
        raise FleetInputError(
            "name", f"{', '.join(taken)}{' …' if len(taken) == 5 else ''}: taken already; choose another name"
        )


def _check(row: Sensor | SensorPlacement, *, exclude: Sequence[str] = ()) -> None:
    try:
        row.full_clean(exclude=exclude)
    except ValidationError as error:
        field, messages = next(iter(error.message_dict.items()))
        raise FleetInputError(field, " ".join(map(str, messages))) from error
