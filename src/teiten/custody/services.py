"""The changes that this room makes, in one place."""

from teiten.custody.erasing import erase_address, erase_organisation, retry_erasure
from teiten.custody.excluding import exclude, lift
from teiten.custody.holding import hold, release
from teiten.custody.payload import request_payload

__all__ = [
    "erase_address",
    "erase_organisation",
    "exclude",
    "hold",
    "lift",
    "release",
    "request_payload",
    "retry_erasure",
]
