"""The page ``docs/settings.md``, written from the settings classes themselves.

A field's ``#:`` comment is its description; type and default come from the class.
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import typing
from pathlib import Path
from types import UnionType
from typing import Any

from teiten.cli.config import SECTIONS

_INTRODUCTION = """# Settings

One TOML file (`--config FILE` or `TEITEN_CONFIG`) with a section per component; `TEITEN_<SECTION>_<KEY>` in the environment wins
over it. A secret may be given as `<key>_file`, the path of a file that holds it. A key that is unknown, missing or of the wrong type
stops the start and names itself. Sensors read section `[sensor]` only. Lists are comma-separated in the environment.

This page is generated (`make docs`).
"""


def render() -> str:
    """Give the page."""
    return "\n".join([_INTRODUCTION, *(_section(name, SECTIONS[name]) for name in sorted(SECTIONS))])


def _section(name: str, kind: type[Any]) -> str:
    hints = typing.get_type_hints(kind)
    comments = _comments_of(kind)
    rows = [
        f"| `{name}.{field.name}` | {_type_text(hints[field.name])} | {_default_text(field)} "
        f"| {comments.get(field.name, '')} |"
        for field in dataclasses.fields(kind)
    ]
    head = [
        f"## [{name}]",
        "",
        _first_line(kind),
        "",
        "| setting | type | default | meaning |",
        "|---|---|---|---|",
    ]
    return "\n".join([*head, *rows, ""])


def _first_line(kind: type[Any]) -> str:
    """Give what a class says of itself, unless that is only its section's name."""
    line = (inspect.getdoc(kind) or "").split("\n")[0]
    return "" if line.startswith(("Section", "``[")) else line


def _comments_of(kind: type[Any]) -> dict[str, str]:
    """Collect the ``#:`` lines above each field."""
    source = inspect.getsource(kind)
    lines = source.split("\n")
    comments: dict[str, str] = {}
    for node in ast.parse(inspect.cleandoc(source) if source[0].isspace() else source).body[0].body:  # type: ignore[attr-defined]  # the source of a class is a class
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            comments[node.target.id] = _comment_above(lines, node.lineno - 1)
    return comments


def _comment_above(lines: list[str], index: int) -> str:
    found: list[str] = []
    while index > 0 and lines[index - 1].strip().startswith("#:"):
        index -= 1
        found.insert(0, lines[index].strip().removeprefix("#:").strip())
    return " ".join(found).replace("|", "\\|")


def _type_text(kind: Any) -> str:
    origin = typing.get_origin(kind)
    if origin in (typing.Union, UnionType):
        return " or ".join(_type_text(part) for part in typing.get_args(kind) if part is not type(None))
    if origin is typing.Literal:
        return " or ".join(f"`{choice}`" for choice in typing.get_args(kind))
    if origin is tuple:
        return f"list of {_type_text(typing.get_args(kind)[0])}"
    names = {str: "text", int: "whole number", float: "number", bool: "true or false", Path: "path"}
    return names.get(kind, getattr(kind, "__name__", str(kind)))


def _default_text(field: dataclasses.Field[Any]) -> str:
    if field.default is dataclasses.MISSING:
        return "**must be set**" if field.default_factory is dataclasses.MISSING else "see below"
    value = field.default
    if value in (None, "", ()):
        return "–"  # noqa: RUF001  # a dash in a table cell, for readers
    if isinstance(value, tuple):
        return ", ".join(f"`{part}`" for part in value)
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"
