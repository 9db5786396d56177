"""Write tests/golden/protocol/*.json anew: what every version of sensor and base must agree on.

Everything follows from fixed keys and made-up packets, so a difference after
``make golden`` is a change of the protocol: review it as one.
"""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from teiten.protocol import (
    arrow,
    batch,
    dictionary,
    enrolment,
    header_text,
    heartbeat,
    keys,
    receipt,
    seal,
    signature,
    testing,
)
from teiten.protocol.arrangement import arrange_batch
from teiten.protocol.header import BatchHeader
from teiten.protocol.sensor_config import SensorConfig
from teiten.protocol.signature import RequestTarget
from teiten.traffic.columns import PacketColumns, VarBytes

FOLDER = Path(__file__).with_name("protocol")
SENSOR_SEED = bytes(range(32))
GATEWAY_SEED = bytes(range(1, 33))
NOW_S = 1_795_230_000
ROWS = (0, 3, 24, 100)


def make_batches() -> dict[str, Any]:
    """Batches of schema version 1; ``zstd`` is what one zstd library wrote, and only has to be read back."""
    return write_batches([make_case(rows, schema_version=1) for rows in ROWS])


def make_batches_2() -> dict[str, Any]:
    """Batches of schema version 2, with a payload example of each row that has payload."""
    return write_batches([add_examples(*make_case(rows, schema_version=2)) for rows in ROWS])


def write_batches(made: list[tuple[BatchHeader, PacketColumns]]) -> dict[str, Any]:
    cases = []
    for header, columns in (arrange_batch(*case) for case in made):
        stream = batch.write_stream(header, columns)
        cases.append(
            {
                "rows": header.rows,
                "header": header_text.write_header(header).decode(),
                "stream_sha256": hashlib.sha256(stream).hexdigest(),
                "columns_sha256": digest_columns(columns),
                "zstd": base64.b64encode(batch.encode(header, columns)).decode(),
            }
        )
    return {
        "schema_message_sha256": hashlib.sha256(arrow.schema_template().render(b"{}")).hexdigest(),
        "dictionary_sha256": {
            str(number): hashlib.sha256(dictionary.dictionary_bytes(number)).hexdigest()
            for number in (dictionary.SMALL_ID, dictionary.LARGE_ID)
        },
        "batches": cases,
    }


def add_examples(header: BatchHeader, columns: PacketColumns) -> tuple[BatchHeader, PacketColumns]:
    return dataclasses.replace(header, examples=testing.make_examples(columns)), columns


def make_case(rows: int, *, schema_version: int) -> tuple[BatchHeader, PacketColumns]:
    header = testing.make_header(rows=rows, seq=rows + 1)
    header = dataclasses.replace(header, schema_version=schema_version)
    return header, testing.make_columns(rows, seed=rows, start_us=header.window_start_us)


def digest_columns(columns: PacketColumns) -> str:
    digest = hashlib.sha256()
    for value in columns.values():
        for array in value if isinstance(value, VarBytes) else (value,):
            digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def make_signatures() -> dict[str, Any]:
    """Seal, receipt, request and response over one batch."""
    sensor_key = Ed25519PrivateKey.from_private_bytes(SENSOR_SEED)
    gateway_key = Ed25519PrivateKey.from_private_bytes(GATEWAY_SEED)
    gateway_id = keys.gateway_key_id(keys.public_bytes(gateway_key))
    body = b"a batch"
    digest = seal.digest_of(body)
    sealed = seal.seal(sensor_key, sensor=7, key_no=1, epoch=1, seq=42, digest=digest)
    target = RequestTarget("PUT", "gateway.example:8443", "/v1/batches/1/42")
    request = signature.sign_request(
        sensor_key,
        target,
        key_id=keys.KeyId(7, 1),
        digest=digest,
        created_s=NOW_S,
        nonce="Zm9vYmFyYmF6cXV4MTIzNA",
    )
    landed = receipt.Receipt(7, 1, 42, digest, NOW_S * 1_000_000 + 137_419, gateway_id)
    receipt_text = receipt.issue(gateway_key, landed)
    response = signature.sign_response(
        gateway_key,
        key_id=gateway_id,
        status=201,
        body=receipt_text,
        echo=signature.echo_signature(request),
        created_s=NOW_S,
    )
    return {
        "sensor_seed": SENSOR_SEED.hex(),
        "sensor_public_key": keys.public_bytes(sensor_key).hex(),
        "gateway_seed": GATEWAY_SEED.hex(),
        "gateway_public_key": keys.public_bytes(gateway_key).hex(),
        "gateway_key_id": gateway_id,
        "body": body.decode(),
        "batch_seal": seal.format_seal(sealed),
        "request": {
            "method": target.method,
            "authority": target.authority,
            "path": target.path,
            **request.as_headers(),
        },
        "receipt": receipt_text.decode(),
        "response": {"status": 201, **response.as_headers()},
    }


def make_messages() -> dict[str, Any]:
    """Enrolment and heartbeat, both directions."""
    sensor_key = Ed25519PrivateKey.from_private_bytes(SENSOR_SEED)
    token = enrolment.make_token("k7f2", bytes(range(32)))
    facts = enrolment.Facts("debian 12", "x86_64", "3.11.7", "0.1.0")
    asked = enrolment.make_request(token, sensor_key, facts=facts, created_s=NOW_S, nonce="A" * 22)
    gateway = enrolment.GatewayKey(
        "gw.1", keys.public_bytes(Ed25519PrivateKey.from_private_bytes(GATEWAY_SEED))
    )
    told = enrolment.EnrolAnswer(7, 1, 1, (gateway,), NOW_S * 1_000_000, SensorConfig())
    beat = heartbeat.Heartbeat(
        counter=9,
        boot_id="W2k9x3Qa0Zf",
        software="0.1.0",
        uptime_s=3600,
        clock_offset_us=-1824,
        captured=10,
        kernel_drops=0,
        excluded=1,
        spool_batches=2,
        spool_bytes=1500,
        disk_free_bytes=1 << 33,
        last_error="",
        last_window_end_us=NOW_S * 1_000_000,
        config_version=1,
        interfaces=(heartbeat.InterfaceState("eth0", "up", ("192.0.2.7", "2001:db8::7")),),
    )
    return {
        "token": str(token),
        "enrol_request": asked.to_json().decode(),
        "enrol_answer": told.to_json().decode(),
        "heartbeat": beat.to_json().decode(),
        "heartbeat_answer": heartbeat.HeartbeatAnswer(NOW_S * 1_000_000, SensorConfig()).to_json().decode(),
    }


MAKERS = {
    "batches": make_batches,
    "batches_2": make_batches_2,
    "signatures": make_signatures,
    "messages": make_messages,
}


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    for name, make in MAKERS.items():
        (FOLDER / f"{name}.json").write_text(json.dumps(make(), indent=2) + "\n")


if __name__ == "__main__":
    main()
