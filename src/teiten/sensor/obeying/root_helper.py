"""The root helper: obeys signed envelopes, and believes nothing else of who hands them over.

It runs with root's rights (or, in ``teiten-sensor run``, in the supervising process),
with a list of operators, settings and a memory of its own that the sending process
cannot write. Whoever captures the sending process, and with it the sensor's key, can
therefore run nothing: it can only hand over what operators signed for this very
sensor, in time, once.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import logging
import os
from pathlib import Path
from typing import Any, Protocol

from teiten.foundation.clock import Clock
from teiten.protocol import commands
from teiten.protocol.commands import Command, Delivery
from teiten.protocol.judging import Accepted, Refused
from teiten.sensor.chain import FILE_NAME, Chain
from teiten.sensor.errors import DeclarationError, SensorError, StateBusyError, StateError
from teiten.sensor.obeying.asked import AskedFolder
from teiten.sensor.obeying.budget import REFUSALS_AN_HOUR
from teiten.sensor.obeying.deciding import Rules, Times, decide, describe_command
from teiten.sensor.obeying.files import make_folder, write_durably
from teiten.sensor.obeying.handing import RUNNING, Places
from teiten.sensor.obeying.memory import Begun, Memory
from teiten.sensor.obeying.outcome import Outcome, failed, refused

_log = logging.getLogger(__name__)
_OUTCOMES_KEPT = 64
_HOUR_US = 3_600_000_000


class Actions(Protocol):
    """What can be done for a verb."""

    def act(self, command: Command) -> Outcome:
        """Do it; may take as long as the verb says."""

    def follow_up(self, command: Command) -> None:
        """Do what has to wait until the outcome is on the disk, such as ending the sensor."""


class Helper:
    """Obeys what lies in the folder of requests.

    Args:
        rules: who the sensor is and what its settings allow.
        places: where requests and outcomes lie.
        folder: the helper's own, writable by nobody else.
        actions: what can be done here.
        clock: this machine's.

    Raises:
        StateBusyError: when another helper works.
        StateError: when its folder cannot be used.
    """

    def __init__(self, rules: Rules, *, places: Places, folder: Path, actions: Actions, clock: Clock) -> None:
        make_folder(folder, mode=0o755)
        # Outcomes are for the sensor's group: what an operator's command wrote is no other user's business.
        self._group = _find_group(places)
        make_folder(places.outcomes, mode=0o750, group=self._group)
        self._lock = _lock(folder / "lock")
        self._rules = rules
        self._places = places
        self._actions = actions
        self._clock = clock
        self._memory = Memory(folder / "memory.bin")
        self._chain = Chain.open(folder / FILE_NAME, clock)
        try:
            self._keep_sensor()
            for begun in self._memory.open:
                self._end(begun.command_id, begun.verb, failed("interrupted"))
        except SensorError:
            self.close()
            raise

    def close(self) -> None:
        self._memory.close()
        self._chain.close()
        os.close(self._lock)

    def obey_all(self, *, offset_us: int | None) -> int:
        """Obey every request that is there; give how many there were.

        Raises:
            SensorError: the first that kept one from being taken; the others were obeyed all the same.
        """
        try:
            asked = AskedFolder(self._places.requests)
        except FileNotFoundError:
            return 0
        faults: list[SensorError] = []
        with contextlib.closing(asked):
            names = asked.take_names()
            for name in names:
                try:
                    self._obey_one(asked, name, offset_us=offset_us)
                except SensorError as error:
                    faults.append(error)
        self._forget_old()
        if faults:
            raise faults[0]
        return len(names)

    def obey(self, path: Path, *, offset_us: int | None) -> None:
        """Obey one request and take it away; what is no request is only taken away.

        Raises:
            SensorError: when it cannot be taken.
        """
        try:
            asked = AskedFolder(path.parent)
        except FileNotFoundError as error:
            raise StateError(f"there is no folder {path.parent}") from error
        with contextlib.closing(asked):
            self._obey_one(asked, path.name, offset_us=offset_us)

    def _obey_one(self, asked: AskedFolder, name: str, *, offset_us: int | None) -> None:
        delivery = asked.read(name)
        if delivery is not None:
            if self._has_outcome(delivery.command_id):
                self._resume(delivery)
            else:
                self._obey(delivery, offset_us=offset_us)
        asked.remove(name)

    def _obey(self, delivery: Delivery, *, offset_us: int | None) -> None:
        digest = hashlib.sha256(delivery.envelope.payload).digest()
        verdict = self._judge(delivery, offset_us=offset_us)
        if isinstance(verdict, Refused):
            self._refuse(delivery.command_id, digest, verdict)
            return
        command = verdict.command
        self._memory.begin(command, Begun(command.command_id, command.verb, digest, self._clock.now_us(), 0))
        self._chain.append("command.accepted", describe_command(verdict, digest))
        self._write(command.command_id, {"state": RUNNING})
        outcome = self._act(command)
        self._end(command.command_id, command.verb, outcome)
        if outcome.state == "done":
            self._memory.keep_fact("following", digest.hex())
            self._follow_up(command)

    def _refuse(self, command_id: str, digest: bytes, verdict: Refused) -> None:
        """Say and record why; whoever may write requests must not fill root's disk with it."""
        count, before = self._memory.count_refusal(self._clock.now_us() // _HOUR_US)
        if before > REFUSALS_AN_HOUR:
            self._chain.append("command.refusals_unrecorded", {"count": before - REFUSALS_AN_HOUR})
        if count > REFUSALS_AN_HOUR:
            return
        _log.warning("A request is refused", extra={"command": command_id, "reason": verdict.reason})
        facts = {"command_id": command_id, "payload_sha256": digest.hex(), "reason": verdict.reason}
        self._chain.append("command.refused", facts)
        self._write(command_id, refused(verdict.reason, f"{verdict}\n").to_fields())

    def _resume(self, delivery: Delivery) -> None:
        """Go on with what a crash interrupted after the outcome was told; the request is still there then."""
        digest = hashlib.sha256(delivery.envelope.payload).hexdigest()
        if self._memory.read_fact("following") == digest:
            self._follow_up(commands.read_command(delivery.envelope.payload))

    def _follow_up(self, command: Command) -> None:
        self._actions.follow_up(command)
        self._memory.keep_fact("following", "")

    def _judge(self, delivery: Delivery, *, offset_us: int | None) -> Accepted | Refused:
        try:
            operators = self._rules.load_operators()
        except DeclarationError as error:
            return Refused("operators_missing", str(error))
        times = Times(self._clock.now_us(), offset_us)
        return decide(
            delivery, operators, rules=self._rules, memory=self._memory, times=times, only_root=True
        )

    def _act(self, command: Command) -> Outcome:
        try:
            return self._actions.act(command)
        except (SensorError, OSError) as error:
            return failed("failed", f"{error}\n")
        except Exception as error:  # noqa: BLE001  # a verb's border: its operator must learn of it
            _log.exception("A verb failed", extra={"verb": command.verb})
            return failed("failed", f"{type(error).__name__}: {error}\n")

    def _end(self, command_id: str, verb: str, outcome: Outcome) -> None:
        self._write(command_id, outcome.to_fields())
        facts = {"command_id": command_id, "verb": verb, "state": outcome.state, "reason": outcome.reason}
        self._chain.append("command.ended", facts)
        self._memory.end(command_id)

    def _keep_sensor(self) -> None:
        """Remember for whom it works from the first time on: what others write does not change it.

        Raises:
            DeclarationError: when it is told of another sensor than before.
        """
        known = self._memory.read_fact("sensor")
        if known is None:
            self._memory.keep_fact("sensor", self._rules.sensor)
        elif known != self._rules.sensor:
            raise DeclarationError(
                f"this machine obeys as sensor {known}, and is now told to be sensor {self._rules.sensor};"
                " remove the helper's folder if it has really become another sensor"
            )

    def _has_outcome(self, command_id: str) -> bool:
        return (self._places.outcomes / f"{command_id}.json").exists()

    def _write(self, command_id: str, fields: dict[str, Any]) -> None:
        # Readable by the sending process, which runs as another user.
        path = self._places.outcomes / f"{command_id}.json"
        write_durably(path, json.dumps(fields).encode(), mode=0o640, group=self._group)

    def _forget_old(self) -> None:
        """Remove all but the newest outcomes; their names sort by time."""
        for path in sorted(self._places.outcomes.glob("*.json"))[:-_OUTCOMES_KEPT]:
            with contextlib.suppress(OSError):
                path.unlink()


def _lock(path: Path) -> int:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        raise StateBusyError(f"another helper works on {path.parent}") from error
    return descriptor


def _find_group(places: Places) -> int:
    """Give the group of the sensor's state folder, which root made; -1, no change, for who is not root.

    Raises:
        StateError: when there is no such folder.
    """
    if os.geteuid() != 0:
        return -1
    state_dir = places.requests.parent.parent
    try:
        return state_dir.stat(follow_symlinks=False).st_gid
    except OSError as error:
        raise StateError(f"state folder {state_dir} cannot be looked at: {error.strerror}") from error
