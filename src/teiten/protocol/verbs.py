"""The verbs that a sensor obeys: one fixed table, with typed arguments and limits by class.

A verb is code in the sensor. Nothing here is a shell string: ``exec``, the only
verb that names a program, takes a list of words, needs two persons, names its
sensors one by one, and is off unless the sensor was made with it.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, get_args

from teiten.protocol.errors import CommandError
from teiten.protocol.header_text import MAX_EXAMPLES, MAX_PAYLOAD_BYTES
from teiten.protocol.heartbeat import MAX_RELEASE
from teiten.protocol.sensor_config import MAX_WINDOW_SECONDS

CommandClass: TypeAlias = Literal["A", "B", "C", "D"]
CLASSES: tuple[CommandClass, ...] = get_args(CommandClass)
Kind: TypeAlias = Literal["whole", "address", "host", "words"]

MAX_WORDS = 64
MAX_WORDS_CHARACTERS = 4096
_HOUR_SECONDS = 3600
#: A host name of letters, digits, hyphens and dots (RFC 1123 §2.1), and the underscore of service names.
_HOST = re.compile(
    r"(?=.{1,253}\.?\Z)[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?(\.[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?)*\.?"
)


@dataclass(frozen=True)
class ClassLimits:
    """What a class of commands asks of those who sign it."""

    #: Distinct persons who must have signed.
    persons: int
    #: Longest time from ``not_before`` to ``expires``.
    lifetime_seconds: int
    #: Whether every sensor must be named.
    explicit_only: bool
    #: A role that one of the persons must have; empty: none.
    role: str
    meaning: str


LIMITS: dict[str, ClassLimits] = {
    "A": ClassLimits(1, _HOUR_SECONDS, explicit_only=False, role="", meaning="looks only"),
    "B": ClassLimits(2, 24 * _HOUR_SECONDS, explicit_only=False, role="", meaning="changes how it runs"),
    "C": ClassLimits(2, 600, explicit_only=True, role="", meaning="runs a free command"),
    "D": ClassLimits(2, _HOUR_SECONDS, explicit_only=False, role="admin", meaning="ends a sensor"),
}


@dataclass(frozen=True)
class Argument:
    """One argument of a verb."""

    name: str
    kind: Kind
    help: str
    #: Range of a whole number.
    low: int = 0
    high: int = 0
    required: bool = True
    #: Whether null is a value too ("as the sensor is set").
    nullable: bool = False

    def find_fault(self, value: Any) -> str:
        """Say which rule ``value`` breaks; empty when none."""
        if value is None:
            return "" if self.nullable else "must not be null"
        return _FAULTS[self.kind](self, value)

    def describe(self) -> str:
        """Give the rule for people, for example ``1 to 500``."""
        return f"{self.low} to {self.high}" if self.kind == "whole" else _KIND_TEXTS[self.kind]


@dataclass(frozen=True)
class Verb:
    """One thing that a sensor can be told to do."""

    name: str
    command_class: CommandClass
    help: str
    arguments: tuple[Argument, ...] = ()
    #: Whether the sensor's unprivileged process must hand it to the root helper (or the supervisor).
    needs_root: bool = False

    @property
    def limits(self) -> ClassLimits:
        return LIMITS[self.command_class]


def _number(name: str, help_text: str, low: int, high: int) -> Argument:
    return Argument(name, "whole", help_text, low=low, high=high)


def _setting(name: str, help_text: str, low: int, high: int) -> Argument:
    return Argument(name, "whole", help_text, low=low, high=high, required=False, nullable=True)


_ADDRESS = Argument("address", "address", "IPv4 or IPv6 address")

VERBS: dict[str, Verb] = {
    verb.name: verb
    for verb in (
        Verb("status", "A", "tell how capture and sending are"),
        Verb(
            "log_tail", "A", "give the last lines of the sensor's log", (_number("lines", "lines", 1, 500),)
        ),
        Verb(
            "ping",
            "A",
            "ping an address from the sensor",
            (_ADDRESS, _number("count", "echo requests", 1, 10)),
        ),
        Verb("traceroute", "A", "tell the way to an address", (_ADDRESS,)),
        Verb(
            "resolve",
            "A",
            "resolve a name with the sensor's resolver",
            (Argument("name", "host", "host name"),),
        ),
        Verb(
            "set_config",
            "B",
            "lower what is recorded, or change the window; null takes a limit back",
            (
                _setting("payload_bytes", "most payload bytes kept per packet", 0, MAX_PAYLOAD_BYTES),
                _setting("examples_per_window", "most payload examples a window", 0, MAX_EXAMPLES),
                _setting("window_seconds", "length of an ordinary window", 1, MAX_WINDOW_SECONDS),
            ),
        ),
        Verb("restart", "B", "restart capture and sending", needs_root=True),
        Verb("capture_on", "B", "record again", needs_root=True),
        Verb("capture_off", "B", "stop recording until capture_on", needs_root=True),
        Verb(
            "update_now",
            "B",
            "fetch and take a release now, as far as the update repository offers it",
            (_number("release", "number of the release", 1, MAX_RELEASE),),
            needs_root=True,
        ),
        Verb("rotate_key", "B", "make a new sensor key and put it in the old one's place"),
        Verb(
            "exec",
            "C",
            "run a program with limits; off unless the sensor was made with it",
            (
                Argument("argv", "words", "the program and its arguments"),
                _number("timeout_s", "seconds after which it is killed", 1, 600),
            ),
            needs_root=True,
        ),
        Verb("wipe", "D", "erase unsent records, key and identity at once, and stop", needs_root=True),
        Verb(
            "retire", "D", "send what is left, then erase key and identity and stop for good", needs_root=True
        ),
    )
}


def check_arguments(verb: Verb, arguments: Mapping[str, Any]) -> None:
    """Check that a verb is given just what it takes.

    Raises:
        CommandError: naming the argument and its rule.
    """
    known = {argument.name for argument in verb.arguments}
    for name in arguments:
        if name not in known:
            takes = ", ".join(sorted(known)) or "none"
            raise _refuse(f"{verb.name} takes no argument {name!r:.60}; it takes: {takes}")
    for argument in verb.arguments:
        if argument.name not in arguments:
            if argument.required:
                raise _refuse(f"{verb.name} needs the argument {argument.name} ({argument.describe()})")
            continue
        fault = argument.find_fault(arguments[argument.name])
        if fault:
            raise _refuse(f"argument {argument.name} of {verb.name} {fault}")
    if verb.arguments and not arguments:
        raise _refuse(f"{verb.name} needs at least one of: {', '.join(sorted(known))}")


def _refuse(message: str) -> CommandError:
    return CommandError("command.arguments", message)


def _find_whole_fault(argument: Argument, value: Any) -> str:
    if type(value) is int and argument.low <= value <= argument.high:
        return ""
    return f"must be a whole number from {argument.low} to {argument.high}"


def _find_address_fault(_argument: Argument, value: Any) -> str:
    try:
        if isinstance(value, str) and str(ipaddress.ip_address(value)) == value and "%" not in value:
            return ""
    except ValueError:
        pass
    return "must be an IP address in its shortest form"


def _find_host_fault(_argument: Argument, value: Any) -> str:
    if isinstance(value, str) and _HOST.fullmatch(value):
        return ""
    return "must be a host name of letters, digits, hyphens and dots, at most 253 characters"


def _find_words_fault(_argument: Argument, value: Any) -> str:
    if (
        isinstance(value, list)
        and 1 <= len(value) <= MAX_WORDS
        and all(isinstance(word, str) and "\0" not in word for word in value)
        and sum(map(len, value)) <= MAX_WORDS_CHARACTERS
        and value[0].startswith("/")
        and all(_is_encodable(word) for word in value)
    ):
        return ""
    return (
        f"must be a list of 1 to {MAX_WORDS} words, together at most {MAX_WORDS_CHARACTERS} characters,"
        " of which the first is the program's absolute path"
    )


def _is_encodable(word: str) -> bool:
    """Tell whether a word is text; JSON can carry lone surrogates, which no program can be given."""
    try:
        word.encode()
    except UnicodeEncodeError:
        return False
    return True


_FAULTS = {
    "whole": _find_whole_fault,
    "address": _find_address_fault,
    "host": _find_host_fault,
    "words": _find_words_fault,
}
_KIND_TEXTS = {"address": "an IP address", "host": "a host name", "words": "a list of words"}
