"""The version of all rules together, and the columns that they derive.

Raise :data:`RULE_VERSION` whenever a rule of ``nature``, ``hints``, ``reflection`` or
``fingerprints`` gives another answer for some packet; rows keep the version that
judged them.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from teiten.traffic import fingerprints, hints, nature
from teiten.traffic.columns import PacketColumns
from teiten.traffic.validity import SourceValidity

RULE_VERSION = 1


def derive_columns(columns: PacketColumns) -> dict[str, NDArray[np.generic]]:
    """Give the columns nature, validity, probe, hints, rule_version and tcp_fp of n packets."""
    natures = nature.classify(columns)
    return {
        "nature": natures,
        "validity": np.full(natures.size, SourceValidity.ORDINARY, np.uint8),
        "probe": np.full(natures.size, "", object),
        "hints": hints.match(columns),
        "rule_version": np.full(natures.size, RULE_VERSION, np.uint16),
        "tcp_fp": fingerprints.tcp_fp(columns),
    }
