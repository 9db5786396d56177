"""Names of sensors, for viewers who may see which sensor saw what."""

from __future__ import annotations

from django.core.cache import cache

from teiten.fleet.models import Sensor

_CACHE_KEY = "teiten.sensor-names"
_KEPT_SECONDS = 30


def name_sensor(number: int) -> str:
    """Give a sensor's name; one that the fleet does not know keeps its number."""
    names: dict[int, str] | None = cache.get(_CACHE_KEY)
    if names is None:
        names = dict(Sensor.objects.order_by("id").values_list("id", "name"))
        cache.set(_CACHE_KEY, names, _KEPT_SECONDS)
    return names.get(number, str(number))
