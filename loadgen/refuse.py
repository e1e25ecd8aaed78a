"""What this driver cannot do for a scenario on a cluster, said before anything starts."""

from typing import assert_never

from loadgen.admin import EMBEDDED
from loadgen.clusters.model import Cluster
from scenarios import faults
from scenarios.clients import consumer_settings
from scenarios.faults import BrokerTarget, Fault
from scenarios.schema import Scenario


def cannot(scenario: Scenario, cluster: Cluster | None = None, *, implementation: str | None = None) -> list[str]:
    """Return what cannot be done, in words; `implementation` stands for a cluster that does not run yet."""
    kind = cluster.implementation if cluster is not None else implementation or "apache-kafka"
    embedded = kind == EMBEDDED
    return [
        *_clients(scenario),
        *_size(scenario, cluster),
        *(_protocols(scenario) if embedded else ()),
        *(
            f"faults[{index}]: {problem}"
            for index, fault in enumerate(scenario.faults)
            for problem in _fault(fault, embedded)
        ),
    ]


def _clients(scenario: Scenario) -> list[str]:
    owners = [("producers", name, p.client) for name, p in scenario.producers.items()]
    owners += [("groups", name, g.client) for name, g in scenario.groups.items()]
    return [
        f"{kind}.{name}.client is java; the live driver has librdkafka: leave `client` out, or simulate it"
        for kind, name, client in owners
        if client != "librdkafka"
    ]


def _size(scenario: Scenario, cluster: Cluster | None) -> list[str]:
    if cluster is None or cluster.nodes == scenario.brokers.nodes:
        return []
    return [
        f"brokers.nodes is {scenario.brokers.nodes}, and this cluster has {cluster.nodes}: set brokers.nodes={cluster.nodes}"
    ]


def _protocols(scenario: Scenario) -> list[str]:
    return [
        f"groups.{name}.settings: group.protocol is consumer; the embedded cluster has classic groups only: use --on local"
        for name in scenario.groups
        if consumer_settings(scenario, name).protocol == "consumer"
    ]


def _fault(fault: Fault, embedded: bool) -> list[str]:
    match fault:
        case faults.BrokerCrash() | faults.BrokerStop():
            return _broker(fault.broker, embedded)
        case (
            faults.MemberCrash()
            | faults.MemberLeave()
            | faults.SlowWork()
            | faults.FailingWork()
            | faults.Poison()
            | faults.Surge()
        ):
            return []
        case _:
            assert_never(fault)


def _broker(target: BrokerTarget, embedded: bool) -> list[str]:
    if target.role == "controller":
        where = "the embedded cluster has no controller" if embedded else "a controller of its own is no broker"
        return [f"broker is controller; {where}: name a broker, or the leader or follower of a partition"]
    return []
