"""Typed settings: frozen dataclasses filled from one TOML file and the environment.

Each component declares a frozen dataclass in its ``config.py``; its section in the
file has the component's name, and ``TEITEN_<SECTION>_<KEY>`` in the environment
wins over the file. A key that nobody declared, one without default that nobody
set, and a value of the wrong type stop the start and name themselves. A secret
may be given as ``<key>_file``: the path of a file that holds it.
"""

from __future__ import annotations

import dataclasses
import os
import sys
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from teiten.foundation.errors import SettingsError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PREFIX = "TEITEN_"
#: The variable that names the file itself, not a setting.
FILE_VARIABLE = "TEITEN_CONFIG"

Section = TypeVar("Section")


@dataclasses.dataclass(frozen=True)
class Source:
    """Everything that was configured, before any component has read its part."""

    #: Section → key → value, as the TOML file had it.
    tables: Mapping[str, Mapping[str, Any]]
    #: The process's environment.
    environment: Mapping[str, str]
    #: Where the tables came from, for messages.
    name: str

    def section(self, name: str, kind: type[Section]) -> Section:
        """Build ``kind`` from the section ``name``.

        Raises:
            SettingsError: for an unknown, missing or mistyped key.
        """
        hints = typing.get_type_hints(kind)
        fields = dataclasses.fields(kind)  # type: ignore[arg-type]  # callers give a dataclass, which has no type of its own
        known = {field.name: hints[field.name] for field in fields}
        given = self._given(name, known)
        for field in fields:
            if field.name not in given and _is_required(field):
                variable = _variable(name, field.name)
                raise SettingsError(
                    f"setting {name}.{field.name} is missing: set it in [{name}] of {self.name} or as {variable}"
                )
        return kind(**given)

    def check_sections(self, kinds: Mapping[str, type]) -> None:
        """Refuse a section or variable that no component of this program knows.

        Raises:
            SettingsError: naming the first unknown one and what is known.
        """
        for name in self.tables:
            if name not in kinds:
                raise SettingsError(
                    f"section [{name}] in {self.name} is unknown; known sections: {', '.join(sorted(kinds))}"
                )
        variables = {
            _variable(name, field.name) for name, kind in kinds.items() for field in dataclasses.fields(kind)
        }
        variables |= {f"{variable}_FILE" for variable in variables} | {FILE_VARIABLE}
        for variable in self.environment:
            if variable.startswith(PREFIX) and variable not in variables:
                raise SettingsError(
                    f"environment variable {variable} is no setting of Teiten; remove or correct it"
                )

    def _given(self, name: str, known: Mapping[str, Any]) -> dict[str, Any]:
        table = dict(self.tables.get(name, {}))
        given: dict[str, Any] = {}
        for key, kind in known.items():
            label = f"{name}.{key}"
            if key in table:
                given[key] = _typed(label, table.pop(key), kind)
            if f"{key}_file" in table and f"{key}_file" not in known:
                given[key] = _typed(label, _read_secret(label, str(table.pop(f"{key}_file"))), kind)
            variable = _variable(name, key)
            if variable in self.environment:
                given[key] = _typed(variable, self.environment[variable], kind)
            elif f"{variable}_FILE" in self.environment:
                given[key] = _typed(
                    variable, _read_secret(variable, self.environment[f"{variable}_FILE"]), kind
                )
        if table:
            unknown = min(table)
            raise SettingsError(
                f"setting {name}.{unknown} in {self.name} is unknown; [{name}] knows: {', '.join(sorted(known))}"
            )
        return given


def load(path: Path | None = None, environment: Mapping[str, str] | None = None) -> Source:
    """Read the TOML file (``path``, else ``TEITEN_CONFIG``, else none) and the environment.

    Raises:
        SettingsError: when the named file is absent, unreadable or no TOML.
    """
    variables = dict(os.environ) if environment is None else dict(environment)
    if path is None and FILE_VARIABLE in variables:
        path = Path(variables[FILE_VARIABLE])
    if path is None:
        return Source(tables={}, environment=variables, name="the settings file (none is in use)")
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"settings file {path} cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"settings file {path} is no valid TOML: {error}") from error
    for name, table in tables.items():
        if not isinstance(table, dict):
            raise SettingsError(f"setting {name} in {path} stands outside a section; put it under [section]")
    return Source(tables=tables, environment=variables, name=str(path))


def read_variable(name: str) -> str:
    """Give what the program that started this one says in its environment; empty when it says nothing."""
    return os.environ.get(name, "")


def _variable(section: str, key: str) -> str:
    return f"{PREFIX}{section}_{key}".upper()


def _is_required(field: dataclasses.Field[Any]) -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def _read_secret(label: str, path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except OSError as error:
        raise SettingsError(f"secret file {path} for {label} cannot be read: {error.strerror}") from error


def _typed(label: str, value: Any, kind: Any) -> Any:
    """Turn ``value`` (from TOML or a string from the environment) into ``kind``."""
    origin = typing.get_origin(kind)
    if origin in (typing.Union, types.UnionType):
        choices = [choice for choice in typing.get_args(kind) if choice is not type(None)]
        return None if value in ("", None) else _typed(label, value, choices[0])
    if origin is tuple:
        parts = (
            [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value
        )
        if not isinstance(parts, list):
            raise SettingsError(f"{label} must be a list, not {value!r}")
        return tuple(_typed(label, part, typing.get_args(kind)[0]) for part in parts)
    if origin is typing.Literal:
        return _one_of(label, value, typing.get_args(kind))
    return _scalar(label, value, kind)


def _one_of(label: str, value: Any, choices: tuple[Any, ...]) -> Any:
    if value not in choices:
        raise SettingsError(f"{label} must be one of {', '.join(map(str, choices))}, not {value!r}")
    return value


def _scalar(label: str, value: Any, kind: Any) -> Any:
    if kind is bool:
        return _boolean(label, value)
    if isinstance(value, bool) or (kind is str and not isinstance(value, str)):
        raise SettingsError(f"{label} must be {kind.__name__}, not {value!r}")
    try:
        return kind(value)
    except (TypeError, ValueError) as error:
        raise SettingsError(f"{label} must be {kind.__name__}, not {value!r}") from error


def _boolean(label: str, value: Any) -> bool:
    if isinstance(value, bool):
        return value
    words = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
    if isinstance(value, str) and value.lower() in words:
        return words[value.lower()]
    raise SettingsError(f"{label} must be true or false, not {value!r}")
