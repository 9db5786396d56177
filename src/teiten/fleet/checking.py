"""What is checked before anything of the fleet is written."""

from __future__ import annotations

import ipaddress

from django.core.exceptions import ValidationError
from django.db import models

from teiten.fleet.errors import FleetInputError


def check_reason(reason: str) -> None:
    """Refuse to act without a word why.

    Raises:
        FleetInputError: when there is none.
    """
    if not reason.strip():
        raise FleetInputError("reason", "say why; it stays in the sensor's history")


def check_row(row: models.Model) -> None:
    """Refuse a row that breaks a rule of its model.

    Raises:
        FleetInputError: naming the field.
    """
    try:
        row.full_clean()
    except ValidationError as error:
        field, messages = next(iter(error.message_dict.items()))
        raise FleetInputError(field, " ".join(map(str, messages))) from error


def checked_cidr(cidr: str) -> str:
    """Give a network in its plain form; empty stays empty.

    Raises:
        FleetInputError: when it is none.
    """
    if not cidr:
        return ""
    try:
        return str(ipaddress.ip_network(cidr))
    except ValueError as error:
        raise FleetInputError("cidr", f"{cidr!r} is no network such as 192.0.2.0/24 ({error})") from error
