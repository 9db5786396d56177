"""Errors of the wire protocol.

ProtocolError                 every one has a stable ``code``, "<thing>.<rule>"
├── BatchError                quarantine the batch; nothing of it may be believed
│   ├── BatchFormError        not a batch: compression, framing, schema, sizes
│   ├── BatchHeaderError      the header says something impossible
│   └── BatchContentError     the rows contradict the header or the columns' limits
├── SealError                 the seal is no seal, or of another key or content
├── SignatureError            the request or response signature does not hold
│   └── ClockSkewError        it would hold, but was made too long ago or ahead
├── ReceiptError              the receipt is no receipt of this batch
├── MessageError              an enrolment or heartbeat body breaks a rule
├── CommandError              an envelope or a command is malformed, or breaks a rule of its verb
├── ResultError               a command's result is malformed or not signed by its sensor
├── OperatorListError         the list of operator keys is malformed
├── TokenError                an enrolment token is malformed, or its proof is wrong
└── KeyFileError              a key file is unreadable, malformed or open to others
"""

from __future__ import annotations

from teiten.foundation.errors import TeitenError


class ProtocolError(TeitenError):
    """A message breaks the protocol."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        #: Stable text for counters, quarantine and answers: ``<thing>.<rule>``.
        self.code = code


class BatchError(ProtocolError):
    """A batch cannot be believed."""


class BatchFormError(BatchError):
    """The bytes are not a batch in its one form."""


class BatchHeaderError(BatchError):
    """A field of the batch header breaks its rule."""


class BatchContentError(BatchError):
    """The rows contradict the header or break a column's limit."""


class SealError(ProtocolError):
    """A seal does not hold."""


class SignatureError(ProtocolError):
    """A request or response signature does not hold."""


class ClockSkewError(SignatureError):
    """A signature is genuine but was made too far from now."""


class ReceiptError(ProtocolError):
    """A receipt does not prove that this batch was received."""


class MessageError(ProtocolError):
    """An enrolment or heartbeat body breaks a rule."""


class CommandError(ProtocolError):
    """An envelope or a command breaks a rule."""


class ResultError(ProtocolError):
    """A result breaks a rule, or is not of the sensor that it names."""


class OperatorListError(ProtocolError):
    """The list of operator keys breaks a rule; nobody on it may be believed."""


class TokenError(ProtocolError):
    """An enrolment token is malformed, or its proof is wrong."""


class KeyFileError(ProtocolError):
    """A key file cannot be used."""
