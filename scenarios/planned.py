"""Words of the scenario format that this version knows and cannot do yet, so that their errors say so."""

from collections.abc import Mapping

FIELDS: Mapping[str, tuple[str, ...]] = {
    "Scenario": ("schemas", "sites"),
    "Group": ("functions", "windows", "state"),
}
"""By model: its fields to come."""

FAULTS = ("access_denied", "certificate_expired")
WORDS: Mapping[str, tuple[str, ...]] = {"kind": ("nats", "rabbitmq", "redis", "pulsar")}
"""By field: its words to come."""

NOT_YET = "is part of the scenario format, and this version cannot do it yet"
