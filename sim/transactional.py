"""Who sends in transactions, and whose leader coordinates them."""

from collections.abc import Mapping
from functools import partial

from rundata.tables import most_members
from scenarios.clients import broker_setting
from scenarios.partitioners import coordinator_partition
from scenarios.schema import Scenario

TRANSACTIONS_TOPIC = "__transaction_state"


def coordinated(scenario: Scenario) -> Mapping[str, int]:
    """Return by the name of each member that sends in transactions the partition of `__transaction_state` whose leader coordinates them."""
    names = [
        f"{name}/{number}"
        for name, group in scenario.groups.items()
        if group.commit == "transaction"
        for number in range(1, most_members(scenario, name) + 1)
    ]
    count = int(broker_setting(scenario, "transaction.state.log.num.partitions"))
    place_of = partial(coordinator_partition, partitions=count)
    return {name: place_of(transactional_id(name)) for name in names}


def transactional_id(process: str) -> str:
    """Return the id by which brokers know the transactions of a process such as `work/1`."""
    return process.replace("/", "-")
