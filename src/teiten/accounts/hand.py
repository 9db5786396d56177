"""Whose hands are at the command line: a word for acts that no signed-in person stands behind.

It is what the machine says (its user, and who became that user by sudo), not a proof:
whoever is root there may write what he likes. Among several administrators of one
base it tells who it was.
"""

from __future__ import annotations

import os
import pwd
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from teiten.foundation.settings import read_variable

_MOST_CHARACTERS = 80
_hand: ContextVar[str] = ContextVar("hand", default="")


@contextmanager
def at_the_command_line() -> Iterator[None]:
    """Let what is recorded within name who types."""
    before = _hand.set(_find_name())
    try:
        yield
    finally:
        _hand.reset(before)


def name_hand() -> str:
    """Give who types; empty in a service."""
    return _hand.get()


def _find_name() -> str:
    try:
        name = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        name = str(os.getuid())
    before = read_variable("SUDO_USER")
    told = f"{name}, who is {before}" if before and before != name else name
    return "".join(letter if letter.isprintable() else "?" for letter in told)[:_MOST_CHARACTERS]
