"""What this room needs from others; ``cli`` hands it over."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol


class ReferencePublisher(Protocol):
    """The reference data that the loader reads, kept by version."""

    def use_survey(self, content: bytes) -> str:
        """Use a survey list, CSV, from the next block on; gives the version.

        Raises:
            TeitenError: when it cannot be used; nothing was changed.
        """

    def use_rules(self, path: Path, *, kind: str) -> str:
        """Use a file of bogon networks (``kind`` ``bogons``) or of probe rules (``probes``) likewise."""
