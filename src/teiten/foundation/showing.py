"""Text that somebody else wrote, as a terminal may show it.

A gateway's message, a sensor's last error or a program's output may hold control
characters: they move the cursor, colour, hide, or have the terminal type an answer.
Marks that turn the direction of writing, and letters that are not seen, make a line
read as another.
"""

from __future__ import annotations

_REPLACED = "\ufffd"


def show_plain(text: str, *, kept: str = "") -> str:
    """Replace every character that is not printed as itself, but those in ``kept``."""
    if text.isprintable():
        return text
    return "".join(letter if letter.isprintable() or letter in kept else _REPLACED for letter in text)
