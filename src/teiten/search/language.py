"""The text form of a filter: ``dst_port = 8728 and region = kanto and country not in (CN, US)``.

Grammar (lower case; ``and`` binds closer than ``or``; words are case-insensitive):

    expression = conjunction { "or" conjunction }
    conjunction = factor { "and" factor }
    factor     = "not" factor | "(" expression ")" | condition
    condition  = field ( "=" | "!=" | "<" | "<=" | ">" | ">=" ) value
               | field ["not"] "in" "(" value { "," value } ")"
               | field ("has" | "lacks") value
               | "not" field "in" "(" … ")"
    value      = word | "text in quotation marks"

Printing is canonical: :func:`parse` of :func:`print_filters` gives the same tree.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NamedTuple

from teiten.search import values
from teiten.search.conditions import (
    AllOf,
    AnyOf,
    Condition,
    Expression,
    Not,
    Operator,
    Value,
    all_of,
    any_of,
    negate,
    where,
)
from teiten.search.errors import QueryError
from teiten.search.fields import Field, get_field

#: Longest text, in characters: longer ones are lists that belong in a data set of their own.
MAX_LENGTH = 8_000
#: Deepest nesting of parentheses and ``not``.
MAX_DEPTH = 20

_TOKEN = re.compile(
    r"""\s*(?:
        (?P<quoted>"(?:[^"\\]|\\.)*")
      | (?P<sign><=|>=|!=|=|<|>|\(|\)|,)
      | (?P<word>[^\s"()<>=!,]+)
    )""",
    re.VERBOSE,
)
_BARE = re.compile(r"[^\s\"()<>=!,\\]+")
_KEYWORDS = frozenset({"and", "or", "not", "in", "has", "lacks"})


class Token(NamedTuple):
    """A piece of the text."""

    #: ``word``, ``quoted``, ``sign`` or ``end``.
    kind: str
    text: str
    position: int

    def is_word(self, word: str) -> bool:
        return self.kind == "word" and self.text.lower() == word


def parse(text: str) -> Expression | None:
    """Read a filter; None for an empty text.

    Raises:
        QueryError: with position, field and rule.
    """
    if len(text) > MAX_LENGTH:
        raise QueryError(
            f"the query has {len(text)} characters; at most {MAX_LENGTH} are allowed",
            field="q",
            rule=f"at most {MAX_LENGTH} characters",
            position=MAX_LENGTH,
        )
    tokens = tokenize(text)
    if len(tokens) == 1:
        return None
    return _Parser(tokens).read_all()


def tokenize(text: str) -> list[Token]:
    """Cut a text into tokens; the last has the kind ``end``.

    Raises:
        QueryError: for an unfinished quotation or a stray character.
    """
    tokens: list[Token] = []
    position = 0
    while position < len(text.rstrip()):
        match = _TOKEN.match(text, position)
        if match is None:
            start = position + len(text[position:]) - len(text[position:].lstrip())
            raise _error_at_character(text, start)
        kind = match.lastgroup or ""
        tokens.append(Token(kind, match.group(kind), match.start(kind)))
        position = match.end()
    tokens.append(Token("end", "", len(text)))
    return tokens


def print_filters(filters: Expression | None) -> str:
    """Write a filter in its one canonical form."""
    return "" if filters is None else _print(filters, inside=None)


def print_condition(condition: Condition) -> str:
    """Write a single condition."""
    field = get_field(condition.field)
    texts = [quote(values.print_value(field, value)) for value in condition.values]
    if condition.operator in ("in", "not in"):
        return f"{condition.field} {condition.operator} ({', '.join(texts)})"
    return f"{condition.field} {condition.operator} {texts[0]}"


def quote(text: str) -> str:
    """Put a value in quotation marks where the language needs them."""
    if _BARE.fullmatch(text):
        return text
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _print(expression: Expression, *, inside: type[AllOf | AnyOf | Not] | None) -> str:
    if isinstance(expression, Condition):
        return print_condition(expression)
    if isinstance(expression, Not):
        return f"not ({_print(expression.part, inside=None)})"
    word = " and " if isinstance(expression, AllOf) else " or "
    text = word.join(_print(part, inside=type(expression)) for part in expression.parts)
    return text if inside is None else f"({text})"


def _error_at_character(text: str, position: int) -> QueryError:
    if text[position] == '"':
        message, rule = (
            'the quotation mark is not closed; add " at its end',
            "text in quotation marks ends with one",
        )
    else:
        message = (
            f"{text[position]!r} has no meaning here; put it in quotation marks if it belongs to a value"
        )
        rule = "field, operator, value"
    return QueryError(
        f"position {position}: {message}", field="q", value=text[position], rule=rule, position=position
    )


@dataclass
class _Parser:
    """Recursive descent over the tokens."""

    tokens: list[Token]
    place: int = 0
    depth: int = 0

    def read_all(self) -> Expression:
        expression = self._read_disjunction()
        if self._here.kind != "end":
            raise self._expected("and, or, or the end")
        return expression

    @property
    def _here(self) -> Token:
        return self.tokens[self.place]

    def _take(self) -> Token:
        token = self._here
        self.place = min(self.place + 1, len(self.tokens) - 1)
        return token

    def _accept(self, word: str) -> bool:
        found = self._here.is_word(word) or (self._here.kind == "sign" and self._here.text == word)
        if found:
            self._take()
        return found

    def _require(self, sign: str) -> None:
        if not self._accept(sign):
            raise self._expected(repr(sign))

    def _expected(self, what: str) -> QueryError:
        token = self._here
        found = "the end" if token.kind == "end" else repr(token.text)
        return QueryError(
            f"position {token.position}: expected {what}, found {found}",
            field="q",
            value=token.text,
            rule=f"expected {what}",
            position=token.position,
        )

    def _read_disjunction(self) -> Expression:
        parts = [self._read_conjunction()]
        while self._accept("or"):
            parts.append(self._read_conjunction())
        return any_of(parts) or parts[0]

    def _read_conjunction(self) -> Expression:
        parts = [self._read_factor()]
        while self._accept("and"):
            parts.append(self._read_factor())
        return all_of(parts) or parts[0]

    def _read_factor(self) -> Expression:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise self._expected(f"at most {MAX_DEPTH} levels of parentheses and not")
        try:
            if self._accept("not"):
                return negate(self._read_factor())
            if self._accept("("):
                inner = self._read_disjunction()
                self._require(")")
                return inner
            return self._read_condition()
        finally:
            self.depth -= 1

    def _read_condition(self) -> Expression:
        token = self._here
        if token.kind != "word" or token.text.lower() in _KEYWORDS:
            raise self._expected("a field, not or (")
        self._take()
        field = get_field(token.text.lower(), position=token.position)
        operator = self._read_operator(field)
        if operator in ("in", "not in"):
            return where(field.name, operator, *self._read_list(field))
        return where(field.name, operator, self._read_comparand(field, operator))

    def _read_operator(self, field: Field) -> Operator:
        token = self._here
        words = [self._take().text.lower()]
        if words == ["not"] and self._here.is_word("in"):
            words.append(self._take().text.lower())
        operator = " ".join(words)
        if operator not in field.operators:
            raise QueryError(
                f"position {token.position}: {field.name} takes {' '.join(field.operators)}, not {operator!r}",
                field=field.name,
                value=operator,
                rule=f"{field.name} takes {' '.join(field.operators)}",
                position=token.position,
            )
        return operator

    def _read_comparand(self, field: Field, operator: Operator) -> Value:
        position = self._here.position
        value = self._read_value(field)
        if operator in ("<", "<=", ">", ">=", "has", "lacks") and not isinstance(value, int):
            text = values.print_value(field, value)
            rule = f"{operator} takes a single number"
            raise QueryError(
                f"position {position}: {rule}, not {text}; use = or in for {text}",
                field=field.name,
                value=text,
                rule=rule,
                position=position,
            )
        return value

    def _read_list(self, field: Field) -> list[Value]:
        self._require("(")
        found = [self._read_value(field)]
        while self._accept(","):
            found.append(self._read_value(field))
        self._require(")")
        return found

    def _read_value(self, field: Field) -> Value:
        token = self._here
        if token.kind not in ("word", "quoted"):
            raise self._expected(f"a value: {field.rule}")
        self._take()
        text = token.text if token.kind == "word" else _unquote(token.text)
        return values.parse_value(field, text, position=token.position)


def _unquote(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text[1:-1], flags=re.DOTALL)
