"""Errors of commands.

FleetError
├── CommandRefusedError  a command is not taken up; ``reason`` is a code of protocol/judging.py or of REASONS here
├── CommandStateError    the command's state does not allow this
├── SelectorError        a selector cannot be read; the message names the place and the rule
└── ResultRefusedError   a sensor's answer is not taken; ``code`` goes to the sensor
"""

from teiten.fleet.errors import FleetError

#: Codes beside those of ``protocol/judging.py``.
REASONS = {
    "no_operators": "the base knows no list of operators",
    "sensors_unknown": "a target is no enrolled sensor",
    "payload_differs": "another command of this id is known already",
}


class CommandRefusedError(FleetError):
    """A command is not taken up."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class CommandStateError(FleetError):
    """The command's state does not allow this."""


class SelectorError(FleetError):
    """A selector cannot be read."""


class ResultRefusedError(FleetError):
    """A sensor's answer is not taken; sending it again changes nothing."""

    def __init__(self, code: str, message: str, *, status: int) -> None:
        super().__init__(message)
        self.code = code
        self.status = status
