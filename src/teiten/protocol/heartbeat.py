"""The heartbeat: how a sensor is, once a minute, and what it should know."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from teiten.protocol.errors import MessageError
from teiten.protocol.json_fields import Fields, Thing, read_object, write_object
from teiten.protocol.sensor_config import SensorConfig, fields_of_config, read_config
from teiten.protocol.standing import Standing, read_standing

KnownBy: TypeAlias = Literal["metadata", "configured"]

#: Boot id of a sensor whose recording process has not run yet.
NO_BOOT = "not-recording"
MAX_HEARTBEAT_BYTES = 16_384
MAX_ANSWER_BYTES = 4096
MAX_INTERFACES = 32
MAX_ADDRESSES = 64
MAX_STATED = 64
MAX_ERROR_CHARACTERS = 200
MAX_RELEASE = (1 << 31) - 1

_I63 = (1 << 63) - 1
_MAX_TIME_US = 9_000_000_000_000_000
_BOOT_ID = re.compile(r"[0-9A-Za-z_-]{8,36}")
_SOFTWARE = re.compile(r"[0-9A-Za-z][0-9A-Za-z.+_-]{0,63}")
_INTERFACE = re.compile(r"[!-~]{1,15}")
_STATE = re.compile(r"up|down|missing")
_ADDRESS = re.compile(r"[0-9a-f.:]{2,45}")
_KNOWN_BY = re.compile(r"metadata|configured")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_UPDATE_STATE = re.compile(r"steady|trying|rolled_back|blocked")
_BEAT = Thing("heartbeat", MessageError)
_ANSWER = Thing("heartbeat_answer", MessageError)


@dataclass(frozen=True)
class InterfaceState:
    """One capture interface."""

    name: str
    #: ``up``, ``down`` or ``missing``.
    state: str
    #: Addresses that the interface has now.
    addresses: tuple[str, ...] = ()


@dataclass(frozen=True)
class StatedAddress:
    """Which public address stands for a local one, as the sensor was told."""

    #: What packets at the sensor carry, in its shortest form.
    local: str
    #: What the world sends to; of the same IP version.
    public: str
    #: ``metadata`` (the provider's metadata service) or ``configured`` (the sensor's settings).
    known_by: KnownBy


@dataclass(frozen=True)
class ChainHead:
    """How far the sensor's own audit chain goes: a base that forgets commands is found out by it."""

    #: Records in the chain.
    count: int
    #: SHA-256 of the last one; 32 zero bytes before the first.
    head: bytes


@dataclass(frozen=True)
class UpdateState:
    """What the sensor's launcher does about releases."""

    #: Number of the release that runs; 0 when the program was not started by a launcher.
    release: int
    #: ``steady``, ``trying``, ``rolled_back`` or ``blocked``.
    state: str
    #: Why it was rolled back or is blocked; empty otherwise.
    detail: str = ""


@dataclass(frozen=True)
class Heartbeat:
    """How a sensor is. Counters count from the start of the sensor process."""

    #: Grows with every heartbeat of a sensor, also over restarts; a repeat is a replay.
    counter: int
    boot_id: str
    software: str
    uptime_s: int
    #: Server minus sensor, µs; None when unknown.
    clock_offset_us: int | None
    captured: int
    kernel_drops: int
    excluded: int
    spool_batches: int
    spool_bytes: int
    disk_free_bytes: int
    #: Empty when nothing went wrong lately.
    last_error: str
    #: End of the last sealed window; None before the first.
    last_window_end_us: int | None
    #: Version of the configuration that the sensor runs.
    config_version: int
    interfaces: tuple[InterfaceState, ...] = ()
    #: Public addresses as far as the sensor is told them, each local one at most once a source.
    addresses: tuple[StatedAddress, ...] = ()
    #: Fullest that a capture ring was in the last minute or two, in thousandths; None when nothing records.
    ring_fill_permille: int | None = None
    audit: ChainHead | None = None
    update: UpdateState | None = None

    def to_json(self) -> bytes:
        value: dict[str, Any] = {
            **{name: getattr(self, name) for name in _PLAIN_FIELDS},
            "interfaces": [
                {"name": item.name, "state": item.state, "addresses": list(item.addresses)}
                for item in self.interfaces
            ],
        }
        if self.addresses:
            # Only where there are some: a base of before this field then still reads the rest.
            value["addresses"] = [
                {"local": item.local, "public": item.public, "known_by": item.known_by}
                for item in self.addresses
            ]
        return write_object({**value, **_write_later_fields(self)})


_LATER_FIELDS = ("interfaces", "addresses", "ring_fill_permille", "audit", "update")
_PLAIN_FIELDS = tuple(name for name in Heartbeat.__dataclass_fields__ if name not in _LATER_FIELDS)


@dataclass(frozen=True)
class HeartbeatAnswer:
    """What a sensor should know now."""

    server_time_us: int
    config: SensorConfig
    #: Commands waiting for this sensor.
    commands_pending: int = 0
    #: Newest release that this sensor may take now; None: nothing to say. Only a delay: releases are signed elsewhere.
    release: int | None = None
    #: What keeps the base from taking batches now; None: nothing does.
    standing: Standing | None = None

    def to_json(self) -> bytes:
        value: dict[str, Any] = {
            "server_time_us": self.server_time_us,
            "config": fields_of_config(self.config),
            "commands_pending": self.commands_pending,
        }
        if self.release is not None:
            value["release"] = self.release
        if self.standing is not None:
            value["standing"] = self.standing
        return write_object(value)


