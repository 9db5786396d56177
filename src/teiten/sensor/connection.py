"""One HTTPS connection to the gateway: TLS 1.3, pinned key, kept alive for catching up.

Nothing is sent before the server has proven itself by its pinned public key
(SHA-256 of the SPKI, RFC 7469 §2.4), by the given authority, or by both. Head and
body of a request leave in one write, with ``TCP_NODELAY``: two small writes would
wait for each other's acknowledgement.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import http.client
import socket
import ssl
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from teiten.foundation.clock import Clock
from teiten.sensor import reaching
from teiten.sensor.errors import DeclarationError, UntrustedError, UplinkError
from teiten.sensor.line import MAX_ANSWER_BYTES, Line
from teiten.sensor.names import is_address, resolve_name
from teiten.sensor.state import GatewaySettings

_PIN_BYTES = 32
#: A gateway closes idle connections soon; an older one is not worth a failed request.
_REUSE_SECONDS = 2.0
#: X509_V_ERR_CERT_NOT_YET_VALID and …_HAS_EXPIRED (openssl/x509_vfy.h).
_OUT_OF_TIME = (9, 10)
#: Characters of what somebody else has said that are shown.
_MAX_SAID = 200


@dataclass(frozen=True)
class GatewayAddress:
    """Where the gateway is, and what proves that it is the right one."""

    #: ``https://host:port``; nothing after it.
    url: str
    #: SHA-256 digests of accepted public keys (SPKI), 32 bytes each.
    pins: tuple[bytes, ...] = ()
    #: PEM file of the certificate authority; with neither this nor pins the system's are used.
    ca_file: Path | None = None
    #: Authority that requests are signed for; empty: that of the URL.
    signed_authority: str = ""
    timeout_seconds: float = 30.0

    @property
    def host(self) -> str:
        return urlsplit(self.url).hostname or ""

    @property
    def port(self) -> int:
        return urlsplit(self.url).port or 443

    @property
    def authority(self) -> str:
        """Host in lower case, with the port unless it is 443."""
        if self.signed_authority:
            return self.signed_authority
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == 443 else f"{host}:{self.port}"


def parse_address(
    url: str,
    *,
    pins: tuple[str, ...] = (),
    ca_file: Path | None = None,
    authority: str = "",
    timeout_seconds: float = 30.0,
) -> GatewayAddress:
    """Read a gateway's address as the settings give it.

    Raises:
        DeclarationError: for a URL that is not https, or a pin that is no SHA-256.
    """
    parts = urlsplit(url)
    if parts.scheme != "https" or not parts.hostname or parts.path not in ("", "/") or parts.query:
        raise DeclarationError(f"gateway {url!r} must be of the form https://HOST[:PORT]")
    return GatewayAddress(url, tuple(parse_pin(pin) for pin in pins), ca_file, authority, timeout_seconds)


def address_of(gateway: GatewaySettings, *, timeout_seconds: float) -> GatewayAddress:
    """Read the gateway's address.

    Raises:
        DeclarationError: for a URL or pin that is not understood.
    """
    return parse_address(
        gateway.url,
        pins=gateway.pins,
        ca_file=Path(gateway.ca_file) if gateway.ca_file else None,
        authority=gateway.authority,
        timeout_seconds=timeout_seconds,
    )


def parse_pin(text: str) -> bytes:
    """Read a pin: base64 or hexadecimal of a SHA-256, with or without ``sha256/`` before it.

    Raises:
        DeclarationError: when it is neither.
    """
    inner = text.strip().removeprefix("sha256/").removeprefix("sha256:")
    try:
        if len(inner) == 2 * _PIN_BYTES:
            return bytes.fromhex(inner)
        raw = base64.b64decode(
            inner.replace("-", "+").replace("_", "/") + "=" * (-len(inner) % 4), validate=True
        )
    except (ValueError, binascii.Error):
        raw = b""
    if len(raw) != _PIN_BYTES:
        raise DeclarationError(f"pin {text!r} is no SHA-256 in base64 or hexadecimal")
    return raw


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    #: Field names in lower case.
    fields: Mapping[str, str]
    body: bytes


class Connection:
    """A connection that is opened when needed and used again while it is fresh.

    Args:
        address: where the gateway is and what proves it.
        clock: this machine's.
        context: TLS as :func:`make_context` makes it, for many connections to one gateway; None: an own one.
        find_addresses: gives the addresses of a name, the likeliest first.
    """

    def __init__(
        self,
        address: GatewayAddress,
        clock: Clock,
        *,
        context: ssl.SSLContext | None = None,
        find_addresses: Callable[[str], Sequence[str]] = resolve_name,
    ) -> None:
        self._address = address
        self._clock = clock
        self._context = context
        self._find_addresses = find_addresses
        self._line: Line | None = None
        self._used_at = 0.0
        #: Address of the last connection, and one that has just failed: it comes last next time.
        self._peer = self._shunned = ""

    @property
    def moved_at(self) -> float:
        """When bytes were last seen to move, monotonic seconds; before the first time long ago."""
        return self._used_at if self._line is None else self._line.moved_at

    def exchange(self, method: str, path: str, *, fields: Mapping[str, str], body: bytes) -> Answer:
        """Send one request and read its answer.

        Raises:
            UntrustedError: when the server is not the right one; nothing was sent.
            UplinkError: when it cannot be reached, breaks off or answers no HTTP.
        """
        if self._line is not None and self._clock.monotonic() - self._used_at > _REUSE_SECONDS:
            self.close()
        is_reused = self._line is not None
        request = self._write(method, path, fields, body=body)
        try:
            try:
                return self._try(method, request)
            except (OSError, http.client.HTTPException) as error:
                self.close()
                if not is_reused or isinstance(error, TimeoutError):
                    raise
            # The server had closed the kept connection; every request of ours may be repeated.
            return self._try(method, request)
        except (OSError, http.client.HTTPException) as error:
            self.close()
            self._shunned = self._peer
            raise self._explained(error) from error

    def close(self) -> None:
        if self._line is not None:
            self._line.close()
            self._line = None

    def _try(self, method: str, request: bytes) -> Answer:
        if self._line is None:
            self._line = Line(self._connect(), self._clock, silence_seconds=self._address.timeout_seconds)
        try:
            self._line.send(request)
        except (ConnectionError, ssl.SSLError) as error:
            return self._read_refusal(self._line, method, error)
        return self._read(self._line, method)

    def _read_refusal(self, line: Line, method: str, error: OSError) -> Answer:
        """Read what a server may have answered before it closed on a request that was still being sent."""
        try:
            return self._read(line, method)
        except (OSError, http.client.HTTPException):
            raise error from None

    def _read(self, line: Line, method: str) -> Answer:
        # It asks for nothing but the file.
        response = http.client.HTTPResponse(cast(Any, line), method=method)
        try:
            response.begin()
            body = response.read(MAX_ANSWER_BYTES)
            if not response.isclosed() and response.read(1):
                raise http.client.HTTPException("the answer is too long")
            if response.length:
                # ``read`` of a number of bytes does not mind that the end is missing.
                raise http.client.IncompleteRead(body, response.length)
            fields = {name.lower(): value for name, value in response.getheaders()}
            keep = not response.will_close
        finally:
            response.close()
        if not keep:
            self.close()
        self._used_at = self._clock.monotonic()
        return Answer(response.status, fields, body)

    def _connect(self) -> ssl.SSLSocket:
        address = self._address
        if self._context is None:
            self._context = make_context(address)
        plain = reaching.connect(
            self._list_addresses(), address.port, seconds=address.timeout_seconds, clock=self._clock
        )
        try:
            self._peer = plain.getpeername()[0]
            # Not within ``wrap_socket``, which leaves TLS out on a socket that is no longer connected.
            secure = self._context.wrap_socket(
                plain, server_hostname=address.host, do_handshake_on_connect=False
            )
        except BaseException:
            plain.close()
            raise
        try:
            secure.do_handshake()
            _check_pin(secure, address)
        except BaseException:
            self._shunned = self._peer
            secure.close()
            raise
        self._shunned = ""
        return secure

    def _list_addresses(self) -> list[str]:
        """Give where to connect to: first what was connected to last, last what has failed there."""
        host = self._address.host
        found = [host] if is_address(host) else reaching.interleave(self._find_addresses(host))
        return sorted(found, key=lambda one: (one == self._shunned, one != self._peer))

    def _write(self, method: str, path: str, fields: Mapping[str, str], *, body: bytes) -> bytes:
        host = f"[{self._address.host}]" if ":" in self._address.host else self._address.host
        lines = [f"{method} {path} HTTP/1.1", f"Host: {host}:{self._address.port}"]
        lines += [f"{name}: {value}" for name, value in fields.items()]
        lines += [f"Content-Length: {len(body)}", "", ""]
        return "\r\n".join(lines).encode("ascii") + body

    def _explained(self, error: Exception) -> UplinkError:
        where = f"gateway {self._address.url}"
        if isinstance(error, ssl.SSLCertVerificationError):
            what = (
                "this host's clock" if error.verify_code in _OUT_OF_TIME else "sensor.ca_file or sensor.pins"
            )
            return UntrustedError(f"{where} is not trusted: {error.verify_message}; check {what}")
        if isinstance(error, TimeoutError):
            return UplinkError(f"{where} did not answer in {self._address.timeout_seconds:g} s")
        return UplinkError(f"{where} cannot be reached: {_find_reason(error)}")


def _find_reason(error: Exception) -> str:
    if isinstance(error, socket.gaierror):
        return f"its name has no address ({error.strerror})"
    if isinstance(error, ssl.SSLError) and error.reason == "WRONG_VERSION_NUMBER":
        return "what answers there speaks no TLS; something on the way may answer in its place"
    reason = (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__
    return write_line(reason)


def write_line(text: str) -> str:
    """Make a line for people of what somebody else has said."""
    shown = "".join(one if one.isprintable() else " " for one in text[:_MAX_SAID])
    return f"{shown.strip()}…" if len(text) > _MAX_SAID else shown.strip()


def make_context(address: GatewayAddress) -> ssl.SSLContext:
    """Make the TLS of a connection to this gateway: version 1.3, proven by authority, by pin or by both.

    Raises:
        UntrustedError: when the authority's file cannot be used.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    if address.ca_file is not None:
        try:
            context.load_verify_locations(address.ca_file)
        except (OSError, ssl.SSLError) as error:
            raise UntrustedError(f"sensor.ca_file {address.ca_file} cannot be used: {error}") from error
    elif address.pins:
        # The pin is the whole proof: it is checked before anything is sent.
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    else:
        context.load_default_certs()
    return context


def _check_pin(secure: ssl.SSLSocket, address: GatewayAddress) -> None:
    if not address.pins:
        return
    certificate = secure.getpeercert(binary_form=True)
    if certificate is None or spki_digest(certificate) not in address.pins:
        raise UntrustedError(
            f"gateway {address.url} shows a public key that is none of sensor.pins; nothing was sent to it"
        )


def spki_digest(certificate: bytes) -> bytes:
    """Give the SHA-256 of a DER certificate's public key, as a pin states it."""
    key = x509.load_der_x509_certificate(certificate).public_key()
    return hashlib.sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).digest()
