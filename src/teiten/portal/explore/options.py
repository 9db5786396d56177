"""How Explore draws: what it splits by, how many lines, which order; all of it in the URL."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, TypeAlias, get_args

from django.http import HttpRequest
from django.utils.translation import gettext as _

from teiten.portal.controls import Choice, Control
from teiten.portal.naming.groups import name_dimension
from teiten.portal.screen import Screen
from teiten.search.errors import QueryError

#: What orders the lines: their mean, their highest or their newest value.
RankBy: TypeAlias = Literal["avg", "max", "last"]
#: Parameters that Explore reads besides the question's own.
PARAMETERS = ("split", "lines", "rank", "before", "page", "ref", "format")
DIMENSIONS = (
    "country",
    "dst_port",
    "asn",
    "hint",
    "nature",
    "region",
    "tcp_fp",
    "protocol",
    "src_prefix",
    "survey",
    "none",
)
LINE_COUNTS = ("4", "7")
RANKS: tuple[RankBy, ...] = get_args(RankBy)


@dataclass(frozen=True)
class Options:
    """What the chart is split by and how its lines are chosen."""

    #: Empty when not split.
    split: str
    lines: int
    rank: RankBy
    has_previous: bool

    def encode(self) -> dict[str, str]:
        return {
            "split": self.split or "none",
            "lines": str(self.lines),
            "rank": self.rank,
            "before": "yes" if self.has_previous else "no",
        }


def read_options(request: HttpRequest) -> Options:
    """Read the options from the URL.

    Raises:
        QueryError: naming the parameter and its choices.
    """
    split = _choose(request, "split", DIMENSIONS, default="country")
    return Options(
        split="" if split == "none" else split,
        lines=int(_choose(request, "lines", LINE_COUNTS, default="4")),
        rank=_choose(request, "rank", RANKS, default="avg"),  # type: ignore[arg-type]  # checked by the line itself
        has_previous=_choose(request, "before", ("yes", "no"), default="yes") == "yes",
    )


def _choose(request: HttpRequest, name: str, choices: tuple[str, ...], *, default: str) -> str:
    chosen = request.GET.get(name, default)
    if chosen not in choices:
        rule = f"one of {', '.join(choices)}"
        raise QueryError(
            f"URL parameter {name}={chosen!r} must be {rule}", field=name, value=chosen, rule=rule
        )
    return chosen


def list_option_controls(screen: Screen, options: Options) -> list[Control]:
    """Give the controls above the chart."""

    def url(changed: Options) -> str:
        return screen.url(screen.query, **changed.encode())

    splits = tuple(
        Choice(
            _name_split(name),
            url(replace(options, split="" if name == "none" else name)),
            (options.split or "none") == name,
        )
        for name in DIMENSIONS
    )
    ranks = {"avg": _("mean"), "max": _("peak"), "last": _("newest")}
    orders = tuple(
        Choice(ranks[name], url(replace(options, rank=name)), options.rank == name) for name in RANKS
    )
    counts = tuple(
        Choice(count, url(replace(options, lines=int(count))), str(options.lines) == count)
        for count in LINE_COUNTS
    )
    return [
        Control("split", _("Split by"), splits),
        Control("lines", _("Lines"), counts),
        Control("rank", _("Order"), orders),
    ]


def _name_split(name: str) -> str:
    return _("nothing") if name == "none" else name_dimension(name)
