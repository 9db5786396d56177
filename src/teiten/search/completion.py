"""What may stand at the cursor of a query text, and the fields as a viewer may use them."""

from __future__ import annotations

import re
from dataclasses import replace

from teiten.search import dimensions, language, lines, ranking
from teiten.search.admission import admit
from teiten.search.desk import Desk
from teiten.search.dimensions import DIMENSIONS
from teiten.search.errors import QueryError
from teiten.search.fields import FIELDS, Field
from teiten.search.language import Token
from teiten.search.query import for_period
from teiten.search.visibility import Visibility
from teiten.search.vocabulary import Completion, FieldView

_PARTIAL = re.compile(r'("[^"]*|[^\s"()<>=!,]*)$')
_MOST = 20
#: Fields whose values are taken from what the data set holds.
_FROM_DATA = ("region", "country", "asn", "dst_port", "tcp_fp", "probe", "actor", "sensor")
_KEEP_SECONDS = 60.0
_JOINERS = ("and", "or")


def list_fields(visibility: Visibility) -> tuple[FieldView, ...]:
    """See :meth:`teiten.search.service.Search.fields`."""
    return tuple(
        FieldView(
            name=field.name,
            kind=field.kind,
            meaning=field.meaning,
            rule=field.rule,
            operators=field.operators,
            words=tuple(field.names),
            is_dimension=field.is_dimension,
            is_masked=not visibility.grants(field.permission),
        )
        for field in FIELDS.values()
    )


def complete(desk: Desk, visibility: Visibility, text: str, *, dataset: str) -> tuple[Completion, ...]:
    """Give what may stand at the end of ``text``, best first."""
    match = _PARTIAL.search(text)
    partial = match.group(1) if match else ""
    try:
        tokens = language.tokenize(text[: len(text) - len(partial)])[:-1]
    except QueryError:
        return ()
    found = _suggest(desk, visibility, tokens, dataset)
    wanted = partial.lstrip('"').lower()
    return tuple(item for item in found if item.text.lstrip('"').lower().startswith(wanted))[:_MOST]


def _suggest(desk: Desk, visibility: Visibility, tokens: list[Token], dataset: str) -> list[Completion]:
    last = tokens[-1] if tokens else None
    field, awaits_value = _find_field(tokens)
    if field is not None and awaits_value:
        return _suggest_values(desk, visibility, field, dataset)
    if last is None or last.text.lower() in ("and", "or", "not", "("):
        return [*_suggest_fields(visibility), Completion("not", "word"), Completion("(", "word")]
    if field is not None and last.text.lower() == field.name:
        return [Completion(operator, "operator") for operator in field.operators]
    return [Completion(word, "word") for word in _JOINERS]


def _suggest_fields(visibility: Visibility) -> list[Completion]:
    return [
        Completion(field.name, "field", field.meaning)
        for field in FIELDS.values()
        if visibility.grants(field.permission)
    ]


def _find_field(tokens: list[Token]) -> tuple[Field | None, bool]:
    """Find the field that the end of the text is about, and whether a value of it comes next."""
    place = next((i for i in reversed(range(len(tokens))) if tokens[i].text.lower() in FIELDS), None)
    if place is None:
        return None, False
    rest = [token.text.lower() for token in tokens[place + 1 :]]
    in_list = "in" in rest and ")" not in rest and rest[-1] in ("(", ",")
    compared = len(rest) == 1 and rest[0] in ("=", "!=", "<", "<=", ">", ">=", "has", "lacks")
    return FIELDS[tokens[place].text.lower()], in_list or compared


def _suggest_values(desk: Desk, visibility: Visibility, field: Field, dataset: str) -> list[Completion]:
    if not visibility.grants(field.permission):
        return []
    words = [Completion(word, "value") for word in field.names]
    if field.kind == "yesno":
        words = [Completion("yes", "value"), Completion("no", "value")]
    if field.name in _FROM_DATA:
        words += desk.remember(
            ("values", dataset, field.name),
            lambda: _read_values(desk, visibility, field, dataset),
            seconds=_KEEP_SECONDS,
            viewer=visibility,
        )
    return words


def _read_values(desk: Desk, visibility: Visibility, field: Field, dataset: str) -> list[Completion]:
    """Give the most frequent values of the last week."""
    now = desk.clock.now()
    query = replace(for_period(dataset, "7d", now=now), metric="packets")
    visibility, query = admit(visibility, query, now=now, zone=desk.zone)
    split = DIMENSIONS[field.name]
    query = lines.narrow_to_split(query, split)
    made = lines.plan_for(desk, query, dimension=split)
    found = ranking.rank(desk, visibility, query, made, dimension=split, limit=50, previous=False)
    groups = [dimensions.describe(split, item.key) for item in found.ranked]
    return [Completion(language.quote(group.key), "value", group.name or group.label) for group in groups]
