"""How right the behavioural survey rule is, on the telescope's traffic, whose surveys are labelled."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from teiten.traffic.behaviour import FleetDay, SourceDay, is_survey

_SYN, _SYN_MASK = 0x02, 0x17
_TCP, _UDP = 6, 17


@dataclass(frozen=True)
class Seen:
    """Packets of a fleet, one entry per packet, IPv4 only."""

    #: The source's day, any number.
    source_day: NDArray[np.int64]
    sensor: NDArray[np.int64]
    protocol: NDArray[np.uint8]
    tcp_flags: NDArray[np.uint16]
    dst_port: NDArray[np.uint16]
    #: 1 where the source is a survey scanner in truth.
    survey: NDArray[np.uint8]


def measure_surveys(seen: Seen, *, sensors: int) -> dict[str, Any]:
    """Give precision and recall by source and day, and by packets.

    Args:
        seen: the packets of whole days.
        sensors: sensors of one address each that watched all the time.
    """
    is_counted = (seen.protocol == _UDP) | ((seen.protocol == _TCP) & ((seen.tcp_flags & _SYN_MASK) == _SYN))
    rows = np.flatnonzero(is_counted)
    keys, place = np.unique(seen.source_day[rows], return_inverse=True)
    ports = seen.protocol[rows].astype(np.int64) << 16 | seen.dst_port[rows]
    packets = np.bincount(place, minlength=keys.size)
    ports_seen = _count_distinct(place, ports, keys.size)
    sensors_seen = _count_distinct(place, seen.sensor[rows], keys.size)
    fleet = FleetDay(float(sensors), sensors)
    days = zip(packets.tolist(), ports_seen.tolist(), sensors_seen.tolist(), strict=True)
    found = np.array([is_survey(SourceDay(*day, 4), fleet).is_survey for day in days], np.bool_)
    truth = np.bincount(place, weights=seen.survey[rows], minlength=keys.size) > 0
    right = truth & found
    return {
        "sensors": sensors,
        "survey_days": int(truth.sum()),
        "found_days": int(found.sum()),
        "precision": _divide(right.sum(), found.sum()),
        "recall": _divide(right.sum(), truth.sum()),
        "precision_by_packets": _divide(packets[right].sum(), packets[found].sum()),
        "recall_by_packets": _divide(packets[right].sum(), packets[truth].sum()),
    }


def _count_distinct(place: NDArray[np.intp], values: NDArray[np.int64], size: int) -> NDArray[np.intp]:
    pairs = np.unique(place.astype(np.int64) << 32 | values)
    return np.bincount((pairs >> 32).astype(np.intp), minlength=size)


def _divide(part: Any, whole: Any) -> float | None:
    return round(float(part) / float(whole), 6) if whole else None
