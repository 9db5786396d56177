"""Which ports a filter keeps to, and what spans of time leave over."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from teiten.search.conditions import (
    AllOf,
    AnyOf,
    Condition,
    Expression,
    Not,
    PortValue,
    Span,
    all_of,
    any_of,
    negate,
    walk,
    where,
)
from teiten.search.named_ports import MOST_SERVICES, services_of
from teiten.search.unreached import Unreached, leave, name_port

pytestmark = pytest.mark.requirement("R2.3")

TCP, UDP = 6, 17
ports = st.integers(1, 5)
values = st.one_of(
    ports,
    st.builds(PortValue, ports, st.sampled_from([TCP, UDP])),
    st.builds(lambda low, more: Span(low, low + more), ports, st.integers(0, 2)),
)
conditions = st.one_of(
    st.builds(
        lambda operator, value: where("dst_port", operator, value), st.sampled_from(["=", "!="]), values
    ),
    st.builds(
        lambda operator, some: where("dst_port", operator, *some),
        st.sampled_from(["in", "not in"]),
        st.lists(values, min_size=1, max_size=3),
    ),
    st.builds(
        lambda operator, port: where("dst_port", operator, port),
        st.sampled_from(["<", "<=", ">", ">="]),
        ports,
    ),
    st.builds(lambda protocol: where("protocol", "=", protocol), st.sampled_from([TCP, UDP, 1])),
)
filters = st.recursive(
    conditions,
    lambda parts: st.one_of(
        st.lists(parts, min_size=2, max_size=3).map(all_of),
        st.lists(parts, min_size=2, max_size=3).map(any_of),
        parts.map(negate),
    ),
    max_leaves=5,
)


def matches(expression: Expression, port: int, protocol: int) -> bool:
    """Tell, plainly, whether a packet passes a filter on ports and protocols."""
    if isinstance(expression, Not):
        return not matches(expression.part, port, protocol)
    if isinstance(expression, AllOf):
        return all(matches(part, port, protocol) for part in expression.parts)
    if isinstance(expression, AnyOf):
        return any(matches(part, port, protocol) for part in expression.parts)
    found, first = (port if expression.field == "dst_port" else protocol), expression.values[0]
    orders = {"<": found.__lt__, "<=": found.__le__, ">": found.__gt__, ">=": found.__ge__}
    if expression.operator in orders:
        return bool(orders[expression.operator](first))  # type: ignore[arg-type]  # numbers alone are ordered here
    is_one = any(is_equal(value, found, protocol) for value in expression.values)
    return is_one == (expression.operator in ("=", "in"))


def is_equal(value: Any, found: int, protocol: int) -> bool:
    if isinstance(value, Span):
        return value.low <= found <= value.high
    if isinstance(value, PortValue):
        return (value.number, value.protocol) == (found, protocol)
    return bool(value == found)


def named(condition: Condition) -> set[int]:
    found: set[int] = set()
    for value in condition.values:
        if isinstance(value, Span):
            found |= set(range(value.low, value.high + 1))
        else:
            found.add(value.number if isinstance(value, PortValue) else int(str(value)))
    return found


@given(filters)
@settings(max_examples=100)
def test_a_filter_keeps_to_exactly_the_ports_that_pass_it(expression: Expression) -> None:
    mentioned = {port for each in walk(expression) if each.field == "dst_port" for port in named(each)}
    passing = {
        (port, protocol)
        for port in (*range(12), 65_535)
        for protocol in (TCP, UDP)
        if matches(expression, port, protocol)
    }
    found = {(one.number, one.protocol) for one in services_of(expression)}
    assert found == (passing if {port for port, _ in passing} <= mentioned else set())


def test_other_fields_may_let_anything_through() -> None:
    smb = where("dst_port", "=", PortValue(445, TCP))
    other = where("country", "=", "CN")
    assert [name_port(one) for one in services_of(all_of([smb, other]))] == ["445/tcp"]
    assert services_of(any_of([smb, other])) == ()
    assert services_of(negate(all_of([smb, other]))) == ()  # type: ignore[arg-type]  # two parts make one
    assert services_of(None) == ()
    assert services_of(where("dst_port", "=", Span(1, MOST_SERVICES))) != ()
    assert services_of(where("dst_port", "=", Span(1, MOST_SERVICES + 1))) == ()


spans = st.lists(st.tuples(st.integers(0, 50), st.integers(1, 10)), max_size=4).map(
    lambda drawn: tuple(
        (start * 3, start * 3 + min(length, 3)) for start, length in sorted(dict(drawn).items())
    )
)


@given(spans, st.integers(0, 80), st.integers(0, 80))
def test_what_is_left_and_what_is_taken_are_the_whole(when: Any, start: int, length: int) -> None:
    end = start + length
    left = {instant for one in leave(when, start, end) for instant in range(*one)}
    taken = {instant for one in when for instant in range(*one)} & set(range(start, end))
    assert left | taken == set(range(start, end))
    assert not left & taken


def test_periods_that_touch_fill_a_bucket() -> None:
    import numpy as np

    from teiten.search.periods import Window

    window = Window((0, 7, 14), 7, "UTC")
    found = Unreached((PortValue(23, TCP),), {4: {5: ((0, 1), (1, 3), (3, 10)), 9: ((7, 14),)}})
    shares = found.shares(np.array([9, 5, 5, 1]), 4, window)
    assert shares == pytest.approx(np.array([[0, 1], [1, 3 / 7], [1, 3 / 7], [0, 0]]))
    assert (shares[1, 0], found.shares(np.array([5]), 6, window).sum()) == (1.0, 0.0)
