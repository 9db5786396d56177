"""The loader's reference data as the datasets room publishes to them."""

from __future__ import annotations

import tempfile
from pathlib import Path

from teiten.cli.installation import Installation
from teiten.loader.reference import ReferenceBook


class PublishedReference:
    """Gives files to the reference book of an installation."""

    def __init__(self, installation: Installation) -> None:
        self._book = ReferenceBook(installation.place_dir)

    def use_survey(self, content: bytes) -> str:
        """Use a survey list from the next block on; gives the version."""
        with tempfile.TemporaryDirectory(prefix="teiten-survey-") as folder:
            path = Path(folder) / "survey.csv"
            path.write_bytes(content)
            return self._book.use((), path).version
