"""Settings that come as targets: who may command (``operators.json``), where and who the gateway is (``gateway.json``)."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path

from tuf.api.exceptions import LengthOrHashMismatchError
from tuf.api.metadata import TargetFile  # type: ignore[attr-defined]  # re-exported without __all__

from teiten.launcher import files
from teiten.launcher.errors import UpdateBlocked
from teiten.launcher.flipping import Bench
from teiten.launcher.places import Places
from teiten.launcher.trust import Repository

_log = logging.getLogger(__name__)
OPERATORS, GATEWAY = "operators.json", "gateway.json"
_MAX_BYTES = 1 << 20


def apply_settings(
    bench: Bench, repository: Repository, targets: Mapping[str, TargetFile]
) -> tuple[str, ...]:
    """Replace the settings that have changed; gives their names."""
    changed = tuple(
        name
        for name in (OPERATORS, GATEWAY)
        if name in targets and _apply(bench, repository, name=name, target=targets[name])
    )
    if GATEWAY in changed:
        bench.restarter.restart(capture=False)
    return changed


def _apply(bench: Bench, repository: Repository, *, name: str, target: TargetFile) -> bool:
    path = bench.places.settings / name
    if _holds(path, target):
        return False
    if target.length > _MAX_BYTES:
        raise UpdateBlocked("bundle", f"{name} has {target.length} bytes; it must be at most {_MAX_BYTES}")
    fetched = repository.fetch(target)
    content = fetched.read_bytes()
    fetched.unlink()
    if not _is_object(content):
        raise UpdateBlocked("bundle", f"{name} is no JSON object")
    _check_newer(name, path, content)
    bench.at(f"apply.{name}")
    files.write_bytes(path, content)
    _log.info("Signed settings are in force", extra={"file": str(path), "bytes": len(content)})
    return True


def _holds(path: Path, target: TargetFile) -> bool:
    try:
        target.verify_length_and_hashes(path.read_bytes())
    except (OSError, LengthOrHashMismatchError):
        return False
    return True


def _check_newer(name: str, path: Path, content: bytes) -> None:
    """Refuse a list of operators below the one in force, however well it is signed.

    People sign a draft that the base made; a captured one could slip an old list into it, which was genuine
    once, and so bring back a key that was withdrawn because it is in other hands.
    """
    known = files.take_int(files.read_json(path), "version")
    offered = files.take_int(json.loads(content), "version")
    if name == OPERATORS and offered < known:
        raise UpdateBlocked(
            "repository",
            f"{name} is version {offered}, and version {known} is in force; publish one that is above it",
        )


def _is_object(content: bytes) -> bool:
    try:
        return isinstance(json.loads(content), dict)
    except (ValueError, RecursionError):
        return False


def read_signed_url(places: Places) -> str:
    """Give the repository's URL as the signed settings have it; empty when they say nothing of it."""
    told = files.read_json(places.settings / GATEWAY).get("url")
    return f"{told.rstrip('/')}/tuf" if isinstance(told, str) and told.startswith("https://") else ""
