"""The language of selectors: ``region = kanto and version < 1.4``. Read and answered without a database.

A comparison is ``field op value`` or ``field in (a, b)``; they are joined by ``and``,
``or``, ``not`` and parentheses; ``all`` means everybody. Values with other signs than
letters, digits and ``. _ - * : +`` stand in double quotes. Texts are compared by
``=`` and ``!=``, a ``*`` in them stands for anything; numbers and versions also by
``<``, ``<=``, ``>``, ``>=``.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

from teiten.fleet.commands.errors import SelectorError

MAX_CHARACTERS = 1000
_MAX_DEPTH = 20
_TOKEN = re.compile(r'\s*(?:(?P<op><=|>=|!=|=|<|>|\(|\)|,)|"(?P<quoted>[^"]*)"|(?P<word>[A-Za-z0-9._*:+-]+))')
_WORDS = frozenset({"and", "or", "not", "in", "all"})
_ORDERED: dict[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


@dataclass(frozen=True)
class Candidate:
    """A sensor, as far as selectors can name it."""

    number: int
    name: str
    region: str
    org: str
    state: str
    dataset: str
    version: str
    tags: tuple[str, ...] = ()


Test: TypeAlias = Callable[[Candidate], bool]


def read_selector(text: str) -> Test:
    """Read a selector; gives the test that it is.

    Raises:
        SelectorError: naming the place and the rule.
    """
    if len(text) > MAX_CHARACTERS:
        raise SelectorError(f"a selector has at most {MAX_CHARACTERS} characters")
    reader = _Reader(_list_tokens(text), text)
    test = reader.read_either(0)
    reader.finish()
    return test


@dataclass(frozen=True)
class _Token:
    #: ``op``, ``word`` or ``quoted``.
    kind: str
    text: str
    at: int


def _list_tokens(text: str) -> list[_Token]:
    tokens, at = [], 0
    stripped = text.rstrip()
    while at < len(stripped):
        match = _TOKEN.match(stripped, at)
        if match is None:
            raise SelectorError(f"column {at + 1}: {stripped[at : at + 10]!r} cannot stand here; quote it")
        kind = str(match.lastgroup)
        tokens.append(_Token(kind, match[kind], match.start(kind)))
        at = match.end()
    return tokens


class _Reader:
    """Reads tokens one after another."""

    def __init__(self, tokens: list[_Token], text: str) -> None:
        self._tokens = tokens
        self._text = text
        self._next = 0

    def read_either(self, depth: int) -> Test:
        tests = [self._read_both(depth)]
        while self._take_word("or"):
            tests.append(self._read_both(depth))
        return tests[0] if len(tests) == 1 else lambda one: any(test(one) for test in tests)

    def _read_both(self, depth: int) -> Test:
        tests = [self._read_one(depth)]
        while self._take_word("and"):
            tests.append(self._read_one(depth))
        return tests[0] if len(tests) == 1 else lambda one: all(test(one) for test in tests)

    def _read_one(self, depth: int) -> Test:
        if depth > _MAX_DEPTH:
            raise SelectorError(f"parentheses and `not` may stand at most {_MAX_DEPTH} deep")
        if self._take_word("not"):
            denied = self._read_one(depth + 1)
            return lambda one: not denied(one)
        if self._take_sign("("):
            inner = self.read_either(depth + 1)
            self._expect_sign(")")
            return inner
        if self._take_word("all"):
            return lambda _: True
        return self._read_comparison()

    def _read_comparison(self) -> Test:
        field = self._take("word")
        if field is None or field.text in _WORDS or field.text not in _FIELDS:
            wanted = f"a field is wanted: {', '.join(_FIELDS)}"
            if field is None:
                raise self._refuse(wanted)
            raise SelectorError(f"column {field.at + 1}: {wanted}; {field.text!r:.40} is none")
        if self._take_word("in"):
            values = self._read_list(field)
            return lambda one: any(test(one) for test in values)
        sign = self._take("op")
        if sign is None or sign.text in ("(", ")", ","):
            raise self._refuse(f"after {field.text} one of = != < <= > >= in is wanted")
        return self._compare(field, sign.text, self._read_value())

    def _read_list(self, field: _Token) -> list[Test]:
        self._expect_sign("(")
        tests = [self._compare(field, "=", self._read_value())]
        while self._take_sign(","):
            tests.append(self._compare(field, "=", self._read_value()))
        self._expect_sign(")")
        return tests

    def _compare(self, field: _Token, sign: str, value: str) -> Test:
        try:
            return _FIELDS[field.text](field.text, sign, value)
        except ValueError as error:
            raise SelectorError(f"column {field.at + 1}: {error}") from error

    def _read_value(self) -> str:
        found = self._take("quoted") or self._take("word")
        if found is None or (found.kind == "word" and found.text in _WORDS):
            raise self._refuse("a value is wanted")
        return found.text

    def finish(self) -> None:
        if self._next < len(self._tokens):
            raise self._refuse("`and` or `or` is wanted, or the end")

    def _take(self, kind: str) -> _Token | None:
        if self._next < len(self._tokens) and self._tokens[self._next].kind == kind:
            self._next += 1
            return self._tokens[self._next - 1]
        return None

    def _take_word(self, word: str) -> bool:
        return self._take_exactly("word", word)

    def _take_sign(self, sign: str) -> bool:
        return self._take_exactly("op", sign)

    def _take_exactly(self, kind: str, text: str) -> bool:
        if self._next < len(self._tokens):
            token = self._tokens[self._next]
            if token.kind == kind and token.text == text:
                self._next += 1
                return True
        return False

    def _expect_sign(self, sign: str) -> None:
        if not self._take_sign(sign):
            raise self._refuse(f"{sign} is wanted")

    def _refuse(self, wanted: str) -> SelectorError:
        at = self._tokens[self._next].at + 1 if self._next < len(self._tokens) else len(self._text) + 1
        return SelectorError(f"column {at}: {wanted}")


def _compare_text(field: str, sign: str, value: str) -> Test:
    if sign not in ("=", "!="):
        raise ValueError(f"{field} is compared by = or != only")
    matches = re.compile(".*".join(map(re.escape, value.split("*")))).fullmatch
    if "*" not in value:
        return lambda one: (getattr(one, field) == value) == (sign == "=")
    return lambda one: (matches(getattr(one, field)) is not None) == (sign == "=")


def _compare_tag(field: str, sign: str, value: str) -> Test:
    if sign not in ("=", "!="):
        raise ValueError(f"{field} is compared by = or != only")
    return lambda one: (value in one.tags) == (sign == "=")


def _compare_number(_field: str, sign: str, value: str) -> Test:
    if not (value.isascii() and value.isdigit() and len(value) <= 10):
        raise ValueError(f"{value!r} is no number of a sensor")
    return _order(sign, int(value), lambda one: one.number)


def _compare_version(_field: str, sign: str, value: str) -> Test:
    if not value[:1].isdigit():
        raise ValueError(f"{value!r} is no version such as 1.4")
    compare = _order(sign, version_key(value), lambda one: version_key(one.version))
    # A sensor that never said its version is neither older nor newer than any.
    return lambda one: bool(one.version) and compare(one)


def version_key(version: str) -> tuple[int, ...]:
    """Give what versions are ordered by: their numbers, zeros at the end left out (1.4 is 1.4.0)."""
    numbers = [int(number) for number in re.findall(r"\d+", version.partition("+")[0])]
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)


def _order(sign: str, value: Any, read: Callable[[Candidate], Any]) -> Test:
    if sign in _ORDERED:
        compare = _ORDERED[sign]
        return lambda one: compare(read(one), value)
    return lambda one: (read(one) == value) == (sign == "=")


_FIELDS: dict[str, Callable[[str, str, str], Test]] = {
    "number": _compare_number,
    "name": _compare_text,
    "region": _compare_text,
    "org": _compare_text,
    "state": _compare_text,
    "dataset": _compare_text,
    "version": _compare_version,
    "tag": _compare_tag,
}
