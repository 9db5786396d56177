"""Errors of the automation room.

AutomationError
├── JobUnknownError    no job has this name, or it does not take these arguments
├── JobFailedError     the run ended with an error, or its process was lost
├── JobWaitError       nobody took the run, or it is not done yet; ask again later
└── NotWiredError      `cli` has not handed over what a job needs; a bug in wiring
"""

from teiten.foundation.errors import TeitenError


class AutomationError(TeitenError):
    """A job cannot do what was asked."""


class JobUnknownError(AutomationError):
    """No job has this name, or it does not take these arguments."""


class JobFailedError(AutomationError):
    """The run ended with an error."""


class JobWaitError(AutomationError):
    """The run is not done within the time that was given."""


class NotWiredError(AutomationError):
    """A job needs something that this process has not been given."""
