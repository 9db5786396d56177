"""Reference data (country/AS files, survey list, bogons, probes): kept by version, because a block names its own.

A version is a folder ``<digest>`` below the reference folder; the file ``current``
names the one in use. Versions stay, so that a block that is repeated after a crash
gets the same answers as at its first try.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatch
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from teiten.loader.errors import ReferenceFileError, ReferenceMissing
from teiten.loader.places import PlaceTable, read_table
from teiten.loader.survey_list import read_survey_list
from teiten.traffic.errors import RuleFileError
from teiten.traffic.probes import ProbeTable, load_probes, read_probes
from teiten.traffic.survey import SurveyKind, SurveyTable
from teiten.traffic.validity import BogonTable, load_bogons, read_bogons

_log = logging.getLogger(__name__)

#: The version of an installation that has no reference data.
NONE = ""
_CURRENT = "current"
#: Name of the survey list in the folder of a version.
SURVEY_FILE = "survey.csv"
_BOGONS = "bogons.csv"
_PROBES = "probes.csv"
_PLACES = "places-*.mmdb"
#: Kind of rule file → its name in a version; what is not there is what ships with Teiten.
RULE_FILES = {"bogons": _BOGONS, "probes": _PROBES}
_DIGEST_CHARACTERS = 16


@dataclass(frozen=True)
class ReferenceData:
    """One version, ready for look-ups."""

    version: str
    countries: PlaceTable | None
    asns: PlaceTable | None
    survey: SurveyTable | None
    bogons: BogonTable = field(default_factory=load_bogons)
    probes: ProbeTable = field(default_factory=load_probes)

    def place(self, addresses: NDArray[np.uint8]) -> tuple[NDArray[np.object_], NDArray[np.uint32]]:
        """Give country (empty: unknown) and AS number (0: unknown) of each address, shape (n, 16)."""
        rows = addresses.shape[0]
        countries = np.full(rows, "", dtype=object)
        asns = np.zeros(rows, np.uint32)
        if self.countries is not None:
            countries, asns_too = self.countries.lookup(addresses)
            asns = asns_too if self.asns is self.countries else asns
        if self.asns is not None and self.asns is not self.countries:
            _, asns = self.asns.lookup(addresses)
        return countries, asns

    def find_survey(
        self, addresses: NDArray[np.uint8], times_us: NDArray[np.int64]
    ) -> tuple[NDArray[np.uint8], NDArray[np.object_]]:
        """Give on what grounds each source counts as a survey scanner (``SurveyKind``), and whose it is."""
        if self.survey is None:
            return np.zeros(addresses.shape[0], np.uint8), np.full(addresses.shape[0], "", object)
        _, actors = self.survey.lookup(addresses, times_us)
        # The last entry answers for -1, which is nobody.
        kinds = np.array([*self.survey.kinds, SurveyKind.NONE], np.uint8)
        owners = np.array([*self.survey.owners, ""], object)
        return kinds[actors], owners[actors]

    @property
    def as_names(self) -> dict[int, str]:
        """AS number → name, where a file names it."""
        return {} if self.asns is None else self.asns.as_names


class ReferenceBook:
    """The versions below one folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._open = lru_cache(maxsize=2)(self._read)

    def current_version(self) -> str:
        """Give the version in use, :data:`NONE` when there is none."""
        try:
            return (self._folder / _CURRENT).read_text(encoding="ascii").strip()
        except FileNotFoundError:
            return NONE

    def list_names(self, numbers: Sequence[int]) -> dict[int, str]:
        """Give AS number → name, for those that the files in use name; none when they cannot be read."""
        try:
            known = self.open(self.current_version()).as_names
        except (ReferenceMissing, ReferenceFileError) as error:
            _log.warning("AS numbers cannot be named", extra={"reason": str(error)})
            return {}
        return {number: known[number] for number in numbers if number in known}

    def open(self, version: str) -> ReferenceData:
        """Give a version; the last two are kept in memory.

        Raises:
            ReferenceMissing: when its folder is not there.
            ReferenceFileError: when a file in it was damaged.
        """
        return self._open(version)

    def use(
        self,
        place_files: Sequence[Path] = (),
        survey_list: Path | None = None,
        *,
        rule_files: Mapping[str, Path | None] = MappingProxyType({}),
    ) -> ReferenceData:
        """Check files and use them from now on; what is not given stays as it is.

        Args:
            place_files: country/AS files; any replace all present ones.
            survey_list: the survey list.
            rule_files: kind in :data:`RULE_FILES` → file, or None for what ships with Teiten.

        Raises:
            ReferenceFileError: when a file cannot be used; nothing was changed.
        """
        _check_files(place_files, survey_list, rule_files)
        sources = self._sources(place_files, survey_list, rule_files)
        version = _version_of(sources)
        target = self._folder / version
        self._folder.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=".draft-", dir=self._folder))
        try:
            for name, path in sources.items():
                shutil.copyfile(path, draft / name)
            data = _read_folder(draft, version)
            if not self._is_whole(target):
                shutil.rmtree(target, ignore_errors=True)
                draft.rename(target)
                self._open.cache_clear()
        finally:
            shutil.rmtree(draft, ignore_errors=True)
        self._point_to(version)
        return data

    def _is_whole(self, folder: Path) -> bool:
        """Tell whether a version is there and can be read: what rotted is replaced by the same again."""
        if not folder.exists():
            return False
        try:
            _read_folder(folder, folder.name)
        except ReferenceFileError as error:
            _log.warning("reference data had been damaged and are replaced", extra={"reason": str(error)})
            return False
        return True

    def _sources(
        self,
        place_files: Sequence[Path],
        survey_list: Path | None,
        rule_files: Mapping[str, Path | None],
    ) -> dict[str, Path]:
        """Name the files of the next version, the present ones where none is given."""
        current = self._folder / self.current_version()
        kept = {path.name: path for path in current.iterdir()} if self.current_version() else {}
        if place_files:
            kept = {name: path for name, path in kept.items() if not fnmatch(name, _PLACES)}
            kept |= {f"places-{number}.mmdb": path for number, path in enumerate(place_files)}
        if survey_list is not None:
            kept[SURVEY_FILE] = survey_list
        for kind, path in rule_files.items():
            kept.pop(RULE_FILES[kind], None)
            if path is not None:
                kept[RULE_FILES[kind]] = path
        for path in kept.values():
            if not path.is_file():
                raise ReferenceFileError(f"{path} is no file")
        return kept

    def _point_to(self, version: str) -> None:
        draft = self._folder / f".{_CURRENT}"
        draft.write_text(version, encoding="ascii")
        os.replace(draft, self._folder / _CURRENT)  # noqa: PTH105  # atomic, also over the old one

    def _read(self, version: str) -> ReferenceData:
        if version == NONE:
            return ReferenceData(NONE, None, None, None)
        folder = self._folder / version
        if not folder.is_dir():
            raise ReferenceMissing(
                f"reference data {version} of an unfinished block are not in {self._folder}; put the folder back"
            )
        return _read_folder(folder, version)


