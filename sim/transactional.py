"""Who sends in transactions, and whose leader coordinates them."""

from collections.abc import Mapping

from rundata.tables import most_members
from scenarios.clients import broker_setting, producer_settings
from scenarios.partitioners import coordinator_partition
from scenarios.schema import Scenario

TRANSACTIONS_TOPIC = "__transaction_state"


def coordinated(scenario: Scenario) -> Mapping[str, int]:
    """Return by the name of each process that sends in transactions the partition of `__transaction_state` whose leader coordinates them."""
    count = int(broker_setting(scenario, "transaction.state.log.num.partitions"))
    return {name: coordinator_partition(own_id, count) for name, own_id in transactional_ids(scenario).items()}


def transactional_ids(scenario: Scenario) -> Mapping[str, str]:
    """Return the id by which brokers know the transactions of each process that has any, by its name: a producer's or a member's."""
    found = {
        f"{name}/{number}": own_id
        for name, producer in scenario.producers.items()
        for number in range(1, producer.count + 1)
        if (own_id := producer_settings(scenario, name).transactional_id_of(number))
    }
    for name, group in scenario.groups.items():
        if group.commit == "transaction":
            found |= {f"{name}/{number}": f"{name}-{number}" for number in range(1, most_members(scenario, name) + 1)}
    return found
