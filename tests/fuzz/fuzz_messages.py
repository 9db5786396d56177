"""Coverage-guided fuzzing of everything that reads bytes from strangers (atheris).

    .venv/bin/python tests/fuzz/fuzz_messages.py [-max_total_time=600] [FOLDER OF INPUTS]

A reader gives its value or raises a ProtocolError; what it gave, it gives again from what it writes.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import atheris

sys.path.insert(0, str(Path(__file__).parent))
with atheris.instrument_imports(include=["teiten.protocol", "teiten.gateway.peers"]):
    from changing import change
    from honest_inputs import list_honest, write_inputs

    from teiten.gateway import peers
    from teiten.protocol import (
        commands,
        enrolment,
        heartbeat,
        keys,
        operator_list,
        receipt,
        recovery,
        results,
        rotation,
        seal,
        signature,
    )
    from teiten.protocol.errors import ProtocolError


def _again(read: Callable[[bytes], Any]) -> Callable[[bytes], None]:
    def run(data: bytes) -> None:
        value = read(data)
        assert read(value.to_json()) == value

    return run


def _text(read: Callable[[str], Any]) -> Callable[[bytes], None]:
    def run(data: bytes) -> None:
        read(data.decode("latin-1"))

    return run


def _read_signature(data: bytes) -> None:
    parts = data.decode("latin-1").split("\n")
    signature.read_request(signature.SignedFields(*[*parts, "", "", ""][:3]))


def _read_receipt(data: bytes) -> None:
    receipt.verify({}, data, sensor=1, epoch=1, seq=1, digest=bytes(32))


def _read_proxy(data: bytes) -> None:
    if len(data) >= peers.HEAD_BYTES:
        head = data[: peers.HEAD_BYTES]
        size = peers.read_head(head)
        peers.read_peer(head, data[peers.HEAD_BYTES :][:size], proxy="192.0.2.1")


READERS: dict[str, Callable[[bytes], Any]] = {
    "enrol_request": _again(enrolment.read_request),
    "enrol_answer": _again(enrolment.read_answer),
    "recover_request": _again(recovery.read_request),
    "rotate_request": _again(rotation.read_request),
    "rotate_answer": _again(rotation.read_answer),
    "heartbeat": _again(heartbeat.read_heartbeat),
    "heartbeat_answer": _again(heartbeat.read_answer),
    "seal_field": _text(seal.parse_field),
    "digest": _text(signature.parse_digest),
    "key_id": _text(keys.parse_key_id),
    "token": _text(enrolment.parse_token),
    "result_signature": _text(results.parse_signature),
    "signature": _read_signature,
    "receipt": _read_receipt,
    "proxy": _read_proxy,
    "command": commands.read_command,
    "envelope": commands.read_envelope,
    "deliveries": commands.read_deliveries,
    "result": results.read_result,
    "operators": operator_list.read_operator_list,
}
NAMES = sorted(READERS)
HONEST = {name: text for name, text in list_honest().items() if text.startswith(b"{")}
#: From this first byte on an input says how to change an honest JSON text.
CHANGED = 128


def test_one_input(data: bytes) -> None:
    """Let one reader read one input; its first byte chooses the reader."""
    if not data:
        return
    name, text = NAMES[data[0] % len(NAMES)], data[1:]
    if data[0] >= CHANGED:
        name = sorted(HONEST)[data[0] % len(HONEST)]
        text = change(json.loads(HONEST[name]), atheris.FuzzedDataProvider(text))
    try:
        READERS[name](text)
    except (ProtocolError, peers.ProxyHeaderError):
        return


def main() -> None:
    """Fuzz, beginning from honest messages."""
    # The fuzzer ends the process by itself, so that nothing could be removed afterwards.
    folder = Path(tempfile.gettempdir()) / "teiten-fuzz-messages"
    folder.mkdir(exist_ok=True)
    write_inputs(folder, NAMES, bytes(range(len(NAMES))))
    atheris.Setup([*sys.argv, str(folder)], test_one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