def _check_files(
    place_files: Sequence[Path], survey_list: Path | None, rule_files: Mapping[str, Path | None]
) -> None:
    for path in place_files:
        read_table(path)
    if survey_list is not None:
        read_survey_list(survey_list)
    for kind, rules in rule_files.items():
        if rules is not None:
            check_rule_file(kind, rules)


def check_rule_file(kind: str, path: Path) -> BogonTable | ProbeTable:
    """Read a file of ``bogons`` or ``probes`` without using it.

    Raises:
        ReferenceFileError: naming the line and the rule.
    """
    try:
        return read_bogons(path) if kind == "bogons" else read_probes(path)
    except RuleFileError as error:
        raise ReferenceFileError(f"{path.name}: {error}") from error


def _read_folder(folder: Path, version: str) -> ReferenceData:
    tables = [read_table(path) for path in sorted(folder.glob(_PLACES))]
    survey, bogons, probes = (folder / name for name in (SURVEY_FILE, _BOGONS, _PROBES))
    try:
        return ReferenceData(
            version=version,
            countries=next((table for table in tables if table.has_countries), None),
            asns=next((table for table in tables if table.has_asns), None),
            survey=read_survey_list(survey) if survey.exists() else None,
            bogons=read_bogons(bogons) if bogons.exists() else load_bogons(),
            probes=read_probes(probes) if probes.exists() else load_probes(),
        )
    except RuleFileError as error:
        raise ReferenceFileError(f"reference data {version}: {error}") from error


def _version_of(sources: dict[str, Path]) -> str:
    digests = {}
    for name, path in sorted(sources.items()):
        with path.open("rb") as file:
            digests[name] = hashlib.file_digest(file, "sha256").hexdigest()
    return hashlib.sha256(json.dumps(digests).encode()).hexdigest()[:_DIGEST_CHARACTERS]
