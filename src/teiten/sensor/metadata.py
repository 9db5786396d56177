"""Ask a cloud provider's metadata service which public address belongs to which local one.

Plain HTTP to a link-local address, as the providers define it:

* AWS: a token by PUT first (IMDSv2), then ``network/interfaces/macs/MAC/ipv4-associations/``.
  docs.aws.amazon.com/AWSEC2/latest/UserGuide: "Use the Instance Metadata Service",
  "Instance metadata categories".
* Google Cloud: ``network-interfaces/?recursive=true`` with the header ``Metadata-Flavor``, which the
  answer must repeat. docs.cloud.google.com/compute/docs/metadata.
* Azure: ``/metadata/instance/network`` and ``/metadata/loadbalancer``, which alone knows public
  addresses of the Standard SKU. learn.microsoft.com: "Azure Instance Metadata Service",
  "Retrieve load balancer metadata"; kubernetes-sigs/cloud-provider-azure issue 535.

Whatever answers there is believed no further than :mod:`stated_addresses` allows: no redirect is
followed, no proxy asked, an answer is bounded in size and time and must be of its form.
"""

from __future__ import annotations

import http.client
import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from teiten.foundation.clock import Clock
from teiten.sensor.errors import MetadataError
from teiten.sensor.stated_addresses import METADATA_HOST, METADATA_PORT, Pairs

_TIMEOUT_SECONDS = 2.0
_MAX_BYTES = 65_536
_MAX_ENTRIES = 64
_OK, _NOT_FOUND = 200, 404
#: How long the token of AWS lives: for the questions of one time.
_LIFE_SECONDS = "60"
_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")
_ADDRESS = re.compile(r"[0-9a-f.:]{2,45}")
_TOKEN = re.compile(r"[!-~]{1,1024}")


class MetadataAnswer(NamedTuple):
    """An answer of status 200."""

    body: bytes
    headers: Mapping[str, str]


class MetadataService:
    """Requests to the metadata address; one connection each.

    Args:
        clock: bounds the time of an answer.
        host: where the service is.
        port: its port.
    """

    def __init__(self, clock: Clock, *, host: str = METADATA_HOST, port: int = METADATA_PORT) -> None:
        self._clock = clock
        self._host = host
        self._port = port

    def fetch(self, path: str, *, headers: Mapping[str, str], method: str = "GET") -> MetadataAnswer | None:
        """Give the answer, or None where there is no such thing (404).

        Raises:
            MetadataError: naming the path and what went wrong.
        """
        connection = http.client.HTTPConnection(self._host, self._port, timeout=_TIMEOUT_SECONDS)
        try:
            connection.request(method, path, headers=dict(headers))
            response = connection.getresponse()
            if response.status == _NOT_FOUND:
                return None
            if response.status != _OK:
                raise MetadataError(f"metadata {path}: status {response.status}, not 200")
            return MetadataAnswer(self._read_bounded(response, path), dict(response.headers.items()))
        except (OSError, http.client.HTTPException) as error:
            raise MetadataError(f"metadata {path}: {type(error).__name__}: {error}") from error
        finally:
            connection.close()

    def _read_bounded(self, response: http.client.HTTPResponse, path: str) -> bytes:
        deadline = self._clock.monotonic() + _TIMEOUT_SECONDS
        body = bytearray()
        while chunk := response.read1(8192):
            body += chunk
            if len(body) > _MAX_BYTES:
                raise MetadataError(f"metadata {path}: the answer is longer than {_MAX_BYTES} bytes")
            if self._clock.monotonic() > deadline:
                raise MetadataError(f"metadata {path}: the answer takes longer than {_TIMEOUT_SECONDS:.0f} s")
        return bytes(body)

    def fetch_text(self, path: str, *, headers: Mapping[str, str], method: str = "GET") -> str:
        """Give an answer of plain ASCII; empty where there is no such thing.

        Raises:
            MetadataError: naming the path and what went wrong.
        """
        answer = self.fetch(path, headers=headers, method=method)
        try:
            return "" if answer is None else answer.body.decode("ascii").strip()
        except UnicodeDecodeError as error:
            raise MetadataError(f"metadata {path}: the answer is no plain text") from error

    def fetch_json(
        self, path: str, *, headers: Mapping[str, str], echo: tuple[str, str] | None = None
    ) -> Any:
        """Give an answer's JSON; None where there is no such thing.

        Args:
            path: with its query.
            headers: of the request.
            echo: a header, with its value, that the answer must have.

        Raises:
            MetadataError: naming the path and what went wrong.
        """
        answer = self.fetch(path, headers=headers)
        if answer is None:
            return None
        if (
            echo is not None
            and {k.lower(): v for k, v in answer.headers.items()}.get(echo[0].lower()) != echo[1]
        ):
            raise MetadataError(f"metadata {path}: the answer has no header {echo[0]}: {echo[1]}")
        try:
            return json.loads(answer.body)
        except (ValueError, RecursionError) as error:
            raise MetadataError(f"metadata {path}: the answer is no JSON") from error


