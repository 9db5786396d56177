"""Files of an operator: private ones, whole ones, and ones that say why they cannot be read."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from teiten.operators.errors import OperatorError


def read_file(path: Path, what: str, *, max_bytes: int) -> bytes:
    """Read a file.

    Args:
        path: where it is.
        what: what it should be, for messages.
        max_bytes: longer ones are refused.

    Raises:
        OperatorError: when it cannot be read or is too long.
    """
    try:
        with path.open("rb") as file:
            content = file.read(max_bytes + 1)
    except OSError as error:
        raise OperatorError(f"{what} {path} cannot be read: {error.strerror}") from error
    if len(content) > max_bytes:
        raise OperatorError(f"{what} {path} is longer than {max_bytes} bytes")
    return content


def write_new(path: Path, content: bytes, *, mode: int = 0o644) -> None:
    """Write a file that is not there yet, whole or not at all.

    Raises:
        OperatorError: when it is there, or the disk refuses.
    """
    if path.exists():
        raise OperatorError(f"{path} is there already; it is not overwritten")
    replace_file(path, content, mode=mode)


def replace_file(path: Path, content: bytes, *, mode: int = 0o644) -> None:
    """Replace a file as a whole; it is on the disk when this returns.

    Raises:
        OperatorError: when the disk refuses; what was there stands.
    """
    try:
        descriptor, part = tempfile.mkstemp(prefix=".part-", dir=path.parent)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fchmod(file.fileno(), mode)
                os.fsync(file.fileno())
            Path(part).replace(path)
        except BaseException:
            Path(part).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise OperatorError(f"{path} cannot be written: {error.strerror}") from error
