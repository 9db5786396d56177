"""What the simulated fleet counts."""

from teiten.foundation.metrics import Counter

#: ``receipted``, ``lost`` (planned), ``refused``, ``conflict``.
BATCHES = Counter(
    "teiten_simulators_batches_total", "Batches of simulated sensors by what became of them.", ["outcome"]
)
PACKETS = Counter("teiten_simulators_packets_total", "Packets in receipted batches of simulated sensors.")
HEARTBEATS = Counter("teiten_simulators_heartbeats_total", "Heartbeats of simulated sensors.", ["outcome"])
RETRIES = Counter("teiten_simulators_retries_total", "Requests that were tried again, by error.", ["error"])
