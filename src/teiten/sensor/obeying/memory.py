"""What a sensor remembers of commands, on the disk before anything is executed.

At most once: the counter and the id of a command are durable before it begins, so
that a crash at any moment leaves a command that was begun and has no result. It is
never begun again; its result says that it was interrupted.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from teiten.protocol.commands import Command
from teiten.protocol.judging import SensorState, counter_name
from teiten.sensor.errors import StateError
from teiten.sensor.slots import SlotFile

#: Ids kept; counters refuse what is older.
MAX_IDS = 600
#: Commands begun and not ended at once; more wait in the base.
MAX_OPEN = 8
_MAX_COUNTERS = 400
_REFUSALS = "refusals"


@dataclass(frozen=True)
class Begun:
    """A command that was begun and has no result yet."""

    command_id: str
    verb: str
    payload_sha256: bytes
    started_us: int
    #: Seconds since 1970 after which nobody answers for it any more.
    until_s: int


class Memory:
    """Counters, ids and open commands in one file that survives crashes and a full disk.

    Raises:
        StateError: when the file cannot be used.
    """

    def __init__(self, path: Path) -> None:
        self._file = SlotFile(path)
        record = self._file.record or {}
        try:
            self._counters: dict[str, int] = dict(record.get("counters", {}))
            self._ids: list[str] = list(record.get("ids", []))
            self._facts: dict[str, Any] = dict(record.get("facts", {}))
            self._open = {one["command_id"]: _read_begun(one) for one in record.get("open", [])}
            #: From when the newest obeyed command is valid, seconds since 1970: operators signed that it is later.
            self.floor_s = int(record.get("floor_s", 0))
        except (KeyError, TypeError, ValueError) as error:
            self._file.close()
            raise StateError(
                f"{path} does not hold what obeying remembers ({error}); move it away"
            ) from error

    @property
    def open(self) -> tuple[Begun, ...]:
        """Commands begun before and not ended."""
        return tuple(self._open.values())

    def is_open(self, command_id: str) -> bool:
        return command_id in self._open

    def has_room(self) -> bool:
        return len(self._open) < MAX_OPEN

    def as_state(self, *, classes: tuple[str, ...], allow_exec: bool) -> SensorState:
        """Give what the judge asks for."""
        return SensorState(dict(self._counters), frozenset(self._ids), classes, allow_exec)

    def read_fact(self, name: str) -> Any:
        return self._facts.get(name)

    def keep_fact(self, name: str, value: int | str | list[int]) -> None:
        """Keep one value durably, for example who this sensor is.

        Raises:
            StateError: when the disk refuses.
        """
        self._facts[name] = value
        self._write()

    def count_refusal(self, hour: int) -> tuple[int, int]:
        """Count a refusal of this hour durably; gives how many there were in it, and in the one counted before.

        Raises:
            StateError: when the disk refuses.
        """
        known, count = self._facts.get(_REFUSALS) or (hour, 0)
        before = 0 if known == hour else count
        count = count + 1 if known == hour else 1
        self.keep_fact(_REFUSALS, [hour, count])
        return count, before

    def begin(self, command: Command, begun: Begun) -> None:
        """Remember a command for ever, and that it is being executed, before it is.

        Raises:
            StateError: when the disk refuses; the command must not be executed then.
        """
        before = dict(self._counters), list(self._ids), dict(self._open), self.floor_s
        name = counter_name(command)
        # Newest last, so that the bound forgets the operators who left long ago.
        self._counters.pop(name, None)
        self._counters[name] = command.counter
        self._counters = dict(list(self._counters.items())[-_MAX_COUNTERS:])
        self._ids = [*self._ids, command.command_id][-MAX_IDS:]
        self._open[command.command_id] = begun
        self.floor_s = max(self.floor_s, command.not_before_s)
        try:
            self._write()
        except StateError:
            self._counters, self._ids, self._open, self.floor_s = before
            raise

    def end(self, command_id: str) -> None:
        """Forget that a command is open; its result is on the disk.

        Raises:
            StateError: when the disk refuses.
        """
        if self._open.pop(command_id, None) is not None:
            self._write()

    def close(self) -> None:
        self._file.close()

    def _write(self) -> None:
        self._file.write(
            {
                "counters": self._counters,
                "ids": self._ids,
                "facts": self._facts,
                "floor_s": self.floor_s,
                "open": [_write_begun(one) for one in self._open.values()],
            }
        )


def _write_begun(one: Begun) -> dict[str, Any]:
    return {
        "command_id": one.command_id,
        "verb": one.verb,
        "payload_sha256": one.payload_sha256.hex(),
        "started_us": one.started_us,
        "until_s": one.until_s,
    }


def _read_begun(told: dict[str, Any]) -> Begun:
    return Begun(
        str(told["command_id"]),
        str(told["verb"]),
        bytes.fromhex(told["payload_sha256"]),
        int(told["started_us"]),
        int(told["until_s"]),
    )
