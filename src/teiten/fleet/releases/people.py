"""Who may sign for the repository: thresholds count people, so nobody may stand for two."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence

from tuf.api.metadata import Root  # type: ignore[attr-defined]  # re-exported without __all__

from teiten.fleet.releases import signing
from teiten.fleet.releases.errors import ReleaseError
from teiten.fleet.releases.key_files import ROLES, PublicKeyFile

THRESHOLD = 2


def check_first(people: Sequence[PublicKeyFile]) -> None:
    """Refuse people with whom no repository can begin.

    Raises:
        ReleaseError: when a role has too few, or somebody would count twice.
    """
    for role in ROLES:
        named = [one for one in people if one.role == role]
        _refuse_doubles(role, [(one.person, _text_of(one)) for one in named])
        if len(named) <= THRESHOLD:
            raise ReleaseError(
                f"{role}: {len(named)} people are named; {THRESHOLD} must sign and one may be away, so 3 or more"
            )


def change(root: Root, *, add: Iterable[PublicKeyFile], remove: Iterable[str]) -> None:
    """Take people (``root:Name``, ``targets:Name``) out of a root, and others in.

    Raises:
        ReleaseError: when somebody is not there, would count twice, or too few would be left.
    """
    for words in remove:
        _remove(root, words)
    for person in add:
        _refuse_doubles(person.role, [*_list_named(root, person.role), (person.person, _text_of(person))])
        root.add_key(person.as_key(), person.role)
    for role in ROLES:
        named = _list_named(root, role)
        _refuse_doubles(role, named)
        if len(named) < THRESHOLD:
            raise ReleaseError(f"{role}: {len(named)} people would be left; {THRESHOLD} must sign")


def _refuse_doubles(role: str, named: Sequence[tuple[str, str]]) -> None:
    """Refuse two keys of one person, also where the name is spelt otherwise, and one key of two people."""
    by_person: dict[str, str] = {}
    by_key: dict[str, str] = {}
    for person, key in named:
        same, sharer = by_person.get(_spell(person)), by_key.get(key)
        if same is not None:
            told = person if same == person else f"{same} (also written {person})"
            raise ReleaseError(
                f"{role}: each person may hold one key, and {told} would hold two; the threshold counts people. "
                "`teiten release rotate --remove` takes an old one out"
            )
        if sharer is not None:
            raise ReleaseError(
                f"{role}: {sharer} and {person} brought the same key; the threshold counts people: "
                "each makes a key of their own (`teiten release keys create`)"
            )
        by_person[_spell(person)], by_key[key] = person, person


def _list_named(root: Root, role: str) -> list[tuple[str, str]]:
    keys = [root.keys[keyid] for keyid in root.roles[role].keyids]
    return [(signing.person_of(key), str(key.keyval["public"])) for key in keys]


def _text_of(person: PublicKeyFile) -> str:
    return str(person.as_key().keyval["public"])


def _spell(name: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", name).casefold().split())


def _remove(root: Root, words: str) -> None:
    role, _colon, name = words.partition(":")
    if role not in ROLES:
        raise ReleaseError(f"{words!r} must be root:PERSON or targets:PERSON")
    found = [keyid for keyid in root.roles[role].keyids if signing.person_of(root.keys[keyid]) == name]
    if not found:
        there = ", ".join(person for person, _ in _list_named(root, role))
        raise ReleaseError(f"{name} holds no {role} key; there are {there}")
    for keyid in found:
        root.revoke_key(keyid, role)
