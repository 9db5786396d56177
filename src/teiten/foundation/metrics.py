"""Prometheus metrics: each room declares its own in ``metrics.py`` from these.

Names are ``teiten_<room>_<what>_<unit>``; labels never hold an address, a user or
anything else that a stranger can choose.
"""

from __future__ import annotations

from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, Counter, Gauge, Histogram, generate_latest

__all__ = ["CONTENT_TYPE", "Counter", "Gauge", "Histogram", "render"]

CONTENT_TYPE = CONTENT_TYPE_LATEST


def render() -> bytes:
    """Give all metrics of this process in the text format of ``/metrics``."""
    return generate_latest(REGISTRY)
