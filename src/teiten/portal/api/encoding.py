"""Answers as JSON: dataclasses become objects, bytes hexadecimal text, instants ISO 8601 in UTC.

Answers go out as ready text, past any response schema: checking a thousand rows
against one costs more than the search itself.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from datetime import date, datetime
from typing import Any

from django.http import HttpResponse

from teiten.search.url import write_instant


def to_json(answer: Any) -> str:
    """Write an answer (or a tuple of them) as JSON."""
    return json.dumps(to_plain(answer), ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def to_plain(value: Any) -> Any:
    """Turn an answer into what JSON knows."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: to_plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): to_plain(part) for key, part in value.items()}
    if isinstance(value, tuple | list):
        return [to_plain(part) for part in value]
    return _to_scalar(value)


def respond(answer: Any) -> HttpResponse:
    """Give an answer as a JSON response."""
    return HttpResponse(to_json(answer), content_type="application/json")


def _to_scalar(value: Any) -> Any:
    if isinstance(value, datetime):
        return write_instant(value)
    if isinstance(value, date):
        return value.isoformat()
    return value.hex() if isinstance(value, bytes) else value
