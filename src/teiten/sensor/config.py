"""Settings of the sensor: section ``[sensor]``, or ``TEITEN_SENSOR_…``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from teiten.foundation.errors import SettingsError
from teiten.sensor.errors import DeclarationError
from teiten.sensor.stated_addresses import parse_public_addresses


@dataclass(frozen=True)
class SensorConfig:
    """How one sensor watches, keeps and sends; everything has a working default but the gateway."""

    #: Folder of key, identity, spool and status; readable by the sensor's user only.
    state_dir: Path = Path("/var/lib/teiten-sensor")
    #: Where batches go, for example ``https://gateway.example:8443``.
    gateway_url: str = ""
    #: Authority that requests are signed for; empty: host and port of ``gateway_url``.
    authority: str = ""
    #: SHA-256 pins of the gateway's public key (SPKI), base64, with or without ``sha256/``.
    pins: tuple[str, ...] = ()
    #: PEM file of the certificate authority that signed the gateway's certificate.
    ca_file: Path | None = None
    #: Gateway signing keys known beforehand, ``id=base64``; enrolment adds those it is told.
    gateway_keys: tuple[str, ...] = ()

    #: File in which the launcher keeps where the gateway is, as signed for all sensors; absent: as set and enrolled.
    gateway_file: Path = Path("/etc/teiten-sensor/gateway.json")
    #: File in which the launcher says how updates stand.
    launcher_report: Path = Path("/var/lib/teiten-launcher/state.json")

    #: Interfaces to watch; empty: the one that holds the default route.
    interfaces: tuple[str, ...] = ()
    #: Observed prefixes; empty: the addresses that the watched interfaces hold.
    observed: tuple[str, ...] = ()
    #: Whether the host answers what arrives at the observed addresses.
    mode: Literal["silent", "answering"] = "answering"
    #: Public addresses behind a 1:1 NAT, ``LOCAL=PUBLIC``, for example ``10.0.0.5=198.51.100.7``.
    public_addresses: tuple[str, ...] = ()
    #: Cloud provider whose metadata service (HTTP to 169.254.169.254) tells the public addresses; empty: none.
    metadata: Literal["", "aws", "gcp", "azure"] = ""
    #: What this host solicits, for example ``192.0.2.53/32 udp from 53`` or ``198.51.100.7/32 tcp to 22``.
    exclude: tuple[str, ...] = ()
    #: Names or addresses of time servers; their answers (UDP from 123) are excluded.
    time_servers: tuple[str, ...] = ()
    #: Declare gateway, resolvers, metadata service and IPv6 neighbour discovery as solicited without being told.
    exclude_own: bool = True
    #: Payload bytes kept per packet, 0 to 128; 0 records none.
    payload_bytes: int = 0
    #: Most payload examples a window, 0 to 64: the whole payload, up to 1,500 bytes, of one packet of each
    #: payload that is new on a UTC day. None without ``payload_bytes``.
    examples_per_window: int = 8
    #: Payload bytes kept per packet of a replayed capture file, 0 to 128.
    import_payload_bytes: int = 64

    #: Slots of the kernel's ring per interface; must hold peak packets/s times (sleep + stall).
    ring_slots: int = 32_768
    #: Seconds to let packets gather after the first one has shown.
    gather_seconds: float = 0.02
    #: Scheduling priority of the recording process (nice value), as far as permitted: a stall is a drop.
    nice: int = -10
    #: Turn off GRO, LRO, TSO and GSO on the watched interfaces (needs CAP_NET_ADMIN).
    disable_offloads: bool = False

    #: Longest window, seconds.
    window_seconds: int = 300
    #: Seconds of a window in live mode.
    live_window_seconds: int = 1
    #: Start in live mode, whatever the gateway says.
    live: bool = False
    #: Rows that close a window once it is 1 s old.
    early_rows: int = 2_000
    #: Rows that close a window at once; at most 65,536. Memory in a flood grows with it (0.8 KiB a row).
    max_rows: int = 8_192
    #: Seconds between looks at the interface's addresses.
    address_check_seconds: float = 10.0

    #: Bytes the spool may hold; beyond it the oldest batch goes and leaves a tombstone.
    spool_bytes: int = 2_000_000_000
    #: Bytes of the disk that the spool leaves free.
    min_free_bytes: int = 200_000_000

    #: Days after which the sensor replaces its key; 0: only when told to.
    key_days: int = 365
    #: Seconds between heartbeats.
    heartbeat_seconds: float = 60.0
    #: Seconds over which the first connection is spread; 0 in tests and demonstrations.
    first_connect_seconds: float = 120.0
    #: Shortest back-off, seconds.
    backoff_min_seconds: float = 1.0
    #: Longest back-off, seconds.
    backoff_max_seconds: float = 300.0
    #: Seconds to wait for the gateway while nothing moves; a slow line is given its time.
    timeout_seconds: float = 30.0
    #: Seconds between looks into the spool when it is empty.
    poll_seconds: float = 1.0

    #: Number that this sensor was given when it was made, which the root helper believes; 0: as enrolled.
    number: int = 0
    #: Keys of the operators whose signed commands are obeyed; changed by the updater only.
    operators_file: Path = Path("/etc/teiten-sensor/operators.json")
    #: Classes of commands that this sensor's host has agreed to.
    command_classes: tuple[Literal["A", "B", "C", "D"], ...] = ("A", "B", "C", "D")
    #: Whether free commands (``exec``) may run; set when the sensor is made.
    allow_exec: bool = False
    #: Folder of the root helper, which nobody but root may write.
    helper_dir: Path = Path("/var/lib/teiten-launcher/obey")

    #: Seconds between two writes of the status file.
    status_seconds: float = 2.0
    #: Folder for ``teiten-sensor.prom`` (a text file for node exporter); none: no such file.
    metrics_dir: Path | None = None

    def check(self) -> SensorConfig:
        """Give these settings back when they make sense together.

        Raises:
            SettingsError: naming the setting and its range or rule.
        """
        for name, (low, high) in _RANGES.items():
            value = getattr(self, name)
            if not low <= value <= high:
                raise SettingsError(f"setting sensor.{name} is {value}; it must be {low} to {high}")
        try:
            parse_public_addresses(self.public_addresses)
        except DeclarationError as error:
            raise SettingsError(f"setting {error}") from error
        return self


_RANGES: dict[str, tuple[float, float]] = {
    "number": (0, (1 << 32) - 1),
    "payload_bytes": (0, 128),
    "import_payload_bytes": (0, 128),
    "examples_per_window": (0, 64),
    "ring_slots": (4_096, 4_194_304),
    "gather_seconds": (0.0, 1.0),
    "nice": (-20, 19),
    "window_seconds": (1, 3_600),
    "live_window_seconds": (1, 60),
    "early_rows": (1, 65_536),
    "max_rows": (1, 65_536),
    "address_check_seconds": (0.1, 300.0),
    "spool_bytes": (1_000_000, 1 << 50),
    "min_free_bytes": (0, 1 << 50),
    "key_days": (0, 36_500),
    "heartbeat_seconds": (0.1, 3_600.0),
    "first_connect_seconds": (0.0, 3_600.0),
    "backoff_min_seconds": (0.01, 3_600.0),
    "backoff_max_seconds": (0.01, 86_400.0),
    "timeout_seconds": (0.1, 600.0),
    "poll_seconds": (0.01, 60.0),
    "status_seconds": (0.1, 60.0),
}
