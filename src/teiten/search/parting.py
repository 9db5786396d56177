"""What a member's condition takes away or adds must stand on enough sensors, like what is shown.

Two questions that differ by one probe alone would tell, by the difference of their
figures, whether it reached a sensor: "all" against "all but port 61001". So a negated
condition that takes away what fewer than *k* sensors of others saw takes away nothing,
and a part of an ``or``, or a value of a list, that adds so little adds nothing. A range's
edge could be moved probe by probe, and is refused.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from teiten.search import guarding, lines
from teiten.search.conditions import (
    AllOf,
    AnyOf,
    Condition,
    Expression,
    Not,
    Span,
    all_of,
    any_of,
    negate,
    walk,
    where,
)
from teiten.search.desk import Desk
from teiten.search.errors import NotPermitted, QueryError
from teiten.search.query import Query
from teiten.search.statements import Draft
from teiten.search.visibility import Visibility

#: Parts of one question that are looked at one by one; more are refused.
MOST_PARTS = 20
_NEGATED = frozenset({"!=", "not in", "lacks"})
_PLAIN = frozenset({"=", "has"})
_RANGES = frozenset({"<", "<=", ">", ">="})


def check_ranges(visibility: Visibility, filters: Expression | None) -> None:
    """Refuse a range whose edge could be moved probe by probe.

    Raises:
        NotPermitted: naming the field.
    """
    for condition in walk(filters):
        is_range = condition.operator in _RANGES or any(isinstance(each, Span) for each in condition.values)
        if visibility.is_guarded and is_range:
            raise NotPermitted(
                f"a {visibility.role} may not filter by a range of {condition.field}: two ranges that differ by one"
                " value would tell whether a probe arrived; name the values one by one",
                field=condition.field,
            )


def keep_supported(desk: Desk, visibility: Visibility, query: Query) -> Query:
    """Give the question without what takes away or adds less than enough sensors saw; for real viewers as it is.

    Raises:
        NotPermitted: for a range.
        QueryError: when there are too many negated or listed parts.
    """
    if not visibility.is_guarded:
        return query
    check_ranges(visibility, query.filters)
    if sum(1 for _ in _list_parts(query)) > MOST_PARTS:
        rule = f"members' questions have at most {MOST_PARTS} negated or listed values"
        raise QueryError(f"{rule}; take some away", field="q", rule=rule)
    kept = list(query.conditions)
    for part in query.conditions:
        others = [each for each in kept if each is not part]
        rest = replace(query, filters=all_of(others))
        settled = _settle(desk, visibility, rest, part)
        kept = [*others, *([] if settled is None else [settled])]
    return replace(query, filters=all_of(kept))


def _list_parts(query: Query) -> Iterator[Expression]:
    for part in query.conditions:
        yield from _split(part)


def _split(part: Expression) -> Sequence[Expression]:
    """Give what a chip adds up from, or takes away; nothing for a plain condition and for the mode."""
    if isinstance(part, Condition) and part.field == "answering":
        return ()
    if isinstance(part, AnyOf):
        return part.parts
    if isinstance(part, Condition):
        if part.operator in ("in", "not in"):
            return [where(part.field, "=", value) for value in part.values]
        return [negate(part)] if part.operator in _NEGATED else []
    if isinstance(part, Not) and isinstance(part.part, AnyOf):
        return part.part.parts
    return [negate(part)] if isinstance(part, Not) else []


def _settle(desk: Desk, visibility: Visibility, rest: Query, part: Expression) -> Expression | None:
    """Give what is left of a chip; None when it takes nothing away."""
    pieces = _split(part)
    if not pieces:
        return part
    for piece in pieces:
        _check_plain(piece)
    known = [piece for piece in pieces if _has_enough(desk, visibility, rest, piece)]
    if _is_negated(part):
        return all_of([negate(piece) for piece in known])
    # One value alone stays, and is withheld: several of them could be joined until they stand on enough.
    return any_of(known or pieces[:1])


def _check_plain(piece: Expression) -> None:
    """Refuse lists and negations within a piece: what they join would not be looked at one by one.

    Raises:
        QueryError: naming the rule.
    """
    parts = piece.parts if isinstance(piece, AllOf) else (piece,)
    if not all(isinstance(each, Condition) and each.operator in _PLAIN for each in parts):
        rule = "within an 'or' or a 'not' of members stand plain conditions joined by 'and', no lists and no further 'or' or 'not'"
        raise QueryError(f"{rule}; write each alternative out", field="q", rule=rule)


def _is_negated(part: Expression) -> bool:
    return isinstance(part, Not) or (isinstance(part, Condition) and part.operator in _NEGATED)


def _has_enough(desk: Desk, visibility: Visibility, rest: Query, piece: Expression) -> bool:
    """Tell whether enough sensors saw what a piece takes or adds; panels of one screen ask for the same."""
    asked = rest.narrow(piece)
    return desk.remember(
        ("enough", asked),
        lambda: _ask(desk, visibility, asked),
        seconds=desk.config.freshness_cache_seconds,
        viewer=visibility,
    )


def _ask(desk: Desk, visibility: Visibility, asked: Query) -> bool:
    made = lines.plan_for(desk, asked, needs_hosts=False, needs_buckets=False)
    draft = Draft(made, asked.dataset, asked.survey, previous=False)
    statement = (
        f"SELECT {guarding.has_enough(visibility, made.table)} AS is_enough"  # noqa: S608 - declared names, bound values
        f" FROM {made.table.name} WHERE {draft.where()}"
    )
    rows = desk.select(visibility, statement, draft.parameters).to_pylist()
    return bool(rows and rows[0]["is_enough"])
