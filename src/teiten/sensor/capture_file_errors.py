"""What can be wrong with a capture file.

ReplayError
└── CaptureFileError             the message names the file, the rule and the way out
    ├── NotACaptureError         it is something else: give another file, or convert it
    ├── UnsupportedCaptureError  a capture, but of a kind that Teiten does not read
    └── DamagedCaptureError      it begins well and then breaks: what came before is usable
"""

from pathlib import Path

from teiten.sensor.errors import ReplayError


class CaptureFileError(ReplayError):
    """A capture file cannot be read."""


class NotACaptureError(CaptureFileError):
    """The file is no capture."""


class UnsupportedCaptureError(CaptureFileError):
    """The capture is of a kind that Teiten does not read."""


class DamagedCaptureError(CaptureFileError):
    """The capture breaks off; the packets before the damage are whole."""

    def __init__(self, path: Path, reason: str, *, whole_packets: int, at_byte: int) -> None:
        super().__init__(
            f"{path}: {reason} at byte {at_byte}; the {whole_packets} packets before it are whole and were read"
        )
        #: Packets, of any kind, that could be read before the damage.
        self.whole_packets = whole_packets
        self.at_byte = at_byte
