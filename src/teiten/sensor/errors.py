"""Errors of the sensor: one class per decision that a caller makes.

SensorError
├── StateError              the state folder cannot be used: stop, fix it
│   ├── StateBusyError      another process works on it: stop the other one
│   └── NotEnrolledError    no identity yet: enrol first
├── CaptureError            the interface cannot be read now: wait, reopen, count the gap
│   └── CaptureDeniedError  CAP_NET_RAW is missing: stop, grant it
├── DeclarationError        an observed prefix, exclusion or public address is not understood: stop, fix it
├── MetadataError           the provider's metadata service gives no usable answer: go on without, ask again
├── SpoolError              one spool file or the disk
│   ├── SpoolFileError      a spool file is corrupt: set it aside, go on
│   └── SpoolFullError      the disk takes nothing now: retry, count what is lost
├── UplinkError             the gateway cannot be reached or answered 5xx: back off, retry
│   ├── BusyError           503: wait as long as it says
│   ├── UntrustedError      wrong certificate, pin or answer signature: retry slowly, say so
│   ├── ClockSkewError      401 clock_skew: take the offset, retry
│   ├── StandingError       403: suspended or revoked: keep recording, retry slowly
│   ├── ConflictError       409: this number is taken by another digest: set the batch aside
│   └── RefusedError        other 4xx: this batch or request is never accepted: set it aside
└── ReplayError             a capture cannot be replayed: nothing was sent
"""

from teiten.foundation.errors import TeitenError


class SensorError(TeitenError):
    """The sensor cannot do what was asked; the message says why and what to do."""


class StateError(SensorError):
    """The state folder cannot be used."""


class StateBusyError(StateError):
    """Another process works on this state folder."""


class NotEnrolledError(StateError):
    """The state folder holds no identity yet."""


class CaptureError(SensorError):
    """An interface cannot be read now."""


class CaptureDeniedError(CaptureError):
    """The process may not open a packet socket."""


class DeclarationError(SensorError):
    """An observed prefix or an exclusion is not understood."""


class MetadataError(SensorError):
    """The provider's metadata service gave no usable answer."""


class SpoolError(SensorError):
    """Something is wrong with the spool."""


class SpoolFileError(SpoolError):
    """A spool file does not hold what was written."""


class SpoolFullError(SpoolError):
    """The disk takes nothing more now."""


class UplinkError(SensorError):
    """The gateway cannot be reached, or failed; trying again may help."""


class BusyError(UplinkError):
    """The gateway asks to wait."""

    def __init__(self, message: str, *, retry_after_seconds: float) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class UntrustedError(UplinkError):
    """The server is not the one this sensor was told to trust."""


class ClockSkewError(UplinkError):
    """The gateway found our clock too far off."""

    def __init__(self, message: str, *, offset_us: int) -> None:
        super().__init__(message)
        #: Server minus sensor, µs, proven by the gateway's signature.
        self.offset_us = offset_us


class StandingError(UplinkError):
    """The gateway knows this sensor and takes nothing from it now."""

    def __init__(self, message: str, *, code: str) -> None:
        super().__init__(message)
        self.code = code


class ConflictError(UplinkError):
    """The gateway holds other bytes under this number: perhaps a clone of this sensor."""


class RefusedError(UplinkError):
    """The gateway will never accept this request."""

    def __init__(self, message: str, *, code: str, status: int) -> None:
        super().__init__(message)
        self.code = code
        self.status = status


class ReplayError(SensorError):
    """A capture file cannot be replayed."""
