"""Between the sending process and whoever may do what needs root: requests one way, outcomes the other.

A request is the delivery as the base gave it, signatures and all: the root helper
believes nothing else. Requests lie in the sensor's own folder; outcomes in a folder
that only the helper writes, so that it never writes where another user could have
put a symbolic link.
"""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass
from pathlib import Path

from teiten.protocol import commands
from teiten.protocol.commands import Delivery
from teiten.protocol.errors import CommandError
from teiten.protocol.results import MAX_RESULT_BYTES
from teiten.sensor.obeying.files import make_folder, read_bounded, write_durably
from teiten.sensor.obeying.outcome import Outcome, read_outcome

FOLDER = "obey"
RUNNING = "running"
_MAX_REQUEST_BYTES = 2 * commands.MAX_ENVELOPE_BYTES


@dataclass(frozen=True)
class Places:
    """Where the two meet."""

    requests: Path
    #: Command ids whose result the base has receipted, as empty files.
    receipted: Path
    outcomes: Path


def places_of(state_dir: Path, helper_dir: Path) -> Places:
    """Give the folders; ``helper_dir`` belongs to the helper."""
    own = state_dir / FOLDER
    return Places(own / "requests", own / "receipted", helper_dir / "outcomes")


class RequestBox:
    """The sending process's side."""

    def __init__(self, places: Places) -> None:
        self._places = places
        make_folder(places.requests)
        make_folder(places.receipted)

    def hand_over(self, delivery: Delivery) -> None:
        """Ask for a command to be obeyed.

        Raises:
            StateError: when the disk refuses.
        """
        write_durably(
            self._places.requests / f"{delivery.command_id}.json", commands.write_delivery(delivery)
        )

    def take_back(self, command_id: str) -> None:
        """Ask no more."""
        with contextlib.suppress(OSError):
            (self._places.requests / f"{command_id}.json").unlink()

    def note_receipt(self, command_id: str) -> None:
        """Tell the helper that the base has the result: what ends a sensor waits for it."""
        with contextlib.suppress(OSError):
            (self._places.receipted / command_id).touch()

    def forget_receipt(self, command_id: str) -> None:
        with contextlib.suppress(OSError):
            (self._places.receipted / command_id).unlink()

    def is_running(self, command_id: str) -> bool:
        return _read_state(self._places.outcomes / f"{command_id}.json").get("state") == RUNNING

    def find_outcome(self, command_id: str) -> Outcome | None:
        """Give what became of a command; None while nothing has."""
        return read_outcome(_read_state(self._places.outcomes / f"{command_id}.json"))


def read_request(path: Path, *, folder: int | None = None) -> Delivery | None:
    """Read a request that any user may have written; None when it is none of this name."""
    text = read_bounded(path, max_bytes=_MAX_REQUEST_BYTES, folder=folder)
    try:
        delivery = commands.read_delivery(text or b"")
    except CommandError:
        return None
    return delivery if path.name == f"{delivery.command_id}.json" else None


def _read_state(path: Path) -> dict[str, object]:
    text = read_bounded(path, max_bytes=2 * MAX_RESULT_BYTES)
    try:
        told = json.loads(text or b"")
    except ValueError:
        return {}
    return told if isinstance(told, dict) else {}
