"""Names of regions: the operator's own, from the fleet."""

from __future__ import annotations

from django.core.cache import cache
from django.utils.translation import gettext as _

from teiten.fleet.models import Region

_CACHE_KEY = "teiten.region-names"
#: A renamed region shows its new name after this long.
_KEPT_SECONDS = 30


def name_region(code: str, language: str) -> str:
    """Give a region's name, or its code when the fleet has no name for it."""
    if not code or code == "unknown":
        return _("Unknown region")
    name_ja, name_en, _position = region_names().get(code, (code, code, 0))
    return name_ja if language == "ja" else name_en


def region_names() -> dict[str, tuple[str, str, int]]:
    """Give each region's Japanese and English name and its place in lists."""
    names: dict[str, tuple[str, str, int]] | None = cache.get(_CACHE_KEY)
    if names is None:
        rows = Region.objects.order_by("position", "code").values_list(
            "code", "name_ja", "name_en", "position"
        )
        names = {code: (name_ja, name_en, position) for code, name_ja, name_en, position in rows}
        cache.set(_CACHE_KEY, names, _KEPT_SECONDS)
    return names
