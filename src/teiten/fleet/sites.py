"""What is known of the place where a sensor stands, beside its region."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Site:
    """Country, network and manner of an observation point."""

    #: ISO 3166-1 alpha-2; empty: nobody said.
    country: str = ""
    #: 0: nobody said.
    asn: int = 0
    provider: str = ""
    #: isp, enterprise, university, cloud, idc or other.
    kind: str = "other"
    #: silent or answering.
    mode: str = "silent"


UNKNOWN_SITE = Site()
