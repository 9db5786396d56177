"""How verbs are declared: each names the function that does it, loaded only when the verb is used."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from teiten.cli.examples import EXAMPLES

#: ``module:function`` below ``teiten.cli``.
Route = str
Verbs = argparse._SubParsersAction  # noqa: SLF001 - argparse has no public name for it


def add_verb(
    verbs: Verbs[argparse.ArgumentParser], name: str, route: Route | None, text: str
) -> argparse.ArgumentParser:
    """Declare a verb; ``text`` is its help."""
    parser = verbs.add_parser(name, help=text, description=text)
    example = EXAMPLES.get(parser.prog.partition(" ")[2])
    if example is not None:
        parser.formatter_class = argparse.RawDescriptionHelpFormatter
        parser.epilog = f"example:\n  {example}"
    if route is not None:
        parser.set_defaults(route=route)
    return parser


def add_group(
    verbs: Verbs[argparse.ArgumentParser], name: str, text: str, *, required: bool = True
) -> Verbs[argparse.ArgumentParser]:
    """Declare a verb that has verbs below it."""
    parser = verbs.add_parser(name, help=text, description=text)
    return parser.add_subparsers(dest="subverb", required=required, metavar="VERB")


def whole(low: int, high: int = (1 << 63) - 1) -> Callable[[str], int]:
    """Give a reader of whole numbers from ``low`` to ``high``, for ``type=``."""

    def read(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            number = low - 1
        if not low <= number <= high:
            raise argparse.ArgumentTypeError(f"{text!r:.40} must be a whole number from {low} to {high}")
        return number

    return read
