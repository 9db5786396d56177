"""For tests: Django on a real, empty PostgreSQL, and the people who try its doors.

The cast: Alice and Bob are members of one organisation, Charlie of another; Ann is
an analyst and Dana an operator, both of the observatory itself. ``Alice may, Charlie
may not`` is the shape of most tests.
"""

from __future__ import annotations

import atexit
import gc
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import TYPE_CHECKING

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from teiten.foundation.settings import Source
from teiten.portal import boot

if TYPE_CHECKING:
    from django.test import Client

    from teiten.accounts.models import Organisation, User

PASSWORD = "correct horse battery staple"  # noqa: S105  # for tests only
#: Most tables are empty, and asking is cheaper than deleting. Those named here are filled by migrations.
_EMPTY = """
DO $$
DECLARE
    one name;
    is_filled boolean;
BEGIN
    FOR one IN
        SELECT tablename FROM pg_tables
        WHERE schemaname = 'public'
            AND tablename NOT IN ('django_migrations', 'django_content_type', 'auth_permission')
    LOOP
        EXECUTE format('SELECT EXISTS (SELECT FROM public.%I)', one) INTO is_filled;
        IF is_filled THEN
            EXECUTE format('DELETE FROM public.%I', one);
        END IF;
    END LOOP;
END
$$
"""
#: Server URL → URL of its test database.
_databases: dict[str, str] = {}


@dataclass(frozen=True)
class Cast:
    """The people of the tests; all have the password :data:`PASSWORD`."""

    alice: User
    bob: User
    charlie: User
    ann: User
    dana: User
    alpha: Organisation
    beta: Organisation
    observatory: Organisation


@cache
def start_django_for_tests() -> None:
    """Set Django up once a process, with cheap passwords and no file on disk."""
    tables = {
        "portal": {"hosts": ["testserver", "localhost", "127.0.0.1"], "secret_key": "k" * 48},
    }
    boot.start_django(
        Source(tables=tables, environment={}, name="the tests"), database_url="postgresql:///nowhere"
    )
    from django.test.utils import setup_test_environment

    from teiten.accounts.hashers import BoundedArgon2Hasher

    # Answers of the test client carry the context of their template.
    setup_test_environment()

    BoundedArgon2Hasher.time_cost = 1
    BoundedArgon2Hasher.memory_cost = 64
    BoundedArgon2Hasher.parallelism = 1
    # Django stays: the garbage collector need not look at it again and again.
    gc.freeze()


@contextmanager
def migrated_database(server_url: str) -> Iterator[str]:
    """Give the URL of a migrated, empty database of ``server_url``, with Django connected to it.

    The database is made once a process and emptied each time, which takes
    milliseconds where a new one takes a third of a second.
    """
    start_django_for_tests()
    if server_url not in _databases:
        _databases[server_url] = _make_database(server_url)
    url = _databases[server_url]
    _empty(url)
    boot.connect_django(url)
    try:
        yield url
    finally:
        boot.disconnect_django()


def make_cast(now: datetime) -> Cast:
    """Enter the people of the tests."""
    from teiten.accounts import services
    from teiten.accounts.services import Act

    act = Act(at=now)
    alpha, beta, observatory = (
        services.create_organisation(code=code, name_ja=code, name_en=code.title(), act=act)
        for code in ("alpha", "beta", "observatory")
    )

    def enter(user_id: str, organisation: Organisation, role: str) -> User:
        return services.create_user(
            user_id=user_id,
            display_name=user_id.title(),
            organisation=organisation,
            role=role,
            password=PASSWORD,
            must_change_password=False,
            act=act,
        )

    return Cast(
        alice=enter("alice", alpha, "member"),
        bob=enter("bob", alpha, "member"),
        charlie=enter("charlie", beta, "member"),
        ann=enter("ann", observatory, "analyst"),
        dana=enter("dana", observatory, "operator"),
        alpha=alpha,
        beta=beta,
        observatory=observatory,
    )


def client_of(user: User | None = None) -> Client:
    """Give a browser, signed in as ``user`` when there is one."""
    from django.test import Client

    client = Client(enforce_csrf_checks=False)
    if user is not None:
        client.force_login(user, backend="teiten.accounts.backend.UserBackend")
    return client


def _make_database(server_url: str) -> str:
    name = f"django_{os.getpid()}"
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    parts = conninfo_to_dict(server_url)
    url = make_conninfo("", **{**parts, "dbname": name})
    boot.connect_django(url)
    boot.migrate()
    return url


def _empty(url: str) -> None:
    """Delete every row that a test may have left, past the triggers that forbid it."""
    try:
        _emptying(url).execute(_EMPTY)
    except psycopg.OperationalError:
        # The test before ended every connection.
        _emptying.cache_clear()
        _emptying(url).execute(_EMPTY)


@cache
def _emptying(url: str) -> psycopg.Connection:
    """Give the connection that empties a database: it stays open, because a new one reads the catalogue anew."""
    connection = psycopg.connect(url, autocommit=True)
    connection.execute("SET session_replication_role = replica")
    atexit.register(connection.close)
    return connection
