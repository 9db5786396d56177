"""The sensor's state folder: key, identity, spool, status. Readable by its user only.

One process at a time records into it (``lock``), because sequence numbers are
handed out there; a copy of the folder on a second machine is a clone.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from teiten.protocol import keys
from teiten.protocol.enrolment import EnrolAnswer
from teiten.protocol.errors import KeyFileError, MessageError
from teiten.sensor.config import SensorConfig
from teiten.sensor.errors import DeclarationError, NotEnrolledError, StateBusyError, StateError
from teiten.sensor.sealed import SealingIdentity
from teiten.sensor.signed_gateway import read_signed_gateway

_KEY, _IDENTITY, _LOCK = "key.pem", "identity.json", "lock"
#: Status files: what the recording and the sending process say of themselves, and orders between them.
CAPTURE_STATUS, SENDING_STATUS, ORDERS = "capture.json", "sending.json", "orders.json"


@dataclass(frozen=True)
#: What operators have set by signed commands.
COMMANDED = "commanded.json"
class GatewaySettings:
    """How the gateway was named when the sensor was enrolled."""

    url: str = ""
    authority: str = ""
    pins: tuple[str, ...] = ()
    ca_file: str = ""


@dataclass(frozen=True)
class Identity:
    """What enrolment made of this folder."""

    sealing: SealingIdentity
    #: id → raw public key.
    gateway_keys: dict[str, bytes]
    gateway: GatewaySettings


class StateFolder:
    """Files of one sensor under ``path``.

    Raises:
        StateError: when the folder cannot be made.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise StateError(
                f"state folder {path} cannot be made: {error.strerror}; set sensor.state_dir"
            ) from error
        self._lock: int | None = None

    def lock(self) -> None:
        """Keep other recording processes out until :meth:`unlock` or the end of this process.

        Raises:
            StateBusyError: when another process records into this folder.
        """
        descriptor = os.open(self.path / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(descriptor)
            raise StateBusyError(
                f"another sensor process works on {self.path}; stop it, or give this one its own --state-dir"
            ) from error
        self._lock = descriptor

    def unlock(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def make_key(self) -> Ed25519PrivateKey:
        """Give the sensor's key; a new one is saved before it is shown to anyone.

        Raises:
            StateError: when the key file cannot be used.
        """
        path = self.path / _KEY
        try:
            if not path.exists():
                keys.save_private(keys.generate_key(), path)
            return keys.load_private(path)
        except KeyFileError as error:
            raise StateError(str(error)) from error

    def is_enrolled(self) -> bool:
        return (self.path / _IDENTITY).exists()

    def load_identity(self) -> Identity:
        """Give what enrolment made.

        Raises:
            NotEnrolledError: when there was none.
            StateError: when its files are damaged.
        """
        if not self.is_enrolled():
            raise NotEnrolledError(
                f"{self.path} holds no identity; run `teiten-sensor enrol --token-file FILE --gateway URL --pin PIN`"
            )
        key = self.make_key()
        try:
            told = json.loads((self.path / _IDENTITY).read_text(encoding="utf-8"))
            gateway = told["gateway"]
            return Identity(
                SealingIdentity(int(told["sensor"]), int(told["key_no"]), int(told["epoch"]), key),
                {name: keys.from_text(text, size_bytes=32) for name, text in told["gateway_keys"].items()},
                GatewaySettings(
                    gateway["url"], gateway["authority"], tuple(gateway["pins"]), gateway["ca_file"]
                ),
            )
        except (OSError, ValueError, KeyError, TypeError, AttributeError, MessageError) as error:
            raise StateError(
                f"identity file {self.path / _IDENTITY} is damaged ({error}); restore it, or remove it and enrol again"
            ) from error

    def save_identity(self, answer: EnrolAnswer, gateway: GatewaySettings) -> None:
        """Keep what the gateway answered to enrolment, durably."""
        record = {
            "sensor": answer.sensor,
            "key_no": answer.key_no,
            "epoch": answer.epoch,
            "gateway_keys": {key.key_id: keys.to_text(key.public_key) for key in answer.gateway_keys},
            "gateway": {
                "url": gateway.url,
                "authority": gateway.authority,
                "pins": list(gateway.pins),
                "ca_file": gateway.ca_file,
            },
        }
        try:
            self.write_json(_IDENTITY, record, durable=True)
        except OSError as error:
            raise StateError(f"identity cannot be written to {self.path}: {error.strerror}") from error

    def write_json(self, name: str, record: dict[str, Any], *, durable: bool = False) -> None:
        """Replace a file as a whole.

        Raises:
            OSError: when the disk refuses; the old file stands.
        """
        descriptor, part = tempfile.mkstemp(prefix=f".{name}.", dir=self.path)
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                json.dump(record, file, separators=(",", ":"))
                file.flush()
                if durable:
                    os.fsync(file.fileno())
            Path(part).replace(self.path / name)
        except BaseException:
            with contextlib.suppress(OSError):
                Path(part).unlink()
            raise

    def read_json(self, name: str) -> dict[str, Any]:
        """Read a file that :meth:`write_json` wrote; empty when it is absent or unreadable."""
        try:
            told = json.loads((self.path / name).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return told if isinstance(told, dict) else {}


def choose_gateway(config: SensorConfig, enrolled: GatewaySettings) -> GatewaySettings:
    """Prefer what is signed for all sensors to the settings, and these to what was said at enrolment, value by value."""
    signed = read_signed_gateway(config.gateway_file)
    return GatewaySettings(
        url=signed.url or config.gateway_url or enrolled.url,
        authority=signed.authority or config.authority or enrolled.authority,
        pins=signed.pins or config.pins or enrolled.pins,
        ca_file=str(config.ca_file or enrolled.ca_file),
    )


def choose_gateway_keys(config: SensorConfig, enrolled: dict[str, bytes]) -> dict[str, bytes]:
    """Give the keys that the gateway may sign with: the signed ones alone, else the enrolled and the set ones.

    Raises:
        DeclarationError: for a set key of another form.
    """
    signed = read_signed_gateway(config.gateway_file)
    return signed.keys or {**enrolled, **parse_gateway_keys(config.gateway_keys)}


def parse_gateway_keys(texts: tuple[str, ...]) -> dict[str, bytes]:
    """Read ``id=base64url`` entries.

    Raises:
        DeclarationError: for an entry of another form.
    """
    found = {}
    for text in texts:
        name, _equals, key = text.partition("=")
        try:
            found[name] = keys.from_text(key, size_bytes=keys.PUBLIC_KEY_BYTES)
        except MessageError as error:
            raise DeclarationError(
                f"sensor.gateway_keys: {text!r} is not of the form ID=BASE64URL ({error})"
            ) from error
    return found
