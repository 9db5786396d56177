"""What people order about kept data, in the audit chain.

Orders are rows of their own, which no page can change; whoever holds the database could.
The record names the order and why, not the address it is about: that may be what shall
be forgotten.
"""

from __future__ import annotations

from teiten.accounts import audit
from teiten.custody.models import Erasure, Exclusion, LegalHold
from teiten.fleet.services import Act

_NAMES: dict[type[Erasure | Exclusion | LegalHold], str] = {
    Erasure: "erasure",
    Exclusion: "exclusion",
    LegalHold: "hold",
}


def record_order(was: str, row: Erasure | Exclusion | LegalHold, *, reason: str, act: Act) -> None:
    """Append that an order was given or taken back, in the caller's transaction."""
    name = _NAMES[type(row)]
    audit.append(f"custody.{name}_{was}", f"{name}:{row.pk}", {"reason": reason}, act)
