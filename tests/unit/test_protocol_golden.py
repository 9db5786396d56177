"""Golden vectors: what sensors in the field and the base agreed on stays as it is."""

from __future__ import annotations

import base64
import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from teiten.protocol import batch, enrolment, header_text, heartbeat, keys, receipt, seal, signature
from teiten.protocol.signature import RequestTarget, SignedFields

GOLDEN = Path(__file__).parents[1] / "golden"


def load_maker() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_golden", GOLDEN / "make_golden.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["make_golden"] = module
    spec.loader.exec_module(module)
    return module


maker = load_maker()


def read(name: str) -> dict[str, Any]:
    return json.loads((GOLDEN / "protocol" / f"{name}.json").read_text())


@pytest.mark.parametrize("name", ["signatures", "messages"])
def test_the_same_input_still_gives_the_same_bytes(name: str) -> None:
    assert maker.MAKERS[name]() == read(name)


@pytest.mark.parametrize("name", ["batches", "batches_2"])
def test_a_batch_is_still_written_the_same(name: str) -> None:
    """All but the compressed bytes, which another zstd library may write in another way."""
    golden, made = read(name), maker.MAKERS[name]()

    for one in (golden, made):
        for case in one["batches"]:
            del case["zstd"]
    assert made == golden


@pytest.mark.requirement("R2.1")
@pytest.mark.parametrize(
    "case",
    read("batches")["batches"] + read("batches_2")["batches"],
    ids=lambda case: f"version-{case['header'][18]}-{case['rows']}-rows",
)
def test_an_old_batch_is_still_read(case: dict[str, Any]) -> None:
    decoded = batch.decode(base64.b64decode(case["zstd"]))

    assert header_text.write_header(decoded.header).decode() == case["header"]
    assert maker.digest_columns(decoded.columns) == case["columns_sha256"]


def test_old_signatures_still_hold() -> None:
    golden = read("signatures")
    public_key, body = bytes.fromhex(golden["sensor_public_key"]), golden["body"].encode()
    digest = seal.digest_of(body)
    request = SignedFields(
        *(golden["request"][name] for name in ("Content-Digest", "Signature-Input", "Signature"))
    )
    response = SignedFields(
        *(golden["response"][name] for name in ("Content-Digest", "Signature-Input", "Signature"))
    )
    gateway_keys = {golden["gateway_key_id"]: bytes.fromhex(golden["gateway_public_key"])}
    target = RequestTarget(*(golden["request"][name] for name in ("method", "authority", "path")))

    assert (
        keys.public_bytes(Ed25519PrivateKey.from_private_bytes(bytes.fromhex(golden["sensor_seed"])))
        == public_key
    )
    seal.verify(
        public_key, seal.parse_seal(golden["batch_seal"]), sensor=7, key_no=1, epoch=1, seq=42, digest=digest
    )
    signature.verify_request(
        signature.read_request(request),
        target,
        public_key=public_key,
        body=body,
        now_us=maker.NOW_S * 1_000_000,
    )
    text = golden["receipt"].encode()
    receipt.verify(gateway_keys, text, sensor=7, epoch=1, seq=42, digest=digest)
    signature.verify_response(
        gateway_keys, response, status=201, body=text, echo=signature.echo_signature(request)
    )


def test_old_messages_are_still_read() -> None:
    golden = read("messages")

    token = enrolment.parse_token(golden["token"])
    asked = enrolment.read_request(golden["enrol_request"].encode())
    enrolment.verify_proof(asked, token.secret)
    enrolment.verify_possession(asked)
    assert enrolment.read_answer(golden["enrol_answer"].encode()).sensor == 7
    assert heartbeat.read_heartbeat(golden["heartbeat"].encode()).counter == 9
    assert heartbeat.read_answer(golden["heartbeat_answer"].encode()).commands_pending == 0
