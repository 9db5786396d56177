"""What the sensors of the fleet benchmark are made of: keys, way to the gateway, what arrives at them, back-off."""

from __future__ import annotations

import random
import ssl
import urllib.parse
import urllib.request
from typing import Any

from fleet_house import key_of
from teiten.foundation.clock import SystemClock
from teiten.protocol.operator_list import read_operator_list
from teiten.sensor.config import SensorConfig
from teiten.sensor.connection import make_context, parse_address
from teiten.sensor.sealed import SealingIdentity
from teiten.sensor.sender import Backoff
from teiten.sensor.state import parse_gateway_keys
from teiten.sensor.uplink import Uplink
from teiten.simulators import roster
from teiten.simulators.config import SensorPlan, TelescopeConfig
from teiten.simulators.population import DAY_US, HOUR_US
from teiten.simulators.recorder import Recorder
from teiten.simulators.swarm import SwarmSensor
from teiten.simulators.telescope import Telescope

CLOCK = SystemClock()
#: Different places that something arrives at; more sensors share them.
PLACES = 400


def new_backoff() -> Backoff:
    config = SensorConfig()
    return Backoff(
        shortest_seconds=config.backoff_min_seconds,
        longest_seconds=config.backoff_max_seconds,
        rng=random.Random(),
    )


def make_recorders(factor: int, order: dict[str, Any]) -> list[Recorder]:
    """Make what arrives at some places, ``factor`` times NICTER's rate."""
    anchor_us = CLOCK.now_us() // DAY_US * DAY_US
    # Windows are shorter by the pace, and hold as many packets as if they were not.
    rate = factor * float(order["pace"])
    telescope = Telescope(TelescopeConfig(anchor_us=anchor_us, rate=rate, unit_hours=1))
    made = []
    for plan in roster.list_sensors(min(PLACES, len(order["sensors"]))):
        steady = SensorPlan(plan.name, plan.region, plan.prefixes, plan.mode)
        recorder = Recorder(
            steady, telescope, anchor_us=anchor_us, payload_bytes=64, boot_id=f"swarm-{random.getrandbits(40):010x}"
        )  # fmt: skip
        # Before anything is measured: windows lag behind, and a run may go over an hour's end.
        now_us = CLOCK.now_us()
        recorder.prepare(now_us - HOUR_US // 2, now_us + HOUR_US // 2)
        made.append(recorder)
    return made


def make_sensors(order: dict[str, Any], recorders: list[Recorder]) -> list[SwarmSensor]:
    address = parse_address(
        order["gateway_url"], pins=tuple(order["pins"]), authority=order["authority"], timeout_seconds=30.0
    )
    gateway_keys = dict(parse_gateway_keys(tuple(order["gateway_keys"])))
    operators = read_operator_list(order["operators"].encode())
    # A real sensor has one in its process; ten thousand would be ten thousand copies of the same.
    context = make_context(address)
    made = []
    for place, number in enumerate(order["sensors"]):
        identity = SealingIdentity(number, 1, 1, private_key=key_of(place))
        uplink = Uplink(address, CLOCK, identity=identity, gateway_keys=gateway_keys, context=context)
        made.append(SwarmSensor(identity, uplink, recorders[place % len(recorders)], operators, CLOCK))
    return made


def load_target(order: dict[str, Any]) -> int:
    """Load the release as the launcher does, without its judgement; give the bytes."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    url = urllib.parse.urljoin(order["gateway_url"] + "/", order["target"])
    with urllib.request.urlopen(url, timeout=30, context=context) as answer:
        return len(answer.read())
