"""Sign a draft, and tell who has signed it: works on files alone, also on a machine that knows nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from securesystemslib.signer import CryptoSigner, Key  # type: ignore[attr-defined]  # re-exported without __all__
from tuf.api.metadata import Metadata, Root  # type: ignore[attr-defined]  # re-exported without __all__

from teiten.fleet.releases.errors import ReleaseError
from teiten.fleet.releases.key_files import PERSON_FIELD, PublicKeyFile


@dataclass(frozen=True)
class Standing:
    """How far the signatures of a draft are."""

    role: str
    version: int
    #: People whose signatures count.
    signed: tuple[str, ...]
    #: People whose signatures would count.
    waiting: tuple[str, ...]
    #: How many more are needed.
    missing: int

    def __str__(self) -> str:
        signed = ", ".join(self.signed) or "nobody"
        if not self.missing:
            return f"{self.role} {self.version}: enough signatures ({signed})"
        return f"{self.role} {self.version}: signed by {signed}; {self.missing} more of {', '.join(self.waiting)}"


def sign_draft(draft: Metadata[Any], public: PublicKeyFile, signer: CryptoSigner) -> None:
    """Add a signature to a draft.

    Raises:
        ReleaseError: when the key is of another role.
    """
    kind = draft.signed.type
    if kind not in ("root", "targets"):
        raise ReleaseError(f"people sign root and targets; {kind} is signed by the base itself")
    if public.role != kind:
        raise ReleaseError(f"this is a {public.role} key of {public.person}; the draft is of role {kind}")
    draft.sign(signer, append=True)


def merge_signatures(draft: Metadata[Any], other: Metadata[Any]) -> int:
    """Take the signatures of a copy of the draft; gives how many are new.

    Raises:
        ReleaseError: when the copy says something else.
    """
    if other.signed_bytes != draft.signed_bytes:
        raise ReleaseError(
            f"the copy is not of this draft ({draft.signed.type} {draft.signed.version}); sign the present one"
        )
    new = {name: value for name, value in other.signatures.items() if name not in draft.signatures}
    draft.signatures.update(new)
    return len(new)


def find_standing(
    draft: Metadata[Any], *, root: Metadata[Root] | None, draft_root: Metadata[Root] | None
) -> Standing:
    """Tell how far a draft is.

    Args:
        draft: what is signed.
        root: the published root; None before the first.
        draft_root: the root that will be published with it, if any.

    Raises:
        ReleaseError: when there is no root to judge by.
    """
    signed, payload = draft.signed, draft.signed_bytes
    if isinstance(signed, Root):
        both = signed.get_root_verification_result(
            root.signed if root is not None else None, payload, draft.signatures
        )
        results = [both.first, both.second]
    else:
        judge = draft_root or root
        if judge is None:
            raise ReleaseError("there is no root yet; run `teiten release init`")
        results = [judge.signed.get_verification_result("targets", payload, draft.signatures)]
    return Standing(
        signed.type,
        signed.version,
        signed=_list_people(results, is_signed=True),
        waiting=_list_people([result for result in results if result.missing], is_signed=False),
        missing=max(result.missing for result in results),
    )


def person_of(key: Key) -> str:
    """Say whose key it is."""
    return str(key.unrecognized_fields.get(PERSON_FIELD, key.keyid[:12]))


def _list_people(results: Iterable[Any], *, is_signed: bool) -> tuple[str, ...]:
    found: dict[str, None] = {}
    for result in results:
        keys: Mapping[str, Key] = result.signed if is_signed else result.unsigned
        found.update(dict.fromkeys(sorted(person_of(key) for key in keys.values())))
    return tuple(found)
