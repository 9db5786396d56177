"""The axis *service or probe*: what a payload asks for, by its first bytes.

The rules are data (``traffic/data/probes.csv``), one pattern a line. A rule for a port
is asked before one for any port; among several, an exact one before a prefix, then the
one that fixes more bytes, then the order given. DNS queries that no rule knows are
labelled by what they ask for (``traffic.dns_questions``).

A pattern is written in pairs of hex digits, ``..`` for any byte, and text in
apostrophes: ``ff ff ff ff 'getstatus' 0a``. ``exact`` asks for the payload's whole
length too.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from teiten.traffic import dns_questions
from teiten.traffic.access import get_numbers, get_strings
from teiten.traffic.byte_strings import read_heads, read_lengths
from teiten.traffic.columns import PacketColumns
from teiten.traffic.errors import RuleFileError
from teiten.traffic.parse_bytes import Bytes, Ints, Mask
from teiten.traffic.rule_files import RuleFile, read_rows, read_shipped

Match: TypeAlias = Literal["exact", "prefix"]

#: The rules as a file; ``port`` is empty for any, ``trigger`` reads yes or nothing.
HEADER = ("label", "protocol", "port", "match", "pattern", "trigger", "source")

TCP, UDP = 6, 17
DNS_PORT = 53
#: No rule looks further into a payload: sensors keep so many bytes by default.
MAX_PATTERN_BYTES = 64
#: Names in questions may be longer.
_DNS_BYTES = 128
#: Packets that are asked at once: each meets some twenty rules at most.
_MOST_ROWS = 1 << 16

_PROTOCOLS = {"tcp": TCP, "udp": UDP}
_LABEL = re.compile(r"(?=.{2,32}$)[a-z0-9]+(?:[.-][a-z0-9]+)*")
_LABEL_FORM = "2 to 32 small letters and digits, joined by - or ."
_TOKEN = re.compile(r"(?:(?P<hex>[0-9a-fA-F]{2})|(?P<any>\.\.)|'(?P<text>[\x20-\x26\x28-\x7e]+)')(?:\s+|$)")


@dataclass(frozen=True)
class ProbeRule:
    """One kind of payload."""

    #: As in ``ntp-monlist``.
    label: str
    #: IANA number, 6 or 17.
    protocol: int
    #: Destination port, or None for any.
    port: int | None
    match: Match
    #: Bytes that are asked, 0 where any will do, and which bits are asked.
    value: bytes
    mask: bytes
    #: Where the pattern is written down.
    source: str
    #: A service on this port answers with more than it was asked, to whoever the source says.
    is_trigger: bool = False

    @property
    def pattern(self) -> str:
        """Give the bytes as pairs of hex digits, ``..`` for any byte."""
        pairs = zip(self.value, self.mask, strict=True)
        return " ".join(f"{value:02x}" if mask else ".." for value, mask in pairs)

    @cached_property
    def rank(self) -> tuple[bool, int]:
        """Give what sorts rules, the one to be asked first lowest."""
        return self.match != "exact", -sum(byte == 0xFF for byte in self.mask)


class ProbeTable:
    """Rules, asked about many packets at once."""

    def __init__(self, rules: Sequence[ProbeRule]) -> None:
        self.rules = tuple(rules)
        labels = [rule.label for rule in rules] + list(dns_questions.LABELS)
        # The last entry answers for number -1.
        self._labels = np.array([*labels, ""], np.object_)
        triggers = [rule.is_trigger for rule in rules]
        triggers += [label in dns_questions.AMPLIFYING for label in dns_questions.LABELS]
        self._is_trigger = np.array([*triggers, False], np.bool_)
        self._by_port = _Index(self.rules, by_port=True)
        self._by_head = _Index(self.rules, by_port=False)

    @property
    def labels(self) -> tuple[str, ...]:
        """Every label that this table can give."""
        return tuple(sorted(set(self._labels.tolist()) - {""}))

    def label(self, columns: PacketColumns) -> NDArray[np.object_]:
        """Give the label of every packet, '' where no rule holds."""
        return self.name(self.find(columns))

    def name(self, numbers: NDArray[np.int16]) -> NDArray[np.object_]:
        """Give the labels of what :meth:`find` found."""
        labels: NDArray[np.object_] = self._labels[numbers]
        return labels

    def is_trigger(self, numbers: NDArray[np.int16]) -> Mask:
        """Tell which of what :meth:`find` found would trigger a reflector."""
        triggers: Mask = self._is_trigger[numbers]
        return triggers

    def find(self, columns: PacketColumns) -> NDArray[np.int16]:
        """Give the number of every packet's rule, -1 for none; numbers past the rules are DNS questions."""
        payload = get_strings(columns, "payload")
        protocol = get_numbers(columns, "protocol", np.uint8)
        found = np.full(protocol.size, -1, np.int16)
        has_rules = (read_lengths(payload) > 0) & ((protocol == TCP) | (protocol == UDP))
        rows = np.flatnonzero(has_rules)
        for start in range(0, rows.size, _MOST_ROWS):
            part = rows[start : start + _MOST_ROWS]
            found[part] = self._find_rows(columns, part)
        return found

    def _find_rows(self, columns: PacketColumns, rows: NDArray[np.intp]) -> NDArray[np.int16]:
        payload = get_strings(columns, "payload")
        heads = read_heads(payload, rows, size=MAX_PATTERN_BYTES)
        is_udp = (get_numbers(columns, "protocol", np.uint8)[rows] == UDP).astype(np.intp)
        ports = get_numbers(columns, "dst_port", np.uint16)[rows]
        captured = read_lengths(payload)[rows]
        stated = get_numbers(columns, "payload_length", np.uint32)[rows]
        found = np.full(rows.size, -1, np.int16)
        self._by_port.fill(found, is_udp, ports, heads=heads, captured=captured, stated=stated)
        beginnings = (heads[:, 0].astype(np.uint16) << np.uint16(8)) | heads[:, 1]
        self._by_head.fill(found, is_udp, beginnings, heads=heads, captured=captured, stated=stated)
        queries = np.flatnonzero((found < 0) & (is_udp == 1) & (ports == DNS_PORT))
        if queries.size:
            names = read_heads(payload, rows[queries], size=_DNS_BYTES)
            asked = dns_questions.find_questions(names, np.minimum(captured[queries], _DNS_BYTES))
            found[queries] = np.where(asked >= 0, asked + len(self.rules), -1)
        return found


