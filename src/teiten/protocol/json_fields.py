"""Read JSON from strangers strictly: every field named, typed and bounded, none left over."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

from teiten.protocol.errors import ProtocolError

Item = TypeVar("Item")


class Thing(NamedTuple):
    """What is being read, for codes and messages."""

    #: First part of every error code, for example ``heartbeat``.
    name: str
    error: type[ProtocolError]

    def refuse(self, rule: str, message: str) -> ProtocolError:
        return self.error(f"{self.name}.{rule}", f"{self.name}: {message}")


def read_object(thing: Thing, text: bytes, *, max_bytes: int) -> Fields:
    """Parse one JSON object.

    Raises:
        ProtocolError: ``thing.error`` when it is too long, no JSON, no object, or repeats a key.
    """
    if len(text) > max_bytes:
        raise thing.refuse("size", f"{len(text)} bytes; at most {max_bytes} are allowed")
    try:
        parsed = json.loads(text, object_pairs_hook=_refuse_repeats, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise thing.refuse("json", f"no valid JSON: {error}") from error
    return Fields(thing, parsed)


def write_object(value: dict[str, Any]) -> bytes:
    """Write JSON in the one form that is signed: given order, no spaces, ASCII."""
    return json.dumps(value, separators=(",", ":"), allow_nan=False).encode()


class Fields:
    """The fields of one object, each taken once."""

    def __init__(self, thing: Thing, parsed: object) -> None:
        if not isinstance(parsed, dict):
            raise thing.refuse("object", "must be a JSON object")
        self._thing = thing
        self._left: dict[str, Any] = dict(parsed)

    def has(self, name: str) -> bool:
        """Tell whether an optional field is there and not taken yet."""
        return name in self._left

    def take_int(self, name: str, low: int, high: int) -> int:
        value = self._take(name)
        if type(value) is not int or not low <= value <= high:
            raise self._thing.refuse(name, f"{name} must be a whole number from {low} to {high}")
        return value

    def take_int_or_none(self, name: str, low: int, high: int) -> int | None:
        if self._left.get(name, 0) is None:
            del self._left[name]
            return None
        return self.take_int(name, low, high)

    def take_bool(self, name: str) -> bool:
        value = self._take(name)
        if not isinstance(value, bool):
            raise self._thing.refuse(name, f"{name} must be true or false")
        return value

    def take_text(self, name: str, pattern: re.Pattern[str]) -> str:
        value = self._take(name)
        if not isinstance(value, str) or pattern.fullmatch(value) is None:
            raise self._thing.refuse(name, f"{name} must be text of the form {pattern.pattern}")
        return value

    def take_line(self, name: str, max_characters: int) -> str:
        """Take free text of one line."""
        value = self._take(name)
        if not isinstance(value, str) or len(value) > max_characters or not value.isprintable():
            raise self._thing.refuse(
                name, f"{name} must be one line of at most {max_characters} printable characters"
            )
        return value

    def take_list(self, name: str, read: Callable[[Fields], Item], *, max_items: int) -> tuple[Item, ...]:
        """Take a list of objects, each read wholly by ``read``."""
        items = []
        for entry in self._take_items(name, max_items):
            fields = Fields(Thing(f"{self._thing.name}.{name}", self._thing.error), entry)
            items.append(read(fields))
            fields.finish()
        return tuple(items)

    def take_ints(self, name: str, low: int, high: int, *, max_items: int) -> tuple[int, ...]:
        numbers = self._take_items(name, max_items)
        if not all(type(number) is int and low <= number <= high for number in numbers):
            raise self._thing.refuse(name, f"{name} must be a list of whole numbers from {low} to {high}")
        return tuple(numbers)

    def take_texts(self, name: str, pattern: re.Pattern[str], *, max_items: int) -> tuple[str, ...]:
        texts = self._take_items(name, max_items)
        if not all(isinstance(text, str) and pattern.fullmatch(text) for text in texts):
            raise self._thing.refuse(name, f"{name} must be a list of text of the form {pattern.pattern}")
        return tuple(texts)

    def take_object(self, name: str, read: Callable[[Fields], Item]) -> Item:
        """Take an object inside this one, read wholly by ``read``."""
        fields = Fields(Thing(f"{self._thing.name}.{name}", self._thing.error), self._take(name))
        item = read(fields)
        fields.finish()
        return item

    def take_rest(self) -> dict[str, Any]:
        """Take all that is left, unread; the caller checks it."""
        rest, self._left = self._left, {}
        return rest

    def finish(self) -> None:
        """Refuse what nobody took."""
        if self._left:
            raise self._thing.refuse("unknown", f"field {min(self._left)!r:.60} is not known")

    def refuse(self, rule: str, message: str) -> ProtocolError:
        return self._thing.refuse(rule, message)

    def _take(self, name: str) -> Any:
        try:
            return self._left.pop(name)
        except KeyError:
            raise self._thing.refuse(name, f"{name} is missing") from None

    def _take_items(self, name: str, max_items: int) -> list[Any]:
        entries = self._take(name)
        if not isinstance(entries, list) or len(entries) > max_items:
            raise self._thing.refuse(name, f"{name} must be a list of at most {max_items}")
        return entries


def _refuse_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    unique = dict(pairs)
    if len(unique) != len(pairs):
        raise ValueError("a key is repeated")
    return unique


def _refuse_constant(text: str) -> None:
    raise ValueError(f"{text} is no JSON number")
