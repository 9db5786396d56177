"""Request and response signatures: one strict profile of RFC 9421 with RFC 9530 digests.

A request is signed by the sensor's key over method, authority, path, query and
content digest, with the parameters created, nonce, keyid, alg and tag, in this
order and no other. A response is signed by a gateway key over its status, its
content digest and **the request's signature** (``"signature";req``), so that a
recorded answer fits no other request; an answer to enrolment, which has no
request signature yet, covers the request's digest instead.

Replays need no store of nonces: a signature is good for 300 s either way, and
what a request does is idempotent or guarded by a counter.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from teiten.protocol.errors import ClockSkewError, MessageError, SignatureError
from teiten.protocol.keys import KeyId, load_public, parse_key_id

#: The three HTTP fields of the profile.
DIGEST_FIELD = "Content-Digest"
INPUT_FIELD = "Signature-Input"
SIGNATURE_FIELD = "Signature"

TAG = "teiten-v1"
MAX_SKEW_SECONDS = 300

_REQUEST_COMPONENTS = '("@method" "@authority" "@path" "@query" "content-digest")'
_REQUEST_INPUT = re.compile(
    r'sig=\("@method" "@authority" "@path" "@query" "content-digest"\)'
    r';created=(0|[1-9][0-9]{0,11});nonce="([A-Za-z0-9_-]{22})";keyid="([0-9.]{3,20})";alg="ed25519";tag="teiten-v1"'
)
_RESPONSE_INPUT = re.compile(
    r"sig=(?P<components>\([^()]{1,120}\));created=(0|[1-9][0-9]{0,11});"
    r'keyid="(?P<key_id>[A-Za-z0-9_.-]{1,40})";alg="ed25519";tag="teiten-v1"'
)
_SIGNATURE = re.compile(r"sig=(:[A-Za-z0-9+/]{86}==:)")
_DIGEST = re.compile(r"sha-256=:([A-Za-z0-9+/]{43}=):")
_NONCE = re.compile(r"[A-Za-z0-9_-]{22}")


@dataclass(frozen=True)
class RequestTarget:
    """What a request is sent to, as both sides must see it."""

    method: str
    #: Host in lower case, with the port unless it is 443: from configuration, never from ``Host``.
    authority: str
    #: Absolute path without query, in its canonical form.
    path: str
    #: Query without ``?``.
    query: str = ""


@dataclass(frozen=True)
class SignedFields:
    """The three fields, as they stand in a message."""

    content_digest: str
    signature_input: str
    signature: str

    def as_headers(self) -> dict[str, str]:
        return {
            DIGEST_FIELD: self.content_digest,
            INPUT_FIELD: self.signature_input,
            SIGNATURE_FIELD: self.signature,
        }


@dataclass(frozen=True)
class RequestSignature:
    """A request's signature, read but not yet verified."""

    key_id: KeyId
    #: Seconds since 1970-01-01 UTC by the sender's clock.
    created_s: int
    nonce: str
    #: SHA-256 that the digest field states.
    digest: bytes
    fields: SignedFields


@dataclass(frozen=True)
class VerifiedRequest:
    """Who sent a request, proven."""

    key_id: KeyId
    created_s: int
    nonce: str


@dataclass(frozen=True)
class Echo:
    """The part of a request that its answer's signature covers."""

    component: str
    value: str


def sign_request(
    private_key: Ed25519PrivateKey,
    target: RequestTarget,
    *,
    key_id: KeyId,
    digest: bytes,
    created_s: int,
    nonce: str,
) -> SignedFields:
    """Sign a request.

    Args:
        private_key: the sensor's.
        target: where it goes.
        key_id: names the key for the gateway.
        digest: SHA-256 of the body.
        created_s: seconds since 1970 by the best clock known.
        nonce: 22 characters of base64url, never the same twice.

    Raises:
        SignatureError: when an argument does not fit the profile.
    """
    parameters = f'{_REQUEST_COMPONENTS};created={created_s};nonce="{nonce}";keyid="{key_id}";alg="ed25519";tag="{TAG}"'
    if _NONCE.fullmatch(nonce) is None or _REQUEST_INPUT.fullmatch(f"sig={parameters}") is None:
        raise SignatureError("signature.input", "created, nonce or keyid does not fit the profile")
    content_digest = format_digest(digest)
    signed = private_key.sign(_request_base(target, content_digest, parameters))
    return SignedFields(content_digest, f"sig={parameters}", f"sig={_byte_sequence(signed)}")


