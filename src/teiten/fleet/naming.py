"""How sensors that are made together are called."""

from __future__ import annotations

from teiten.fleet.errors import FleetInputError

#: Sensors that one call may make.
MAX_SENSORS = 10_000
_DIGITS = 4


def name_sensors(name: str, count: int) -> list[str]:
    """Give the names: ``name`` itself for one, ``name-0001`` and so on for several.

    Raises:
        FleetInputError: when the count is not 1 to 10,000.
    """
    if not 1 <= count <= MAX_SENSORS:
        raise FleetInputError("count", f"{count} is not 1 to {MAX_SENSORS}")
    digits = max(_DIGITS, len(str(count)))
    return [name] if count == 1 else [f"{name}-{number:0{digits}}" for number in range(1, count + 1)]


def check_name(name: str) -> None:
    """Refuse a name that could be another sensor's number.

    Raises:
        FleetInputError: for a name of digits only.
    """
    if name.isdigit():
        raise FleetInputError("name", f"{name!r} could be another sensor's number; put a letter into it")