class _Index:
    """The rules that share a protocol and a port, or a protocol and the first two bytes."""

    def __init__(self, rules: Sequence[ProbeRule], *, by_port: bool) -> None:
        groups: dict[tuple[int, int], list[int]] = {}
        for number in sorted(range(len(rules)), key=lambda number: rules[number].rank):
            rule = rules[number]
            if (rule.port is not None) is by_port:
                key = rule.port if rule.port is not None else int.from_bytes(rule.value[:2], "big")
                groups.setdefault((int(rule.protocol == UDP), key), []).append(number)
        self._group_of = np.full((2, 1 << 16), -1, np.int16)
        for place, (is_udp, key) in enumerate(groups):
            self._group_of[is_udp, key] = place
        #: The rules group by group, within a group as they are asked.
        self._numbers = np.array([number for group in groups.values() for number in group], np.int16)
        self._counts = np.array([len(group) for group in groups.values()], np.intp)
        self._starts = np.cumsum(self._counts) - self._counts
        chosen = [rules[number] for number in self._numbers.tolist()]
        self._sizes = np.array([len(rule.value) for rule in chosen], np.int32)
        self._is_exact = np.array([rule.match == "exact" for rule in chosen], np.bool_)
        self._values = _lay_words([rule.value for rule in chosen])
        self._masks = _lay_words([rule.mask for rule in chosen])

    def fill(
        self,
        found: NDArray[np.int16],
        is_udp: NDArray[np.intp],
        keys: NDArray[np.uint16],
        *,
        heads: Bytes,
        captured: Ints,
        stated: NDArray[np.uint32],
    ) -> None:
        """Write the first rule that holds into ``found``, where nothing was found yet."""
        groups = np.where(found < 0, self._group_of[is_udp, keys], np.int16(-1))
        rows = np.flatnonzero(groups >= 0)
        if not rows.size:
            return
        # Every packet with every rule of its group, in the order in which they are asked.
        counts = self._counts[groups[rows]]
        packets = np.repeat(rows, counts)
        rules = np.arange(packets.size) + np.repeat(
            self._starts[groups[rows]] + counts - np.cumsum(counts), counts
        )
        words = heads.view(np.uint64)
        alike = (words[packets, 0] & self._masks[rules, 0]) == self._values[rules, 0]
        alike &= captured[packets] >= self._sizes[rules]
        alike &= ~self._is_exact[rules] | (stated[packets] == self._sizes[rules])
        packets, rules = packets[alike], rules[alike]
        whole = ((words[packets] & self._masks[rules]) == self._values[rules]).all(axis=1)
        first, places = np.unique(packets[whole], return_index=True)
        found[first] = self._numbers[rules[whole][places]]


