"""Ask before something is done that cannot be taken back."""

from __future__ import annotations

import sys

from teiten.cli.errors import CliError


def is_confirmed(what: str, *, yes: bool, way_to_look: str = "--dry-run to count only") -> bool:
    """Ask, unless told not to.

    Raises:
        CliError: when there is nobody to ask.
    """
    if yes:
        return True
    if not sys.stdin.isatty():
        raise CliError(f"nobody can be asked here; say --yes to do it, or {way_to_look}")
    answer = input(f"{what}? Type yes to do it: ")
    if answer.strip() != "yes":
        print("nothing was changed")
        return False
    return True
