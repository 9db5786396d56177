"""Start Django inside a process of Teiten: read settings, keep the secret key, set up the apps."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import secrets
import tempfile
from pathlib import Path

from teiten.foundation.errors import SettingsError
from teiten.foundation.settings import Source
from teiten.portal import config

SETTINGS_MODULE = "teiten.portal.settings"
SECRET_KEY_FILE = "portal-secret.key"  # noqa: S105  # the name of the file, not the secret


def start_django(source: Source, *, database_url: str | None = None) -> config.Active:
    """Set up Django from ``source``; ``database_url`` wins (the embedded server's, once it runs).

    Raises:
        SettingsError: naming the setting and the rule.
    """
    active = config.read(source)
    key_file = active.site.data_dir / SECRET_KEY_FILE
    secret_key = active.portal.secret_key or read_or_create_secret(key_file)
    url = database_url or active.database.url
    if not url:
        raise SettingsError(
            "database.url is missing: set it as TEITEN_DATABASE_URL, or let `teiten up` start its own"
        )
    active = dataclasses.replace(
        active, secret_key=secret_key, database=dataclasses.replace(active.database, url=url)
    )
    config.use(active)
    _set_up(SETTINGS_MODULE)
    connect_django(url, max_connections=active.portal.database_connections)
    return active


def connect_django(url: str, *, max_connections: int = 8) -> None:
    """Point Django at a database, in every thread; nothing happens when it is there already.

    Django reads its settings once a process, but tests start several installations in one.
    """
    from django.db import connections

    from teiten.portal.settings import database_settings

    wanted = database_settings(url, max_connections)
    present = connections.settings["default"]
    if any(present[key] != value for key, value in wanted.items()):
        disconnect_django()
        present.update(wanted)


def disconnect_django() -> None:
    """Close every connection that Django holds open."""
    from django.db import connection, connections

    connections.close_all()
    connection.close_pool()  # type: ignore[attr-defined]  # PostgreSQL's wrapper has it


def migrate(*, verbosity: int = 0) -> None:
    """Bring the tables of the Django apps (and of the job queue) up to date."""
    from django.core.management import call_command

    call_command("migrate", interactive=False, verbosity=verbosity)


def list_pending_migrations() -> list[str]:
    """Name the migrations that the database lacks, as ``app.name``; empty when it is up to date."""
    from django.db import connection
    from django.db.migrations.executor import MigrationExecutor

    executor = MigrationExecutor(connection)
    plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
    return [f"{migration.app_label}.{migration.name}" for migration, _ in plan]


def read_or_create_secret(path: Path) -> str:
    """Read the secret in ``path``, making the file (0600) at the first start.

    Raises:
        SettingsError: when the file is readable by others, empty or cannot be made.
    """
    if not path.exists():
        try:
            _create_secret(path)
        except OSError as error:
            raise SettingsError(f"secret key file {path} cannot be made: {error.strerror}") from error
    return _read_secret(path)


def _create_secret(path: Path) -> None:
    """Make the file with its content at once, or leave the one that another process just made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, draft = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "w", encoding="ascii") as file:
            file.write(secrets.token_urlsafe(48))
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):
            os.link(draft, path)
    finally:
        Path(draft).unlink()


def _read_secret(path: Path) -> str:
    try:
        mode = path.stat().st_mode & 0o777
        secret = path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"secret key file {path} cannot be read: {error}") from error
    if mode & 0o077:
        raise SettingsError(f"secret key file {path} is open to others ({mode:o}); run: chmod 600 {path}")
    if len(secret) < 32:  # 32 characters of our alphabet are 192 bits
        raise SettingsError(
            f"secret key file {path} is empty or cut short; delete it (everybody must sign in again) and restart"
        )
    return secret


def _set_up(settings_module: str) -> None:
    import django

    os.environ.setdefault("DJANGO_SETTINGS_MODULE", settings_module)  # noqa: TID251  # Django's own switch
    django.setup()
