"""Make sensors in an installation and print what their senders need, as one JSON object."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from teiten.cli import sensor_settings, sensor_verbs, user_verbs, wiring
from teiten.cli.installation import Installation
from teiten.foundation import settings


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--analysts", type=int, default=0, help="so many people with an API token")
    parser.add_argument("--with-store", action="store_true", help="make the store too")
    parser.add_argument("sensors", nargs="*", metavar="NAME:DATASET[:import]")
    options = parser.parse_args()
    installation = Installation(settings.load(options.config))
    try:
        wiring.migrate(installation)
        if options.with_store:
            wiring.open_store(installation).close()
        made = [make_sensor(installation, text) for text in options.sensors]
        told = {
            "gateway_url": sensor_settings.gateway_url(installation),
            "authority": installation.gateway_config.authority,
            "pins": [sensor_settings.gateway_pin(installation)],
            "gateway_keys": [sensor_settings.gateway_key_text(installation)],
            "sensors": made,
            "api_tokens": [make_api_token(installation, f"analyst{n}") for n in range(options.analysts)],
        }
    finally:
        installation.close()
    print(json.dumps(told))
    return 0


def make_sensor(installation: Installation, text: str) -> dict[str, object]:
    name, dataset, *more = text.split(":")
    token = sensor_verbs.create_sensor(
        name=name,
        region="kanto",
        dataset=dataset,
        may_import="import" in more,
        clock=installation.clock,
        config=installation.section("fleet"),
    )
    return {"name": name, "dataset": dataset, "sensor": token.sensor, "token": token.token}


def make_api_token(installation: Installation, user_id: str) -> str:
    user_verbs.create_user(
        user_id=user_id, role="analyst", organisation="observatory", clock=installation.clock
    )
    return user_verbs.issue_token(user_id, days=30, label="test", clock=installation.clock).token


if __name__ == "__main__":
    sys.exit(main())
