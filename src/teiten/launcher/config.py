"""Settings of the launcher: section ``[launcher]`` of ``/etc/teiten-sensor/launcher.toml``."""

from __future__ import annotations

from dataclasses import dataclass

from teiten.foundation.errors import SettingsError


@dataclass(frozen=True)
class LauncherConfig:
    """How releases are fetched, tried and given up."""

    #: Folder of the update repository, for example ``https://gateway.example:8443/tuf``.
    update_url: str = ""
    #: Units that are restarted when a release is changed, the capturing one first.
    units: tuple[str, ...] = ("teiten-sensor-capture.service", "teiten-sensor-upload.service")
    #: User that a new release is tried as before it is used; empty or unknown: the launcher's own.
    user: str = "teiten-sensor"
    #: Seconds in which a new release must prove itself.
    probation_seconds: int = 600
    #: Starts of a new release that may fail.
    max_starts: int = 3
    #: Largest bundle that is fetched, bytes.
    max_bundle_bytes: int = 64 * 1024 * 1024
    #: Most bytes that a bundle may unpack to.
    max_unpacked_bytes: int = 300_000_000
    #: Most files and folders in a bundle.
    max_entries: int = 20_000
    #: Bytes of the disk that an update leaves free.
    min_free_bytes: int = 64 * 1024 * 1024
    #: Seconds without a byte after which a download is given up.
    timeout_seconds: float = 30.0
    #: Bytes a second below which a download counts as held back; 500 are 4 kbit/s.
    min_bytes_per_second: int = 500
    #: Days without an accepted heartbeat after which no hint is waited for any more.
    patience_days: int = 7

    def check(self) -> LauncherConfig:
        """Give these settings back when they make sense.

        Raises:
            SettingsError: naming the setting and its rule.
        """
        if not self.update_url.startswith(("https://", "http://127.0.0.1", "http://localhost")):
            raise SettingsError("setting launcher.update_url must be of the form https://HOST[:PORT]/tuf")
        for name, (low, high) in _RANGES.items():
            value = getattr(self, name)
            if not low <= value <= high:
                raise SettingsError(f"setting launcher.{name} is {value}; it must be {low} to {high}")
        return self


_RANGES: dict[str, tuple[float, float]] = {
    "probation_seconds": (1, 7_200),
    "max_starts": (1, 100),
    "max_bundle_bytes": (1_000, 1 << 32),
    "max_unpacked_bytes": (1_000, 1 << 34),
    "max_entries": (1, 1_000_000),
    "min_free_bytes": (0, 1 << 40),
    "timeout_seconds": (0.1, 600.0),
    "min_bytes_per_second": (1, 1 << 30),
    "patience_days": (1, 3_650),
}
