"""When traffic comes: campaigns that start, grow and fade, on top of the daily and weekly waves."""

from __future__ import annotations

import numpy as np

from teiten.simulators.hashes import F64
from teiten.simulators.streams import Campaign

#: Campaigns come again after so many days, so that a demonstration of any age has something new.
CYCLE_DAYS = 75
_BEFORE_DAYS = 30


def scale_by_campaigns(campaigns: tuple[Campaign, ...], days_since_anchor: F64) -> F64:
    """Give the factor on a stream's rate at each instant; 1 outside campaigns."""
    factor = np.ones_like(days_since_anchor)
    day = np.mod(days_since_anchor + _BEFORE_DAYS, CYCLE_DAYS) - _BEFORE_DAYS
    for campaign in campaigns:
        age = day - campaign.start_day
        rising = np.clip(age / campaign.rise_days, 0.0, 1.0)
        falling = np.clip((age - campaign.rise_days - campaign.hold_days) / campaign.fall_days, 0.0, 1.0)
        shape = _smooth(rising) * (1.0 - _smooth(falling))
        factor += campaign.growth * shape
    return np.asarray(factor, dtype=np.float64)


def _smooth(share: F64) -> F64:
    """Ease in and out (cubic)."""
    return np.asarray(share * share * (3.0 - 2.0 * share), dtype=np.float64)
