"""Errors of the fleet room.

FleetError
├── FleetInputError     a value breaks a rule; the message names the field and the rule
├── SensorUnknownError  no such sensor, region or organisation
├── SensorStateError    the sensor's state does not allow this
├── HostForbiddenError  somebody else's sensor or organisation
├── HostBusyError       a person of a host did too much within the hour
├── EnrolmentError      an enrolment is refused; ``code`` goes to the sensor
├── RotationError       a key may not be replaced; ``code`` goes to the sensor
├── StaleHeartbeatError a heartbeat whose counter did not grow: a replay, or a second machine
└── FleetAwayError      the database does not answer; the sensor shall try again
"""

from teiten.foundation.errors import TeitenError


class FleetError(TeitenError):
    """Something about the fleet cannot be done."""


class FleetInputError(FleetError):
    """A value breaks a rule; ``field`` names it."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}")
        self.field = field


class SensorUnknownError(FleetError):
    """There is no such sensor, region or organisation."""


class SensorStateError(FleetError):
    """The sensor's state does not allow this."""


class HostForbiddenError(FleetError):
    """The person is of another organisation than the sensor, and no operator."""


class HostBusyError(FleetError):
    """A person of a host did too much within the hour."""


class EnrolmentError(FleetError):
    """An enrolment is refused; nothing was changed."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class RotationError(FleetError):
    """A key may not be replaced now."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class StaleHeartbeatError(FleetError):
    """The counter of a heartbeat did not grow."""


class FleetAwayError(FleetError):
    """The database does not answer."""
