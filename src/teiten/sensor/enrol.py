"""Enrolment: turn a one-time token into an identity. Safe to repeat after a lost answer.

The key is made and saved first; every attempt uses the same one, so that the
gateway recognises the repetition. The token never stands in ``argv``.
"""

from __future__ import annotations

import contextlib
import platform
import secrets
import stat
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import teiten
from teiten.foundation.clock import Clock
from teiten.protocol import enrolment, recovery
from teiten.protocol.enrolment import EnrolAnswer, Facts, Token
from teiten.protocol.errors import ProtocolError
from teiten.sensor.connection import address_of
from teiten.sensor.errors import ClockSkewError, DeclarationError
from teiten.sensor.rotation import PENDING
from teiten.sensor.state import GatewaySettings, StateFolder
from teiten.sensor.uplink import Uplink

_MAX_TOKEN_CHARACTERS = 200
#: File of a key that a recovery brings in.
RECOVERY = "key-recover.pem"


def read_token(path: str, *, prefix: str = enrolment.ENROL_PREFIX) -> Token:
    """Read a token of this purpose from a file, or from standard input for ``-``.

    Raises:
        DeclarationError: when it cannot be read, is open to others, or is no token.
    """
    try:
        if path == "-":
            text = sys.stdin.readline(_MAX_TOKEN_CHARACTERS)
        else:
            if stat.S_IMODE(Path(path).stat().st_mode) & 0o077:
                raise DeclarationError(f"token file {path} is open to others; run chmod 600 on it")
            text = Path(path).read_text(encoding="utf-8")
        return enrolment.parse_token(text, prefix=prefix)
    except (OSError, UnicodeDecodeError) as error:
        raise DeclarationError(f"token file {path} cannot be read: {error}") from error
    except ProtocolError as error:
        raise DeclarationError(f"token in {path}: {error}") from error


def remove_token(path: str) -> None:
    """Remove a used token file; it opens nothing any more."""
    if path != "-":
        with contextlib.suppress(OSError):
            Path(path).unlink()


@dataclass(frozen=True)
class Reception:
    """Where a machine asks that has no key there yet, and how it knows whom it asks."""

    gateway: GatewaySettings
    #: id → raw public key; empty: those in the answer, as far as TLS has proven the server.
    gateway_keys: dict[str, bytes]
    clock: Clock
    timeout_seconds: float = 30.0

    def ask(self, question: Callable[[Uplink, int], EnrolAnswer]) -> tuple[EnrolAnswer, int]:
        """Ask by this machine's clock, and again by the gateway's when it says that ours is wrong; gives the time too.

        Args:
            question: is given the uplink and the time of the request, s.

        Raises:
            UplinkError: when the gateway refuses or cannot be reached.
        """
        address = address_of(self.gateway, timeout_seconds=self.timeout_seconds)
        offset_us = 0
        with Uplink(address, self.clock, gateway_keys=self.gateway_keys) as uplink:
            try:
                answer = question(uplink, self.clock.now_us() // 1_000_000)
            except ClockSkewError as error:
                offset_us = error.offset_us
                answer = question(uplink, (self.clock.now_us() + offset_us) // 1_000_000)
        return answer, self.clock.now_us() + offset_us


def enrol_sensor(state: StateFolder, token: Token, reception: Reception) -> EnrolAnswer:
    """Bind this folder's key to the sensor of the token and keep the identity.

    Raises:
        StateError: when the folder already holds an identity or cannot be written.
        UplinkError: when the gateway refuses or cannot be reached; repeat with the same folder.
    """
    key = state.make_key()

    def enrol(uplink: Uplink, created_s: int) -> EnrolAnswer:
        nonce = secrets.token_urlsafe(16)
        return uplink.enrol(
            enrolment.make_request(token, key, facts=collect_facts(), created_s=created_s, nonce=nonce)
        )

    answer, at_us = reception.ask(enrol)
    state.save_identity(answer, reception.gateway, at_us=at_us)
    return answer


def recover_sensor(state: StateFolder, token: Token, reception: Reception) -> EnrolAnswer | None:
    """Give the sensor of a recovery token a new key in this folder, which may hold its identity already.

    What waits in the spool, sealed by older keys, is still sent. Numbers begin again at 1. Gives None, and asks
    nobody, when just this token made the folder's identity: a second key for it would be taken for a thief's.

    Raises:
        StateError: when the folder cannot be used.
        UplinkError: when the gateway refuses or cannot be reached; repeat with the same folder.
    """
    with state.changing_key():
        if state.used_token() == token.token_id:
            return None
        sensor = state.load_identity().sealing.sensor if state.is_enrolled() else None
        key = state.make_key(RECOVERY)

        def recover(uplink: Uplink, created_s: int) -> EnrolAnswer:
            nonce = secrets.token_urlsafe(16)
            return uplink.recover(
                recovery.make_request(token, key, sensor=sensor, created_s=created_s, nonce=nonce)
            )

        answer, at_us = reception.ask(recover)
        old = {state.key_file()} if sensor is not None else set()
        new = state.keep_key(RECOVERY, answer.key_no)
        state.save_identity(answer, reception.gateway, key_file=new, at_us=at_us, token_id=token.token_id)
        state.drop_keys(RECOVERY, PENDING, *(old - {new}))
    return answer


def collect_facts() -> Facts:
    """Say what this machine is, for people."""
    return Facts(
        os=_read_os_name()[:100],
        arch=platform.machine()[:40] or "unknown",
        python=platform.python_version()[:40],
        software=teiten.__version__,
    )


def _read_os_name() -> str:
    with contextlib.suppress(OSError):
        release = platform.freedesktop_os_release()
        return f"{release.get('ID', 'linux')} {release.get('VERSION_ID', '')}".strip()
    return platform.system() or "unknown"
