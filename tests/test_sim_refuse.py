"""What the simulator refuses: each thing with its place, and nothing else."""

import pytest

from scenario_text import small
from scenarios.files import load_scenario
from scenarios.shipped import scenario_names
from sim.refuse import cannot

FAILURES = """    failures:
      transient: {chance: 0.2%, attempts: 1}
      retry: {attempts: 3, backoff: 20ms, factor: 2}
      then: dead_letter
      dead_letter: orders.dlq
"""


def test_nothing_is_refused_of_a_scenario_that_can_be_simulated():
    """The small one, and all that are shipped."""
    assert cannot(small()) == []
    assert {name: problems for name in scenario_names() if (problems := cannot(load_scenario(name).scenario))} == {}


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("    members: 3\n", "    members: 3\n    client: java\n", None),
        (
            "    commit: {every: 1s}\n", "    client: java\n    commit: auto\n    reads: {collect: {events: 5, timeout: 1s}}\n",
            None,
        ),
        ("nodes: 3}", "nodes: 3, version: '3.3'}", None),
        ("nodes: 3}", "nodes: 3, version: '3.2'}", "brokers.version is 3.2; the simulator models KRaft"),
        ("{partitions: 1, replication: 3}", "{settings: {cleanup.policy: compact}}", None),
        ("min.insync.replicas: 2}", "unclean.leader.election.enable: true}", None),
        ("linger.ms: 5", "transactional.id: shop", None),
        (
            "linger.ms: 5}", "linger.ms: 5, batch.size: 2000000}\n    client: java",
            "producers.shop: batch.size is 2000000 and topic orders takes no batch of more than 1048588 B",
        ),
        ("min.insync.replicas: 2}", "unclean.leader.election.enable: true, retention.bytes: 1000}", None),
        (
            FAILURES, "",
            None,
        ),
        (
            "work: 1ms\n    failures: {then: skip}", "work: 0ms",
            "groups.analytics: without `failures` an event that cannot be processed is tried again without end, and work is 0 s",
        ),
        (
            "work: 1ms\n    failures: {then: skip}", "work: 1ms\n    workers: 4\n    reads: {collect: {events: 5, timeout: 1s}}",
            "groups.analytics.reads collects beside workers: 4; the simulator's workers are fed by polls",
        ),
        (
            "work: 1ms\n    failures: {then: skip}", "work: 1ms\n    workers: 4\n    commit: before_work",
            None,
        ),
        (
            "work: 1ms\n    failures: {then: skip}", "work: 1ms\n    workers: 4\n    failures: {then: stop}",
            None,
        ),
        (
            "fault: broker_crash, broker: leader of orders/0", "fault: throttle, group: analytics, rate: 1KiB/s",
            None,
        ),
        (
            "fault: broker_crash, broker: leader of orders/0", "fault: slow_link, between: [controller, broker 1], delay: 5ms",
            "faults[0].between names the controller; the simulator's heartbeats and metadata take no time",
        ),
        (
            "fault: broker_crash, broker: leader of orders/0", "fault: cut, between: [controller, broker 1], direction: to",
            "faults[0].direction is to; the simulator cuts both directions of links to the controller",
        ),
        ("fault: broker_crash, broker: leader of orders/0", "fault: disk_full, broker: controller", "faults[0].broker is controller, which is no broker here"),
        (
            "work: 1ms\n    failures: {then: skip}", "work: 1ms\n    settings: {group.instance.id: a}\n"
            "actions: [{action: reset_offsets, group: analytics, to: earliest, at: 10s}]",
            "actions[0].group is analytics, whose members are static (group.instance.id)",
        ),
        (
            "work: 1ms\n    failures: {then: skip}", "work: 1ms\n    commit: transaction\n"
            "actions: [{action: replay, group: analytics, from: earliest, at: 10s}]",
            "actions[0].action is replay of analytics, which commits in transactions; the simulator replays groups whose handlers do all of the work",
        ),
        (
            "work: 1ms\n    failures: {then: skip}", "work: 1ms\n    workers: 4\n    commit: transaction",
            "groups.analytics.commit is transaction beside workers: 4, which the simulator does not model",
        ),
        (
            "{fault: broker_crash, broker: leader of orders/0, at: 20s, for: 15s}", "{fault: add_partitions, name: more, topic: orders, to: 12, at: 20s}",
            None,
        ),
        (
            "{fault: broker_crash, broker: leader of orders/0, at: 20s, for: 15s}", "{fault: add_partitions, topic: orders.dlq, to: 12, at: 20s}",
            None,
        ),
    ],
)  # fmt: skip
def test_what_is_not_modelled_is_refused_where_it_stands(old: str, new: str, said: str | None):
    """One line for one thing; tries without end are simulated where they take time."""
    refused = cannot(small((old, new)))

    assert len(refused) == (said is not None)
    assert [line for line in refused if not line.startswith(said or "")] == []


def test_all_of_a_scenarios_problems_are_told_at_once():
    """The version, a group and a fault: three lines."""
    refused = cannot(
        small(
            ("nodes: 3}", "nodes: 3, version: '3.2'}"),
            (
                "    commit: {every: 1s}\n",
                "    workers: 2\n    reads: {collect: {events: 5, timeout: 1s}}\n",
            ),
            ("fault: broker_crash, broker: leader of orders/0", "fault: disk_full, broker: controller"),
        )
    )

    assert [line.split(" is ")[0] for line in refused] == [
        "brokers.version",
        "groups.fulfilment.reads collects beside workers: 2; the simulator's workers are fed by polls: leave it at poll",
        "faults[0].broker",
    ]


def test_a_topic_of_which_copies_wait_in_retry_topics_may_grow():
    """A copy goes to the partition of its own number, modulo how many its retry topic has."""
    grows = (
        "{fault: broker_crash, broker: leader of orders/0, at: 20s, for: 15s}",
        "{fault: add_partitions, topic: orders, to: 12, at: 20s}",
    )
    retries = (
        "work: 1ms\n    failures: {then: skip}",
        "work: 1ms\n    failures: {then: skip, retry: {attempts: 2, where: topic}}",
    )

    assert cannot(small(grows, retries)) == []
