"""The launcher's view of the TUF repository: refresh, read, fetch; every failure has a cause.

The anchor is ``root.json`` of the launcher's package; later roots are believed when the
one before signs for them (TUF specification 5.3). Expiry is measured with this host's
clock, therefore a clock that cannot be right stops updates before anything else does.
"""

from __future__ import annotations

import errno
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from tuf.api import exceptions
from tuf.api.metadata import TargetFile, Targets  # type: ignore[attr-defined]  # re-exported without __all__
from tuf.ngclient.updater import Updater

from teiten.launcher import files
from teiten.launcher.config import LauncherConfig
from teiten.launcher.errors import UpdateBlocked
from teiten.launcher.fetching import Fetcher
from teiten.launcher.machine import Machine
from teiten.launcher.places import Places

#: No host's clock is right before this was written.
_EPOCH = datetime(2026, 11, 1, tzinfo=timezone.utc)
#: A timestamp lives a day; one that lives on for longer than this says that the clock is behind.
_LONGEST_AHEAD = timedelta(days=60)
#: What has expired longer ago than this says that the clock is ahead: nobody leaves a repository alone so long.
_LONGEST_BEHIND = timedelta(days=730)
#: The gateway, too, has told how wrong the clock is.
_SKEW_US = 3_600_000_000


class Repository:
    """What is signed for sensors.

    Raises:
        UpdateBlocked: with its cause, from every method.
    """

    def __init__(self, places: Places, machine: Machine, config: LauncherConfig, *, url: str) -> None:
        self._places = places
        self._machine = machine
        for folder in (places.metadata, places.downloads):
            folder.mkdir(parents=True, exist_ok=True)
        self._fetcher = Fetcher(
            places.downloads,
            machine.clock,
            timeout_seconds=config.timeout_seconds,
            min_bytes_per_second=config.min_bytes_per_second,
        )
        self._url = url.rstrip("/")
        self._updater: Updater | None = None

    def refresh(self) -> Mapping[str, TargetFile]:
        """Bring the metadata up to date; give the signed targets by name."""
        self._check_clock()
        with self._explained():
            self._updater = Updater(
                str(self._places.metadata),
                f"{self._url}/metadata/",
                str(self._places.downloads),
                f"{self._url}/targets/",
                fetcher=self._fetcher,
                bootstrap=self._read_anchor(),
            )
            self._updater.refresh()
        self._check_clock()
        return self._read_targets()

    def fetch(self, target: TargetFile) -> Path:
        """Download a target of the last refresh; it is here only when it is what was signed."""
        if self._updater is None:
            raise UpdateBlocked("repository", "nothing was refreshed yet")
        with self._explained():
            return Path(self._updater.download_target(target))

    def _read_anchor(self) -> bytes:
        path = self._places.settings / "root.json"
        try:
            return files.read_bounded(path)
        except OSError as error:
            raise UpdateBlocked(
                "repository", f"trust anchor {path} cannot be read: {error.strerror}"
            ) from error

    def _read_targets(self) -> Mapping[str, TargetFile]:
        """Give the targets of the metadata that ``refresh`` has just verified and written."""
        signed = json.loads((self._places.metadata / "targets.json").read_bytes())["signed"]
        return dict(Targets.from_dict(signed).targets)

    def _check_clock(self) -> None:
        now = self._machine.clock.now()
        if now < _EPOCH:
            raise UpdateBlocked("clock", f"this host says {now:%Y-%m-%d}; set its clock")
        expires = self._find_expiry("timestamp.json")
        if expires is not None and expires - now > _LONGEST_AHEAD:
            raise UpdateBlocked(
                "clock", f"this host says {now:%Y-%m-%d}, the repository is later; set the clock"
            )

    def _find_expiry(self, name: str) -> datetime | None:
        told = files.take_object(files.read_json(self._places.metadata / name), "signed").get("expires")
        try:
            return datetime.strptime(str(told), "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=timezone.utc)
        except ValueError:
            return None

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except exceptions.ExpiredMetadataError as error:
            raise self._explain_expiry(error) from error
        except exceptions.DownloadError as error:
            raise _explain_download(error) from error
        except exceptions.RepositoryError as error:
            raise UpdateBlocked("repository", f"not trusted: {error}") from error
        except OSError as error:
            raise blocked_by_disk(error) from error

    def _explain_expiry(self, error: Exception) -> UpdateBlocked:
        now = self._machine.clock.now()
        root, timestamp = self._find_expiry("root.json"), self._find_expiry("timestamp.json")
        known = [at for at in (self._find_anchor_expiry(), root, timestamp) if at is not None]
        is_far = bool(known) and now - max(known) > _LONGEST_BEHIND
        if is_far or abs(self._read_offset_us()) > _SKEW_US:
            return UpdateBlocked("clock", f"this host says {now:%Y-%m-%d}: {error}; set its clock")
        return UpdateBlocked("expired", f"{error}; the repository must be signed anew (or is held back)")

    def _find_anchor_expiry(self) -> datetime | None:
        told: Any = json.loads(self._read_anchor()).get("signed", {}).get("expires")
        try:
            return datetime.strptime(str(told), "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=timezone.utc)
        except ValueError:
            return None

    def _read_offset_us(self) -> int:
        return files.take_int(files.read_json(self._places.health), "clock_offset_us")


def _explain_download(error: exceptions.DownloadError) -> UpdateBlocked:
    cause = error.__cause__
    if isinstance(error, exceptions.SlowRetrievalError):
        return UpdateBlocked("network", f"too slow: {error}")
    if isinstance(error, exceptions.DownloadLengthMismatchError):
        return UpdateBlocked("repository", f"endless data: {error}")
    if isinstance(cause, OSError) and is_full(cause):
        return blocked_by_disk(cause)
    return UpdateBlocked("network", f"{error}: {cause}" if cause else str(error))


def is_full(error: OSError) -> bool:
    """Tell whether a disk or quota has no room."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT)


def blocked_by_disk(error: OSError) -> UpdateBlocked:
    """Say what a disk has refused."""
    if is_full(error):
        return UpdateBlocked("disk full", f"{error.filename or 'the disk'}: {error.strerror}")
    return UpdateBlocked("disk", f"{error.filename or 'a file'}: {error.strerror or error}")
