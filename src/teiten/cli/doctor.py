"""``teiten doctor``: say what is wrong with this installation and what to do about it.

Each check looks at one thing and gives one finding. A check that cannot look says so;
it never stops the others. Exit code 1 when anything is wrong.
"""

from __future__ import annotations

import argparse
import json
import shutil
import socket
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal, TypeAlias
from zoneinfo import ZoneInfo

import psycopg
from cryptography import x509

from teiten.cli import printing
from teiten.cli.installation import Installation
from teiten.fleet import hidden
from teiten.foundation.errors import TeitenError
from teiten.foundation.settings import Source
from teiten.landing import ledger, migrations
from teiten.loader.reference import NONE, ReferenceBook
from teiten.operators.ability import list_gaps
from teiten.protocol.operator_list import read_operator_list
from teiten.store.errors import StoreUnavailable
from teiten.store.service import Store

Verdict: TypeAlias = Literal["ok", "note", "wrong"]
_WARN_FREE_BYTES = 5 * 1024**3
_WARN_CERTIFICATE_DAYS = 30
_WARN_CLOCK_SECONDS = 2.0
_TIMEOUT_SECONDS = 3.0
#: Sensors that one finding names.
_MOST_NAMES = 5
#: Roles of the update repository that the base signs itself, and when people are reminded of theirs.
_OWN_ROLES = ("snapshot", "timestamp")
_REMIND = timedelta(days=21)


@dataclass(frozen=True)
class Finding:
    """What one check saw."""

    subject: str
    verdict: Verdict
    #: What is the case, and for ``wrong`` what to do.
    text: str


def run_doctor(source: Source, _options: argparse.Namespace) -> int:
    """Print every finding."""
    with Installation(source) as installation:
        findings = list(examine(installation))
    printing.print_table(
        ("", "subject", "finding"), [(_MARKS[one.verdict], one.subject, one.text) for one in findings]
    )
    wrong = sum(one.verdict == "wrong" for one in findings)
    print(f"{wrong} of {len(findings)} need attention" if wrong else "nothing is wrong")
    return 1 if wrong else 0


_MARKS: dict[Verdict, str] = {"ok": "ok", "note": "note", "wrong": "WRONG"}


def examine(installation: Installation) -> Iterator[Finding]:
    """Run every check, each behind a fence."""
    for subject, look in _CHECKS.items():
        try:
            yield from look(installation)
        except (TeitenError, OSError, psycopg.Error, ValueError) as error:
            yield Finding(subject, "wrong", str(error).strip())


def _look_at_python(_: Installation) -> Iterator[Finding]:
    version = ".".join(map(str, sys.version_info[:3]))
    fits = sys.version_info >= (3, 11)
    yield Finding("python", "ok" if fits else "wrong", version if fits else f"{version}; use 3.11 or newer")


def _look_at_disk(installation: Installation) -> Iterator[Finding]:
    free = shutil.disk_usage(installation.data_dir).free
    least = installation.landing_config.min_free_bytes
    text = f"{free / 1024**3:.1f} GiB free for {installation.data_dir}"
    if free < least:
        yield Finding("disk", "wrong", f"{text}; nothing lands below {least / 1024**3:.1f} GiB: make room")
    else:
        yield Finding("disk", "note" if free < _WARN_FREE_BYTES else "ok", text)


def _look_at_zone(installation: Installation) -> Iterator[Finding]:
    ZoneInfo(installation.site.zone)
    yield Finding("zone", "ok", f"days are those of {installation.site.zone}")


def _look_at_database(installation: Installation) -> Iterator[Finding]:
    kind = "embedded" if installation.is_database_embedded else "outside"
    with psycopg.connect(installation.database_url, connect_timeout=3) as connection:
        row = connection.execute("SELECT current_setting('server_version'), now()").fetchone()
        if row is None:
            raise ValueError("PostgreSQL gave no answer")
        yield Finding("database", "ok", f"PostgreSQL {row[0]}, {kind}")
        offset = abs((installation.clock.now() - row[1]).total_seconds())
        if offset > _WARN_CLOCK_SECONDS:
            yield Finding(
                "clock", "wrong", f"this machine and PostgreSQL differ by {offset:.1f} s; run a time service"
            )
        yield from _look_at_schema(connection)


def _look_at_schema(connection: psycopg.Connection) -> Iterator[Finding]:
    exists = connection.execute("SELECT to_regclass('landing.migrations') IS NOT NULL").fetchone()
    if exists is None or not exists[0]:
        yield Finding("schema", "wrong", "the control database is empty; run `teiten migrate`")
        return
    done = {row[0] for row in connection.execute("SELECT number FROM landing.migrations")}
    missing = [name for number, name, _ in migrations.list_migrations() if number not in done]
    if missing:
        yield Finding("schema", "wrong", f"landing migration {missing[0]} is missing; run `teiten migrate`")
        return
    yield Finding("schema", "ok", "up to date")
    yield from _look_at_landing(connection)


