"""Errors of the gateway.

GatewayError
├── Refusal              answer the request with this status and code; nothing was changed
│   └── EnrolRefused     raised by the enrolment door
└── GatewayStartError    the gateway cannot open its door; the message says what to do
"""

from __future__ import annotations

from collections.abc import Mapping

from teiten.foundation.errors import TeitenError


class GatewayError(TeitenError):
    """The gateway refuses or fails."""


class Refusal(GatewayError):
    """A request is refused; the sensor gets status, code, message and facts."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        facts: Mapping[str, int | str] | None = None,
        retry_after_seconds: int | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        #: Stable text for the sensor's decisions and for counters.
        self.code = code
        self.facts = dict(facts or {})
        #: When to come back, for a 503; None leaves it to the gateway's setting.
        self.retry_after_seconds = retry_after_seconds


class EnrolRefused(Refusal):
    """An enrolment is refused; the sensor stays what it was."""

    def __init__(self, code: str, message: str, *, status: int = 403) -> None:
        super().__init__(status, code, message)


class GatewayStartError(GatewayError):
    """The gateway cannot listen, or its keys cannot be used."""
