"""Every section of the settings file, and the class that reads it."""

from __future__ import annotations

from typing import Any

from teiten.accounts.config import AccountsConfig
from teiten.automation.config import AutomationConfig
from teiten.custody.config import CustodyConfig
from teiten.datasets.config import DatasetsConfig
from teiten.fleet.config import FleetConfig
from teiten.foundation.site import DatabaseConfig, SiteConfig
from teiten.gateway.config import GatewayConfig
from teiten.landing.config import LandingConfig
from teiten.loader.config import LoaderConfig
from teiten.portal.config import PortalConfig
from teiten.search.config import SearchConfig
from teiten.sensor.config import SensorConfig
from teiten.store.config import StoreConfig

SECTIONS: dict[str, type[Any]] = {
    "accounts": AccountsConfig,
    "automation": AutomationConfig,
    "custody": CustodyConfig,
    "database": DatabaseConfig,
    "datasets": DatasetsConfig,
    "fleet": FleetConfig,
    "gateway": GatewayConfig,
    "landing": LandingConfig,
    "loader": LoaderConfig,
    "portal": PortalConfig,
    "search": SearchConfig,
    "sensor": SensorConfig,
    "site": SiteConfig,
    "store": StoreConfig,
}
