"""Answers to commands that wait for the base's receipt: one file each, kept over restarts.

What was receipted is kept a while, for a base that was restored from a backup and
asks again: the command is not obeyed twice, its answer is sent twice.
"""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from teiten.protocol.commands import COMMAND_ID
from teiten.protocol.results import MAX_RESULT_BYTES, Result
from teiten.sensor.obeying.files import make_folder, read_bounded, write_durably
from teiten.sensor.obeying.outcome import Outcome, read_outcome

_SENT_KEPT = 32


@dataclass(frozen=True)
class Answer:
    """What became of one command, unsigned: the key that signs is the one at the time of sending."""

    command_id: str
    payload_sha256: bytes
    outcome: Outcome
    started_us: int
    ended_us: int

    def to_result(self, *, sensor: int, key_no: int) -> Result:
        outcome = self.outcome
        return Result(
            command_id=self.command_id,
            sensor=sensor,
            key_no=key_no,
            payload_sha256=self.payload_sha256,
            state=outcome.state,
            reason=outcome.reason,
            output=outcome.output,
            started_us=max(0, self.started_us),
            ended_us=max(0, self.ended_us),
            truncated=outcome.truncated,
        )

    def to_json(self) -> bytes:
        return json.dumps(
            {
                "command_id": self.command_id,
                "payload_sha256": self.payload_sha256.hex(),
                "outcome": self.outcome.to_fields(),
                "started_us": self.started_us,
                "ended_us": self.ended_us,
            }
        ).encode()


class Answers:
    """The folder of answers.

    Raises:
        StateError: when it cannot be made.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._sent = folder / "sent"
        make_folder(folder)
        make_folder(self._sent)
        # A name that is there is an answer that waits: looked up at every step of the sender.
        self._waiting = {path.stem: None for path in sorted(folder.glob("*.json"))}

    def put(self, answer: Answer) -> None:
        """Keep an answer until it is receipted.

        Raises:
            StateError: when the disk refuses.
        """
        write_durably(self._folder / f"{answer.command_id}.json", answer.to_json())
        self._waiting[answer.command_id] = None

    def find_next(self) -> Answer | None:
        """Give the answer that waits longest; a damaged file is forgotten."""
        for command_id in list(self._waiting):
            answer = _read_answer(self._folder / f"{command_id}.json")
            if answer is not None:
                return answer
            del self._waiting[command_id]
            with contextlib.suppress(OSError):
                (self._folder / f"{command_id}.json").unlink()
        return None

    def has(self, command_id: str) -> bool:
        return command_id in self._waiting

    def mark_sent(self, command_id: str) -> None:
        """Note that the base has it; the newest few are kept for a base that asks again."""
        self._waiting.pop(command_id, None)
        with contextlib.suppress(OSError):
            (self._folder / f"{command_id}.json").replace(self._sent / f"{command_id}.json")
            kept = sorted(self._sent.glob("*.json"), key=lambda path: path.stat().st_mtime)
            for path in kept[:-_SENT_KEPT]:
                path.unlink()

    def send_again(self, command_id: str, payload_sha256: bytes) -> bool:
        """Let an answer to just this payload wait anew; give False when none is kept."""
        path = self._sent / f"{command_id}.json"
        answer = _read_answer(path)
        if answer is None or answer.payload_sha256 != payload_sha256:
            return False
        self.put(answer)
        with contextlib.suppress(OSError):
            path.unlink()
        return True


def _read_answer(path: Path) -> Answer | None:
    text = read_bounded(path, max_bytes=2 * MAX_RESULT_BYTES)
    try:
        told: dict[str, Any] = json.loads(text or b"")
        outcome = read_outcome(told["outcome"])
        command_id = str(told["command_id"])
        if outcome is None or COMMAND_ID.fullmatch(command_id) is None:
            return None
        digest = bytes.fromhex(told["payload_sha256"])
        return Answer(command_id, digest, outcome, int(told["started_us"]), int(told["ended_us"]))
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
