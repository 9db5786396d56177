"""The simulated fleet as a demonstration shows it: twenty sensors in thirteen regions."""

from __future__ import annotations

from teiten.protocol.header import Mode
from teiten.simulators.config import SensorPlan
from teiten.simulators.errors import WorkOrderError

#: Region code, Japanese and English names: for whoever creates the regions.
REGIONS: tuple[tuple[str, str, str], ...] = (
    ("hokkaido", "北海道", "Hokkaido"),
    ("tohoku", "東北", "Tohoku"),
    ("kanto", "関東", "Kanto"),
    ("chubu", "中部", "Chubu"),
    ("kinki", "近畿", "Kinki"),
    ("chugoku", "中国", "Chugoku"),
    ("shikoku", "四国", "Shikoku"),
    ("kyushu", "九州・沖縄", "Kyushu and Okinawa"),
    ("asia", "アジア", "Asia"),
    ("europe", "欧州", "Europe"),
    ("north-america", "北米", "North America"),
    ("south-america", "南米", "South America"),
    ("oceania", "オセアニア", "Oceania"),
)

#: Region, IPv4 addresses, IPv6 prefix (empty for none), mode, behaviour.
_TWENTY: tuple[tuple[str, int, str, Mode, str], ...] = (
    ("kanto", 1, "", "silent", "steady"),
    ("kanto", 2, "", "silent", "steady"),
    ("kinki", 1, "", "silent", "steady"),
    ("chubu", 1, "", "silent", "dropping"),
    ("kyushu", 1, "", "silent", "silent"),
    ("tohoku", 1, "", "silent", "steady"),
    ("hokkaido", 1, "", "silent", "lossy"),
    ("asia", 1, "", "silent", "steady"),
    ("europe", 1, "", "silent", "steady"),
    ("north-america", 1, "", "silent", "skewed"),
    ("kanto", 1, "", "answering", "steady"),
    ("kinki", 3, "", "silent", "interrupted"),
    ("kanto", 0, "2001:db8:a100::/48", "silent", "steady"),
    ("europe", 0, "2001:db8:e200:1::/64", "silent", "steady"),
    ("chugoku", 1, "", "silent", "steady"),
    ("shikoku", 1, "", "silent", "steady"),
    ("asia", 1, "", "silent", "steady"),
    ("south-america", 1, "", "silent", "steady"),
    ("oceania", 1, "", "silent", "steady"),
    ("north-america", 1, "", "silent", "steady"),
)
_NETWORKS = ("192.0.2", "198.51.100", "203.0.113")
_FIRST_HOST, _HOSTS = 10, 240
_MOST = 100_000


def list_sensors(count: int = 20) -> tuple[SensorPlan, ...]:
    """Plan a fleet; beyond twenty, the twenty repeat with other addresses and no planned troubles.

    Raises:
        WorkOrderError: for no sensor, or more than 100,000.
    """
    if not 1 <= count <= _MOST:
        raise WorkOrderError(f"a simulated fleet has 1 to {_MOST} sensors, not {count}")
    numbers: dict[str, int] = {}
    plans = []
    host = 0
    for index in range(count):
        region, addresses, prefix, mode, behaviour = _TWENTY[index % len(_TWENTY)]
        round_number = index // len(_TWENTY)
        numbers[region] = numbers.get(region, 0) + 1
        prefixes = tuple(_address(host + place) for place in range(addresses))
        host += addresses
        plans.append(
            SensorPlan(
                name=f"sim-{region}-{numbers[region]:02d}",
                region=region,
                prefixes=(*prefixes, *([_move_prefix(prefix, round_number)] if prefix else [])),
                mode=mode,
                behaviour=behaviour if round_number == 0 else "steady",
            )
        )
    return tuple(plans)


def _address(host: int) -> str:
    """Give one of 720 documentation addresses; a large fleet uses them again."""
    network = _NETWORKS[host % len(_NETWORKS)]
    return f"{network}.{_FIRST_HOST + host // len(_NETWORKS) % _HOSTS}/32"


def _move_prefix(prefix: str, round_number: int) -> str:
    """Give the same kind of prefix elsewhere in 2001:db8::/32."""
    if round_number == 0:
        return prefix
    length = prefix.partition("/")[2]
    return f"2001:db8:{round_number % 0xA000:x}{'' if length == '48' else ':1'}::/{length}"
