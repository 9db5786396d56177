"""Addresses of the names that this host solicits: asked by the sending process, read by the recording one.

The recording process opens no Internet socket and so can ask no resolver. Addresses in
the settings need no asking; names are resolved by the sending process into
``names.json`` before it sends anything. What was found stays for the life of that
process and further answers are added, because the record must not change its meaning
in between; a name that does not resolve keeps the addresses of the last time. Whoever
connects asks here too, so that a resolver that is gone stops nothing, and nobody talks to
an address that the record does not leave out yet.
"""

from __future__ import annotations

import contextlib
import ipaddress
import logging
import math
import socket
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeAlias
from urllib.parse import urlsplit

from teiten.foundation.clock import Clock
from teiten.sensor.config import SensorConfig
from teiten.sensor.state import CAPTURE_STATUS, StateFolder

_log = logging.getLogger(__name__)

#: Name → its addresses as text, in a fixed order.
Names: TypeAlias = "Mapping[str, tuple[str, ...]]"

NAMES_FILE = "names.json"
#: Addresses kept of one name.
MAX_ADDRESSES = 64
#: Seconds between two questions for all names.
_ASK_SECONDS = 300.0
#: An answer younger than this is good for another connection.
_FRESH_SECONDS = 30.0
#: Longest time that a connection waits for a resolver when addresses are known already.
_ANSWER_SECONDS = 5.0
#: Longest time that sending waits until the recording process has learnt new addresses.
_TAKE_SECONDS = 8.0
_LOOK_SECONDS = 0.2
#: A status older than this is of no running process.
_FRESH_US = 30_000_000


def is_address(text: str) -> bool:
    """Tell whether ``text`` is an address already (with or without a zone)."""
    try:
        ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return False
    return True


def list_names(config: SensorConfig, *, gateway_url: str) -> tuple[str, ...]:
    """Give the names, not the addresses, that the settings say this host talks to."""
    said = [*config.time_servers]
    if config.exclude_own:
        said.append(urlsplit(gateway_url).hostname or "")
    return tuple(sorted({name for name in said if name and not is_address(name)}))


def read_names(state: StateFolder) -> dict[str, tuple[str, ...]]:
    """Read what the sending process found; empty before it has."""
    told = state.read_json(NAMES_FILE).get("names")
    if not isinstance(told, dict):
        return {}
    return {
        name: tuple(text for text in found if isinstance(text, str) and is_address(text))
        for name, found in told.items()
        if isinstance(found, list)
    }


def resolve_name(name: str) -> tuple[str, ...]:
    """Ask the system's resolver.

    Raises:
        OSError: when there is no answer.
    """
    found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    return tuple(sorted({str(entry[4][0]).partition("%")[0] for entry in found}))


class NameKeeper:
    """Keeps ``names.json`` of a state folder true, in a thread of its own.

    Args:
        state: the sensor's folder.
        names: what is to be resolved; may be empty.
        clock: for the age of the recording process's status.
        resolve: asks for one name.
    """

    def __init__(
        self,
        state: StateFolder,
        names: Sequence[str],
        clock: Clock,
        *,
        resolve: Callable[[str], tuple[str, ...]] = resolve_name,
    ) -> None:
        self._state = state
        self._names = tuple(names)
        self._clock = clock
        self._resolve = resolve
        #: What this process has found so far, and what the resolver said last.
        self._found: dict[str, tuple[str, ...]] = {}
        self._said: dict[str, tuple[str, ...]] = {}
        self._asked_at = -math.inf
        #: Names that do not resolve, which the log has heard of.
        self._lost: set[str] = set()
        self._wanted = threading.Event()
        self._asked = threading.Event()
        self._thread = threading.Thread(target=self._run, name="names", daemon=True)
        self._stop = threading.Event()

    def start(self) -> None:
        """Begin to ask; a daemon thread, because a resolver may not answer for long."""
        if self._names:
            self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._wanted.set()

    def find(self, name: str) -> tuple[str, ...]:
        """Give the addresses to connect to: what the resolver says now, or said before when it is slow or gone.

        Waits some seconds for the recording process to leave out what is new.

        Raises:
            OSError: when the name has never had an address, or is none of ours and does not resolve.
        """
        if name not in self._names:
            return self._resolve(name)
        if self._clock.monotonic() - self._asked_at > _FRESH_SECONDS:
            self._asked.clear()
            self._wanted.set()
            self._asked.wait(_ANSWER_SECONDS)
        found = self._said.get(name) or read_names(self._state).get(name, ())
        if not found:
            raise socket.gaierror(socket.EAI_AGAIN, "no resolver has named one yet")
        self._wait_until(self._is_declared, self._stop)
        return found

    def wait_until_declared(self, stop: threading.Event) -> bool:
        """Wait until the recording process leaves out what was found; give whether it does.

        Gives up after some seconds, or when nothing records: sending does not depend on it.
        """
        return not self._names or self._wait_until(lambda: self._asked.is_set() and self._is_declared(), stop)

    def _wait_until(self, holds: Callable[[], bool], stop: threading.Event) -> bool:
        until = self._clock.monotonic() + _TAKE_SECONDS
        while not stop.is_set() and self._clock.monotonic() < until:
            if holds():
                return True
            stop.wait(_LOOK_SECONDS)
        return False

    def ask_once(self) -> None:
        """Resolve every name and write what is known when it has changed."""
        known = read_names(self._state)
        found = {name: self._ask(name, known.get(name, ())) for name in self._names}
        if {name: known.get(name) for name in self._names} != found:
            with contextlib.suppress(OSError):
                self._state.write_json(
                    NAMES_FILE, {"names": {name: list(one) for name, one in found.items()}}
                )
        self._found = found
        self._asked_at = self._clock.monotonic()

    def _ask(self, name: str, last_time: tuple[str, ...]) -> tuple[str, ...]:
        before = self._found.get(name, ())
        try:
            self._said[name] = answer = self._resolve(name)
        except OSError as error:
            if name not in self._lost:
                self._lost.add(name)
                _log.warning(
                    "A solicited peer's name does not resolve; what is known of it stays",
                    extra={"name_asked": name, "error": str(error)},
                )
            return before or last_time
        if name in self._lost:
            self._lost.remove(name)
            _log.info("A solicited peer's name resolves again", extra={"name_asked": name})
        return merge_addresses(before, answer)

    def _is_declared(self) -> bool:
        status = self._state.read_json(CAPTURE_STATUS)
        age_us = self._clock.now_us() - int(status.get("written_at_us", 0))
        if not status.get("running") or age_us > _FRESH_US:
            return True
        told = status.get("names")
        declared = told if isinstance(told, dict) else {}
        return all(set(found) <= set(declared.get(name, ())) for name, found in self._found.items())

    def _run(self) -> None:
        while not self._stop.is_set():
            self._wanted.clear()
            self.ask_once()
            self._asked.set()
            self._wanted.wait(_ASK_SECONDS)


def merge_addresses(before: Iterable[str], answer: Iterable[str]) -> tuple[str, ...]:
    """Add what is new; the oldest go when a name has ever new addresses."""
    merged = dict.fromkeys((*before, *answer))
    return tuple(list(merged)[-MAX_ADDRESSES:])
