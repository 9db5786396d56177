"""The update repository: root and targets are signed by people, snapshot and timestamp by the base.

Whoever takes the base over holds the two online keys only: they can hold sensors back
for as long as the targets live, and make nothing that a sensor would run.
Names and checks follow the TUF specification 1.0 (§4 documents, §5.3 root, §6 key management).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from securesystemslib.signer import CryptoSigner  # type: ignore[attr-defined]  # re-exported without __all__
from tuf.api.metadata import Metadata, MetaFile, Root, Snapshot, TargetFile, Targets, Timestamp  # type: ignore[attr-defined]  # re-exported without __all__

from teiten.fleet.releases import offering, people, signing
from teiten.fleet.releases.bundles import Bundle
from teiten.fleet.releases.errors import ReleaseError, UnsignedError
from teiten.fleet.releases.folder import DRAFTS, RepositoryFolder
from teiten.fleet.releases.key_files import PublicKeyFile
from teiten.fleet.releases.people import THRESHOLD
from teiten.protocol import keys

ROOT_LIFE, TARGETS_LIFE = timedelta(days=365), timedelta(days=90)
SNAPSHOT_LIFE, TIMESTAMP_LIFE = timedelta(days=7), timedelta(days=1)
#: Settings that may be targets beside bundles.
SETTINGS = ("operators.json", "gateway.json")


@dataclass(frozen=True)
class Published:
    """What a publication has made public."""

    root: int
    targets: int
    snapshot: int
    timestamp: int
    releases: tuple[int, ...]


class ReleaseRepository:
    """One repository below a folder.

    Raises:
        ReleaseError: from every method, when the state does not allow it; nothing was published then.
    """

    def __init__(self, path: Path) -> None:
        self.folder = RepositoryFolder(path)

    def init(self, named: Sequence[PublicKeyFile], *, now: datetime) -> None:
        """Draft the first root and empty targets; both wait for their people's signatures."""
        self._check_unmade()
        people.check_first(named)
        self.folder.make()
        self.folder.make_online_keys()
        root = Root(version=1, expires=_until(now, ROOT_LIFE))
        for person in named:
            root.add_key(person.as_key(), person.role)
        for role in ("root", "targets"):
            root.roles[role].threshold = THRESHOLD
        for role in ("snapshot", "timestamp"):
            root.add_key(self._signer(role).public_key, role)
        self.folder.write_draft(Metadata(root))
        self.folder.write_draft(Metadata(Targets(version=1, expires=_until(now, TARGETS_LIFE))))

    def draft_root(
        self,
        *,
        add: Sequence[PublicKeyFile] = (),
        remove: Sequence[str] = (),
        renew_online: bool = False,
        now: datetime,
    ) -> Metadata[Root]:
        """Draft root N+1: new expiry, people who come and go (by name and role ``root:Name``), new online keys."""
        with self.folder.locked():
            present = self._root()
            draft: Metadata[Root] = Metadata.from_bytes(present.to_bytes())
            draft.signatures.clear()
            root = draft.signed
            root.version += 1
            root.expires = _until(now, ROOT_LIFE)
            people.change(root, add=add, remove=remove)
            if renew_online:
                self._renew_online(root)
            self.folder.write_draft(draft)
            if {k: v.keyids for k, v in root.roles.items()}["targets"] != present.signed.roles[
                "targets"
            ].keyids:
                self._redraft_targets(now)
            return draft

    def draft_targets(
        self,
        bundles: Iterable[Bundle] = (),
        settings: Mapping[str, Path] | None = None,
        *,
        drop: Iterable[int] = (),
        above: int = 0,
        now: datetime,
    ) -> Metadata[Targets]:
        """Draft the next targets: the published ones, these bundles and settings, without dropped and old releases.

        Their number is above that of the published ones, and ``above``: what sensors have seen already.
        """
        with self.folder.locked():
            draft = self._next_targets(now)
            draft.signed.version = max(draft.signed.version, above + 1)
            listed = draft.signed.targets
            published = self.folder.read_targets()
            for bundle in bundles:
                offering.check_new(bundle, published)
                listed[bundle.target] = TargetFile(
                    bundle.size_bytes, {"sha256": bundle.sha256}, bundle.target, {"custom": bundle.custom}
                )
                self.folder.keep_target(bundle.path, target=bundle.target, sha256=bundle.sha256)
            for name, path in (settings or {}).items():
                listed[name] = self._take_setting(name, path)
            draft.signed.targets = offering.keep_wanted(listed, set(drop))
            self.folder.write_draft(draft)
            return draft

    def find_standings(self) -> list[signing.Standing]:
        """Tell for each draft who has signed and who has not."""
        root, draft_root = self.folder.read_root(), self.folder.read_draft("root")
        drafts = [draft_root, self.folder.read_draft("targets")]
        return [
            signing.find_standing(draft, root=root, draft_root=draft_root)
            for draft in drafts
            if draft is not None
        ]

    def publish(self, *, now: datetime, seen: Published | None = None) -> Published:
        """Make the drafts public, with a new snapshot and timestamp, the timestamp last.

        ``seen`` says which numbers are known to have been public: sensors take none below them.

        Raises:
            UnsignedError: when signatures are missing.
        """
        with self.folder.locked():
            self._drop_published_draft()
            standings = self.find_standings()
            if not standings:
                raise ReleaseError("there is no draft; run `teiten release build` or `rotate` first")
            lacking = [str(one) for one in standings if one.missing]
            if lacking:
                raise UnsignedError(f"nothing was published: {'; '.join(lacking)}")
            root, targets = self._choose()
            _check_fresh(root, targets, now)
            _check_higher(targets, self.folder.read_targets())
            root.signed.verify_delegate("targets", targets.signed_bytes, targets.signatures)
            self.folder.write_public(root)
            self.folder.write_public(targets)
            self.folder.use_new_online_keys()
            published = self._sign_online(root, targets, seen=seen, now=now)
            for role in ("root", "targets"):
                self.folder.drop_draft(role)
            self.folder.drop_unlisted(_list_contents([targets]))
            return published

    def check_made(self) -> None:
        """Refuse to go on where there is no repository."""
        if not self.folder.is_made:
            raise ReleaseError(f"there is no repository in {self.folder.path}; run `teiten release init`")

    def discard(self, role: str) -> None:
        """Throw a draft away; the first root and targets stay, without them there is no repository."""
        with self.folder.locked():
            if self.folder.read_root() is None:
                raise ReleaseError("the first root is not published yet; remove the folder to begin anew")
            self.folder.drop_draft(role)

    def renew(self, *, now: datetime) -> tuple[str, ...]:
        """Sign timestamp and snapshot anew when half of their life is over; gives which were."""
        if not self.folder.is_made:
            return ()
        with self.folder.locked():
            timestamp, snapshot = self.folder.read_timestamp(), self.folder.read_snapshot()
            targets = self.folder.read_targets()
            if timestamp is None or snapshot is None or targets is None:
                return ()
            if snapshot.signed.expires - now < SNAPSHOT_LIFE / 2:
                self._sign_online(self._root(), targets, now=now)
                return ("snapshot", "timestamp")
            if timestamp.signed.expires - now < TIMESTAMP_LIFE / 2:
                self._sign_timestamp(snapshot, version=timestamp.signed.version + 1, now=now)
                return ("timestamp",)
            return ()

    def list_expiries(self) -> dict[str, datetime]:
        """Give when each published role expires."""
        found = {
            "root": self.folder.read_root(),
            "targets": self.folder.read_targets(),
            "snapshot": self.folder.read_snapshot(),
            "timestamp": self.folder.read_timestamp(),
        }
        return {role: one.signed.expires for role, one in found.items() if one is not None}

    def list_targets(self) -> dict[str, dict[str, Any]]:
        """Give the published targets with length, hash and what is signed beside them."""
        targets = self.folder.read_targets()
        if targets is None:
            return {}
        return {
            name: {"bytes": file.length, "sha256": file.hashes["sha256"], **(file.custom or {})}
            for name, file in sorted(targets.signed.targets.items())
        }

    def read_versions(self) -> Published | None:
        """Give the numbers of what is public now; None before the first publication."""
        root, targets = self.folder.read_root(), self.folder.read_targets()
        snapshot, timestamp = self.folder.read_snapshot(), self.folder.read_timestamp()
        if root is None or targets is None or snapshot is None or timestamp is None:
            return None
        return Published(
            root.signed.version,
            targets.signed.version,
            snapshot.signed.version,
            timestamp.signed.version,
            _releases_of(targets),
        )

    def read_setting(self, name: str) -> bytes | None:
        """Give a published setting's content; None when it is no target, or its content is gone."""
        targets = self.folder.read_targets()
        file = targets.signed.targets.get(name) if targets is not None else None
        return None if file is None else self.folder.read_target(name, sha256=file.hashes["sha256"])

    def counts(self, public: PublicKeyFile) -> bool:
        """Tell whether a signature of this key on the present draft of its role would count."""
        roots = [self.folder.read_draft("root"), self.folder.read_root()]
        # A draft of root is signed by the people of both; targets by those of the newer one.
        judges = [one for one in roots if one is not None]
        judges = judges if public.role == "root" else judges[:1]
        keyid = public.as_key().keyid
        return any(keyid in one.signed.roles[public.role].keyids for one in judges)

    def list_releases(self) -> tuple[int, ...]:
        """Give the numbers of the published releases."""
        return _releases_of(self.folder.read_targets())

    def _check_unmade(self) -> None:
        """Refuse to begin where something is; an init that was cut short has left keys and nothing else."""
        path = self.folder.path
        if self.folder.read_root() is not None:
            raise ReleaseError(f"there is a repository in {path} already; `teiten release status` shows it")
        if self.folder.is_made and all(self.folder.read_draft(role) for role in DRAFTS):
            raise ReleaseError(
                f"there is a repository in {path} already: its first root waits for signatures "
                "(`teiten release status` says whose). To begin with other people, remove that folder first"
            )

    def _root(self) -> Metadata[Root]:
        root = self.folder.read_root()
        if root is None:
            raise ReleaseError(
                "the first root is not published yet; sign the draft and run `teiten release publish`"
            )
        return root

    def _drop_published_draft(self) -> None:
        """Finish a publication that was cut short after its root."""
        draft, root = self.folder.read_draft("root"), self.folder.read_root()
        if draft is not None and root is not None and draft.signed.version <= root.signed.version:
            self.folder.drop_draft("root")
            self.folder.use_new_online_keys()
            if self.folder.read_draft("targets") is None and (targets := self.folder.read_targets()):
                self.folder.write_draft(targets)

    def _choose(self) -> tuple[Metadata[Root], Metadata[Targets]]:
        root = self.folder.read_draft("root") or self._root()
        targets = self.folder.read_draft("targets") or self.folder.read_targets()
        if targets is None:
            raise ReleaseError("there are no targets; run `teiten release build`")
        return root, targets

    def _next_targets(self, now: datetime) -> Metadata[Targets]:
        """Copy the published targets under the next number; a draft of before is given up."""
        present = self.folder.read_targets()
        if present is None:
            waiting = self.folder.read_draft("targets")
            if waiting is None:
                raise ReleaseError("the repository holds neither targets nor a draft of them; begin anew")
            draft: Metadata[Targets] = Metadata.from_bytes(waiting.to_bytes())
        else:
            draft = Metadata.from_bytes(present.to_bytes())
            draft.signed.version += 1
        draft.signatures.clear()
        draft.signed.expires = _until(now, TARGETS_LIFE)
        return draft

    def _redraft_targets(self, now: datetime) -> None:
        """Have targets signed anew, whose people change with the root."""
        waiting = self.folder.read_draft("targets")
        draft = self._next_targets(now)
        if waiting is not None:
            draft.signed.targets = waiting.signed.targets
        self.folder.write_draft(draft)

    def _take_setting(self, name: str, path: Path) -> TargetFile:
        if name not in SETTINGS:
            raise ReleaseError(f"{name} must be one of {', '.join(SETTINGS)}")
        try:
            content = path.read_bytes()
        except OSError as error:
            raise ReleaseError(f"{path} cannot be read: {error.strerror}") from error
        digest = hashlib.sha256(content).hexdigest()
        self.folder.keep_target(path, target=name, sha256=digest)
        return TargetFile(len(content), {"sha256": digest}, name)

    def _renew_online(self, root: Root) -> None:
        self.folder.replace_online_keys()
        for role in ("snapshot", "timestamp"):
            for keyid in list(root.roles[role].keyids):
                root.revoke_key(keyid, role)
            root.add_key(self._signer(f"{role}.new").public_key, role)

    def _sign_online(
        self,
        root: Metadata[Root],
        targets: Metadata[Targets],
        *,
        seen: Published | None = None,
        now: datetime,
    ) -> Published:
        before, last = self.folder.read_snapshot(), self.folder.read_timestamp()
        version = max(before.signed.version if before else 0, seen.snapshot if seen else 0) + 1
        meta = {"targets.json": MetaFile.from_data(targets.signed.version, targets.to_bytes(), ["sha256"])}
        snapshot = Metadata(Snapshot(version=version, expires=_until(now, SNAPSHOT_LIFE), meta=meta))
        snapshot.sign(self._signer("snapshot"))
        self.folder.write_public(snapshot)
        number = max(last.signed.version if last else 0, seen.timestamp if seen else 0) + 1
        self._sign_timestamp(snapshot, version=number, now=now)
        return Published(root.signed.version, targets.signed.version, version, number, _releases_of(targets))

    def _sign_timestamp(self, snapshot: Metadata[Snapshot], *, version: int, now: datetime) -> None:
        meta = MetaFile.from_data(snapshot.signed.version, snapshot.to_bytes(), ["sha256"])
        timestamp = Metadata(
            Timestamp(version=version, expires=_until(now, TIMESTAMP_LIFE), snapshot_meta=meta)
        )
        timestamp.sign(self._signer("timestamp"))
        self.folder.write_public(timestamp)

    def _signer(self, role: str) -> CryptoSigner:
        return CryptoSigner(keys.load_private(self.folder.keys / f"{role}.pem"))


