"""What the fleet room keeps in the control database."""

from teiten.fleet.models.events import SensorEvent, SensorEventKind
from teiten.fleet.models.hosts import (
    COMMAND_CLASSES,
    DEFAULT_CLASSES,
    HostAgreement,
    HostContact,
)
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
    SensorHealth,
    SensorKey,
    SensorState,
    StoppedBy,
    TokenPurpose,
)

__all__ = [
    "COMMAND_CLASSES",
    "DEFAULT_CLASSES",
    "PUBLIC_KEY_BYTES",
    "SENSOR_NAME_PATTERN",
    "Dataset",
    "EnrolmentToken",
    "HostAgreement",
    "HostContact",
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
    "StoppedBy",
    "TokenPurpose",
]
