"""Which public address stands for a local one: as configured, or as the provider's metadata says.

Behind a 1:1 NAT packets carry the local address; rules that need the destination need
the public one. What is known goes into the heartbeats; the base keeps the history.
"""

from __future__ import annotations

import ipaddress
import logging
import threading
from collections.abc import Callable, Sequence
from typing import TypeAlias

from teiten.protocol.heartbeat import MAX_STATED, KnownBy, StatedAddress
from teiten.sensor.errors import DeclarationError, MetadataError

Address: TypeAlias = "ipaddress.IPv4Address | ipaddress.IPv6Address"
#: Pairs of local and public address, as a provider tells them.
Pairs: TypeAlias = "Sequence[tuple[str, str]]"

#: Where every provider's metadata service answers.
METADATA_HOST, METADATA_PORT = "169.254.169.254", 80

_log = logging.getLogger(__name__)
_FORM = "LOCAL=PUBLIC, for example 10.0.0.5=198.51.100.7"
_ASK_SECONDS = 600.0
#: The same after a failure.
_RETRY_SECONDS = 60.0
#: Never a public address: this network, private, shared, loopback, link-local, multicast and reserved
#: (IANA special-purpose registry, RFC 6890). Documentation prefixes may stand for public ones.
_NOT_PUBLIC = tuple(
    ipaddress.IPv4Network(text)
    for text in ("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16",
                 "172.16.0.0/12", "192.168.0.0/16", "224.0.0.0/3")
)  # fmt: skip
_GLOBAL_V6 = ipaddress.IPv6Network("2000::/3")


def check_pair(local: str, public: str, *, known_by: KnownBy) -> StatedAddress:
    """Make a statement of two addresses.

    Raises:
        DeclarationError: naming the pair and the rule it breaks.
    """
    pair = f"{local!r:.60} = {public!r:.60}"
    try:
        # As text, because a number out of a provider's JSON would be an address too.
        inside, outside = ipaddress.ip_address(str(local)), ipaddress.ip_address(str(public))
    except ValueError as error:
        raise DeclarationError(f"{pair}: {error}") from error
    if inside.version != outside.version:
        raise DeclarationError(f"{pair}: both must be IPv4 or both IPv6")
    if not is_public(outside):
        raise DeclarationError(f"{pair}: {outside} is no public address")
    if inside.is_unspecified or inside.is_loopback or inside.is_multicast:
        raise DeclarationError(f"{pair}: {inside} is no address of an interface")
    return StatedAddress(str(inside), str(outside), known_by)


def is_public(address: Address) -> bool:
    """Tell whether the world can send to ``address``; documentation prefixes count as if it could."""
    if isinstance(address, ipaddress.IPv6Address):
        return address in _GLOBAL_V6
    return not any(address in network for network in _NOT_PUBLIC)


def parse_public_addresses(texts: Sequence[str]) -> tuple[StatedAddress, ...]:
    """Read the setting ``sensor.public_addresses``.

    Raises:
        DeclarationError: naming the entry and the rule.
    """
    stated: dict[str, StatedAddress] = {}
    for text in texts:
        local, equals, public = text.partition("=")
        if not equals:
            raise DeclarationError(f"sensor.public_addresses: {text!r} is not of the form {_FORM}")
        try:
            one = check_pair(local.strip(), public.strip(), known_by="configured")
        except DeclarationError as error:
            raise DeclarationError(f"sensor.public_addresses: {error}") from error
        if one.local in stated:
            raise DeclarationError(
                f"sensor.public_addresses: {text!r}: {one.local} has a public address already"
            )
        stated[one.local] = one
    return tuple(stated.values())


class AddressBook:
    """Keeps what is known, and asks the provider again and again in a thread of its own.

    Args:
        configured: by the sensor's settings.
        ask: asks the provider's metadata service; None: there is none.
    """

    def __init__(
        self, configured: tuple[StatedAddress, ...] = (), ask: Callable[[], Pairs] | None = None
    ) -> None:
        self._configured = configured
        self._ask = ask
        self._learnt: tuple[StatedAddress, ...] = ()
        self._thread = threading.Thread(target=self._run, name="metadata", daemon=True)
        self._stop = threading.Event()
        #: Why the last question failed; empty when it did not.
        self.error = ""

    @property
    def stated(self) -> tuple[StatedAddress, ...]:
        """Everything that is known now, what is configured first."""
        return (self._configured + self._learnt)[:MAX_STATED]

    def start(self) -> None:
        """Begin to ask; a daemon thread, because nobody waits for an answer that does not come."""
        if self._ask is not None:
            self._thread.start()

    def stop(self) -> None:
        self._stop.set()

    def _run(self) -> None:
        while not self._stop.is_set():
            self._stop.wait(_ASK_SECONDS if self.ask_once() else _RETRY_SECONDS)

    def ask_once(self) -> bool:
        """Ask the provider; give whether it answered. After a failure the last answer stands."""
        if self._ask is None:
            return True
        try:
            learnt = check_answer(self._ask())
        except MetadataError as error:
            if str(error) != self.error:
                _log.warning("The provider's metadata are not understood", extra={"error": str(error)})
            self.error = str(error)
            return False
        if learnt != self._learnt or self.error:
            _log.info("The provider states addresses", extra={"addresses": _as_text(learnt) or "none"})
        self._learnt, self.error = learnt, ""
        return True


def check_answer(pairs: Pairs) -> tuple[StatedAddress, ...]:
    """Make statements of a provider's answer.

    Raises:
        MetadataError: when one of the pairs breaks a rule, or a local address has two public ones.
    """
    stated: dict[str, StatedAddress] = {}
    for local, public in pairs:
        try:
            one = check_pair(local, public, known_by="metadata")
        except DeclarationError as error:
            raise MetadataError(f"metadata: {error}") from error
        if stated.setdefault(one.local, one) != one:
            raise MetadataError(
                f"metadata: {one.local} has two public addresses, {stated[one.local].public} and {one.public}"
            )
    return tuple(stated[local] for local in sorted(stated))


def _as_text(stated: tuple[StatedAddress, ...]) -> str:
    return ", ".join(f"{one.local}={one.public}" for one in stated)
