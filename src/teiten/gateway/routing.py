"""A route: one method and one form of path, and the endpoint that answers it."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeAlias

from aiohttp import web

from teiten.gateway.authenticating import Desk

#: Status and body, which the gateway signs; or a response that goes out as it is (a public file).
Reply: TypeAlias = tuple[int, bytes] | web.StreamResponse
Endpoint: TypeAlias = Callable[[Desk, web.BaseRequest, re.Match[str]], Awaitable[Reply]]


@dataclass(frozen=True)
class Route:
    """What is asked for, and who answers."""

    #: Name in counters and logs.
    name: str
    method: str
    #: Must match the whole path as it was sent, query included: there is one form of each path.
    path: re.Pattern[str]
    #: The path for people, in a refusal.
    shown: str
    endpoint: Endpoint
    #: Whether a download may go on where it broke off (``Range``).
    has_parts: bool = False
