"""Which alarms a person may see: operators and analysts all, with groups instead of their parts; hosts their own."""

from __future__ import annotations

from collections.abc import Mapping

from django.db.models import Count, QuerySet

from teiten.accounts.models import User
from teiten.fleet.alarms.models import Alarm
from teiten.fleet.selectors import may_see_all


def alarms_visible_to(
    viewer: User | None, *, open_only: bool = True, with_parts: bool = False
) -> QuerySet[Alarm]:
    """Give alarms, newest first; None is the command line, which sees all.

    Args:
        viewer: who looks.
        open_only: leave out what is over.
        with_parts: give operators the parts of groups too; hosts always see their own sensors one by one.
    """
    alarms = Alarm.objects.select_related("sensor", "organisation", "acknowledged_by").order_by(
        "-opened_at", "-pk"
    )
    if open_only:
        alarms = alarms.filter(closed_at=None)
    if viewer is None or may_see_all(viewer):
        return alarms if with_parts else alarms.filter(within=None)
    return alarms.filter(organisation=viewer.organisation_id, sensor__isnull=False)


def count_open(viewer: User | None) -> Mapping[str, int]:
    """Count open alarms by kind, those that are there only."""
    counted = alarms_visible_to(viewer).order_by().values_list("kind").annotate(n=Count("pk"))
    return dict(counted)
