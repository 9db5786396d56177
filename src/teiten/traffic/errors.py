"""What can be wrong with what the rules are asked.

TeitenError
└── TrafficError
└── AddressError    text, bytes or a range are no address: correct the input
"""

from __future__ import annotations

from teiten.foundation.errors import TeitenError


class TrafficError(TeitenError):
    """The traffic room cannot answer."""


class AddressError(TrafficError, ValueError):
    """Text, bytes or a range are no address or no prefix; the message says which and why."""
