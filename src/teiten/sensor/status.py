"""``teiten-sensor status``: what the two processes of a state folder say of themselves."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from teiten.foundation.clock import Clock, from_us
from teiten.foundation.showing import show_plain
from teiten.sensor.errors import SensorError
from teiten.sensor.state import CAPTURE_STATUS, SENDING_STATUS, StateFolder

#: A status older than this is not believed: the process is gone or stuck.
_STALE_US = 90_000_000
#: One that is older than this is said to be of then; settings allow a minute between two.
_OLD_SECONDS = 75

_STANDINGS = {
    "pending_approval": "waits for its operator's approval; recording goes on, the spool keeps what it records",
    "suspended": "suspended by its operator; recording goes on, the spool keeps what it records",
    "quarantined": "quarantined: another machine seems to use this sensor's key; its operator must recover it",
}


def collect_status(state: StateFolder, clock: Clock) -> dict[str, Any]:
    """Gather everything known of this folder, for ``--json`` and for people."""
    return {
        "state_dir": str(state.path),
        **_describe_identity(state),
        "capture": _fresh(state.read_json(CAPTURE_STATUS), clock.now_us()),
        "sending": _fresh(state.read_json(SENDING_STATUS), clock.now_us()),
    }


def is_healthy(status: dict[str, Any]) -> bool:
    """Tell whether the sensor records and nothing is wrong with it."""
    capture, sending = status["capture"], status["sending"]
    errors = capture.get("last_error") or sending.get("last_error") or sending.get("standing")
    return bool(capture.get("running") and capture.get("watched") and sending.get("running") and not errors)


def format_status(status: dict[str, Any]) -> str:
    """Write the status for people, a fact a line."""
    lines = [f"state folder     {status['state_dir']}", f"identity         {_identity_text(status)}"]
    lines += _capture_lines(status["capture"]) + _sending_lines(status["sending"])
    # Errors hold what a gateway, or the sensor's user, wrote; who asks may be root at a terminal.
    return "\n".join(map(show_plain, lines))


def _describe_identity(state: StateFolder) -> dict[str, Any]:
    try:
        sealing = state.load_identity().sealing
    except SensorError as error:
        return {"enrolled": False, "identity_error": str(error)}
    return {"enrolled": True, "sensor": sealing.sensor, "key_no": sealing.key_no, "epoch": sealing.epoch}


def _fresh(told: dict[str, Any], now_us: int) -> dict[str, Any]:
    """Do not believe an old file that says "running"."""
    age_us = now_us - int(told.get("written_at_us", 0))
    has_stopped = not told.get("running")
    return {
        **told,
        "running": not has_stopped and age_us < _STALE_US,
        "silent_seconds": 0 if has_stopped else max(0, age_us // 1_000_000),
    }


def _identity_text(status: dict[str, Any]) -> str:
    if not status["enrolled"]:
        return f"none: {status['identity_error']}"
    return f"sensor {status['sensor']}, key {status['key_no']}, epoch {status['epoch']}"


def _capture_lines(told: dict[str, Any]) -> list[str]:
    if "packets" not in told:
        return ["recording        never ran"]
    count, spool = told["packets"], told["spool"]
    excluded = count["solicited"] + count["other_destination"]
    lines = [
        f"recording        {_running_text(told)}",
        f"watched          {', '.join(told['watched']) or 'nothing'} ({told['mode']})",
        f"packets          {count['captured']:,} captured, {excluded:,} excluded, {count['kernel_drops']:,} dropped by the kernel",
        f"payload          {_payload_text(told)}",
        f"windows          {count['windows']:,} closed, one per {told['window_seconds']} s or sooner",
        f"spool            {spool['waiting']:,} batches, {spool['waiting_bytes']:,} bytes; {spool['lost_batches']:,} lost and not yet reported",
    ]
    lines += [_interface_text(interface) for interface in told["interfaces"]]
    return lines + ([f"recording error  {told['last_error']}"] if told["last_error"] else [])


def _sending_lines(told: dict[str, Any]) -> list[str]:
    if "receipted" not in told:
        return ["sending          never ran"]
    receipt = told["last_receipt"]
    last = f"batch {receipt['seq']}, landed {_instant(receipt['landed_at_us'])}" if receipt else "none yet"
    lines = [
        f"sending          {_running_text(told)}",
        f"receipts         {told['receipted']:,}; last: {last}",
        f"heartbeats       {told['beats']:,} answered; clock offset {_offset_text(told['clock_offset_us'])}",
    ]
    lines += (
        [f"standing         {_STANDINGS[told['standing']]}"] if told.get("standing") in _STANDINGS else []
    )
    if told.get("commands"):
        count = told["commands"]
        lines.append(
            f"commands         {count['commands_accepted']:,} obeyed, {count['commands_failed']:,} of them failed; "
            f"{count['commands_refused']:,} refused"
        )
    lines += [f"commands error   {told['commands_error']}"] if told.get("commands_error") else []
    lines += [f"key error        {told['key_error']}"] if told.get("key_error") else []
    lines += [f"public address   {text}" for text in told.get("public_addresses", [])]
    if told.get("metadata_error"):
        lines.append(f"metadata error   {told['metadata_error']}")
    if told["last_error"]:
        lines.append(f"sending error    {told['last_error']} (next try in {told['retry_seconds']} s)")
    return lines


def _running_text(told: dict[str, Any]) -> str:
    if told["silent_seconds"] > _OLD_SECONDS:
        # What follows is of then.
        return (
            f"no word from process {told['pid']} for {told['silent_seconds']} s: it was killed, hangs, "
            "or cannot write here (is the disk full?)"
        )
    return f"running, process {told['pid']}" if told["running"] else "not running"


def _payload_text(told: dict[str, Any]) -> str:
    if not told["payload_bytes"]:
        return "not recorded"
    kept = f"first {told['payload_bytes']} bytes kept"
    allowed = told.get("examples_per_window", 0)
    return f"{kept}; {told['packets'].get('examples', 0):,} examples, at most {allowed} a window"


def _interface_text(told: dict[str, Any]) -> str:
    offloads = f", offloads on: {', '.join(told['offloads'])}" if told["offloads"] else ""
    return f"interface        {told['name']}: {told['state']}{offloads}"


def _offset_text(offset_us: int | None) -> str:
    return "unknown" if offset_us is None else f"{offset_us / 1_000:+,.1f} ms"


def _instant(at_us: int) -> str:
    instant: datetime = from_us(at_us)
    return instant.isoformat(timespec="seconds")
