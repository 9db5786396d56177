"""What was held, erased, excluded, opened and handed out; none of these rows is ever deleted."""

from teiten.custody.models.disclosures import Channel, Disclosure, DisclosureEnd, Level, Tlp
from teiten.custody.models.erasures import Erasure, ErasureKind
from teiten.custody.models.exclusions import Exclusion
from teiten.custody.models.holds import HoldScope, LegalHold
from teiten.custody.models.payload import PayloadReason
from teiten.custody.models.work import WorkState

__all__ = [
    "Channel",
    "Disclosure",
    "DisclosureEnd",
    "Erasure",
    "ErasureKind",
    "Exclusion",
    "HoldScope",
    "LegalHold",
    "Level",
    "PayloadReason",
    "Tlp",
    "WorkState",
]
