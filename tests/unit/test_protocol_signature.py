"""Request and response signatures: the strict profile, checked against another implementation."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from teiten.protocol import keys, signature
from teiten.protocol.errors import ClockSkewError, SignatureError
from teiten.protocol.signature import RequestTarget, SignedFields

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
GATEWAY = Ed25519PrivateKey.from_private_bytes(bytes(range(1, 33)))
PUBLIC = keys.public_bytes(KEY)
GATEWAY_KEYS = {"gw.1": keys.public_bytes(GATEWAY)}
NOW_S = 1_795_230_000
TARGET = RequestTarget("PUT", "gateway.example:8443", "/v1/batches/1/42")
BODY = b"a batch"


def sign(target: RequestTarget = TARGET, body: bytes = BODY, created_s: int = NOW_S) -> SignedFields:
    return signature.sign_request(
        KEY,
        target,
        key_id=keys.KeyId(7, 1),
        digest=hashlib.sha256(body).digest(),
        created_s=created_s,
        nonce="Zm9vYmFyYmF6cXV4MTIzNA",
    )


def verify(
    fields: SignedFields, target: RequestTarget = TARGET, *, body: bytes = BODY, now_s: int = NOW_S
) -> Any:
    return signature.verify_request(
        signature.read_request(fields), target, public_key=PUBLIC, body=body, now_us=now_s * 1_000_000
    )


@dataclass
class Message:
    """What the oracle library wants a message to look like."""

    method: str
    url: str
    headers: dict[str, str]


@dataclass
class Answer:
    status_code: int
    headers: dict[str, str]
    request: Message
    url: str = field(default="")


def make_oracle(handler: Any) -> Any:
    import http_message_signatures as oracle

    resolver = oracle.MappingKeyResolver(
        public_keys={"7.1": KEY.public_key(), "gw.1": GATEWAY.public_key()}, private_keys={"7.1": KEY}
    )
    return handler(signature_algorithm=oracle.algorithms.ED25519, key_resolver=resolver)


@pytest.mark.requirement("R1.2")
def test_it_works() -> None:
    verified = verify(sign())

    assert verified.key_id == keys.KeyId(7, 1)
    assert verified.created_s == NOW_S


@pytest.mark.parametrize("query", ["", "a=1&b=2"])
def test_another_implementation_verifies_our_request(query: str) -> None:
    import http_message_signatures as oracle

    fields = sign(replace(TARGET, query=query), created_s=int(datetime.now(tz=timezone.utc).timestamp()))
    suffix = f"?{query}" if query else ""
    message = Message("PUT", f"https://gateway.example:8443/v1/batches/1/42{suffix}", fields.as_headers())

    results = make_oracle(oracle.HTTPMessageVerifier).verify(
        message, require_components=("@method", "@authority", "@path", "@query", "content-digest"), body=BODY
    )

    assert results[0].parameters["keyid"] == "7.1"


def test_we_verify_another_implementations_request() -> None:
    import http_message_signatures as oracle

    digest = signature.format_digest(hashlib.sha256(BODY).digest())
    message = Message("PUT", "https://gateway.example:8443/v1/batches/1/42", {"Content-Digest": digest})
    make_oracle(oracle.HTTPMessageSigner).sign(
        message,
        key_id="7.1",
        created=datetime.fromtimestamp(NOW_S, tz=timezone.utc),
        nonce="Zm9vYmFyYmF6cXV4MTIzNA",
        label="sig",
        tag="teiten-v1",
        use_existing_digest=True,
        covered_component_ids=("@method", "@authority", "@path", "@query", "content-digest"),
    )
    order = ["created", "nonce", "keyid", "alg", "tag"]
    found = re.findall(r";([a-z]+)=", message.headers["Signature-Input"])

    fields = SignedFields(digest, message.headers["Signature-Input"], message.headers["Signature"])
    if found == order:
        assert verify(fields).key_id == keys.KeyId(7, 1)
    else:  # The profile fixes the order of the parameters; another order is another profile.
        with pytest.raises(SignatureError, match="profile"):
            verify(fields)
    assert message.headers["Signature-Input"].startswith(sign().signature_input.partition(";")[0])


def test_another_implementation_verifies_our_response() -> None:
    import http_message_signatures as oracle

    request = sign()
    answer = signature.sign_response(
        GATEWAY,
        key_id="gw.1",
        status=201,
        body=b"receipt",
        echo=signature.echo_signature(request),
        created_s=int(datetime.now(tz=timezone.utc).timestamp()),
    )
    message = Answer(
        201, answer.as_headers(), Message("PUT", "https://gateway.example:8443/x", request.as_headers())
    )

    results = make_oracle(oracle.HTTPMessageVerifier).verify(
        message,
        require_components=("@status", "content-digest", '"signature";req;key="sig"'),
        body=b"receipt",
    )

    assert results[0].parameters["keyid"] == "gw.1"


@pytest.mark.parametrize(
    "target",
    [
        replace(TARGET, method="POST"),
        replace(TARGET, authority="other.example:8443"),
        replace(TARGET, path="/v1/batches/1/43"),
        replace(TARGET, query="x"),
    ],
)
def test_it_holds_for_no_other_target(target: RequestTarget) -> None:
    with pytest.raises(SignatureError) as caught:
        verify(sign(), target)

    assert caught.value.code == "signature.invalid"


def test_another_body_is_refused() -> None:
    with pytest.raises(SignatureError) as caught:
        verify(sign(), body=b"another batch")

    assert caught.value.code == "digest.mismatch"


def test_another_body_with_its_digest_is_refused() -> None:
    digest = signature.format_digest(hashlib.sha256(b"x").digest())

    with pytest.raises(SignatureError) as caught:
        verify(replace(sign(), content_digest=digest), body=b"x")

    assert caught.value.code == "signature.invalid"


@pytest.mark.parametrize("now_s", [NOW_S - 300, NOW_S + 300])
def test_a_skew_of_five_minutes_is_allowed(now_s: int) -> None:
    verify(sign(), now_s=now_s)


@pytest.mark.parametrize("now_s", [NOW_S - 301, NOW_S + 301, 0])
def test_a_larger_skew_is_refused_by_name(now_s: int) -> None:
    with pytest.raises(ClockSkewError) as caught:
        verify(sign(), now_s=now_s)

    assert caught.value.code == "signature.clock_skew"


def test_a_wrong_signature_does_not_learn_of_its_skew() -> None:
    with pytest.raises(SignatureError) as caught:
        verify(sign(), replace(TARGET, path="/x"), now_s=0)

    assert not isinstance(caught.value, ClockSkewError)


PARTS = sign().signature_input


@pytest.mark.parametrize(
    "text",
    [
        "",
        PARTS.replace("sig=", "sig1="),
        PARTS.replace('"@method" ', ""),
        PARTS.replace('"@method" "@authority"', '"@authority" "@method"'),
        PARTS.replace('"content-digest"', '"content-digest" "date"'),
        PARTS.replace('"content-digest"', '"content-digest";sf'),
        PARTS.replace("teiten-v1", "teiten-v2"),
        PARTS.replace("ed25519", "hmac-sha256"),
        PARTS.replace(f"created={NOW_S};", ""),
        PARTS.replace(f"created={NOW_S}", f"created=0{NOW_S}"),
        PARTS.replace(f"created={NOW_S}", f"created={NOW_S};expires=9"),
        PARTS.replace('keyid="7.1"', 'keyid="x.1"'),
        PARTS.replace('keyid="7.1"', 'keyid="7.0"'),
        PARTS.replace('keyid="7.1"', 'keyid="4294967296.1"'),
        PARTS.replace('nonce="Zm9', 'nonce="Zm9m'),
        PARTS + " ",
        PARTS + "\n",
        PARTS + ", " + PARTS,
        PARTS.replace(";", "; "),
    ],
)
def test_any_other_input_is_refused(text: str) -> None:
    with pytest.raises(SignatureError) as caught:
        signature.read_request(replace(sign(), signature_input=text))

    assert caught.value.code in ("signature.input", "signature.keyid")


@pytest.mark.parametrize(
    "text", ["", "sig=::", "sig=:AAAA:", "sig1=:" + "A" * 86 + "==:", "sig=:" + "A" * 85 + "B==:"]
)
def test_a_malformed_signature_is_refused(text: str) -> None:
    with pytest.raises(SignatureError) as caught:
        signature.read_request(replace(sign(), signature=text))

    assert caught.value.code == "signature.form"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "sha-512=:AAAA:",
        "sha-256=:AAAA:",
        "sha-256=:" + "A" * 42 + "B=:",
        sign().content_digest + ", sha-512=:AA==:",
    ],
)
def test_a_malformed_digest_is_refused(text: str) -> None:
    with pytest.raises(SignatureError) as caught:
        signature.read_request(replace(sign(), content_digest=text))

    assert caught.value.code == "digest.form"


@given(one=st.text(max_size=120), two=st.text(max_size=100), three=st.text(max_size=60))
def test_any_fields_are_refused_without_a_crash(one: str, two: str, three: str) -> None:
    with pytest.raises(SignatureError):
        signature.read_request(SignedFields(three, one, two))


def test_a_signer_refuses_what_a_verifier_would() -> None:
    with pytest.raises(SignatureError):
        signature.sign_request(
            KEY, TARGET, key_id=keys.KeyId(7, 1), digest=bytes(32), created_s=-1, nonce="A" * 22
        )
    with pytest.raises(SignatureError):
        signature.sign_request(KEY, TARGET, key_id=keys.KeyId(7, 1), digest=bytes(32), created_s=1, nonce='"')


def respond(request: SignedFields, *, status: int = 201, body: bytes = b"receipt") -> SignedFields:
    return signature.sign_response(
        GATEWAY,
        key_id="gw.1",
        status=status,
        body=body,
        echo=signature.echo_signature(request),
        created_s=NOW_S,
    )


def check_response(answer: SignedFields, request: SignedFields, **change: Any) -> str:
    given_values: dict[str, Any] = {"status": 201, "body": b"receipt", **change}
    return signature.verify_response(
        GATEWAY_KEYS, answer, echo=signature.echo_signature(request), **given_values
    )


def test_a_response_fits_its_request() -> None:
    assert check_response(respond(sign()), sign()) == "gw.1"


@pytest.mark.requirement("R1.2")
def test_a_recorded_response_fits_no_other_request() -> None:
    later = sign(created_s=NOW_S + 60)

    with pytest.raises(SignatureError) as caught:
        check_response(respond(sign()), later)

    assert caught.value.code == "signature.invalid"


@pytest.mark.parametrize("change", [{"status": 200}, {"body": b"other"}])
def test_a_changed_response_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(SignatureError):
        check_response(respond(sign()), sign(), **change)


def test_an_unknown_gateway_key_is_refused() -> None:
    with pytest.raises(SignatureError, match="not known"):
        signature.verify_response(
            {}, respond(sign()), status=201, body=b"receipt", echo=signature.echo_signature(sign())
        )


def test_an_answer_to_enrolment_covers_the_requests_digest() -> None:
    echo = signature.echo_digest(signature.format_digest(hashlib.sha256(b"enrol").digest()))
    other = signature.echo_digest(signature.format_digest(hashlib.sha256(b"other").digest()))
    answer = signature.sign_response(
        GATEWAY, key_id="gw.1", status=201, body=b"{}", echo=echo, created_s=NOW_S
    )

    assert signature.verify_response(GATEWAY_KEYS, answer, status=201, body=b"{}", echo=echo) == "gw.1"
    with pytest.raises(SignatureError):
        signature.verify_response(GATEWAY_KEYS, answer, status=201, body=b"{}", echo=other)
    with pytest.raises(SignatureError):
        signature.verify_response(
            GATEWAY_KEYS, answer, status=201, body=b"{}", echo=signature.echo_signature(sign())
        )


def test_an_unsigned_request_cannot_be_echoed() -> None:
    with pytest.raises(SignatureError):
        signature.echo_signature(SignedFields("", "", ""))
    with pytest.raises(SignatureError):
        signature.echo_digest("sha-256=")
