"""What is checked before anything of the fleet is written."""

from __future__ import annotations

import ipaddress

from django.core.exceptions import ValidationError
from django.db import models

from teiten.fleet.errors import FleetInputError

#: Characters of a reason; all places where one is kept hold so many.
MAX_REASON_CHARACTERS = 200


def check_reason(reason: str) -> None:
    """Refuse to act without a word why.

    Raises:
        FleetInputError: when there is none, or it is none that can be shown.
    """
    checked_reason(reason, place="the sensor's history")


def checked_reason(reason: str, *, place: str = "the audit log") -> str:
    """Give a reason as one line; spaces of all kinds (full-width ones, line breaks) become one each.

    Raises:
        FleetInputError: when it is empty or too long, or holds what a terminal would obey instead of showing.
    """
    line = " ".join(reason.split())
    if not line:
        raise FleetInputError("reason", f"say why; it stays in {place}")
    if not line.isprintable():
        raise FleetInputError("reason", f"{line!r:.80} holds control characters; write it in plain text")
    if len(line) > MAX_REASON_CHARACTERS:
        raise FleetInputError(
            "reason", f"it has {len(line)} characters; at most {MAX_REASON_CHARACTERS} are kept: shorten it"
        )
    return line


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
