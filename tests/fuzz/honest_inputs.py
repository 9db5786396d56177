"""Honest messages to begin from: what a reader of JSON takes, a fuzzer would look for a long time."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from teiten.protocol import commands, enrolment, heartbeat, keys, receipt, recovery, rotation, seal, signature
from teiten.protocol.enrolment import EnrolAnswer, Facts, GatewayKey
from teiten.protocol.heartbeat import ChainHead, Heartbeat, HeartbeatAnswer, InterfaceState, StatedAddress
from teiten.protocol.receipt import Receipt
from teiten.protocol.sensor_config import SensorConfig
from teiten.protocol.signature import RequestTarget

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(1, 33)))
PUBLIC = keys.public_bytes(KEY)
_DIGEST = seal.digest_of(b"x")
_ENVELOPE = commands.Envelope(b"{}", ())


def list_honest() -> dict[str, bytes]:
    """Give one honest text for each reader that has one, by the reader's name."""
    token = enrolment.make_token("0abc", b"s" * 32)
    answer = EnrolAnswer(
        7, 1, 1, (GatewayKey("gw.a", PUBLIC),), 1, replace(SensorConfig(), payload_bytes=3), "suspended"
    )
    beat = Heartbeat(
        1, "boot-aaaaaaaa", "0.1.0", 5, -3, 0, 0, 0, 0, 0, 0, "x", 1, 1,
        (InterfaceState("eth0", "up", ("192.0.2.1",)),),
        (StatedAddress("192.0.2.1", "198.51.100.1", "configured"),),
        3, ChainHead(1, bytes(32)), heartbeat.UpdateState(3, "blocked", "disk"),
    )  # fmt: skip
    fields = signature.sign_request(
        KEY,
        RequestTarget("PUT", "gateway.example", "/v1/x"),
        key_id=keys.KeyId(7, 1),
        digest=_DIGEST,
        created_s=1,
        nonce="n" * 22,
    )
    return {
        "enrol_request": enrolment.make_request(
            token, KEY, facts=Facts("a", "b", "c", "d"), created_s=1, nonce="n" * 22
        ).to_json(),
        "enrol_answer": answer.to_json(),
        "recover_request": recovery.make_request(token, KEY, sensor=7, created_s=1, nonce="n" * 22).to_json(),
        "rotate_request": rotation.make_request(KEY, sensor=7, key_no=2, sealed_to=9).to_json(),
        "rotate_answer": rotation.RotateAnswer(7, 2, 1).to_json(),
        "heartbeat": beat.to_json(),
        "heartbeat_answer": HeartbeatAnswer(1, SensorConfig(), 2, 3, "quarantined").to_json(),
        "seal_field": seal.format_seal(bytes(64), 3).encode(),
        "digest": signature.format_digest(_DIGEST).encode(),
        "key_id": b"7.1",
        "token": str(token).encode(),
        "signature": f"{fields.content_digest}\n{fields.signature_input}\n{fields.signature}".encode(),
        "receipt": receipt.issue(KEY, Receipt(1, 1, 1, bytes(32), 5, "gw.a")),
        "proxy": bytes.fromhex("0d0a0d0a000d0a515549540a2111000cc0000201c0000202c35020fb"),
        "envelope": commands.write_envelope(_ENVELOPE),
    }


def write_inputs(folder: Path, names: list[str], kinds: bytes) -> None:
    """Write an input for each reader: a byte that chooses it, then its honest text."""
    for name, text in list_honest().items():
        if name in names:
            (folder / name).write_bytes(kinds[names.index(name)].to_bytes(1, "big") + text)
