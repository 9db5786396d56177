"""Files between base and prober: the key file, the plan, and the log of what was sent.

They travel as the operators like (scp, a shared folder). The log carries a MAC under
the prober's key; the plan names public addresses of sensors and is as secret as the key.
"""

from __future__ import annotations

import hmac
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from teiten.fleet.errors import FleetError
from teiten.protocol.canary import KEY_BYTES, Probe, Target

_LOG_DOMAIN = b"teiten-canary-log1\n"
MAX_FILE_BYTES = 64 * 1024 * 1024


class CanaryFileError(FleetError):
    """A file cannot be read, or is not what it says; nothing was changed."""


class LogTooOldError(CanaryFileError):
    """What a log says was sent so long ago cannot be compared with what arrived any more."""


@dataclass(frozen=True)
class KeyFile:
    """What a prober holds."""

    prober: str
    key: bytes
    #: From where it sends, one of each IP version at most is used.
    addresses: tuple[str, ...]
    slot_seconds: int


@dataclass(frozen=True)
class Plan:
    """Whom a prober sends to."""

    prober: str
    targets: tuple[Target, ...]
    tcp_ports: tuple[int, ...]
    udp_ports: tuple[int, ...]
    #: By the base's clock, seconds since 1970; 0 where an older base did not say.
    made_s: int = 0


@dataclass(frozen=True)
class SentLog:
    """What a prober sent in one slot."""

    prober: str
    slot: int
    probes: tuple[Probe, ...]


def write_key_file(path: Path, held: KeyFile) -> None:
    """Write a new file that its owner alone may read."""
    value = {
        "v": 1,
        "prober": held.prober,
        "key": held.key.hex(),
        "addresses": list(held.addresses),
        "slot_seconds": held.slot_seconds,
    }
    _write(path, value, mode=0o600)


def read_key_file(path: Path) -> KeyFile:
    """Read a key file.

    Raises:
        CanaryFileError: naming the file and the rule.
    """
    value = _read(path)
    try:
        held = KeyFile(
            str(value["prober"]),
            bytes.fromhex(value["key"]),
            tuple(map(str, value["addresses"])),
            int(value["slot_seconds"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise CanaryFileError(f"{path} is no key file of a prober ({error!r})") from error
    if len(held.key) != KEY_BYTES:
        raise CanaryFileError(f"{path}: the key must have {KEY_BYTES} bytes")
    return held


def write_plan(path: Path, plan: Plan) -> None:
    """Write whom to send to; its owner alone may read it."""
    value = {
        "v": 1,
        "prober": plan.prober,
        "made": plan.made_s,
        "tcp_ports": list(plan.tcp_ports),
        "udp_ports": list(plan.udp_ports),
        "targets": [[target.sensor, target.address] for target in plan.targets],
    }
    _write(path, value, mode=0o600)


def read_plan(path: Path) -> Plan:
    """Read a plan.

    Raises:
        CanaryFileError: naming the file and the rule.
    """
    value = _read(path)
    try:
        return Plan(
            str(value["prober"]),
            tuple(Target(int(sensor), str(address)) for sensor, address in value["targets"]),
            tuple(map(int, value["tcp_ports"])),
            tuple(map(int, value["udp_ports"])),
            int(value.get("made", 0)),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise CanaryFileError(f"{path} is no plan for a prober ({error!r})") from error


def write_log(folder: Path, log: SentLog, *, key: bytes) -> Path:
    """Write what was sent in a slot; the file is there as a whole or not at all."""
    value = {
        "v": 1,
        "prober": log.prober,
        "slot": log.slot,
        "sent": [[one.target.sensor, one.target.address, one.protocol, one.port] for one in log.probes],
    }
    path = log_path(folder, log.prober, log.slot)
    _write(path, {**value, "mac": _mac(value, key)}, mode=0o600)
    return path


def log_path(folder: Path, prober: str, slot: int) -> Path:
    """Give where the log of a slot lies."""
    return folder / f"canary-{prober}-{slot}.json"


def list_logs(folder: Path) -> list[Path]:
    """Give the logs in a folder, by name."""
    return sorted(folder.glob("canary-*.json"))


def read_log(path: Path, *, find_key: Any) -> SentLog:
    """Read a log whose MAC is right.

    Args:
        path: the file.
        find_key: called with the prober's name, gives its key or raises.

    Raises:
        CanaryFileError: naming the file and the rule.
    """
    value = _read(path)
    said = {name: value.get(name) for name in ("v", "prober", "slot", "sent")}
    try:
        key = find_key(str(value["prober"]))
        if not hmac.compare_digest(_mac(said, key), str(value["mac"])):
            raise CanaryFileError(f"{path} was not written by prober {value['prober']}, or was changed")
        probes = tuple(
            Probe(Target(int(sensor), str(address)), int(protocol), int(port))
            for sensor, address, protocol, port in value["sent"]
        )
        return SentLog(str(value["prober"]), int(value["slot"]), probes)
    except (KeyError, TypeError, ValueError) as error:
        raise CanaryFileError(f"{path} is no log of a prober ({error!r})") from error


def _mac(value: Mapping[str, Any], key: bytes) -> str:
    text = json.dumps(value, sort_keys=True, separators=(",", ":")).encode()
    return hmac.digest(key, _LOG_DOMAIN + text, "sha256").hex()


def _read(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise CanaryFileError(f"{path} is larger than {MAX_FILE_BYTES:,} bytes")
        value = json.loads(path.read_bytes())
    except OSError as error:
        raise CanaryFileError(f"{path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise CanaryFileError(f"{path} is no JSON ({error})") from error
    if not isinstance(value, dict) or value.get("v") != 1:
        raise CanaryFileError(f"{path} is of no version that this program knows")
    return value


def _write(path: Path, value: Mapping[str, Any], *, mode: int) -> None:
    part = path.with_name(path.name + ".part")
    try:
        part.unlink(missing_ok=True)
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as out:
            out.write(json.dumps(value, separators=(",", ":")).encode() + b"\n")
            out.flush()
            os.fsync(out.fileno())
        part.replace(path)
    except OSError as error:
        raise CanaryFileError(f"{path} cannot be written: {error.strerror}") from error
