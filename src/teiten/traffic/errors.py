"""What can be wrong with what the rules are asked.

TeitenError
└── TrafficError
    ├── AddressError    text, bytes or a range are no address: correct the input
    └── RuleFileError   a list of bogons or probes breaks a rule of its form: correct the line named
"""

from __future__ import annotations

from teiten.foundation.errors import TeitenError


class TrafficError(TeitenError):
    """The traffic room cannot answer."""


class AddressError(TrafficError, ValueError):
    """Text, bytes or a range are no address or no prefix; the message says which and why."""


class RuleFileError(TrafficError, ValueError):
    """A file of rules cannot be used; the message names the line and the rule."""
