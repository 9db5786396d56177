"""Where everything of a sensor stands, below a prefix that is ``/`` except in tests and images."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Places:
    """The folders and files that the launcher knows."""

    root: Path = Path("/")

    @property
    def program(self) -> Path:
        return self.root / "opt/teiten-sensor"

    @property
    def releases(self) -> Path:
        """One folder a release, named by its number."""
        return self.program / "releases"

    @property
    def current(self) -> Path:
        """Symbolic link to the release that starts next."""
        return self.program / "current"

    @property
    def settings(self) -> Path:
        return self.root / "etc/teiten-sensor"

    @property
    def sensor_state(self) -> Path:
        """The sensor's own folder; what it says there is believed in nothing but health."""
        return self.root / "var/lib/teiten-sensor"

    @property
    def own(self) -> Path:
        """The launcher's folder: root writes, everybody reads."""
        return self.root / "var/lib/teiten-launcher"

    @property
    def metadata(self) -> Path:
        """Metadata of the repository as they were last trusted."""
        return self.own / "metadata"

    @property
    def downloads(self) -> Path:
        return self.own / "downloads"

    @property
    def pending(self) -> Path:
        """The release on probation."""
        return self.own / "pending.json"

    @property
    def committed(self) -> Path:
        """The release that has proven itself, and the one before."""
        return self.own / "committed.json"

    @property
    def bad(self) -> Path:
        """Releases that were rolled back."""
        return self.own / "bad.json"

    @property
    def restart(self) -> Path:
        """A restart that is owed."""
        return self.own / "restart.json"

    @property
    def look(self) -> Path:
        """What was seen at the last look at a release on probation."""
        return self.own / "look.json"

    @property
    def report(self) -> Path:
        """What the sensor tells the base of updates."""
        return self.own / "state.json"

    @property
    def wanted(self) -> Path:
        """A release that an operator's signed command asks for."""
        return self.own / "wanted.json"

    @property
    def lock(self) -> Path:
        return self.own / "lock"

    @property
    def hint(self) -> Path:
        """The newest release that the base lets this sensor take, as the sensor heard it."""
        return self.sensor_state / "release-hint.json"

    @property
    def health(self) -> Path:
        return self.sensor_state / "health.json"

    def starts(self, release: int) -> Path:
        """One letter a start of this release."""
        return self.sensor_state / f"starts-{release}"

    def release(self, number: int) -> Path:
        return self.releases / str(number)
