"""The prober: sends what is due in each time slot, slowly, and writes down what it sent.

It runs outside the sensors' networks, knows nothing of the base but its key file and its
plan, and listens to nothing. Raw sockets need CAP_NET_RAW.
"""

from __future__ import annotations

import ipaddress
import logging
import random
import socket
import threading
from pathlib import Path

from teiten.fleet.canary import files, packets
from teiten.fleet.canary.files import CanaryFileError, KeyFile, Plan, SentLog
from teiten.fleet.errors import FleetError
from teiten.foundation.clock import Clock
from teiten.protocol import canary
from teiten.protocol.canary import Probe

_log = logging.getLogger(__name__)
#: Nothing is sent so shortly before a slot ends: it would arrive in the next.
_LATEST_SECONDS = 5
#: A clock may be so far before that of the base.
_CLOCK_SLACK_SECONDS = 30
#: A plan that is older is complained about.
_PLAN_DAYS = 7
#: Own logs are kept so long: the base takes none that is older than a day.
_LOG_DAYS = 3


class ProberError(FleetError):
    """The prober cannot send."""


class Sender:
    """Raw sockets for both versions of IP.

    Raises:
        ProberError: when the process may not open them, or an address is not its own.
    """

    def __init__(self, addresses: tuple[str, ...]) -> None:
        versions = {ipaddress.ip_address(address).version: address for address in reversed(addresses)}
        self._sources = versions
        self._sockets: dict[tuple[int, int], socket.socket] = {}
        try:
            if 4 in versions:
                self._sockets[4, 0] = self._open(socket.AF_INET, socket.IPPROTO_RAW, versions[4])
            if 6 in versions:
                for protocol in (canary.TCP, canary.UDP):
                    self._sockets[6, protocol] = self._open(socket.AF_INET6, protocol, versions[6])
        except PermissionError as error:
            self.close()
            raise ProberError("raw sockets are refused: run as root or with CAP_NET_RAW") from error
        except OSError as error:
            self.close()
            raise ProberError(
                f"{', '.join(addresses)}: {error.strerror}; a prober sends from the addresses that it was registered with"
            ) from error

    def send(self, probe: Probe, marks: canary.Marks) -> bool:
        """Send a canary; give whether the kernel took it."""
        version = ipaddress.ip_address(probe.target.address).version
        source = self._sources.get(version)
        if source is None:
            return False
        try:
            if version == 4:
                data = packets.write_ipv4(probe, marks, source=source)
                self._sockets[4, 0].sendto(data, (probe.target.address, 0))
            else:
                data = packets.write_segment(probe, marks, source=source)
                self._sockets[6, probe.protocol].sendto(data, (probe.target.address, 0))
        except OSError as error:
            _log.debug("A canary was not sent.", extra={"reason": str(error)})
            return False
        return True

    def close(self) -> None:
        for one in self._sockets.values():
            one.close()
        self._sockets.clear()

    @staticmethod
    def _open(family: int, protocol: int, address: str) -> socket.socket:
        opened = socket.socket(family, socket.SOCK_RAW, protocol)
        try:
            opened.bind((address, 0))
        except OSError:
            opened.close()
            raise
        return opened


def run_prober(
    held: KeyFile,
    plan_path: Path,
    folder: Path,
    *,
    per_second: float,
    clock: Clock,
    stop: threading.Event,
    slots: int | None = None,
) -> int:
    """Send slot after slot until ``stop`` or for ``slots``; gives how many canaries were sent.

    The plan is read anew for each slot.

    Raises:
        CanaryFileError: when the plan cannot be read at the start, or is another prober's.
        ProberError: when nothing can be sent.
    """
    _read_own_plan(held, plan_path)
    sender = Sender(held.addresses)
    total, done = 0, 0
    try:
        while not stop.is_set() and (slots is None or done < slots):
            slot = clock.now_us() // (held.slot_seconds * 1_000_000)
            if not files.log_path(folder, held.prober, slot).exists():
                total += _send_slot(
                    held,
                    plan_path,
                    folder,
                    slot=slot,
                    sender=sender,
                    per_second=per_second,
                    clock=clock,
                    stop=stop,
                )
                done += 1
            if slots is None or done < slots:
                stop.wait(_seconds_left(held, slot, clock) + 0.05)
    finally:
        sender.close()
    return total


def _send_slot(
    held: KeyFile,
    plan_path: Path,
    folder: Path,
    *,
    slot: int,
    sender: Sender,
    per_second: float,
    clock: Clock,
    stop: threading.Event,
) -> int:
    try:
        plan = _read_own_plan(held, plan_path)
        _check_clock(plan, plan_path, clock)
    except CanaryFileError as error:
        _log.error("A slot is left out: the plan is of no use.", extra={"reason": str(error)})
        return 0
    due = list(
        canary.list_probes(
            held.key, plan.targets, slot=slot, tcp_ports=plan.tcp_ports, udp_ports=plan.udp_ports
        )
    )
    random.shuffle(due)
    sent: list[Probe] = []
    for probe in due:
        if stop.is_set() or _seconds_left(held, slot, clock) < _LATEST_SECONDS:
            break
        destination = canary.pack_address(probe.target.address)
        marks = canary.mark_canary(
            held.key, slot=slot, destination=destination, protocol=probe.protocol, port=probe.port
        )
        if sender.send(probe, marks):
            sent.append(probe)
        stop.wait(1 / per_second)
    files.write_log(folder, SentLog(held.prober, slot, tuple(sent)), key=held.key)
    said = {"slot": slot, "due": len(due), "sent": len(sent)}
    if len(sent) < len(due) and not stop.is_set():
        _log.warning(
            "Not all canaries of a slot could be sent: raise the rate, or look at the line.", extra=said
        )
    else:
        _log.info("A slot's canaries are sent.", extra=said)
    _remove_old(held, folder, clock)
    return len(sent)


def _check_clock(plan: Plan, path: Path, clock: Clock) -> None:
    """Refuse to send in a wrong slot: such canaries would be ordinary traffic.

    Raises:
        CanaryFileError: when this machine's clock is before the time at which the base made the plan.
    """
    now_s = clock.now_us() // 1_000_000
    if now_s < plan.made_s - _CLOCK_SLACK_SECONDS:
        raise CanaryFileError(f"{path} is of a time to come: set this machine's clock")
    if plan.made_s and now_s > plan.made_s + _PLAN_DAYS * 86_400:
        _log.warning(
            "The plan is old: sensors may have moved.", extra={"days": (now_s - plan.made_s) // 86_400}
        )


def _remove_old(held: KeyFile, folder: Path, clock: Clock) -> None:
    """Remove own logs that nobody can take up any more."""
    oldest = (clock.now_us() // 1_000_000 - _LOG_DAYS * 86_400) // held.slot_seconds
    for path in folder.glob(f"canary-{held.prober}-*.json"):
        slot = path.stem.rpartition("-")[2]
        if slot.isdecimal() and int(slot) < oldest:
            path.unlink(missing_ok=True)


def _seconds_left(held: KeyFile, slot: int, clock: Clock) -> float:
    return (slot + 1) * held.slot_seconds - clock.now_us() / 1_000_000


def _read_own_plan(held: KeyFile, path: Path) -> Plan:
    plan = files.read_plan(path)
    if plan.prober != held.prober:
        raise CanaryFileError(f"{path} is a plan for {plan.prober}, not for {held.prober}")
    return plan
