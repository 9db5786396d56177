"""The axis *source validity*: whether a source address can be what it says."""

from __future__ import annotations

from enum import IntEnum


class SourceValidity(IntEnum):
    """Values of the column ``validity``; 0 is also what rows of before this axis have."""

    ORDINARY = 0
    #: No such source can exist in the Internet at that time: special-purpose or not allocated.
    BOGON = 1
    #: The packet contradicts its own source address.
    SPOOF_SUSPECT = 2
