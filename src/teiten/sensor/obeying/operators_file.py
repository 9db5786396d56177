"""The list of operators as it lies on this sensor; put there by the root-owned updater only."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from teiten.protocol.errors import OperatorListError
from teiten.protocol.operator_list import MAX_LIST_BYTES, OperatorList, read_operator_list
from teiten.sensor.errors import DeclarationError


def load_operators(path: Path) -> OperatorList:
    """Read the list of operators.

    Raises:
        DeclarationError: when it is absent, malformed, or can be written by anybody but root (or the
            user who runs this).
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as file:
            found = os.fstat(descriptor)
            text = file.read(MAX_LIST_BYTES + 1)
    except OSError as error:
        raise DeclarationError(f"list of operators {path} cannot be read: {error.strerror}") from error
    if found.st_uid not in (0, os.geteuid()) or stat.S_IMODE(found.st_mode) & 0o022:
        raise DeclarationError(
            f"list of operators {path} can be changed by others; it must belong to root, mode 0644"
        )
    try:
        return read_operator_list(text)
    except OperatorListError as error:
        raise DeclarationError(f"list of operators {path}: {error}") from error
