"""``teiten release gateway-file``: where the gateway is and what proves it, as sensors shall believe it."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from teiten.cli import sensor_settings
from teiten.cli.errors import CliError
from teiten.cli.files import read_json, replace_file
from teiten.cli.installation import Installation
from teiten.foundation.settings import Source


def write_gateway(source: Source, options: argparse.Namespace) -> int:
    """Write gateway.json."""
    if options.out.exists() and not _is_gateway_file(options.out):
        raise CliError(f"{options.out} is there already and is no gateway.json; it is not overwritten")
    with Installation(source) as installation:
        keys = [sensor_settings.gateway_key_text(installation), *options.gateway_key]
        flawed = next((key for key in keys if "=" not in key), None)
        if flawed is not None:
            raise CliError(f"--gateway-key {flawed!r:.60} must be ID=BASE64URL")
        record: dict[str, Any] = {
            "v": 1,
            "url": options.url or f"https://{installation.gateway_config.authority}",
            "authority": installation.gateway_config.authority,
            "pins": [sensor_settings.gateway_pin(installation), *options.pin],
            "gateway_keys": dict(key.split("=", 1) for key in keys),
        }
    check_gateway(options.out, record)
    replace_file(options.out, json.dumps(record, indent=1).encode() + b"\n")
    print(f"{options.out}: {len(record['pins'])} pins, {len(record['gateway_keys'])} keys")
    if len(record["pins"]) == 1:
        print("There is no backup pin: a lost TLS key would lock sensors out until they fetch a new file.")
    return 0


def _is_gateway_file(path: Path) -> bool:
    try:
        return "gateway_keys" in read_json(path)
    except (CliError, TypeError):
        return False


def check_gateway(path: Path, told: Any) -> None:
    """Refuse settings by which sensors would find or believe nobody.

    Raises:
        CliError: naming the rule.
    """
    from teiten.sensor.connection import parse_address
    from teiten.sensor.errors import SensorError
    from teiten.sensor.state import parse_gateway_keys

    try:
        parse_address(told["url"], pins=tuple(told["pins"]))
        keys: Mapping[str, str] = told["gateway_keys"]
        known = parse_gateway_keys(tuple(f"{name}={key}" for name, key in keys.items()))
    except (ValueError, KeyError, TypeError, AttributeError, SensorError) as error:
        raise CliError(f"{path} is no gateway.json (url, pins, gateway_keys): {error}") from error
    if not told["pins"] or not known:
        raise CliError(f"{path}: pins and gateway_keys must not be empty; sensors would trust nobody")
