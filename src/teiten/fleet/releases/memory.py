"""What is known to have been public: the audit chain remembers it, whatever happens to the repository's folder.

Sensors never take a number below one that they have seen. A folder that was copied
back from a backup, or begun anew, is therefore found out here and not by ten thousand
sensors.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from teiten.accounts import audit
from teiten.accounts.models import AuditRecord
from teiten.fleet.releases.errors import ReleaseError
from teiten.fleet.releases.repository import Published, ReleaseRepository
from teiten.fleet.services import Act

_PUBLISHED, _RENEWED, _BEGUN = "release.published", "release.renewed", "release.begun_anew"
_NUMBERS = ("root", "targets", "snapshot", "timestamp")


@dataclass(frozen=True)
class Seen:
    """What was public last."""

    at: datetime
    published: Published

    def __str__(self) -> str:
        return ", ".join(f"{name} {getattr(self.published, name)}" for name in _NUMBERS)


def find_seen() -> Seen | None:
    """Give what was public last; None when nothing was, or a new repository was begun on purpose since."""
    records = AuditRecord.objects.filter(kind__in=(_PUBLISHED, _RENEWED, _BEGUN))
    last = records.order_by("-number").first()
    if last is None or last.kind == _BEGUN:
        return None
    facts = json.loads(last.content)["facts"]
    return Seen(last.at, Published(**{name: int(facts[name]) for name in _NUMBERS}, releases=()))


def record_publication(published: Published, act: Act) -> None:
    """Write into the audit chain what has become public."""
    facts = {**_facts_of(published), "releases": list(published.releases)}
    audit.append(_PUBLISHED, f"targets:{published.targets}", facts, act)


def record_renewal(published: Published, act: Act) -> None:
    """Write into the audit chain what the base has signed by itself."""
    audit.append(_RENEWED, f"timestamp:{published.timestamp}", _facts_of(published), act)


def begin_anew(act: Act) -> None:
    """Write into the audit chain that what was public before counts no more."""
    seen = find_seen()
    if seen is not None:
        audit.append(_BEGUN, "root:1", {"before": _facts_of(seen.published)}, act)


def find_loss(repository: ReleaseRepository, seen: Seen | None) -> str | None:
    """Say that the repository is gone or older than what was public, and what helps; None when it is neither."""
    if seen is None:
        return None
    here = repository.read_versions()
    if here is None:
        return (
            f"there is no repository in {repository.folder.path}, but one was public on {seen.at:%Y-%m-%d %H:%M} UTC "
            f"({seen}): put the folder back from its backup. A new one (`teiten release init --anew`) is believed by no "
            "sensor that is installed already"
        )
    told = [name for name in _NUMBERS if getattr(here, name) < getattr(seen.published, name)]
    if not told:
        return None
    older = ", ".join(f"{name} {getattr(here, name)}" for name in told)
    return (
        f"the repository in {repository.folder.path} is older than what was public on {seen.at:%Y-%m-%d %H:%M} UTC: "
        f"{older} here, {seen} then. It was copied back, and sensors take nothing older than what they have seen: put "
        f"its newest copy back. If there is none, {_tell_way_out(here, seen.published)}"
    )


def check_publishable(repository: ReleaseRepository, seen: Seen | None) -> None:
    """Refuse to make public what sensors would not take.

    Raises:
        ReleaseError: saying what helps.
    """
    here = repository.read_versions()
    loss = find_loss(repository, seen)
    if loss is None or seen is None:
        return
    root = repository.folder.read_draft("root") or repository.folder.read_root()
    targets = repository.folder.read_draft("targets")
    if here is None or root is None or root.signed.version < seen.published.root:
        raise ReleaseError(loss)
    if targets is None or targets.signed.version <= seen.published.targets:
        raise ReleaseError(loss)


def _tell_way_out(here: Published, seen: Published) -> str:
    new_targets = f"`teiten release build --above {seen.targets}`, have it signed, `teiten release publish`"
    if here.root >= seen.root:
        return new_targets
    return (
        f"bring public/metadata/{seen.root}.root.json back first (sensors keep theirs in "
        f"/var/lib/teiten-launcher/metadata/root_history), then {new_targets}"
    )


def _facts_of(published: Published) -> Mapping[str, Any]:
    return {name: getattr(published, name) for name in _NUMBERS}
