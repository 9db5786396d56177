"""How each sensor's cell is coloured: by state, by the share of time that it watched, or by its version."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from django.db.models import Count, Q
from django.utils.translation import gettext as _

from teiten.fleet.canary.models import Reach
from teiten.fleet.selectors import SensorBrief
from teiten.portal.sensors.states import ORDER, SHAPES, StateMark, mark_of
from teiten.search.watching import SensorCoverage

_SQUARE = SHAPES["st-w"]
#: Lower edges of the steps, per cent of the time; the last one is whole.
_STEPS = ((0.999, "cv-4"), (0.99, "cv-3"), (0.9, "cv-2"), (0.5, "cv-1"), (0.0, "cv-0"))
_MOST_VERSIONS = 5


def mark_rows(
    rows: Sequence[SensorBrief], view: str, shares: Mapping[int | str, SensorCoverage]
) -> tuple[list[StateMark], list[StateMark]]:
    """Give each row's mark, and the legend."""
    if view == "coverage":
        return _mark_coverage(rows, shares)
    if view == "canary":
        return _mark_canaries(rows)
    if view == "version":
        return _mark_versions(rows)
    known = {condition: mark_of(condition) for condition in {row.condition for row in rows}}
    marks = [known[row.condition] for row in rows]
    return marks, [known[condition] for condition in ORDER if condition in known]


def _mark_coverage(
    rows: Sequence[SensorBrief], shares: Mapping[int | str, SensorCoverage]
) -> tuple[list[StateMark], list[StateMark]]:
    words = {
        "cv-4": _("whole time"), "cv-3": "≥ 99 %", "cv-2": "≥ 90 %", "cv-1": "≥ 50 %", "cv-0": "< 50 %",
    }  # fmt: skip
    legend = {css: StateMark(css, _SQUARE, word) for css, word in words.items()}
    unknown = StateMark("cv-n", _SQUARE, _("not watched"))

    def mark(row: SensorBrief) -> StateMark:
        found = shares.get(row.name if row.id is None else row.id)
        if found is None or found.share is None:
            return unknown
        return legend[next(css for least, css in _STEPS if found.share >= least)]

    return [mark(row) for row in rows], [*legend.values(), unknown]


def _mark_versions(rows: Sequence[SensorBrief]) -> tuple[list[StateMark], list[StateMark]]:
    counted = Counter(row.software for row in rows if row.software)
    common = [version for version, _count in counted.most_common(_MOST_VERSIONS)]
    legend = {version: StateMark(f"vr-{place}", _SQUARE, version) for place, version in enumerate(common)}
    rest = StateMark("vr-r", _SQUARE, _("other versions"))
    none = StateMark("cv-n", _SQUARE, _("not told"))
    marks = [legend.get(row.software, rest if row.software else none) for row in rows]
    return marks, [mark for mark in (*legend.values(), rest, none) if mark in marks]


def _mark_canaries(rows: Sequence[SensorBrief]) -> tuple[list[StateMark], list[StateMark]]:
    """Tell for each sensor whether the newest canaries arrived: at every port that was tried, at some, at none."""
    tried = Reach.objects.values_list("sensor").annotate(
        ports=Count("pk"), dark=Count("pk", filter=Q(lost_in_row__gt=0))
    )
    counted = {sensor: (ports, dark) for sensor, ports, dark in tried}
    whole = StateMark("cv-4", _SQUARE, _("all arrived"))
    partly = StateMark("cv-2", _SQUARE, _("some lost"))
    none = StateMark("cv-0", _SQUARE, _("none arrived"))
    untried = StateMark("cv-n", _SQUARE, _("not tried"))

    def mark(row: SensorBrief) -> StateMark:
        ports, dark = counted.get(row.id or 0, (0, 0))
        if not ports:
            return untried
        return whole if not dark else none if dark == ports else partly

    return [mark(row) for row in rows], [whole, partly, none, untried]
