"""The sensor's state folder: key, identity, spool, status. Readable by its user only.

One process at a time records into it (``lock``), because sequence numbers are
handed out there; a copy of the folder on a second machine is a clone.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import tempfile
from collections.abc import Iterator
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

_KEY, _LOCK, _KEY_LOCK = "key.pem", "lock", "key.lock"
#: Who the sensor is, as enrolment or recovery told.
IDENTITY = "identity.json"
_KEY_FILE = re.compile(r"key(-[0-9]{1,9})?\.pem")
#: Status files: what the recording and the sending process say of themselves, and orders between them.
CAPTURE_STATUS, SENDING_STATUS, ORDERS = "capture.json", "sending.json", "orders.json"
#: What operators have set by signed commands.
COMMANDED = "commanded.json"


@dataclass(frozen=True)
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

    def make_key(self, name: str = _KEY) -> Ed25519PrivateKey:
        """Give the key in the file ``name``; a new one is saved before it is shown to anyone.

        Raises:
            StateError: when the key file cannot be used.
        """
        path = self.path / name
        try:
            if not path.exists():
                keys.save_private(keys.generate_key(), path)
            return keys.load_private(path)
        except KeyFileError as error:
            raise StateError(str(error)) from error

    def check_owner(self) -> None:
        """Refuse to put files into another user's folder, which could not read them.

        Raises:
            StateError: naming the user to run as.
        """
        owner = self.path.stat().st_uid
        if owner != os.geteuid():
            raise StateError(
                f"state folder {self.path} belongs to user {owner}; run this as that user, for example by sudo -u '#{owner}'"
            )

    def is_enrolled(self) -> bool:
        return (self.path / IDENTITY).exists()

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
        try:
            told = json.loads((self.path / IDENTITY).read_text(encoding="utf-8"))
            key = keys.load_private(self.path / key_file_of(told))
            gateway = told["gateway"]
            return Identity(
                SealingIdentity(int(told["sensor"]), int(told["key_no"]), int(told["epoch"]), key),
                {name: keys.from_text(text, size_bytes=32) for name, text in told["gateway_keys"].items()},
                GatewaySettings(
                    gateway["url"], gateway["authority"], tuple(gateway["pins"]), gateway["ca_file"]
                ),
            )
        except KeyFileError as error:
            raise StateError(str(error)) from error
        except (OSError, ValueError, KeyError, TypeError, AttributeError, MessageError) as error:
            raise StateError(
                f"identity file {self.path / IDENTITY} is damaged ({error}); restore it, or remove it and enrol again"
            ) from error

    def save_identity(
        self,
        answer: EnrolAnswer,
        gateway: GatewaySettings,
        *,
        key_file: str = _KEY,
        at_us: int | None = None,
        token_id: str = "",
    ) -> None:
        """Keep what the gateway answered to enrolment or recovery, durably; from then on the key in ``key_file`` is ours.

        Raises:
            StateError: when the disk refuses; what was before stands.
        """
        record = {
            "sensor": answer.sensor,
            "key_no": answer.key_no,
            "epoch": answer.epoch,
            "key_file": key_file,
            "keyed_at_us": at_us,
            "token_id": token_id,
            "gateway_keys": {key.key_id: keys.to_text(key.public_key) for key in answer.gateway_keys},
            "gateway": {
                "url": gateway.url,
                "authority": gateway.authority,
                "pins": list(gateway.pins),
                "ca_file": gateway.ca_file,
            },
        }
        self._replace_identity(record)

    def adopt_key(self, name: str, *, key_no: int, epoch: int, at_us: int) -> None:
        """Make the key in the file ``name`` the sensor's: one rename decides, before it the old key stands.

        Raises:
            StateError: when the disk refuses; the old key stands.
        """
        record = self.read_json(IDENTITY)
        if not record:
            raise StateError(f"identity file {self.path / IDENTITY} cannot be read; the old key stands")
        old, new = key_file_of(record), self.keep_key(name, key_no)
        self._replace_identity(
            {**record, "key_no": key_no, "epoch": epoch, "key_file": new, "keyed_at_us": at_us}
        )
        self.drop_keys(name, *({old} - {new}))

    def keep_key(self, name: str, key_no: int) -> str:
        """Give a pending key the name that it keeps, beside its pending one; gives that name.

        Raises:
            StateError: when the disk refuses.
        """
        lasting = f"key-{key_no}.pem"
        try:
            # What a crash left under this name never became the sensor's key.
            (self.path / lasting).unlink(missing_ok=True)
            (self.path / lasting).hardlink_to(self.path / name)
            _sync_folder(self.path)
        except OSError as error:
            raise StateError(f"key file {self.path / lasting} cannot be made: {error.strerror}") from error
        return lasting

    def drop_keys(self, *names: str) -> None:
        """Remove key files that are not used any more."""
        for name in names:
            with contextlib.suppress(OSError):
                (self.path / name).unlink(missing_ok=True)

    def key_file(self) -> str:
        """Give the name of the present key's file."""
        return key_file_of(self.read_json(IDENTITY))

    def used_token(self) -> str:
        """Give the public part of the recovery token that made the identity; empty when none did."""
        told = self.read_json(IDENTITY).get("token_id")
        return told if isinstance(told, str) else ""

    def has_key(self, name: str) -> bool:
        return (self.path / name).exists()

    def keyed_at_us(self) -> int:
        """Give the instant since when the present key is the sensor's, by its own clock."""
        told = self.read_json(IDENTITY)
        if isinstance(told.get("keyed_at_us"), int):
            return int(told["keyed_at_us"])
        try:
            return (self.path / self.key_file()).stat().st_mtime_ns // 1_000
        except OSError:
            return 0

    def identity_stamp(self) -> tuple[int, int] | None:
        """Give what changes when the identity does; None: there is none."""
        try:
            found = (self.path / IDENTITY).stat()
        except OSError:
            return None
        return found.st_ino, found.st_mtime_ns

    @contextlib.contextmanager
    def changing_key(self) -> Iterator[None]:
        """Keep other processes from changing the key meanwhile.

        Raises:
            StateBusyError: when another process does just that.
        """
        descriptor = os.open(self.path / _KEY_LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise StateBusyError(
                    f"another process changes the key of {self.path}; wait for it"
                ) from error
            yield
        finally:
            os.close(descriptor)

    def _replace_identity(self, record: dict[str, Any]) -> None:
        try:
            self.write_json(IDENTITY, record, durable=True)
            _sync_folder(self.path)
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


class IdentityWatch:
    """Sees that another process has changed the identity: a rotated key, or a recovery."""

    def __init__(self, state: StateFolder) -> None:
        self._state = state
        self._stamp = state.identity_stamp()

    def look(self) -> Identity | None:
        """Give the identity when it has changed since the last look.

        Raises:
            StateError: when it has changed and cannot be read; the next look tries again.
        """
        stamp = self._state.identity_stamp()
        if stamp is None or stamp == self._stamp:
            return None
        found = self._state.load_identity()
        self._stamp = stamp
        return found


def key_file_of(record: dict[str, Any]) -> str:
    """Give the name of the key file that an identity record names; before rotation there was one name.

    Raises:
        ValueError: when it is the name of something else.
    """
    name = record.get("key_file", _KEY)
    if not isinstance(name, str) or _KEY_FILE.fullmatch(name) is None:
        raise ValueError(f"key_file {name!r} is no key file of ours")
    return name


def _sync_folder(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


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
