"""The query language: reading, printing, refusing."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from teiten.search import language
from teiten.search.conditions import (
    Condition,
    Expression,
    PortValue,
    Span,
    Value,
    all_of,
    any_of,
    negate,
    where,
)
from teiten.search.errors import QueryError
from teiten.search.fields import FIELDS, Field
from teiten.search.services import WITH_PORTS

pytestmark = pytest.mark.requirement("R2.3")


def _numbers(field: Field) -> st.SearchStrategy[Value]:
    one = st.integers(field.lowest, field.highest)
    pairs = st.tuples(one, one).filter(lambda pair: pair[0] < pair[1])
    return st.one_of(one, pairs.map(lambda pair: Span(*pair)))


def _bits(field: Field) -> st.SearchStrategy[Value]:
    known = sum(field.names.values())
    return st.integers(0, known).map(lambda bits: bits & known)


def values_of(field: Field) -> st.SearchStrategy[Value]:
    v4 = st.tuples(st.integers(0, 2**32 - 1), st.integers(0, 32)).map(lambda p: IPv4Network(p, strict=False))
    v6 = st.tuples(st.integers(2**60, 2**128 - 1), st.integers(0, 128)).map(
        lambda p: IPv6Network(p, strict=False)
    )
    strategies: dict[str, st.SearchStrategy[Value]] = {
        "number": _numbers(field),
        "port": st.one_of(
            _numbers(field),
            st.builds(PortValue, st.integers(0, 0xFFFF), st.integers(0, 0xFF)).filter(
                lambda value: value.protocol in WITH_PORTS or not value.number
            ),
        ),
        "address": st.one_of(v4, v6),
        "code": st.sampled_from(["CN", "US", ""] if field.name == "country" else ["kanto", "in", "and", ""]),
        "name": st.sampled_from(list(field.names.values()) or [0]),
        "bits": _bits(field),
        "marks": _bits(field),
        "hash": st.integers(0, 2**64 - 1),
        "text": st.one_of(st.just("64240:2-4-8-1-3:1460:7"), st.text(max_size=20)).filter(
            lambda text: text.isprintable() and text == text.strip() and text.lower() != "none"
        ),
        "yesno": st.integers(0, 1),
    }
    return strategies[field.kind]


@st.composite
def conditions(draw: st.DrawFn) -> Condition:
    field = FIELDS[draw(st.sampled_from(list(FIELDS)))]
    operator = draw(st.sampled_from(field.operators))
    if operator in ("in", "not in"):
        return where(field.name, operator, *draw(st.lists(values_of(field), min_size=1, max_size=4)))
    value = draw(values_of(field))
    if operator in ("<", "<=", ">", ">=", "has", "lacks") and not isinstance(value, int):
        operator = "="
    return where(field.name, operator, value)


def expressions() -> st.SearchStrategy[Expression]:
    return st.recursive(
        conditions(),
        lambda parts: st.one_of(
            st.lists(parts, min_size=1, max_size=4).map(all_of),
            st.lists(parts, min_size=1, max_size=4).map(any_of),
            parts.map(negate),
        ),
        max_leaves=8,
    )


class TestParse:
    def test_it_works(self) -> None:
        text = 'dst_port = 8728 and region = "kanto" and not country in (CN, US)'

        parsed = language.parse(text)

        assert parsed == all_of(
            [
                where("dst_port", "=", 8728),
                where("region", "=", "kanto"),
                where("country", "not in", "CN", "US"),
            ]
        )
        assert language.print_filters(parsed) == (
            "dst_port = 8728 and region = kanto and country not in (CN, US)"
        )

    def test_an_empty_text_filters_nothing(self) -> None:
        assert language.parse("  ") is None
        assert language.print_filters(None) == ""

    @settings(max_examples=200, deadline=None)
    @given(expressions())
    def test_reading_is_the_inverse_of_printing(self, expression: Expression) -> None:
        assert language.parse(language.print_filters(expression)) == expression

    @settings(max_examples=150, deadline=None)
    @given(st.text(max_size=60))
    def test_any_text_is_read_or_refused(self, text: str) -> None:
        try:
            expression = language.parse(text)
        except QueryError:
            return
        assert language.parse(language.print_filters(expression)) == expression

    def test_and_binds_closer_than_or(self) -> None:
        loose = language.parse("ttl = 1 or ttl = 2 and ttl = 3")

        assert loose == language.parse("ttl = 1 or (ttl = 2 and ttl = 3)")
        assert loose != language.parse("(ttl = 1 or ttl = 2) and ttl = 3")

    def test_negations_cancel(self) -> None:
        assert language.parse("not not (ttl = 1 or ttl = 2)") == language.parse("ttl = 1 or ttl = 2")
        assert language.parse("not ttl < 5") == language.parse("ttl >= 5")

    @pytest.mark.parametrize(
        ("text", "value"),
        [
            ("asn = AS64500", 64500),
            ("asn = unknown", 0),
            ("protocol = TCP", 6),
            ("protocol = 254", 254),
            ("dst_port = 23/tcp", PortValue(23, 6)),
            ("dst_port = 1..1024", Span(1, 1024)),
            ("src_addr = 192.0.2.9/24", IPv4Network("192.0.2.0/24")),
            ("src_addr = ::ffff:192.0.2.9", IPv4Network("192.0.2.9")),
            ("src_addr = 3fff::/20", IPv6Network("3fff::/20")),
            ("tcp_flags = SYN+ACK", 0x12),
            ("survey = yes", 1),
            ("country = jp", "JP"),
            ("country = unknown", ""),
            ("payload_hash = 00000000000000ff", 255),
            ('tcp_fp = "64240:2-4:1460:7"', "64240:2-4:1460:7"),
            ("tcp_fp = none", ""),
            ("hint = none", 0),
        ],
    )
    def test_each_kind_of_value_is_read(self, text: str, value: Value) -> None:
        parsed = language.parse(text)

        assert isinstance(parsed, Condition)
        assert parsed.values == (value,)

    @pytest.mark.parametrize(
        ("text", "field", "position", "words"),
        [
            ("dst_port = 70000", "dst_port", 11, "0–65535"),  # noqa: RUF001
            ("dst_port = -1", "dst_port", 11, "0–65535"),  # noqa: RUF001
            ("dst_prot = 23", "dst_prot", 0, "did you mean dst_port"),
            ("dst_port ~ 23", "dst_port", 9, "takes = !="),
            ("country < CN", "country", 8, "takes = !="),
            ("country = China", "country", 10, "two letters"),
            ("src_addr = 192.0.2.300", "src_addr", 11, "address or a prefix"),
            ("protocol = tpc", "protocol", 11, "icmp"),
            ("ttl > 5..7", "ttl", 6, "single number"),
            ("ttl = 9..2", "ttl", 6, "0–255"),  # noqa: RUF001
            ("survey = maybe", "survey", 9, "yes or no"),
            ("payload_hash = xyz", "payload_hash", 15, "16 hexadecimal"),
            ("dst_port in 23", "q", 12, "'('"),
            ("dst_port in (23, )", "q", 17, "value"),
            ("dst_port = 23 dst_port = 24", "q", 14, "and, or"),
            ("(dst_port = 23", "q", 14, "')'"),
            ("dst_port =", "q", 10, "value"),
            ("and", "q", 0, "a field"),
            ('tcp_fp = "abc', "q", 9, "not closed"),
            ("not", "q", 3, "a field"),
        ],
    )
    def test_an_error_names_position_field_and_rule(
        self, text: str, field: str, position: int, words: str
    ) -> None:
        with pytest.raises(QueryError) as caught:
            language.parse(text)

        assert (caught.value.field, caught.value.position) == (field, position)
        assert words in str(caught.value)
        assert f"position {position}" in str(caught.value)

    def test_nesting_and_length_have_bounds(self) -> None:
        with pytest.raises(QueryError, match="at most 20 levels"):
            language.parse("(" * 50 + "ttl = 1" + ")" * 50)
        with pytest.raises(QueryError, match="at most 8000"):
            language.parse("ttl = 1 or " * 1000)


@pytest.mark.parametrize("text", ["dst_port = 23/icmp", "src_port in (80/tcp, 7/47)"])
def test_a_port_of_a_protocol_without_ports_is_refused(text: str) -> None:
    with pytest.raises(QueryError, match="has no ports: ask for protocol = "):
        language.parse(text)

    assert language.parse("dst_port = 0/icmp") is not None


def test_what_could_not_be_asked_is_a_value_of_its_own() -> None:
    condition = language.parse("hint = not_computable")

    assert condition == where("hint", "=", 1 << 31)
    assert language.print_filters(condition) == "hint = not_computable"
    assert FIELDS["validity"].names == {"ordinary": 0, "bogon": 1, "spoof_suspect": 2}
    assert FIELDS["survey_kind"].names == {"none": 0, "listed": 1, "behaviour": 2}
