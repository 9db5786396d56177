"""What is there to install sensors with: for which systems package and program lie ready, and what is missing."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from django.conf import settings
from django.utils.translation import gettext as _

from teiten.fleet.errors import FleetError
from teiten.fleet.installing import GAPS, Kit
from teiten.fleet.releases.errors import ReleaseError
from teiten.fleet.releases.repository import ReleaseRepository
from teiten.portal import services
from teiten.portal.errors import NotWired

#: Systems that the install script takes: name, kind of package, and the Python that the program runs on there.
SYSTEMS = (
    ("RHEL 8, 9", "rpm", "3.11"),
    ("Ubuntu 24.04", "deb", "3.12"),
    ("Ubuntu 22.04", "deb", "3.10"),
    ("Debian 12", "deb", "3.11"),
)
MACHINES = ("x86_64", "aarch64")
_BUNDLE = re.compile(r"bundles/teiten-sensor-([1-9][0-9]*)-py3(\d+)-(x86_64|aarch64)\.tar\.xz")


@dataclass(frozen=True)
class Cell:
    """One system on one kind of machine."""

    machine: str
    #: Newest release whose bundle fits; 0: none.
    release: int
    #: What is missing, in words; empty: it can be installed.
    missing: tuple[str, ...]


@dataclass(frozen=True)
class Readiness:
    """What scripts made now would bring."""

    #: Why the scripts fall short, whatever the system; empty when they do not.
    gaps: tuple[str, ...]
    systems: tuple[tuple[str, tuple[Cell, ...]], ...]

    #: Columns of the table.
    machines: tuple[str, ...] = MACHINES

    @property
    def is_whole(self) -> bool:
        return not self.gaps and not any(cell.missing for _name, cells in self.systems for cell in cells)


def read_readiness() -> Readiness | None:
    """Look what lies ready; None where this portal makes no scripts."""
    try:
        kit = services.make_kit(allow_exec=False)
    except NotWired:
        return None
    except FleetError as error:
        return Readiness((str(error),), ())
    bundles = _find_bundles(services.releases_dir() or settings.TEITEN_FLEET.releases_dir)
    systems = tuple(
        (name, tuple(_look(kind, python, machine, kit, bundles) for machine in MACHINES))
        for name, kind, python in SYSTEMS
    )
    return Readiness(tuple(_name_gap(gap) for gap in kit.find_gaps()), systems)


def _look(kind: str, python: str, machine: str, kit: Kit, bundles: Collection[tuple[int, str, str]]) -> Cell:
    has_package = any(one.kind == kind and one.arch == machine for one in kit.packages)
    release = max((number for number, *fits in bundles if fits == [python, machine]), default=0)
    missing = []
    if not has_package:
        missing.append(_("no %(kind)s package") % {"kind": kind})
    if not release:
        missing.append(_("no bundle for Python %(python)s") % {"python": python})
    return Cell(machine, release, tuple(missing))


def _find_bundles(folder: Path | None) -> set[tuple[int, str, str]]:
    """Give the published bundles as release, Python and machine; none where nothing is published or it cannot be read."""
    if folder is None:
        return set()
    try:
        names = ReleaseRepository(folder).list_targets()
    except (ReleaseError, OSError):
        return set()
    found = (_BUNDLE.fullmatch(name) for name in names)
    return {(int(one[1]), f"3.{one[2]}", one[3]) for one in found if one is not None}


def _name_gap(gap: str) -> str:
    """Say in the reader's language what is missing; what is new to this page stays English."""
    return {
        "no_package": _(
            "No launcher package is published: hosts need teiten-launcher installed by hand. Run `make packages`, then"
            " `teiten sensor create … --packages DIR` once."
        ),
        "no_program": _(
            "No release is published: the scripts cannot install the program. Run `teiten release init` and publish one."
        ),
        "no_operators": _(
            "No list of operators is published: the sensors obey no command until there is one (`teiten release publish`)."
        ),
    }.get(gap, GAPS[gap])