def read_heartbeat(text: bytes) -> Heartbeat:
    """Read a heartbeat.

    Raises:
        MessageError: naming the field and its rule.
    """
    fields = read_object(_BEAT, text, max_bytes=MAX_HEARTBEAT_BYTES)
    beat = Heartbeat(
        counter=fields.take_int("counter", 1, _I63),
        boot_id=fields.take_text("boot_id", _BOOT_ID),
        software=fields.take_text("software", _SOFTWARE),
        uptime_s=fields.take_int("uptime_s", 0, _I63),
        clock_offset_us=fields.take_int_or_none("clock_offset_us", -_MAX_TIME_US, _MAX_TIME_US),
        captured=fields.take_int("captured", 0, _I63),
        kernel_drops=fields.take_int("kernel_drops", 0, _I63),
        excluded=fields.take_int("excluded", 0, _I63),
        spool_batches=fields.take_int("spool_batches", 0, _I63),
        spool_bytes=fields.take_int("spool_bytes", 0, _I63),
        disk_free_bytes=fields.take_int("disk_free_bytes", 0, _I63),
        last_error=fields.take_line("last_error", MAX_ERROR_CHARACTERS),
        last_window_end_us=fields.take_int_or_none("last_window_end_us", 0, _MAX_TIME_US),
        config_version=fields.take_int("config_version", 0, (1 << 31) - 1),
        interfaces=fields.take_list("interfaces", _read_interface, max_items=MAX_INTERFACES),
        addresses=_take_stated(fields),
        ring_fill_permille=_take_if_there(fields, "ring_fill_permille", 1000),
        audit=fields.take_object("audit", _read_chain_head) if fields.has("audit") else None,
        update=fields.take_object("update", _read_update) if fields.has("update") else None,
    )
    fields.finish()
    return beat


def read_answer(text: bytes) -> HeartbeatAnswer:
    """Read an answer whose response signature has been verified.

    Raises:
        MessageError: naming the field and its rule.
    """
    fields = read_object(_ANSWER, text, max_bytes=MAX_ANSWER_BYTES)
    answer = HeartbeatAnswer(
        server_time_us=fields.take_int("server_time_us", 0, _MAX_TIME_US),
        config=fields.take_object("config", read_config),
        commands_pending=fields.take_int("commands_pending", 0, (1 << 31) - 1),
        release=_take_if_there(fields, "release", MAX_RELEASE),
        standing=read_standing(fields),
    )
    fields.finish()
    return answer


def _write_later_fields(beat: Heartbeat) -> dict[str, Any]:
    """Give the fields that came later, only where there is something to say: an older base reads the rest."""
    later: dict[str, Any] = {}
    if beat.ring_fill_permille is not None:
        later["ring_fill_permille"] = beat.ring_fill_permille
    if beat.audit is not None:
        later["audit"] = {"count": beat.audit.count, "head": beat.audit.head.hex()}
    if beat.update is not None:
        later["update"] = {
            "release": beat.update.release,
            "state": beat.update.state,
            "detail": beat.update.detail,
        }
    return later


def _take_if_there(fields: Fields, name: str, high: int) -> int | None:
    return fields.take_int(name, 0, high) if fields.has(name) else None


def _read_chain_head(fields: Fields) -> ChainHead:
    return ChainHead(fields.take_int("count", 0, _I63), bytes.fromhex(fields.take_text("head", _SHA256)))


def _read_update(fields: Fields) -> UpdateState:
    return UpdateState(
        release=fields.take_int("release", 0, MAX_RELEASE),
        state=fields.take_text("state", _UPDATE_STATE),
        detail=fields.take_line("detail", MAX_ERROR_CHARACTERS),
    )


def _read_interface(fields: Fields) -> InterfaceState:
    return InterfaceState(
        name=fields.take_text("name", _INTERFACE),
        state=fields.take_text("state", _STATE),
        addresses=fields.take_texts("addresses", _ADDRESS, max_items=MAX_ADDRESSES),
    )


def _take_stated(fields: Fields) -> tuple[StatedAddress, ...]:
    if not fields.has("addresses"):
        return ()
    stated = fields.take_list("addresses", _read_stated, max_items=MAX_STATED)
    if len({(item.local, item.known_by) for item in stated}) != len(stated):
        raise fields.refuse("addresses", "addresses must name a local address once a source")
    return stated


def _read_stated(fields: Fields) -> StatedAddress:
    local = _take_address(fields, "local")
    public = _take_address(fields, "public")
    if local.version != public.version:
        raise fields.refuse("public", "public must be of the same IP version as local")
    told = fields.take_text("known_by", _KNOWN_BY)
    known_by: KnownBy = "metadata" if told == "metadata" else "configured"
    return StatedAddress(str(local), str(public), known_by)


def _take_address(fields: Fields, name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    text = fields.take_text(name, _ADDRESS)
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        raise fields.refuse(name, f"{name} must be an IP address") from None
    if str(address) != text:
        raise fields.refuse(name, f"{name} must be an IP address in its shortest form")
    return address
