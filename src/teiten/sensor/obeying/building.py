"""Put the parts of obeying together, for each of the processes that have one."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import teiten
from teiten.foundation.clock import Clock
from teiten.sensor.chain import FILE_NAME, Chain
from teiten.sensor.config import SensorConfig
from teiten.sensor.errors import StateError
from teiten.sensor.health import read_release
from teiten.sensor.obeying.answers import Answers
from teiten.sensor.obeying.deciding import Rules
from teiten.sensor.obeying.files import read_bounded
from teiten.sensor.obeying.handing import FOLDER, RequestBox, places_of
from teiten.sensor.obeying.memory import Memory
from teiten.sensor.obeying.obedience import Obedience
from teiten.sensor.obeying.operators_file import load_operators
from teiten.sensor.obeying.outcome import Outcome, done
from teiten.sensor.obeying.questions import Questions
from teiten.sensor.obeying.root_helper import Actions, Helper
from teiten.sensor.obeying.setting import set_config
from teiten.sensor.obeying.supervised_actions import CaptureSwitch, SupervisedActions
from teiten.sensor.obeying.system_actions import SystemActions, SystemPlaces
from teiten.sensor.sealed import SealingIdentity
from teiten.sensor.state import IDENTITY, ORDERS, StateFolder

_log = logging.getLogger(__name__)
#: The supervising process's helper lies in the sensor's own folder: it has no other rights than the sensor.
_OWN_HELPER = "helper"
_MAX_ORDERS_BYTES = 65_536


@dataclass(frozen=True)
class ObeyingParts:
    """What the sending process needs of obeying."""

    obedience: Obedience
    chain: Chain

    def start(self) -> None:
        self.obedience.start()

    def stop(self) -> None:
        self.obedience.stop()
        self.chain.close()

    def record_key(self, identity: SealingIdentity) -> None:
        """Record that the sensor has another key, or another life, than before."""
        try:
            self.chain.append("key.changed", {"key_no": identity.key_no, "epoch": identity.epoch})
        except StateError as error:
            _log.error("A new key cannot be recorded", extra={"error": str(error)})


def build_obedience(
    config: SensorConfig,
    state: StateFolder,
    identity: SealingIdentity,
    clock: Clock,
    *,
    is_supervised: bool,
    rotate: Callable[[], int],
) -> ObeyingParts:
    """Build what obeys in the sending process, and record that it begins.

    Args:
        config: the settings.
        state: the sensor's folder.
        identity: who the sensor is.
        clock: this machine's.
        is_supervised: whether ``teiten-sensor run`` is above it, which then has the helper.
        rotate: gives the sensor a new key, and its number.

    Raises:
        StateError: when the folder cannot be used.
    """
    folder, stopping = state.path / FOLDER, threading.Event()
    requests = RequestBox(places_of(state.path, find_helper_dir(config, state, is_supervised=is_supervised)))
    chain = Chain.open(state.path / FILE_NAME, clock)
    questions = Questions(state, clock, stopping)
    doers: dict[str, Callable[[Mapping[str, Any]], Outcome]] = {
        verb: partial(questions.answer, verb) for verb in questions.verbs
    }
    doers["set_config"] = partial(set_config, state)
    doers["rotate_key"] = partial(_rotate, rotate)
    obedience = Obedience(
        _rules_of(config, identity.sensor),
        memory=Memory(folder / "memory.bin"),
        chain=chain,
        answers=Answers(folder / "answers"),
        requests=requests,
        doers=doers,
        clock=clock,
        stopping=stopping,
    )
    record_start(chain, identity)
    return ObeyingParts(obedience, chain)


def build_supervised_helper(
    config: SensorConfig, state: StateFolder, clock: Clock, *, switch: CaptureSwitch
) -> Helper:
    """Build the helper of ``teiten-sensor run``.

    Raises:
        SensorError: when the sensor is not enrolled or its folder cannot be used.
    """
    sensor = state.load_identity().sealing.sensor
    helper_dir = find_helper_dir(config, state, is_supervised=True)
    return _build_helper(
        config, state, clock, sensor=sensor, folder=helper_dir, actions=SupervisedActions(switch)
    )


def build_root_helper(config: SensorConfig, state: StateFolder, clock: Clock) -> Helper:
    """Build the helper of the service installation.

    Raises:
        SensorError: when the sensor is not enrolled or its folder cannot be used.
    """
    sensor = config.number or _read_sensor(state)
    system = SystemPlaces(state.path, config.helper_dir.parent)
    actions = SystemActions(system, places_of(state.path, config.helper_dir), clock)
    return _build_helper(config, state, clock, sensor=sensor, folder=config.helper_dir, actions=actions)


def read_offset_us(state: StateFolder) -> int | None:
    """Give what the sending process last learnt of the clock; its folder may hold anything."""
    try:
        told = json.loads(read_bounded(state.path / ORDERS, max_bytes=_MAX_ORDERS_BYTES) or b"{}")
        offset_us = told.get("clock_offset_us")
    except (ValueError, AttributeError):
        return None
    return offset_us if type(offset_us) is int else None


def _read_sensor(state: StateFolder) -> int:
    """Give the sensor's number as its own user wrote it down: no key is read, nothing is waited for or followed.

    Raises:
        StateError: when it is not there.
    """
    path = state.path / IDENTITY
    try:
        sensor = json.loads(read_bounded(path, max_bytes=_MAX_ORDERS_BYTES) or b"")["sensor"]
    except (ValueError, KeyError, TypeError) as error:
        raise StateError(f"{path} names no sensor; set sensor.number") from error
    if type(sensor) is not int:
        raise StateError(f"{path} names no sensor; set sensor.number")
    return sensor


def find_helper_dir(config: SensorConfig, state: StateFolder, *, is_supervised: bool) -> Path:
    return state.path / FOLDER / _OWN_HELPER if is_supervised else config.helper_dir


def record_start(chain: Chain, identity: SealingIdentity) -> None:
    """Record that the sending process begins: restarts, updates and new keys show by it."""
    chain.append(
        "sensor.started",
        {
            "software": teiten.__version__,
            "release": read_release(),
            "sensor": identity.sensor,
            "key_no": identity.key_no,
            "epoch": identity.epoch,
        },
    )


def _build_helper(
    config: SensorConfig, state: StateFolder, clock: Clock, *, sensor: int, folder: Path, actions: Actions
) -> Helper:
    return Helper(
        _rules_of(config, sensor),
        places=places_of(state.path, folder),
        folder=folder,
        actions=actions,
        clock=clock,
    )


def _rules_of(config: SensorConfig, sensor: int) -> Rules:
    return Rules(
        sensor, partial(load_operators, config.operators_file), config.command_classes, config.allow_exec
    )


def _rotate(rotate: Callable[[], int], _arguments: Mapping[str, Any]) -> Outcome:
    return done(f"key {rotate()} takes the old one's place\n")
