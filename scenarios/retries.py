"""Retries: how long to wait before each try, and the topics that hold events meanwhile."""

from collections.abc import Mapping

from scenarios.faults import AddPartitions
from scenarios.schema import Retry, Scenario, Topic

_LONGEST_WAIT_NS = 2**60


def retry_topic(topic: str, copy: int) -> str:
    """Return the name of the topic that holds events of a topic before their try number `copy` + 1; copies count from 1."""
    return f"{topic}.retry.{copy}"


def retry_topics(scenario: Scenario, group: str) -> tuple[str, ...]:
    """Return the retry topics of a group, those of its first topic first; each has its topic's partitions and replication."""
    what = scenario.groups[group]
    if what.failures is None or what.failures.retry.where != "topic":
        return ()
    copies = range(1, what.failures.retry.attempts)
    return tuple(retry_topic(topic, copy) for topic in what.topics for copy in copies)


def all_topics(scenario: Scenario) -> Mapping[str, Topic]:
    """Return the topics of the file and then the retry topics, each of which is as the topic whose events it holds."""
    found = dict(scenario.topics)
    for name, group in scenario.groups.items():
        for topic in retry_topics(scenario, name):
            found[topic] = next(scenario.topics[own] for own in group.topics if topic.startswith(f"{own}.retry."))
    return found


def partition_counts(scenario: Scenario, topic: str) -> list[int]:
    """Return all numbers of partitions that a topic may have in a run, the first one in front."""
    own = all_topics(scenario)[topic].partitions
    added = {fault.to for fault in scenario.faults if isinstance(fault, AddPartitions) and fault.topic == topic}
    return [own, *sorted(count for count in added if count > own)]


def most_partitions(scenario: Scenario, topic: str) -> int:
    """Return how many partitions a topic has at the end: a fault may add some."""
    added = [fault.to for fault in scenario.faults if isinstance(fault, AddPartitions) and fault.topic == topic]
    own = scenario.topics.get(topic) or all_topics(scenario)[topic]
    return max([own.partitions, *added])


def retry_wait_ns(retry: Retry, tried: int) -> int:
    """Return how long to wait after so many failed tries (from 1): backoff * factor^(tried - 1)."""
    return round(min(retry.backoff * retry.factor ** (tried - 1), float(_LONGEST_WAIT_NS)))


def retry_due_ns(retry: Retry, tried: int, failed_ns: int) -> int:
    """Return when the next try is due: in a retry topic a copy is not worked on earlier."""
    return failed_ns + retry_wait_ns(retry, tried)
