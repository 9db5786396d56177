"""Operators and signed commands for tests: two persons, an administrator, and one who left."""

from __future__ import annotations

import hashlib
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from teiten.protocol import commands
from teiten.protocol.commands import Command, Envelope, Targets
from teiten.protocol.keys import public_bytes
from teiten.protocol.operator_list import Operator, OperatorList, operator_key_id
from teiten.protocol.verbs import CLASSES, LIMITS, VERBS

NOW_S = 1_795_230_000
_DAY = 86_400


def make_key(name: str) -> Ed25519PrivateKey:
    """Give the same key for the same name."""
    return Ed25519PrivateKey.from_private_bytes(hashlib.sha256(name.encode()).digest())


def key_id_of(name: str) -> str:
    return operator_key_id(public_bytes(make_key(name)))


def make_operator(name: str, *, person: str = "", now_s: int = NOW_S, **changes: Any) -> Operator:
    public_key = public_bytes(make_key(name))
    given: dict[str, Any] = {
        "key_id": operator_key_id(public_key),
        "person": person or name,
        "public_key": public_key,
        "classes": CLASSES,
        "roles": (),
        "valid_from_s": now_s - 30 * _DAY,
        "valid_to_s": now_s + 30 * _DAY,
        "withdrawn_s": None,
    }
    return Operator(**{**given, **changes})


def make_operators(now_s: int = NOW_S) -> OperatorList:
    """Alice (with two keys) and Bob; Carol is admin, Dora only looks, Eve was withdrawn."""
    return OperatorList(
        1,
        (
            make_operator("alice", now_s=now_s),
            make_operator("alice-2", person="alice", now_s=now_s),
            make_operator("bob", now_s=now_s),
            make_operator("carol", now_s=now_s, roles=("admin",)),
            make_operator("dora", now_s=now_s, classes=("A",)),
            make_operator("eve", now_s=now_s, withdrawn_s=now_s - _DAY),
            make_operator("frank", now_s=now_s, valid_to_s=now_s - 1),
        ),
    )


def make_command(
    verb: str = "status",
    *,
    by: str = "alice",
    sensors: tuple[int, ...] = (7,),
    now_s: int = NOW_S,
    **changes: Any,
) -> Command:
    """Make a command that everything is right with, but for ``changes``."""
    command_class = VERBS[verb].command_class if verb in VERBS else "B"
    counter = changes.get("counter", now_s)
    given: dict[str, Any] = {
        "command_id": commands.make_command_id(
            now_s * 1_000_000, hashlib.sha256(f"{verb}{by}{counter}".encode()).digest()
        ),
        "command_class": command_class,
        "verb": verb,
        "arguments": {},
        "targets": Targets(sensors),
        "not_before_s": now_s - 10,
        "expires_s": now_s - 10 + LIMITS[command_class].lifetime_seconds,
        "counter": counter,
        "reason": "a test",
        "created_by": key_id_of(by),
    }
    return Command(**{**given, **changes})


def sign(command: Command, *names: str) -> Envelope:
    """Sign a command with the keys of ``names``."""
    envelope = Envelope(commands.write_command(command))
    for name in names:
        envelope = commands.sign_envelope(envelope, key_id_of(name), make_key(name))
    return envelope
