"""Files that verbs are given and make: read whole with a bound, written whole or not at all."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any

from teiten.cli.errors import CliError

MAX_BYTES = 1 << 20


def read_file(path: Path, *, max_bytes: int = MAX_BYTES) -> bytes:
    """Read a file.

    Raises:
        CliError: when it cannot be read or is too long.
    """
    try:
        with path.open("rb") as file:
            content = file.read(max_bytes + 1)
    except OSError as error:
        raise CliError(f"{path} cannot be read: {error.strerror}") from error
    if len(content) > max_bytes:
        raise CliError(f"{path} has more than {max_bytes} bytes, which are the most that are read")
    return content


def read_json(path: Path) -> Any:
    """Read JSON.

    Raises:
        CliError: when it cannot be read, or is none.
    """
    try:
        return json.loads(read_file(path))
    except (ValueError, RecursionError) as error:
        raise CliError(f"{path} is no JSON: {error}") from error


def write_new(path: Path, content: bytes) -> None:
    """Write a file that is not there yet, whole or not at all.

    Raises:
        CliError: when it is there, or cannot be written.
    """
    if path.exists():
        raise CliError(f"{path} cannot be written: File exists; name another, or move it away")
    replace_file(path, content)


def replace_file(path: Path, content: bytes) -> None:
    """Replace a file as a whole.

    Raises:
        CliError: when it cannot be written; what was there stands.
    """
    try:
        descriptor, part = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                os.fchmod(file.fileno(), 0o644)
            Path(part).replace(path)
        except BaseException:
            Path(part).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise CliError(f"{path} cannot be written: {error.strerror}") from error
