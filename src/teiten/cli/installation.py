"""One installation: its settings, its folder, its databases, opened as they are needed.

What is not configured is embedded: PostgreSQL and the store live below
``site.data_dir``, and whoever starts them stops them.
"""

from __future__ import annotations

import dataclasses
import os
import pwd
from functools import cached_property
from pathlib import Path
from typing import Any, Self

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from teiten.cli.config import SECTIONS
from teiten.cli.embedded import EmbeddedPostgres
from teiten.cli.errors import CliError
from teiten.fleet.config import FleetConfig
from teiten.foundation.clock import Clock, SystemClock
from teiten.foundation.settings import Source
from teiten.foundation.site import DatabaseConfig, SiteConfig
from teiten.gateway.config import GatewayConfig
from teiten.landing.config import LandingConfig
from teiten.portal import config as portal_config
from teiten.protocol import keys
from teiten.store.config import StoreConfig


class Installation:
    """Everything that the verbs of ``teiten`` work on.

    Raises:
        SettingsError: when a section or key is unknown, missing or mistyped.
    """

    def __init__(self, source: Source, clock: Clock | None = None) -> None:
        source.check_sections(SECTIONS)
        self.source = source
        self.clock: Clock = SystemClock() if clock is None else clock
        for name in SECTIONS:
            self.section(name)
        # Rules between settings (zone, who may reach the portal), before anything is started.
        portal_config.read(source)
        store: StoreConfig = self.section("store")
        store.read_dataset_days()
        self.site: SiteConfig = self.section("site")
        self._postgres: EmbeddedPostgres | None = None
        self._has_django = False

    def section(self, name: str) -> Any:
        """Give the settings of one component."""
        return self.source.section(name, SECTIONS[name])

    @cached_property
    def data_dir(self) -> Path:
        """The folder of everything that is kept; made at the first use."""
        folder = self.site.data_dir.expanduser().resolve()
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise CliError(
                f"data folder {folder} cannot be made ({error.strerror}); set site.data_dir to a folder you own"
            ) from error
        _check_owner(folder)
        return folder

    @cached_property
    def database_url(self) -> str:
        """URL of PostgreSQL; starts the embedded one when none is set."""
        config: DatabaseConfig = self.section("database")
        if config.url:
            return config.url
        self._postgres = EmbeddedPostgres(self.data_dir / "postgres")
        return self._postgres.start()

    def revive_database(self) -> bool:
        """Start the embedded PostgreSQL again when it has died; give whether it had.

        Raises:
            EmbeddedDatabaseError: when it does not start now; try again later.
        """
        return self._postgres is not None and self._postgres.revive()

    @property
    def is_database_embedded(self) -> bool:
        config: DatabaseConfig = self.section("database")
        return not config.url

    @cached_property
    def store_config(self) -> StoreConfig:
        """Settings of the store, with the site's zone and the embedded store's folder."""
        config: StoreConfig = self.section("store")
        path = config.path or str(self.data_dir / "store")
        return dataclasses.replace(config, zone=self.site.zone, path=None if config.url else path)

    @cached_property
    def landing_config(self) -> LandingConfig:
        config: LandingConfig = self.section("landing")
        return dataclasses.replace(config, folder=config.folder or self.data_dir / "landing")

    @cached_property
    def gateway_config(self) -> GatewayConfig:
        config: GatewayConfig = self.section("gateway")
        return dataclasses.replace(config, authority=config.authority or f"localhost:{config.port}")

    @property
    def gateway_key_dir(self) -> Path:
        return self.gateway_config.key_dir or self.data_dir / "gateway"

    @property
    def audit_dir(self) -> Path:
        """Folder of the audit chain's signing key and of its signed heads."""
        folder: Path | None = self.section("accounts").audit_dir
        return folder or self.data_dir / "audit"

    @property
    def place_dir(self) -> Path:
        """Folder of the country/AS files that are or were in use."""
        return self.data_dir / "places"

    @property
    def releases_dir(self) -> Path:
        """Folder of the update repository."""
        config: FleetConfig = self.section("fleet")
        return config.releases_dir or self.data_dir / "releases"

    @cached_property
    def gateway_key(self) -> Ed25519PrivateKey:
        """The key that signs receipts and answers; made at the first use."""
        path = self.gateway_key_dir / "signing.pem"
        if not path.exists():
            self.gateway_key_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
            keys.save_private(keys.generate_key(), path)
        return keys.load_private(path)

    def start_django(self) -> None:
        """Set up accounts, fleet and portal over this installation's database."""
        from teiten.portal import boot

        boot.start_django(self.source, database_url=self.database_url)
        self._has_django = True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop what this process started."""
        if self._postgres is not None:
            if self._has_django:
                from teiten.portal import boot

                boot.disconnect_django()  # else its pool notices, and complains, that the server goes
            self._postgres.stop()
            self._postgres = None


def _check_owner(folder: Path) -> None:
    """Refuse to work in somebody else's folder: files of another owner would lock its own services out.

    Raises:
        CliError: naming whose it is and how to go on.
    """
    owner, own = folder.stat().st_uid, os.geteuid()
    if owner == own or (own != 0 and os.access(folder, os.W_OK | os.X_OK)):
        return
    try:
        name = pwd.getpwuid(owner).pw_name
    except KeyError:
        name = f"#{owner}"
    raise CliError(
        f"data folder {folder} belongs to user {name}; run this as that user (`sudo -u {name} teiten …`), "
        "so that no file in it gets an owner who locks Teiten out"
    )
