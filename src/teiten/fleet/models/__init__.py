"""What the fleet room keeps in the control database."""

from teiten.fleet.models.places import (
    KnownBy,
    Maintenance,
    ObservedAddress,
    SensorFacts,
    SensorKind,
    SensorMode,
    SensorPlacement,
)
from teiten.fleet.models.sensors import (
    PUBLIC_KEY_BYTES,
    SENSOR_NAME_PATTERN,
    Dataset,
    EnrolmentToken,
    Region,
    Sensor,
    SensorEvent,
    SensorEventKind,
    SensorHealth,
    SensorKey,
    SensorState,
    TokenPurpose,
)

__all__ = [
    "PUBLIC_KEY_BYTES",
    "SENSOR_NAME_PATTERN",
    "Dataset",
    "EnrolmentToken",
    "KnownBy",
    "Maintenance",
    "ObservedAddress",
    "Region",
    "Sensor",
    "SensorEvent",
    "SensorEventKind",
    "SensorFacts",
    "SensorHealth",
    "SensorKey",
    "SensorKind",
    "SensorMode",
    "SensorPlacement",
    "SensorState",
    "TokenPurpose",
]
