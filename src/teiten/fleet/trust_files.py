"""What a new sensor must believe beforehand of updates and commands, as the repository has published it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from teiten.fleet.releases.folder import RepositoryFolder

_OPERATORS = "operators.json"


@dataclass(frozen=True)
class TrustFiles:
    """None: not published yet."""

    #: TUF root metadata, the newest.
    root: bytes | None
    #: The list of operators, a target.
    operators: bytes | None


def read_trust(repository: Path) -> TrustFiles:
    """Read both from the public part of a repository.

    Raises:
        ReleaseError: when what stands there is no metadata.
    """
    folder = RepositoryFolder(repository)
    root = folder.read_root()
    if root is None:
        return TrustFiles(None, None)
    content = (folder.metadata / f"{root.signed.version}.root.json").read_bytes()
    targets = folder.read_targets()
    listed = targets.signed.targets.get(_OPERATORS) if targets is not None else None
    if listed is None:
        return TrustFiles(content, None)
    return TrustFiles(content, (folder.targets / f"{listed.hashes['sha256']}.{_OPERATORS}").read_bytes())
