"""The list of operators, as far as the base goes by it: to check early and to show, never as an authority."""

from __future__ import annotations

import hashlib

from django.db import transaction

from teiten.accounts import audit
from teiten.fleet.commands.errors import CommandRefusedError, CommandStateError
from teiten.fleet.commands.models import OperatorListCopy
from teiten.fleet.services import Act
from teiten.protocol.errors import OperatorListError
from teiten.protocol.operator_list import OperatorList, read_operator_list


def import_operators(content: bytes, *, act: Act) -> OperatorList:
    """Take in a newer ``operators.json``.

    Raises:
        CommandStateError: when it cannot be read, or is not newer than the last; nothing was changed.
    """
    try:
        read = read_operator_list(content)
    except OperatorListError as error:
        raise CommandStateError(f"this is no list of operators: {error}") from error
    sha256 = hashlib.sha256(content).digest()
    with transaction.atomic():
        last = OperatorListCopy.objects.select_for_update().order_by("-version").first()
        if last is not None and bytes(last.sha256) == sha256:
            return read
        if last is not None and read.version <= last.version:
            raise CommandStateError(
                f"version {read.version} is not above version {last.version}, which is known; "
                "raise the version with every change"
            )
        OperatorListCopy.objects.create(
            version=read.version, content=content, sha256=sha256, imported_at=act.at, imported_by=act.actor
        )
        persons = sorted({operator.person for operator in read.operators if operator.withdrawn_s is None})
        audit.append(
            "operators.imported",
            f"operators:{read.version}",
            {"sha256": sha256.hex(), "persons": persons, "keys": len(read.operators)},
            act,
        )
    return read


def find_operators() -> OperatorList | None:
    """Give the newest list; None when there is none."""
    last = OperatorListCopy.objects.order_by("-version").first()
    return None if last is None else read_operator_list(bytes(last.content))


def get_operators() -> OperatorList:
    """Give the newest list.

    Raises:
        CommandRefusedError: when there is none.
    """
    found = find_operators()
    if found is None:
        raise CommandRefusedError(
            "no_operators",
            "no list of operators is known; `teiten command operators operators.json` brings it",
        )
    return found
