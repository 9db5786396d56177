"""How the API tells of sensors, alarms, commands and roll-outs; what a member is not told is null."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from teiten.fleet.alarms.models import Alarm
from teiten.fleet.canary.selectors import ReachRow
from teiten.fleet.commands import selectors as commands
from teiten.fleet.commands.models import Command, CommandResult
from teiten.fleet.models import SensorEvent
from teiten.fleet.rollouts.models import Rollout, RolloutTarget
from teiten.fleet.selectors import SensorRow

_PROTOCOLS = {6: "tcp", 17: "udp"}
#: Told under other names, or only where a sensor is masked.
_OTHERWISE = ("id", "is_masked", "condition", "conditions")


def tell_sensor(row: SensorRow) -> dict[str, Any]:
    """Give a sensor that the caller sees as it is."""
    told = {field.name: getattr(row, field.name) for field in dataclasses.fields(row)}
    for name in _OTHERWISE:
        del told[name]
    return {"sensor": row.id, "states": [one.value for one in row.conditions], **told}


def tell_alarm(alarm: Alarm) -> dict[str, Any]:
    return {
        "alarm": alarm.pk,
        "kind": alarm.kind,
        "sensor": alarm.sensor_id,
        "name": alarm.sensor.name if alarm.sensor else None,
        "group": alarm.group or None,
        "organisation": alarm.organisation.code if alarm.organisation else None,
        "opened_at": alarm.opened_at,
        "closed_at": alarm.closed_at,
        "acknowledged_at": alarm.acknowledged_at,
        "acknowledged_by": alarm.acknowledged_by.user_id if alarm.acknowledged_by else None,
        "detail": alarm.detail,
    }


def tell_event(event: SensorEvent) -> dict[str, Any]:
    return {
        "event": event.pk,
        "kind": event.kind,
        "sensor": event.sensor_id,
        "name": event.sensor.name,
        "at": event.at,
        "by": event.actor.user_id if event.actor else None,
        "detail": event.detail,
    }


def tell_command(
    command: Command, counted: Mapping[int, Mapping[str, int]], *, sees_all: bool
) -> dict[str, Any]:
    """Give a command with its sensors by state; whom else it is for is told to those who see the whole fleet."""
    started = counted.get(command.rollout_id or 0)
    waiting = {"waiting": len(command.sensors)} if sees_all else None
    return {
        "command": command.pk,
        "class": command.command_class,
        "verb": command.verb,
        "arguments": command.arguments,
        "reason": command.reason,
        "state": command.state,
        "rollout": command.rollout_id,
        "sensors": waiting if started is None else started,
        "selector": (command.selector or None) if sees_all else None,
        "signers": command.signers,
        "submitted_at": command.submitted_at,
        "not_before_at": command.not_before_at,
        "expires_at": command.expires_at,
        "payload_sha256": bytes(command.payload_sha256),
    }


def tell_result(result: CommandResult) -> dict[str, Any]:
    """Give an answer; its signature is checked again, as on the page."""
    forgery = commands.find_forgery(result)
    return {
        "sensor": result.sensor_id,
        "name": result.sensor.name,
        "state": result.state,
        "reason": result.reason or None,
        "started_at": result.started_at,
        "ended_at": result.ended_at,
        "received_at": result.received_at,
        "output": commands.read_output(result) if forgery is None else None,
        "forgery": forgery,
    }


def tell_rollout(rollout: Rollout, counted: Mapping[str, int]) -> dict[str, Any]:
    return {
        "rollout": rollout.pk,
        "kind": rollout.kind,
        "subject": rollout.subject,
        "state": rollout.state,
        "reason": rollout.reason or None,
        "stages": list(rollout.stages),
        "stage": rollout.stage + 1,
        "per_minute": rollout.per_minute,
        "sensors": counted,
        "started_at": rollout.started_at,
        "changed_at": rollout.changed_at,
    }


def tell_target(target: RolloutTarget) -> dict[str, Any]:
    return {
        "sensor": target.sensor_id,
        "name": target.sensor.name,
        "state": target.state,
        "released_at": target.released_at,
        "ended_at": target.ended_at,
        "detail": target.detail or None,
    }


def tell_reach(row: ReachRow) -> dict[str, Any]:
    return {
        "address": row.address,
        "protocol": _PROTOCOLS.get(row.protocol, str(row.protocol)),
        "port": row.port,
        "arrived": row.arrived,
        "lost": row.lost,
        "lost_in_row": row.lost_in_row,
        "last_tried_at": row.last_tried_at,
        "last_arrived_at": row.last_arrived_at,
        "is_unreachable": row.is_unreachable,
    }
