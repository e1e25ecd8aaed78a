"""Words of the scenario format that this version knows and cannot do yet, so that their errors say so."""

from collections.abc import Mapping

FIELDS: Mapping[str, tuple[str, ...]] = {
    "Scenario": ("actions", "dependencies", "schemas", "sites", "sweep", "target"),
    "Producer": ("payload", "external", "worth"),
    "Group": (
        "workers", "in_hand", "ordered_by", "dedupe", "emits", "share_group", "external", "autoscaler", "functions",
        "windows", "state",
    ),
}  # fmt: skip
"""By model: its fields to come."""

FAULTS = (
    "broker_pause", "rolling_restart", "cut", "slow_link", "producer_crash", "producer_pause", "member_pause",
    "rolling_deploy", "poll_stall", "duplicates", "oversized", "late", "schema_change", "leader_move", "retention",
    "delete_records", "reassign", "add_partitions", "dependency_down", "dependency_slow", "throttle", "disk_stall",
    "disk_full", "host_crash", "clock_skew", "access_denied", "certificate_expired",
)  # fmt: skip
WORDS: Mapping[str, tuple[str, ...]] = {
    "kind": ("nats", "rabbitmq", "redis", "pulsar"),
    "commit": ("transaction",),
    "where": ("topic",),
}
"""By field: its words to come."""

NOT_YET = "is part of the scenario format, and this version cannot do it yet"
