"""What is new and what grew, in words: each with its evidence, each leading to its page and its rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from teiten.portal.naming.groups import name_group
from teiten.portal.presenting.figures import format_measure
from teiten.portal.presenting.pivots import narrow_by, page_of
from teiten.portal.screen import Screen
from teiten.search.answers import Points
from teiten.search.answers_news import Mover, Movers, News, NewsItem

#: As many sensors as an answer tells apart.
_MOST_SENSORS = 5


@dataclass(frozen=True)
class Novelty:
    """One new value, or a new pair of values."""

    #: Name, smaller text and address of each value.
    parts: tuple[tuple[str, str, str], ...]
    since: str
    evidence: str
    packets: int
    rows_url: str


@dataclass(frozen=True)
class Growth:
    """One value beyond its usual range."""

    name: str
    small: str
    url: str
    #: Change of the mean and of the highest bucket, in words: ``+240 %``.
    trend: str
    peak: str
    recent: float
    usual: str
    spark: Points
    packets: int
    rows_url: str


def describe_news(news: News, screen: Screen) -> dict[str, Any]:
    """Give a list of what is seen for the first time."""
    return {
        "items": [_describe_item(item, screen) for item in news.items],
        "title": name_news(news.dimension),
        "distinct": news.distinct,
        "lone": _word_lone(news),
        "days": news.days,
        "days_watched": news.days_watched,
        "is_told": news.days_watched > 0,
        "file": f"teiten-new-{news.dimension}",
    }


def _word_lone(news: News) -> str:
    """Say how many are not listed; with nothing listed they are no more than these."""
    count = news.from_one_source
    if not count:
        return ""
    return ngettext(
        "%(count)s more was seen from one source only", "%(count)s more were seen from one source only", count
    ) % {"count": f"{count:,}"}


def name_news(dimension: str) -> str:
    """Give the heading of a list of what is new."""
    return {
        "fingerprint_port": _("New fingerprint and port"),
        "dst_port": _("New ports"),
        "tcp_fp": _("New fingerprints"),
        "payload_hash": _("New payloads"),
        "probe": _("New probes"),
    }[dimension]


def _describe_item(item: NewsItem, screen: Screen) -> Novelty:
    both = " and ".join(group.condition for group in item.groups)
    parts = tuple(
        (*name_group(group, screen.language), page_of(screen, group)) for group in reversed(item.groups)
    )
    return Novelty(
        parts=parts,
        since=screen.instants.moment(item.first_seen_at),
        evidence=" · ".join(part for part in (_word_sensors(item.sensors_at_least), _word_hosts(item.hosts)) if part),
        packets=item.packets,
        rows_url=narrow_by(screen, both),
    )  # fmt: skip


def _word_sensors(sensors: int) -> str:
    if sensors >= _MOST_SENSORS:
        return _("%(count)s sensors or more") % {"count": _MOST_SENSORS}
    return ngettext("%(count)s sensor", "%(count)s sensors", sensors) % {"count": sensors}


def _word_hosts(hosts: int | None) -> str:
    if hosts is None:
        return ""
    return ngettext("%(count)s source", "%(count)s sources", hosts) % {"count": f"{hosts:,}"}


def describe_movers(movers: Movers, screen: Screen) -> dict[str, Any]:
    """Give a list of what grew beyond its usual range."""
    return {
        "items": [_describe_mover(mover, screen) for mover in movers.items],
        "title": {"dst_port": _("Ports beyond their usual range"), "asn": _("AS beyond their usual range")}.get(
            movers.dimension, _("Beyond its usual range")
        ),
        "days": movers.days,
        "days_watched": movers.days_watched,
        "is_told": bool(movers.items) or movers.days_watched >= _ENOUGH_DAYS,
        "file": f"teiten-movers-{movers.dimension}",
    }  # fmt: skip


#: Below this many watched days nothing is called usual.
_ENOUGH_DAYS = 7


def _describe_mover(mover: Mover, screen: Screen) -> Growth:
    name, small = name_group(mover.group, screen.language)
    usual = {
        "usual": format_measure(mover.usual_rate),
        "low": format_measure(mover.usual_low),
        "high": format_measure(mover.usual_high),
    }
    return Growth(
        name=name,
        small=small,
        url=page_of(screen, mover.group),
        trend=write_growth(mover.trend),
        peak=write_growth(mover.anomaly),
        recent=mover.recent_rate,
        usual=_("usually %(usual)s (%(low)s to %(high)s)") % usual,
        spark=mover.spark,
        packets=mover.recent_packets,
        rows_url=narrow_by(screen, mover.group.condition),
    )


def write_growth(change: float) -> str:
    """Write how far above the usual something is: ``+240 %``, from a hundredfold on ``×120``."""  # noqa: RUF002 - the sign people read
    if change >= 99:
        return f"×{change + 1:,.0f}"  # noqa: RUF001 - the sign people read
    return f"{change * 100:+,.0f} %"