def ask_aws(service: MetadataService) -> Pairs:
    """Ask the metadata service of Amazon EC2, version 2.

    Raises:
        MetadataError: naming the path and what went wrong.
    """
    wish = {"X-aws-ec2-metadata-token-ttl-seconds": _LIFE_SECONDS}
    token = service.fetch_text("/latest/api/token", headers=wish, method="PUT")
    if not _TOKEN.fullmatch(token):
        raise MetadataError("metadata /latest/api/token: the answer is no token")
    headers = {"X-aws-ec2-metadata-token": token}
    base = "/latest/meta-data/network/interfaces/macs/"
    pairs: list[tuple[str, str]] = []
    for mac in _list_entries(service, base, headers, _MAC):
        associations = f"{base}{mac}/ipv4-associations/"
        for public in _list_entries(service, associations, headers, _ADDRESS):
            local = _list_entries(service, associations + public, headers, _ADDRESS)
            pairs += [(one, public) for one in local]
    return pairs


def _list_entries(
    service: MetadataService, path: str, headers: Mapping[str, str], form: re.Pattern[str]
) -> list[str]:
    """List the lines of an answer; each becomes part of a path, so each must be of its form."""
    lines = [line.rstrip("/") for line in service.fetch_text(path, headers=headers).split()]
    if len(lines) > _MAX_ENTRIES or not all(form.fullmatch(line) for line in lines):
        raise MetadataError(
            f"metadata {path}: the answer is no list of at most {_MAX_ENTRIES} {form.pattern}"
        )
    return lines


def ask_gcp(service: MetadataService) -> Pairs:
    """Ask the metadata server of Google Compute Engine.

    Raises:
        MetadataError: naming the path and what went wrong.
    """
    path = "/computeMetadata/v1/instance/network-interfaces/?recursive=true"
    flavor = ("Metadata-Flavor", "Google")
    told = service.fetch_json(path, headers=dict([flavor]), echo=flavor)
    with _Form(path):
        return [
            (interface["ip"], access["externalIp"])
            for interface in _some(told)
            for access in _some(interface.get("accessConfigs"))
            if access.get("externalIp")
        ]


def ask_azure(service: MetadataService) -> Pairs:
    """Ask the instance metadata service of Azure.

    Raises:
        MetadataError: naming the path and what went wrong.
    """
    headers = {"Metadata": "true"}
    network = "/metadata/instance/network?api-version=2021-02-01"
    balancer = "/metadata/loadbalancer?api-version=2020-10-01"
    told = service.fetch_json(network, headers=headers) or {}
    with _Form(network):
        pairs = list(_list_azure_interfaces(told))
    told = service.fetch_json(balancer, headers=headers) or {"loadbalancer": {}}
    with _Form(balancer):
        pairs += [
            (entry["privateIpAddress"], entry["frontendIpAddress"])
            for entry in _some(told["loadbalancer"].get("publicIpAddresses"))
        ]
    return pairs


def _list_azure_interfaces(told: Any) -> Iterator[tuple[str, str]]:
    for interface in _some(told.get("interface")):
        for family in ("ipv4", "ipv6"):
            for entry in _some(interface.get(family, {}).get("ipAddress")):
                if entry.get("publicIpAddress"):
                    yield entry["privateIpAddress"], entry["publicIpAddress"]


def _some(value: Any) -> list[Any]:
    """Give a list of objects, which may be absent."""
    if value is None:
        return []
    if not isinstance(value, list) or len(value) > _MAX_ENTRIES:
        raise TypeError("not a short list")
    return value


class _Form:
    """Turns what goes wrong with an answer of another form into a MetadataError."""

    def __init__(self, path: str) -> None:
        self._path = path

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, (TypeError, KeyError, AttributeError)):
            raise MetadataError(
                f"metadata {self._path}: the answer has another form than documented"
            ) from error


#: By the setting ``sensor.metadata``.
PROVIDERS: dict[str, Callable[[MetadataService], Pairs]] = {
    "aws": ask_aws,
    "gcp": ask_gcp,
    "azure": ask_azure,
}
