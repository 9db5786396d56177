"""Install the first release from the bundle that came with the host's own package."""

from __future__ import annotations

from pathlib import Path

from teiten.launcher.config import LauncherConfig
from teiten.launcher.errors import LauncherError
from teiten.launcher.flipping import Bench, settle
from teiten.launcher.reporting import write_report
from teiten.launcher.updating import place_release


def install_bundle(bench: Bench, config: LauncherConfig, bundle: Path) -> int:
    """Unpack a bundle and use it; gives the number of the release in use.

    A host that runs a release already keeps it: newer ones come through the repository.

    Raises:
        UpdateBlocked: when the bundle breaks a rule.
        LauncherError: when the file cannot be read.
    """
    settle(bench)
    shelf = bench.shelf
    if shelf.current:
        return shelf.current
    if not bundle.is_file():
        raise LauncherError(f"bundle {bundle} is no file")
    bench.places.releases.mkdir(parents=True, exist_ok=True)
    release = place_release(bench, config, bundle=bundle, offer=None)
    shelf.commit(release)
    bench.at("install.committed")
    shelf.turn_to(release)
    write_report(shelf, blocked="")
    return release