def _look_at_landing(connection: psycopg.Connection) -> Iterator[Finding]:
    counts = ledger.count_states(connection)
    waiting = counts["landed"].batches if "landed" in counts else 0
    yield Finding("loading", "ok" if waiting < 10_000 else "wrong", f"{waiting} batches wait for the loader")
    aside = counts["quarantined"].batches if "quarantined" in counts else 0
    text = f"{aside} batches are quarantined"
    if aside:
        text += "; see `teiten loader quarantined`, mend the cause, then `teiten loader requeue`"
    yield Finding("quarantine", "wrong" if aside else "ok", text)


_FAILED_ORDERS = """
SELECT 'erasure', count(*) FROM custody_erasure WHERE state = 'failed'
UNION ALL SELECT 'exclusion', count(*) FROM custody_exclusion WHERE error <> ''
"""


def _look_at_custody(installation: Installation) -> Iterator[Finding]:
    """Terms that contradict each other, and orders that were not carried out."""
    archive = installation.landing_config.keep_days
    reapply = installation.section("custody").reapply_days
    if archive > reapply:
        text = f"landing.keep_days {archive} is above custody.reapply_days {reapply}: a batch that is loaded again"
        yield Finding("custody", "wrong", f"{text} could bring an erased address back; raise the latter")
    if archive > installation.store_config.payload_days:
        text = f"landing.keep_days {archive} is above store.payload_days {installation.store_config.payload_days}"
        yield Finding("payload", "note", f"{text}: the archive keeps payload longer than the store")
    with psycopg.connect(installation.database_url, connect_timeout=3) as connection:
        exists = connection.execute("SELECT to_regclass('custody_erasure') IS NOT NULL").fetchone()
        counts: dict[str, int] = (
            dict(connection.execute(_FAILED_ORDERS).fetchall()) if exists and exists[0] else {}
        )
    failed = ", ".join(f"{count} {name}s" for name, count in sorted(counts.items()) if count)
    if failed:
        yield Finding(
            "orders", "wrong", f"failed: {failed}; `teiten erase list` and `teiten exclude list` say why"
        )
    else:
        yield Finding("orders", "ok", "no erasure or exclusion has failed")


def _look_at_addresses(installation: Installation) -> Iterator[Finding]:
    """Sensors behind translation whose public address nobody entered, stated or saw."""
    with psycopg.connect(installation.database_url, connect_timeout=3) as connection:
        exists = connection.execute("SELECT to_regclass('fleet_observedaddress') IS NOT NULL").fetchone()
        if exists is None or not exists[0]:
            return
        rows = connection.execute(hidden.CANDIDATES, {"now": installation.clock.now()}).fetchall()
    names = list(hidden.list_hidden(rows))
    if not names:
        yield Finding("addresses", "ok", "the public address of every sensor that was heard today is known")
        return
    some = ", ".join(names[:_MOST_NAMES]) + (", …" if len(names) > _MOST_NAMES else "")
    yield Finding(
        "addresses",
        "note",
        f"{len(names)} sensors carry private addresses only ({some}): Mirai and Masscan are not computable there; "
        "say `teiten sensor address NAME --public ADDRESS --local ADDRESS`",
    )


def _look_at_store(installation: Installation) -> Iterator[Finding]:
    config = installation.store_config
    where = config.url.rpartition("@")[2] if config.url else f"embedded in {config.path}"
    store = Store(config, installation.clock)
    try:
        store.connect()
        pending = store.describe_pending()
    except StoreUnavailable as error:
        if config.url is None and _is_up(installation):
            yield Finding("store", "ok", f"{where}, in use by the running Teiten")
        else:
            yield Finding("store", "wrong", f"{where}: {error}")
        return
    finally:
        store.close()
    yield Finding("store", "note" if pending else "ok", f"{where}{'; migrations wait' if pending else ''}")


def _look_at_reference(installation: Installation) -> Iterator[Finding]:
    book = ReferenceBook(installation.place_dir)
    version = book.current_version()
    if version == NONE:
        text = "no country/AS file is in use, so both stay empty; `teiten geo use FILE` takes any MaxMind-DB file"
        yield Finding("reference", "note", text)
        return
    data = book.open(version)
    parts = [
        name
        for name, part in (("country", data.countries), ("AS", data.asns), ("survey", data.survey))
        if part
    ]
    yield Finding("reference", "ok", f"version {version}: {', '.join(parts)}")


def _look_at_gateway(installation: Installation) -> Iterator[Finding]:
    config = installation.gateway_config
    certificate = config.tls_certificate or installation.gateway_key_dir / "tls.crt"
    if not certificate.exists():
        yield Finding(
            "certificate", "note", "none yet; the gateway makes a self-signed one at its first start"
        )
    else:
        loaded = x509.load_pem_x509_certificate(certificate.read_bytes())
        days = (loaded.not_valid_after_utc - installation.clock.now()).days
        verdict: Verdict = "ok" if days > _WARN_CERTIFICATE_DAYS else "wrong"
        yield Finding(
            "certificate", verdict, f"valid for {days} days" + ("" if verdict == "ok" else "; renew it")
        )
    yield from _look_at_health(installation)