def _until(now: datetime, life: timedelta) -> datetime:
    return (now + life).replace(microsecond=0)


def _check_fresh(root: Metadata[Root], targets: Metadata[Targets], now: datetime) -> None:
    for one in (root, targets):
        if one.signed.is_expired(now):
            raise ReleaseError(
                f"{one.signed.type} {one.signed.version} has expired on {one.signed.expires:%Y-%m-%d}; draft it anew"
            )


def _check_higher(targets: Metadata[Targets], published: Metadata[Targets] | None) -> None:
    """Refuse targets that sensors would not take: a draft from before, or one beside what was published."""
    if published is None or targets.signed_bytes == published.signed_bytes:
        return
    if targets.signed.version <= published.signed.version:
        raise ReleaseError(
            f"the draft is targets {targets.signed.version}, and targets {published.signed.version} are public: "
            "sensors never go back. Draft it anew (`teiten release build`) and have that signed"
        )


def _list_contents(all_targets: Iterable[Metadata[Targets]]) -> set[str]:
    return {
        path
        for one in all_targets
        for file in one.signed.targets.values()
        for path in file.get_prefixed_paths()
    }


def _releases_of(targets: Metadata[Targets] | None) -> tuple[int, ...]:
    listed = targets.signed.targets.values() if targets is not None else ()
    numbers = {(file.custom or {}).get("release") for file in listed}
    return tuple(sorted(number for number in numbers if isinstance(number, int)))
