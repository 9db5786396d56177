"""Rules of the fleet, with their figures."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from pathlib import Path

from teiten.foundation.errors import SettingsError


@dataclass(frozen=True)
class FleetConfig:
    """Section ``fleet`` of the settings."""

    #: Hours that an enrolment token lives.
    token_hours: int = 24
    #: Seconds between two heartbeats of a sensor.
    heartbeat_seconds: int = 60
    #: Missing heartbeats after which a sensor counts as silent.
    silent_after_heartbeats: int = 2
    #: Share of packets dropped by the kernel above which a sensor counts as dropping.
    dropping_share: float = 0.001
    #: Clock offset, in either direction, above which a sensor counts as skewed.
    skewed_seconds: float = 1.0
    #: Fill of a capture ring, in thousandths, from which on a sensor counts as nearly overrun.
    ring_full_permille: int = 800
    #: Free bytes on a sensor's disk below which it counts as low.
    disk_low_bytes: int = 1_073_741_824
    #: Sensors of one AS, region or organisation that fall silent within ten minutes and are one alarm.
    mass_silence_sensors: int = 10
    #: Share of such a group's sensors that must have fallen silent.
    mass_silence_share: float = 0.2
    #: Sender of mails about alarms; empty: none are sent.
    alarm_mail_from: str = ""
    #: Operators who get mails about alarms; hosts' contacts get those about their own sensors.
    alarm_mail_to: tuple[str, ...] = ()
    #: Mail server that takes these mails.
    smtp_host: str = ""
    #: Port of the mail server.
    smtp_port: int = 25
    #: Speak TLS with the mail server after a plain beginning (STARTTLS, mostly port 587).
    smtp_starttls: bool = False
    #: Speak TLS with the mail server from the first byte on (mostly port 465).
    smtp_tls: bool = False
    #: Name by which the mail server knows us; empty: it takes mails without a password.
    smtp_user: str = ""
    #: Password of that name; better given as ``smtp_password_file``.
    smtp_password: str = field(default="", repr=False)
    #: TCP ports that canaries are sent to, in turn.
    canary_tcp_ports: tuple[int, ...] = (
        22,
        23,
        25,
        80,
        443,
        445,
        1433,
        2323,
        3306,
        3389,
        5432,
        5555,
        6379,
        8080,
    )
    #: UDP ports that canaries are sent to, in turn.
    canary_udp_ports: tuple[int, ...] = (53, 69, 123, 137, 161, 389, 500, 1900, 3702, 5060, 5353, 11211)
    #: Canaries in a row that must be lost before a sensor that says it watches is alarmed about.
    canary_lost_after: int = 8
    #: Canaries in a row that must be lost before a port counts as unreachable, while others arrive.
    unreachable_after: int = 5
    #: Days over which they must have been lost.
    unreachable_days: int = 3
    #: A new sensor waits for an operator's approval after it has enrolled.
    approve_sensors: bool = False
    #: Folder of the update repository; empty: ``releases`` in the data folder.
    releases_dir: Path | None = None
    #: Database connections that the doors of one gateway hold.
    door_connections: int = 2
    #: Share of a roll-out's released sensors that may fail, fall silent or owe an answer; beyond it, it halts or waits.
    rollout_bad_share: float = 0.02
    #: Sensors that a roll-out releases within a minute, unless it says otherwise.
    rollout_per_minute: int = 5_000
    #: Seconds in which a sensor may say that its host keeps it from an update (clock, disk, network); then it has failed.
    update_blocked_seconds: int = 7_200
    #: Seconds after a command's end in which a sensor that fetched it may still answer.
    result_grace_seconds: int = 900

    def __post_init__(self) -> None:
        """Refuse what would give a password away, or cannot work.

        Raises:
            SettingsError: naming the setting.
        """
        if self.smtp_tls and self.smtp_starttls:
            raise SettingsError("set one of fleet.smtp_tls and fleet.smtp_starttls, not both")
        if bool(self.smtp_user) != bool(self.smtp_password):
            raise SettingsError("fleet.smtp_user and fleet.smtp_password (or smtp_password_file) go together")
        is_covered = self.smtp_tls or self.smtp_starttls or _is_own_machine(self.smtp_host)
        if self.smtp_password and not is_covered:
            raise SettingsError(
                "fleet.smtp_password would cross the network in the clear; set fleet.smtp_tls or fleet.smtp_starttls"
            )


def _is_own_machine(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
