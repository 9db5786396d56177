"""Read a request strictly: one form of path, one of each field, a stated length, no tricks.

Whatever a proxy on the way may do (double a field, encode a path, rewrite a
method) must end in a refusal that names the rule, never in a different meaning.
"""

from __future__ import annotations

import re

from aiohttp import web

from teiten.gateway.errors import Refusal
from teiten.protocol import signature
from teiten.protocol.signature import RequestTarget, SignedFields

_ONCE = (
    "Host",
    "Content-Length",
    "Content-Type",
    "Batch-Seal",
    "Range",
    signature.DIGEST_FIELD,
    signature.INPUT_FIELD,
    signature.SIGNATURE_FIELD,
)
_NEVER = ("Transfer-Encoding", "Content-Encoding", "Expect", "Range", "Trailer", "Upgrade")
_LENGTH = re.compile(r"0|[1-9][0-9]{0,11}")


def check_fields(request: web.BaseRequest, *, may_ask_part: bool = False) -> None:
    """Refuse doubled and unwanted fields, and a query; ``Range`` too where there is nothing to be asked in parts.

    Raises:
        Refusal: 400, naming the field and the rule.
    """
    for name in _ONCE:
        if len(request.headers.getall(name, ())) > 1:
            raise Refusal(400, "field_doubled", f"field {name} must stand once")
    for name in _NEVER:
        if name in request.headers and not (may_ask_part and name == "Range"):
            raise Refusal(400, "field_unwanted", f"field {name} is not allowed here")


def length_of(request: web.BaseRequest, *, at_most: int) -> int:
    """Give the stated length of the body, before a byte of it is read; a GET without one has no body.

    Raises:
        Refusal: 411 without a length, 413 beyond the limit.
    """
    text = request.headers.get("Content-Length", "0" if request.method == "GET" else "")
    if _LENGTH.fullmatch(text) is None:
        raise Refusal(411, "length_required", "Content-Length must state the length of the body")
    if int(text) > at_most:
        raise Refusal(413, "too_large", f"the body has {text} bytes; at most {at_most} are taken")
    return int(text)


def signed_fields(request: web.BaseRequest) -> SignedFields:
    """Take the three fields of a signature; an absent one is empty and will be refused."""
    return SignedFields(
        content_digest=request.headers.get(signature.DIGEST_FIELD, ""),
        signature_input=request.headers.get(signature.INPUT_FIELD, ""),
        signature=request.headers.get(signature.SIGNATURE_FIELD, ""),
    )


def target_of(request: web.BaseRequest, authority: str) -> RequestTarget:
    """Say what the request must have been signed for; the authority is ours, not ``Host``."""
    path, _, query = request.raw_path.partition("?")
    return RequestTarget(method=request.method, authority=authority, path=path, query=query)