def _look_at_health(installation: Installation) -> Iterator[Finding]:
    config = installation.gateway_config
    url = f"http://{config.metrics_host}:{config.metrics_port}/healthz"
    try:
        with urllib.request.urlopen(url, timeout=_TIMEOUT_SECONDS) as answer:  # our own listener
            json.load(answer)
    except urllib.error.HTTPError as error:
        trouble = json.load(error).get("trouble") or "not ready"
        yield Finding("gateway", "wrong", f"running, but nothing lands: {trouble}")
    except (OSError, ValueError):
        yield from _look_at_port("gateway", config.host, config.port)
    else:
        yield Finding("gateway", "ok", f"running and ready on port {config.port}")


def _look_at_portal(installation: Installation) -> Iterator[Finding]:
    portal = installation.section("portal")
    try:
        with urllib.request.urlopen(  # our own listener
            f"http://{portal.host}:{portal.port}/sign-in/", timeout=_TIMEOUT_SECONDS
        ) as answer:
            is_ours = b"Teiten" in answer.read()
    except (OSError, ValueError):
        yield from _look_at_port("portal", portal.host, portal.port)
        return
    if is_ours:
        yield Finding("portal", "ok", f"running on port {portal.port}")
    else:
        yield Finding("portal", "wrong", f"port {portal.port} is taken by another program; set portal.port")


def _look_at_port(subject: str, host: str, port: int) -> Iterator[Finding]:
    """A part that does not run is no fault, but its port must be free."""
    with socket.socket() as probe:
        probe.settimeout(_TIMEOUT_SECONDS)
        is_taken = probe.connect_ex((host if host not in ("", "0.0.0.0") else "127.0.0.1", port)) == 0  # noqa: S104 - compared, nothing is bound
    if is_taken:
        text = f"port {port} is taken by another program; free it or set {subject}.port"
        yield Finding(subject, "wrong", text)
    else:
        yield Finding(subject, "note", "not running; `teiten up` starts it")


def _look_at_releases(installation: Installation) -> Iterator[Finding]:
    """Say whether sensors could take an update now, and what people must sign soon."""
    from teiten.fleet.releases.repository import ReleaseRepository

    repository = ReleaseRepository(installation.releases_dir)
    expires = repository.list_expiries()
    if not expires:
        yield Finding(
            "releases", "note", "no update repository; sensors keep the program they were installed with"
        )
        return
    now = installation.clock.now()
    role, first = min(expires.items(), key=lambda item: item[1])
    if first <= now:
        yield Finding(
            "releases",
            "wrong",
            f"{role} has expired on {first:%Y-%m-%d %H:%M} UTC: sensors take no update; "
            f"{'is the worker running?' if role in _OWN_ROLES else 'have it signed anew (docs/operating.md)'}",
        )
        return
    late = [role for role, at in expires.items() if role not in _OWN_ROLES and at - now < _REMIND]
    numbers = ", ".join(map(str, repository.list_releases())) or "none"
    text = f"releases {numbers}" + (f"; {' and '.join(late)} must be signed anew soon" if late else "")
    yield Finding("releases", "note" if late else "ok", text)


_OPERATORS = "SELECT content FROM fleet_commands_operatorlistcopy ORDER BY version DESC LIMIT 1"


def _look_at_operators(installation: Installation) -> Iterator[Finding]:
    """Say which classes of commands nobody can sign, now or soon."""
    with psycopg.connect(installation.database_url, connect_timeout=3) as connection:
        exists = connection.execute(
            "SELECT to_regclass('fleet_commands_operatorlistcopy') IS NOT NULL"
        ).fetchone()
        row = connection.execute(_OPERATORS).fetchone() if exists and exists[0] else None
    if row is None:
        yield Finding(
            "operators", "note", "no list of operators is known; sensors obey nobody before they have one"
        )
        return
    listed = read_operator_list(bytes(row[0]))
    now = installation.clock.now()
    gaps, soon = (set(list_gaps(listed, now_s=int(at.timestamp()))) for at in (now, now + _REMIND))
    way_out = "`teiten-operator key show` and `list make` write the next list, `teiten release build --operators` brings it"
    if gaps:
        yield Finding("operators", "note", f"version {listed.version}: {'; '.join(sorted(gaps))}; {way_out}")
    elif soon:
        yield Finding("operators", "note", f"within {_REMIND.days} days {'; '.join(sorted(soon))}; {way_out}")
    else:
        yield Finding("operators", "ok", f"version {listed.version}: every class of commands can be signed")


def _is_up(installation: Installation) -> bool:
    return any(one.verdict == "ok" for one in _look_at_health(installation))


_CHECKS: dict[str, Callable[[Installation], Iterator[Finding]]] = {
    "python": _look_at_python,
    "disk": _look_at_disk,
    "zone": _look_at_zone,
    "database": _look_at_database,
    "addresses": _look_at_addresses,
    "custody": _look_at_custody,
    "store": _look_at_store,
    "reference": _look_at_reference,
    "gateway": _look_at_gateway,
    "portal": _look_at_portal,
    "releases": _look_at_releases,
    "operators": _look_at_operators,
}
