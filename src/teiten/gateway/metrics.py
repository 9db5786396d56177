"""What the gateway counts."""

from teiten.foundation.metrics import Counter, Gauge, Histogram

REQUESTS = Counter(
    "teiten_gateway_requests_total", "Requests by endpoint and outcome code.", ["endpoint", "outcome"]
)
BATCH_BYTES = Counter("teiten_gateway_batch_bytes_total", "Bytes of receipted batch bodies.")
SECONDS = Histogram(
    "teiten_gateway_request_seconds",
    "Seconds from the first byte of a request to its answer.",
    ["endpoint"],
    buckets=(0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30),
)
INFLIGHT_BYTES = Gauge("teiten_gateway_inflight_bytes", "Bytes of bodies in memory now.")
CONNECTIONS = Gauge("teiten_gateway_connections", "Connections from sensors, when the last one came.")
CONNECTIONS_REFUSED = Counter(
    "teiten_gateway_connections_refused_total",
    "Connections turned away because there were too many, in all or from their address.",
    ["reason"],
)
HANDSHAKES_FAILED = Counter(
    "teiten_gateway_handshakes_failed_total",
    "Connections that ended before HTTP began: TLS, a proxy's header, or time.",
    ["error"],
)
KNOCKS_REFUSED = Counter(
    "teiten_gateway_knocks_refused_total",
    "Requests to enrol or recover that were not read, because their address was refused too often.",
)
PACED = Counter(
    "teiten_gateway_paced_total", "Requests that were told to wait: their sensor asks too often.", ["what"]
)
SLOW_HEADS = Counter(
    "teiten_gateway_slow_heads_total", "Connections cut because a request did not begin in time."
)
MALFORMED = Counter("teiten_gateway_malformed_total", "Requests that were no HTTP.")