def read_request(fields: SignedFields) -> RequestSignature:
    """Read a request's three fields, so that the key can be looked up.

    Raises:
        SignatureError: when they are not in the profile's one form.
    """
    match = _REQUEST_INPUT.fullmatch(fields.signature_input)
    if match is None:
        raise SignatureError("signature.input", f"{INPUT_FIELD} is not of the profile {TAG}")
    _read_signature(fields.signature)
    try:
        key_id = parse_key_id(match[3])
    except MessageError as error:
        raise SignatureError("signature.keyid", str(error)) from error
    return RequestSignature(
        key_id=key_id,
        created_s=int(match[1]),
        nonce=match[2],
        digest=parse_digest(fields.content_digest),
        fields=fields,
    )


def verify_request(
    request: RequestSignature, target: RequestTarget, *, public_key: bytes, body: bytes, now_us: int
) -> VerifiedRequest:
    """Check signature, time and digest of a request, in this order.

    Raises:
        SignatureError: when the signature or the digest does not hold.
        ClockSkewError: when the signature holds but is more than 300 s from ``now_us``.
    """
    verified = verify_fields(request, target, public_key=public_key, now_us=now_us)
    check_digest(request.digest, body)
    return verified


def verify_fields(
    request: RequestSignature, target: RequestTarget, *, public_key: bytes, now_us: int
) -> VerifiedRequest:
    """Check signature and time of a request whose body has not been read yet.

    The signature covers the body's digest, so nobody needs to keep a stranger's body to find
    out that it is one; :func:`check_digest` then says whether the body is the one that was signed.

    Raises:
        SignatureError: when the signature does not hold.
        ClockSkewError: when it holds but is more than 300 s from ``now_us``.
    """
    parameters = request.fields.signature_input.removeprefix("sig=")
    base = _request_base(target, request.fields.content_digest, parameters)
    _verify(public_key, _read_signature(request.fields.signature), base)
    if abs(now_us - request.created_s * 1_000_000) > MAX_SKEW_SECONDS * 1_000_000:
        raise ClockSkewError(
            "signature.clock_skew", f"the signature was made more than {MAX_SKEW_SECONDS} s from server time"
        )
    return VerifiedRequest(request.key_id, request.created_s, request.nonce)


def echo_signature(fields: SignedFields) -> Echo:
    """Let an answer cover the request's signature.

    Raises:
        SignatureError: when the request has no signature in the profile's form.
    """
    match = _SIGNATURE.fullmatch(fields.signature)
    if match is None:
        raise SignatureError("signature.form", f"{SIGNATURE_FIELD} must be sig=:base64: of 64 bytes")
    return Echo('"signature";req;key="sig"', match[1])


def echo_digest(content_digest: str) -> Echo:
    """Let an answer cover the digest of a request that could not be signed yet.

    Raises:
        SignatureError: when the digest is not in its form.
    """
    parse_digest(content_digest)
    return Echo('"content-digest";req', content_digest)


def sign_response(
    private_key: Ed25519PrivateKey, *, key_id: str, status: int, body: bytes, echo: Echo, created_s: int
) -> SignedFields:
    """Sign a response with a gateway key."""
    content_digest = format_digest(hashlib.sha256(body).digest())
    parameters = (
        f'{_response_components(echo)};created={created_s};keyid="{key_id}";alg="ed25519";tag="{TAG}"'
    )
    signed = private_key.sign(_response_base(status, content_digest, echo=echo, parameters=parameters))
    return SignedFields(content_digest, f"sig={parameters}", f"sig={_byte_sequence(signed)}")


