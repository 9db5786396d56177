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
from pathlib import Path

import teiten
from teiten.foundation.clock import Clock
from teiten.protocol import enrolment
from teiten.protocol.enrolment import EnrolAnswer, Facts, Token
from teiten.protocol.errors import ProtocolError
from teiten.sensor.connection import address_of
from teiten.sensor.errors import DeclarationError
from teiten.sensor.state import GatewaySettings, StateFolder
from teiten.sensor.uplink import Uplink

_MAX_TOKEN_CHARACTERS = 200


def read_token(path: str) -> Token:
    """Read the token from a file, or from standard input for ``-``.

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
        return enrolment.parse_token(text)
    except (OSError, UnicodeDecodeError) as error:
        raise DeclarationError(f"token file {path} cannot be read: {error}") from error
    except ProtocolError as error:
        raise DeclarationError(f"token in {path}: {error}") from error


def remove_token(path: str) -> None:
    """Remove a used token file; it opens nothing any more."""
    if path != "-":
        with contextlib.suppress(OSError):
            Path(path).unlink()


def enrol_sensor(
    state: StateFolder,
    token: Token,
    *,
    gateway: GatewaySettings,
    gateway_keys: dict[str, bytes],
    clock: Clock,
    timeout_seconds: float = 30.0,
) -> EnrolAnswer:
    """Bind this folder's key to the sensor of the token and keep the identity.

    Raises:
        StateError: when the folder already holds an identity or cannot be written.
        UplinkError: when the gateway refuses or cannot be reached; repeat with the same folder.
    """
    request = enrolment.make_request(
        token,
        state.make_key(),
        facts=collect_facts(),
        created_s=clock.now_us() // 1_000_000,
        nonce=secrets.token_urlsafe(16),
    )
    address = address_of(gateway, timeout_seconds=timeout_seconds)
    with Uplink(address, clock, gateway_keys=gateway_keys) as uplink:
        answer = uplink.enrol(request)
    state.save_identity(answer, gateway)
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
