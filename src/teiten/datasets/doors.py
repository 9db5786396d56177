"""What this room needs from others; ``cli`` hands it over."""

from __future__ import annotations

from typing import Protocol


class ReferencePublisher(Protocol):
    """The reference data that the loader reads, kept by version."""

    def use_survey(self, content: bytes) -> str:
        """Use a survey list, CSV, from the next block on; gives the version.

        Raises:
            TeitenError: when it cannot be used; nothing was changed.
        """
