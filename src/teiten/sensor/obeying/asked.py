"""The folder of requests as root sees it: another user's, who may put anything there at any moment.

It is opened once, through no symbolic link, and what lies in it is reached through that
descriptor alone. A run looks at so many names and takes up so many requests; what is no
request is removed, because its name would wake the helper again at once.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import secrets
from itertools import islice
from pathlib import Path

from teiten.protocol.commands import COMMAND_ID, Delivery
from teiten.sensor.errors import StateError
from teiten.sensor.obeying.handing import read_request

_log = logging.getLogger(__name__)
#: Names looked at, and requests taken up, in one run; the rest waits for the next.
MOST_NAMES = 1_024
MOST_REQUESTS = 32
_REQUEST_NAME = re.compile(rf"{COMMAND_ID.pattern}\.json")
_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


class AskedFolder:
    """``…/obey/requests``; both names are in a folder of the sensor's user, who may have made them links.

    Raises:
        FileNotFoundError: when there is none.
        StateError: when it is not a folder that was come to through folders.
    """

    def __init__(self, requests: Path) -> None:
        self._path = requests
        try:
            self._folder = _open_folder(requests.absolute())
        except FileNotFoundError:
            raise
        except OSError as error:
            raise StateError(
                f"{requests}, or the folder above it, is a symbolic link; remove it: {error.strerror}"
            ) from error

    def close(self) -> None:
        os.close(self._folder)

    def take_names(self) -> list[str]:
        """Give the names of requests, oldest first, and remove what only looks like one.

        Only names that end in ``.json`` wake the helper, or count.
        """
        with os.scandir(self._folder) as entries:
            names = [entry.name for entry in islice(entries, MOST_NAMES)]
        asking = sorted(name for name in names if name.endswith(".json"))
        requests = [name for name in asking if _REQUEST_NAME.fullmatch(name)]
        for name in set(asking) - set(requests):
            self.remove(name)
        if len(names) >= MOST_NAMES or len(requests) > MOST_REQUESTS:
            _log.warning("More is asked than one run takes up", extra={"names": len(names)})
        return requests[:MOST_REQUESTS]

    def read(self, name: str) -> Delivery | None:
        """Read a request; None when it is none of this name."""
        return read_request(Path(name), folder=self._folder)

    def remove(self, name: str) -> None:
        """Remove a name; a folder loses its name only: it must not wake the helper again, whatever it is."""
        with contextlib.suppress(OSError):
            try:
                os.unlink(name, dir_fd=self._folder)
            except OSError:
                aside = f"{name[:64]}.{secrets.token_hex(8)}"
                os.rename(name, aside, src_dir_fd=self._folder, dst_dir_fd=self._folder)


def _open_folder(requests: Path) -> int:
    above = os.open(requests.parent.parent, _FLAGS)
    try:
        own = os.open(requests.parent.name, _FLAGS | os.O_NOFOLLOW, dir_fd=above)
    finally:
        os.close(above)
    try:
        return os.open(requests.name, _FLAGS | os.O_NOFOLLOW, dir_fd=own)
    finally:
        os.close(own)
