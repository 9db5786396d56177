"""The loader's reference data as the datasets room publishes to them."""

from __future__ import annotations

import tempfile
from pathlib import Path

from teiten.cli.installation import Installation
from teiten.loader.reference import NONE, SURVEY_FILE, ReferenceBook


class PublishedReference:
    """Gives files to the reference book of an installation."""

    def __init__(self, installation: Installation) -> None:
        self._folder = installation.place_dir
        self._book = ReferenceBook(self._folder)

    def read_survey(self) -> bytes | None:
        """Give the survey list in use, None when there is none."""
        version = self._book.current_version()
        path = self._folder / version / SURVEY_FILE
        return path.read_bytes() if version != NONE and path.exists() else None

    def use_survey(self, content: bytes) -> str:
        """Use a survey list from the next block on; gives the version."""
        with tempfile.TemporaryDirectory(prefix="teiten-survey-") as folder:
            path = Path(folder) / "survey.csv"
            path.write_bytes(content)
            return self._book.use((), path).version
