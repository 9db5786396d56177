"""Errors of the simulators.

SimulatorError
├── ForbiddenAddressError   a source or destination outside the reserved ranges: never sent, never written
├── WorkOrderError          the fleet's work order is wrong: correct the file
├── FleetStoppedError       the fleet was told to stop first: not a failure, the next start goes on
├── FleetStateError         a sensor's state folder is damaged or belongs to another fleet
└── WireError               packets cannot be put onto the interface
"""

from teiten.foundation.errors import TeitenError


class SimulatorError(TeitenError):
    """A simulator cannot do what was asked; the message says why and what to do."""


class ForbiddenAddressError(SimulatorError):
    """An address outside the reserved ranges would have been used."""


class WorkOrderError(SimulatorError):
    """The work order of a simulated fleet names something unknown, missing or impossible."""


class FleetStateError(SimulatorError):
    """The state folder of a simulated sensor cannot be used."""


class WireError(SimulatorError):
    """Packets cannot be sent onto the interface that was named."""


class FleetStoppedError(SimulatorError):
    """The fleet was told to stop before something was settled; the next start goes on."""
