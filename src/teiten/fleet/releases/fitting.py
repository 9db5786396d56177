"""Which sensors could take a release, and why others could not: from what their heartbeats and enrolments said."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import connection

from teiten.fleet.releases.repository import ReleaseRepository

_TOLD = """
SELECT s.id, h.report -> 'update' ->> 'release', h.report -> 'update' ->> 'state', h.report -> 'update' ->> 'detail',
    e.detail ->> 'python', e.detail ->> 'arch'
FROM unnest(%(sensors)s::bigint[]) AS s (id)
JOIN fleet_sensorhealth AS h ON h.sensor_id = s.id
LEFT JOIN LATERAL (
    SELECT detail FROM fleet_sensorevent AS e WHERE e.sensor_id = s.id AND e.kind = 'enrolled' ORDER BY e.id DESC LIMIT 1
) AS e ON true
WHERE %(heard_since)s::timestamptz IS NULL OR h.heartbeat_at >= %(heard_since)s
ORDER BY s.id
"""


@dataclass(frozen=True)
class Fit:
    """Who could take a release."""

    #: By number.
    sensors: tuple[int, ...]
    #: Why others could not → how many those are.
    left_out: Mapping[str, int]


@dataclass(frozen=True)
class _Told:
    """What is known of one sensor's host."""

    sensor: int
    #: None: no launcher runs it.
    release: int | None
    state: str
    detail: str
    #: Such as ``3.11``; empty when nobody said.
    python: str
    arch: str


def find_fit(
    repository: ReleaseRepository,
    release: int,
    meant: Sequence[int],
    *,
    heard_since: datetime | None = None,
    is_blocked_fit: bool = True,
) -> Fit:
    """Sort ``meant`` into those that could take a published release and those that could not."""
    bundles = {
        (one.get("python"), one.get("arch")): int(one.get("min_from", 0))
        for one in repository.list_targets().values()
        if one.get("release") == release
    }
    told = _read(meant, heard_since)
    judged = {one.sensor: _find_hindrance(one, release, bundles) for one in told}
    if not is_blocked_fit:
        judged |= {one.sensor: "blocked" for one in told if one.state == "blocked"}
    left_out = Counter(why for why in judged.values() if why)
    if len(meant) > len(judged) and heard_since is None:
        left_out["never heard of"] += len(meant) - len(judged)
    return Fit(tuple(sensor for sensor, why in judged.items() if not why), dict(left_out))


def _find_hindrance(told: _Told, release: int, bundles: Mapping[tuple[Any, Any], int]) -> str:
    if told.release is None:
        return "run without a launcher"
    if told.release >= release:
        return f"run release {release} or a later one"
    if told.state == "rolled_back" and told.detail.startswith(f"release {release}:"):
        return "have given it up before"
    if not told.python:
        return ""
    least = bundles.get((told.python, told.arch))
    if least is None:
        return f"have Python {told.python} on {told.arch}, for which it has no bundle"
    return f"run a release below {least}, from which it cannot be reached" if told.release < least else ""


def _read(meant: Iterable[int], heard_since: datetime | None) -> list[_Told]:
    with connection.cursor() as cursor:
        cursor.execute(_TOLD, {"sensors": list(meant), "heard_since": heard_since})
        return [
            _Told(
                sensor,
                int(release) if release is not None else None,
                state or "",
                detail or "",
                python=".".join((python or "").split(".")[:2]),
                arch=arch or "",
            )
            for sensor, release, state, detail, python, arch in cursor.fetchall()
        ]
