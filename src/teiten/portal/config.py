"""What the portal is told, and the one place where Django's settings take it from.

``cli`` calls :func:`use` (through :func:`teiten.portal.boot.start_django`) before
Django reads ``teiten.portal.settings``; tools that import the settings alone
(mypy, makemigrations) get the file and the environment as they are, and a
secret key that lasts as long as their process.
"""

from __future__ import annotations

import ipaddress
import secrets
from dataclasses import dataclass
from zoneinfo import available_timezones

from teiten.accounts.config import AccountsConfig
from teiten.fleet.config import FleetConfig
from teiten.foundation import settings
from teiten.foundation.errors import SettingsError
from teiten.foundation.site import DatabaseConfig, SiteConfig


@dataclass(frozen=True)
class PortalConfig:
    """Section ``portal``."""

    #: Address to listen on.
    host: str = "127.0.0.1"
    #: Port to listen on.
    port: int = 8000
    #: People reach the portal by https (its own or a proxy's); without it, only loopback is served.
    https: bool = False
    #: Names and addresses by which browsers reach the portal.
    hosts: tuple[str, ...] = ("localhost", "127.0.0.1", "[::1]")
    #: Proxies whose X-Forwarded-For is believed.
    trusted_proxies: tuple[str, ...] = ()
    #: Signs sessions; without it, a file in the data folder is made and used.
    secret_key: str | None = None
    #: Database connections that one process may hold for the portal and background work.
    database_connections: int = 16
    #: Show tracebacks to the browser; for development only.
    debug: bool = False


@dataclass(frozen=True)
class Active:
    """Everything that ``teiten.portal.settings`` is made of."""

    database: DatabaseConfig
    site: SiteConfig
    portal: PortalConfig
    accounts: AccountsConfig
    fleet: FleetConfig
    secret_key: str


_active: Active | None = None


def read(source: settings.Source, *, secret_key: str | None = None) -> Active:
    """Read and check the portal's sections.

    Raises:
        SettingsError: naming the setting and the rule.
    """
    portal = source.section("portal", PortalConfig)
    site = source.section("site", SiteConfig)
    _check_zone(site.zone)
    _check_listening(portal)
    return Active(
        database=source.section("database", DatabaseConfig),
        site=site,
        portal=portal,
        accounts=source.section("accounts", AccountsConfig),
        fleet=source.section("fleet", FleetConfig),
        secret_key=secret_key or portal.secret_key or secrets.token_urlsafe(48),
    )


def use(active: Active) -> None:
    """Make ``active`` what Django's settings are read from."""
    global _active  # noqa: PLW0603  # Django's settings are a module; they can only ask a module
    _active = active


def current() -> Active:
    """Give what was handed to :func:`use`, else what the file and the environment say."""
    return _active if _active is not None else read(settings.load())


def _check_zone(zone: str) -> None:
    if zone not in available_timezones():
        raise SettingsError(f"site.zone {zone!r} is no time zone; use a name such as Asia/Tokyo or UTC")


def _check_listening(portal: PortalConfig) -> None:
    if portal.https:
        return
    try:
        is_loopback = ipaddress.ip_address(portal.host).is_loopback
    except ValueError:
        is_loopback = portal.host == "localhost"
    if not is_loopback:
        raise SettingsError(
            f"portal.host {portal.host!r} is reachable from outside, and passwords would travel in clear: "
            "put TLS before the portal and set portal.https = true, or listen on 127.0.0.1"
        )
