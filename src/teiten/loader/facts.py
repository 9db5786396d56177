"""What a block's rows rest on beside its batches and the rules, written into the ledger before anything else.

The reference data are kept by version, so an attempt can have them again. Of the
fleet only a revision is named: an attempt that finds a sensor changed since then
says so, and the store replaces what the earlier one may have written.
"""

from __future__ import annotations

from dataclasses import dataclass

_MARK = "@"


@dataclass(frozen=True)
class Facts:
    """What was known when a block was composed."""

    #: Version of the reference data.
    reference: str
    #: Revision of the fleet; an attempt may have used later ones, never earlier ones.
    revision: int

    def __str__(self) -> str:
        return f"{self.reference}{_MARK}{self.revision}"


def facts_of(text: str) -> Facts:
    """Read what :class:`Facts` wrote; blocks of before it name no revision, so that any counts as later."""
    reference, mark, revision = text.partition(_MARK)
    return Facts(reference, int(revision) if mark else -1)
