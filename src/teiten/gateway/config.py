"""Settings of the gateway: section ``[gateway]``, or ``TEITEN_GATEWAY_…``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class GatewayConfig:
    """How the one door that sensors talk to is opened."""

    #: Address to listen on.
    host: str = "127.0.0.1"
    #: Port that sensors reach.
    port: int = 8443
    #: Host and port that sensors sign their requests for; empty: ``localhost`` and the port.
    authority: str = ""
    #: Address of the plain listener for ``/healthz`` and ``/metrics``.
    metrics_host: str = "127.0.0.1"
    #: Port of that listener.
    metrics_port: int = 9464
    #: Folder of the gateway's keys; empty: ``gateway`` in the data folder.
    key_dir: Path | None = None
    #: PEM certificate chain for TLS; without it and its key a self-signed pair is made in ``key_dir``.
    tls_certificate: Path | None = None
    #: PEM private key of that certificate.
    tls_key: Path | None = None
    #: Longest body of a batch, bytes.
    max_batch_bytes: int = 8 * 1024 * 1024
    #: Longest body of any other request, bytes.
    max_message_bytes: int = 16 * 1024
    #: Bodies that may be in memory at once, bytes; beyond it sensors are told to wait.
    max_inflight_bytes: int = 128 * 1024 * 1024
    #: Batches that one sensor may send in a second for ever; an hour's worth may come at once, as after an outage.
    sensor_batches_per_second: float = 20.0
    #: Bytes of batches that one sensor may send in a second for ever; an hour's worth may come at once.
    sensor_bytes_per_second: int = 1_048_576
    #: Connections at once; an idle one costs about 65 KiB (measured), so these 130 MB.
    max_connections: int = 2_000
    #: Connections at once from one address (IPv6: one /64); those from this machine are not counted.
    max_connections_per_address: int = 64
    #: Networks of load balancers that pass TCP on and tell the sensor's address by PROXY protocol version 2.
    trusted_proxies: tuple[str, ...] = ()
    #: Seconds until an idle connection is closed; 10,000 sensors ask 200 times a second, each on a new one.
    keepalive_seconds: float = 3.0
    #: Seconds in which a request's head must have come in, and for which nothing of its body may come.
    receive_seconds: float = 30.0
    #: Seconds that a sensor is told to wait when the gateway is full.
    retry_seconds: int = 15
    #: Seconds that running requests may take when the gateway stops.
    drain_seconds: float = 10.0
