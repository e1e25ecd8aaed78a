"""What the simulator cannot do, in words, so that a run is refused before it starts."""

from scenarios.faults import fault_kinds
from scenarios.schema import Scenario


def cannot(scenario: Scenario) -> list[str]:
    """Return what of a scenario the simulator does not model: the place, the value, and what it can do instead."""
    clients = [(f"producers.{name}.client", producer.client) for name, producer in scenario.producers.items()]
    clients += [(f"groups.{name}.client", group.client) for name, group in scenario.groups.items()]
    problems = [
        f"{path} is java; the simulator models librdkafka so far, and does not put one client in the other's place"
        for path, client in clients
        if client == "java"
    ]
    if scenario.brokers.controllers == "combined":
        problems.append(
            "brokers.controllers is combined; the simulator models separate controllers, "
            f"and these faults: {', '.join(fault_kinds())}"
        )
    return problems
