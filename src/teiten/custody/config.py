"""Rules of the custody room."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class CustodyConfig:
    """Section ``custody`` of the settings."""

    #: Days for which an erasure is applied again to late data; afterwards its record forgets the address. Not less than
    #: ``landing.keep_days``, or a batch that is loaded again could bring the address back.
    reapply_days: int = 100
    #: Hours between two such applications of one erasure.
    reapply_hours: int = 24
