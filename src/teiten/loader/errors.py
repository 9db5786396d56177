"""Errors of the loader.

LoaderError
├── Unbelievable         a batch does not verify: it goes to quarantine, with ``code``
├── ReferenceFileError   a country/AS file or survey list cannot be used; the one in use stays
├── ReferenceMissing     the reference data of an unfinished block are gone: judge by the present ones
└── BlockFailed          a bug: the batches of a block can be built one by one, but not together
"""

from __future__ import annotations

from teiten.foundation.errors import TeitenError
from teiten.protocol.header import BatchHeader


class LoaderError(TeitenError):
    """The loader cannot do what was asked."""


class Unbelievable(LoaderError):
    """A batch must not be believed."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        #: Stable text, ``<thing>.<rule>``.
        self.code = code
        #: What the batch says about itself, where that could be read.
        self.header: BatchHeader | None = None


class ReferenceFileError(LoaderError):
    """A file of reference data breaks a rule; nothing was changed."""


class ReferenceMissing(LoaderError):
    """A version of the reference data is named by a block and not there."""


class BlockFailed(LoaderError):
    """A block cannot be built, though each of its batches can; it stays where it is."""