def verify_response(
    gateway_keys: Mapping[str, bytes], fields: SignedFields, *, status: int, body: bytes, echo: Echo
) -> str:
    """Check a response, and give the id of the gateway key that signed it.

    The response's time is not checked: its signature covers the request's, and
    the request is ours and recent, whatever our clock shows.

    Raises:
        SignatureError: when no known gateway key signed exactly this answer to exactly that request.
    """
    match = _RESPONSE_INPUT.fullmatch(fields.signature_input)
    if match is None or match["components"] != _response_components(echo):
        raise SignatureError("signature.input", f"{INPUT_FIELD} is not of the profile {TAG}")
    public_key = gateway_keys.get(match["key_id"])
    if public_key is None:
        raise SignatureError("signature.keyid", f"gateway key {match['key_id']} is not known")
    check_digest(parse_digest(fields.content_digest), body)
    parameters = fields.signature_input.removeprefix("sig=")
    base = _response_base(status, fields.content_digest, echo=echo, parameters=parameters)
    _verify(public_key, _read_signature(fields.signature), base)
    return match["key_id"]


def format_digest(digest: bytes) -> str:
    """Write a SHA-256 as the text of ``Content-Digest``."""
    return f"sha-256={_byte_sequence(digest)}"


def parse_digest(text: str) -> bytes:
    """Read the text of ``Content-Digest``.

    Raises:
        SignatureError: unless it is exactly one SHA-256.
    """
    match = _DIGEST.fullmatch(text)
    if match is None:
        raise SignatureError("digest.form", f"{DIGEST_FIELD} must be sha-256=:base64: and nothing else")
    return _decode(match[1], "digest.form")


def check_digest(digest: bytes, body: bytes) -> None:
    """Check a body against its digest.

    Raises:
        SignatureError: when they differ.
    """
    if not hmac.compare_digest(digest, hashlib.sha256(body).digest()):
        raise SignatureError("digest.mismatch", f"the body is not what {DIGEST_FIELD} states")


def _request_base(target: RequestTarget, content_digest: str, parameters: str) -> bytes:
    return (
        f'"@method": {target.method}\n'
        f'"@authority": {target.authority}\n'
        f'"@path": {target.path}\n'
        f'"@query": ?{target.query}\n'
        f'"content-digest": {content_digest}\n'
        f'"@signature-params": {parameters}'
    ).encode()


def _response_components(echo: Echo) -> str:
    return f'("@status" "content-digest" {echo.component})'


def _response_base(status: int, content_digest: str, *, echo: Echo, parameters: str) -> bytes:
    return (
        f'"@status": {status}\n'
        f'"content-digest": {content_digest}\n'
        f"{echo.component}: {echo.value}\n"
        f'"@signature-params": {parameters}'
    ).encode()


def _verify(public_key: bytes, signed: bytes, base: bytes) -> None:
    try:
        load_public(public_key).verify(signed, base)
    except (InvalidSignature, MessageError) as error:
        raise SignatureError(
            "signature.invalid", "the signature does not hold under the named key"
        ) from error


def _read_signature(text: str) -> bytes:
    match = _SIGNATURE.fullmatch(text)
    if match is None:
        raise SignatureError("signature.form", f"{SIGNATURE_FIELD} must be sig=:base64: of 64 bytes")
    return _decode(match[1][1:-1], "signature.form")


def _byte_sequence(raw: bytes) -> str:
    return f":{base64.b64encode(raw).decode()}:"


def _decode(text: str, code: str) -> bytes:
    try:
        raw = base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise SignatureError(code, "the base64 of a signature field is malformed") from error
    if base64.b64encode(raw).decode() != text:
        raise SignatureError(code, "the base64 of a signature field is not in its one form")
    return raw
