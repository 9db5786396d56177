"""``operators.json``: whose keys may sign commands. A signed target of the update repository.

It is written and signed away from the base (TUF, two of three offline keys), so
that a captured base can put nobody on it. What counts is persons, never keys: one
person's two keys are one person.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from typing import Any

from teiten.protocol.errors import MessageError, OperatorListError
from teiten.protocol.json_fields import Fields, Thing, read_object
from teiten.protocol.keys import PUBLIC_KEY_BYTES, from_text, to_text
from teiten.protocol.verbs import CLASSES

MAX_LIST_BYTES = 262_144
MAX_OPERATORS = 256
MAX_VERSION = (1 << 31) - 1
#: What a class of commands may ask of one of its signers.
ROLES = ("admin",)

KEY_ID = re.compile(r"op\.[A-Za-z0-9_-]{16}")
PERSON = re.compile(r"[a-z0-9][a-z0-9._@+-]{0,63}")
_TEXT = re.compile(r"[A-Za-z0-9_-]{1,90}")
_CLASS = re.compile(r"[ABCD]")
_ROLE = re.compile("|".join(ROLES))
_MAX_TIME_S = 9_000_000_000
_THING = Thing("operators", OperatorListError)


@dataclass(frozen=True)
class Operator:
    """One key of one person."""

    #: Named after the key itself, see :func:`operator_key_id`.
    key_id: str
    #: Who holds it: lower case, so that one person has one spelling.
    person: str
    #: 32 raw bytes, Ed25519.
    public_key: bytes
    #: Classes of commands that this key may sign.
    classes: tuple[str, ...]
    roles: tuple[str, ...]
    valid_from_s: int
    #: The first second in which it is valid no more.
    valid_to_s: int
    #: When it was withdrawn. A withdrawn key counts no more, whatever a sensor's clock says.
    withdrawn_s: int | None = None

    def to_fields(self) -> dict[str, Any]:
        """Give the entry as the list has it."""
        return {
            "key_id": self.key_id,
            "person": self.person,
            "public_key": to_text(self.public_key),
            "classes": list(self.classes),
            "roles": list(self.roles),
            "valid_from_s": self.valid_from_s,
            "valid_to_s": self.valid_to_s,
            "withdrawn_s": self.withdrawn_s,
        }


@dataclass(frozen=True)
class OperatorList:
    """Everyone whose signature on a command may count."""

    #: Grows with every change.
    version: int
    operators: tuple[Operator, ...]

    def find(self, key_id: str) -> Operator | None:
        return next((operator for operator in self.operators if operator.key_id == key_id), None)

    def to_json(self) -> bytes:
        """Write the list for people and programs alike."""
        value = {"v": 1, "version": self.version, "operators": [one.to_fields() for one in self.operators]}
        return json.dumps(value, indent=1).encode() + b"\n"


def operator_key_id(public_key: bytes) -> str:
    """Name an operator's key after itself: ``op.`` and 96 bits of its SHA-256."""
    return f"op.{to_text(hashlib.sha256(public_key).digest()[:12])}"


def read_operator_list(text: bytes) -> OperatorList:
    """Read a list; whoever hands it over has proven where it comes from.

    Raises:
        OperatorListError: naming the field and its rule.
    """
    fields = read_object(_THING, text, max_bytes=MAX_LIST_BYTES)
    fields.take_int("v", 1, 1)
    found = OperatorList(
        version=fields.take_int("version", 1, MAX_VERSION),
        operators=fields.take_list("operators", read_operator, max_items=MAX_OPERATORS),
    )
    fields.finish()
    if len({one.key_id for one in found.operators}) != len(found.operators):
        raise _THING.refuse("repeated", "a key may stand on the list once")
    return found


def read_entry(text: bytes) -> Operator:
    """Read one entry, as ``teiten-operator key show`` prints it.

    Raises:
        OperatorListError: naming the field and its rule.
    """
    fields = read_object(_THING, text, max_bytes=4096)
    entry = read_operator(fields)
    fields.finish()
    return entry


def read_operator(fields: Fields) -> Operator:
    entry = Operator(
        key_id=fields.take_text("key_id", KEY_ID),
        person=fields.take_text("person", PERSON),
        public_key=_take_key(fields),
        classes=fields.take_texts("classes", _CLASS, max_items=len(CLASSES)),
        roles=fields.take_texts("roles", _ROLE, max_items=len(ROLES)),
        valid_from_s=fields.take_int("valid_from_s", 0, _MAX_TIME_S),
        valid_to_s=fields.take_int("valid_to_s", 0, _MAX_TIME_S),
        withdrawn_s=fields.take_int_or_none("withdrawn_s", 0, _MAX_TIME_S),
    )
    if operator_key_id(entry.public_key) != entry.key_id:
        raise fields.refuse("key_id", f"key_id {entry.key_id} is not the name of this public key")
    if entry.valid_to_s <= entry.valid_from_s:
        raise fields.refuse("valid_to_s", "valid_to_s must be after valid_from_s")
    return entry


def _take_key(fields: Fields) -> bytes:
    try:
        return from_text(fields.take_text("public_key", _TEXT), size_bytes=PUBLIC_KEY_BYTES)
    except MessageError as error:
        raise fields.refuse("public_key", str(error)) from error