def _lay_words(patterns: Sequence[bytes]) -> NDArray[np.uint64]:
    padded = b"".join(pattern.ljust(MAX_PATTERN_BYTES, b"\0") for pattern in patterns)
    return np.frombuffer(padded, np.uint64).reshape(-1, MAX_PATTERN_BYTES // 8)


@lru_cache(maxsize=1)
def load_probes() -> ProbeTable:
    """Give the rules that ship with Teiten."""
    return read_probes(read_shipped("probes.csv"))


def read_probes(file: RuleFile) -> ProbeTable:
    """Read and check a file of rules.

    Raises:
        RuleFileError: naming the line and the rule.
    """
    rules: list[ProbeRule] = []
    lines: dict[tuple[object, ...], str] = {}
    for where, fields in read_rows(file, HEADER, kind="probe list"):
        rule = _read_rule(where, fields)
        key = (rule.protocol, rule.port, rule.match, rule.value, rule.mask)
        if key in lines:
            raise RuleFileError(f"{where}: {rule.label} asks the same as {lines[key]}")
        lines[key] = f"{where}, {rule.label}"
        rules.append(rule)
    return ProbeTable(rules)


def _read_rule(where: str, fields: list[str]) -> ProbeRule:
    label, protocol, port, match, pattern, trigger, source = fields
    _require(_LABEL.fullmatch(label), where, f"label {label!r} must be {_LABEL_FORM}")
    _require(protocol in _PROTOCOLS, where, f"protocol {protocol!r} must be one of {', '.join(_PROTOCOLS)}")
    _require(match in ("exact", "prefix"), where, f"match {match!r} must be exact or prefix")
    _require(trigger in ("", "yes"), where, f"trigger {trigger!r} must be yes or empty")
    _require(source, where, f"{label} has no source")
    value, mask = _read_pattern(where, pattern)
    rule = ProbeRule(
        label=label,
        protocol=_PROTOCOLS[protocol],
        port=_read_port(where, port),
        match="exact" if match == "exact" else "prefix",
        value=value,
        mask=mask,
        source=source,
        is_trigger=trigger == "yes",
    )
    if rule.port is None:
        _require(mask[:2] == b"\xff\xff", where, "a rule for any port begins with at least 2 known bytes")
    amplifies = rule.port is not None and rule.protocol == UDP
    _require(amplifies or not rule.is_trigger, where, "only a UDP rule with a port can be a trigger")
    return rule


def _read_port(where: str, text: str) -> int | None:
    if not text:
        return None
    _require(text.isascii() and text.isdecimal(), where, f"port {text!r} is no number")
    _require(0 <= int(text) <= 65535, where, f"port {text} is not between 0 and 65535")
    return int(text)


def _read_pattern(where: str, text: str) -> tuple[bytes, bytes]:
    """Read value and mask."""
    value, mask = bytearray(), bytearray()
    at = 0
    while at < len(text):
        token = _TOKEN.match(text, at)
        if token is None:
            raise RuleFileError(
                f"{where}: pattern has {text[at : at + 8]!r} where a pair of hex digits, '..' or "
                "a text in apostrophes belongs"
            )
        piece = token["text"].encode("latin-1", "replace") if token["text"] else b""
        piece = bytes.fromhex(token["hex"]) if token["hex"] else piece
        value += piece or b"\0"
        mask += b"\xff" * len(piece) or b"\0"
        at = token.end()
    _require(any(mask), where, "the pattern is empty or asks for no byte")
    _require(len(value) <= MAX_PATTERN_BYTES, where, f"the pattern is longer than {MAX_PATTERN_BYTES} bytes")
    return bytes(value), bytes(mask)


def _require(holds: object, where: str, rule: str) -> None:
    if not holds:
        raise RuleFileError(f"{where}: {rule}")
