"""How verbs are declared: each names the function that does it, loaded only when the verb is used."""

from __future__ import annotations

import argparse

#: ``module:function`` below ``teiten.cli``.
Route = str
Verbs = argparse._SubParsersAction  # noqa: SLF001 - argparse has no public name for it


def add_verb(
    verbs: Verbs[argparse.ArgumentParser], name: str, route: Route | None, text: str
) -> argparse.ArgumentParser:
    """Declare a verb; ``text`` is its help."""
    parser = verbs.add_parser(name, help=text, description=text)
    if route is not None:
        parser.set_defaults(route=route)
    return parser


def add_group(
    verbs: Verbs[argparse.ArgumentParser], name: str, text: str, *, required: bool = True
) -> Verbs[argparse.ArgumentParser]:
    """Declare a verb that has verbs below it."""
    parser = verbs.add_parser(name, help=text, description=text)
    return parser.add_subparsers(dest="subverb", required=required, metavar="VERB")
