"""Where a page of packets ends and which packet is meant, as text for a URL.

A viewer who may see sensors gets it in clear, so that a link to a packet lasts. For
others the end of a page is sealed (ChaCha20-Poly1305, bound to role and organisation),
so that nobody can make one and read from its answer what comes after; a sealed one lasts
as long as the key: for the life of the process unless ``search.reference_key`` is set.
"""

from __future__ import annotations

import base64
import binascii
import os
import re
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from teiten.search.errors import QueryError
from teiten.search.visibility import Visibility

_CLEAR = re.compile(
    r"((?:live|simulated|import:[a-z0-9-]{1,40}))~(\d{1,10})-(\d{1,10})-(\d{1,19})-(\d{1,10})@(\d{1,18})"
)
_SEALED = "x."
_NONCE_BYTES = 12
_LARGEST = {"sensor": 0xFFFFFFFF, "epoch": 0xFFFFFFFF, "batch_seq": 0x7FFFFFFFFFFFFFFF, "row": 0xFFFFFFFF}


@dataclass(frozen=True, order=True)
class RowPlace:
    """The identity of a packet, with the time by which it is found; ordered as rows are."""

    observed_us: int
    sensor: int
    epoch: int
    batch_seq: int
    row: int
    dataset: str


class ReferenceDesk:
    """Writes and reads references."""

    def __init__(self, key: bytes | None = None) -> None:
        self._cipher = ChaCha20Poly1305(key or os.urandom(32))

    def write(self, visibility: Visibility, place: RowPlace) -> str:
        """Give a packet's reference: in clear to those who may see sensors."""
        clear = (
            f"{place.dataset}~{place.sensor}-{place.epoch}-{place.batch_seq}-{place.row}@{place.observed_us}"
        )
        return clear if visibility.may_see_sensor else self.seal(visibility, clear)

    def seal(self, visibility: Visibility, clear: str) -> str:
        """Give a text that only we can read again, for the same kind of viewer."""
        nonce = os.urandom(_NONCE_BYTES)
        sealed = self._cipher.encrypt(nonce, clear.encode(), _bind(visibility))
        return _SEALED + base64.urlsafe_b64encode(nonce + sealed).decode().rstrip("=")

    def read(self, visibility: Visibility, text: str, *, name: str = "reference") -> RowPlace:
        """Read what :meth:`write` gave to the same kind of viewer.

        Raises:
            QueryError: when it is no reference, or was sealed under another key.
        """
        clear = text if visibility.may_see_sensor else self.open_seal(visibility, text, name=name)
        match = _CLEAR.fullmatch(clear)
        if match is None:
            raise _refuse(name, text, "is no reference that a search gave")
        dataset, sensor, epoch, batch_seq, row, observed_us = match.groups()
        place = RowPlace(int(observed_us), int(sensor), int(epoch), int(batch_seq), int(row), dataset)
        if any(getattr(place, part) > largest for part, largest in _LARGEST.items()):
            raise _refuse(name, text, "names a packet that cannot exist")
        return place

    def open_seal(self, visibility: Visibility, text: str, *, name: str) -> str:
        """Read what :meth:`seal` gave.

        Raises:
            QueryError: when it was sealed for others, or under another key.
        """
        body = text.removeprefix(_SEALED)
        try:
            raw = base64.urlsafe_b64decode(body + "=" * (-len(body) % 4))
            return self._cipher.decrypt(raw[:_NONCE_BYTES], raw[_NONCE_BYTES:], _bind(visibility)).decode()
        except (binascii.Error, InvalidTag, ValueError):
            raise _refuse(name, text, "is no longer valid; search again from the first page") from None


def _bind(visibility: Visibility) -> bytes:
    """Give what a seal is bound to."""
    return f"{visibility.role} {visibility.organisation_id}".encode()


def _refuse(name: str, text: str, problem: str) -> QueryError:
    return QueryError(
        f"{name} {text[:80]!r} {problem}", field=name, value=text[:200], rule="from a search's answer"
    )
