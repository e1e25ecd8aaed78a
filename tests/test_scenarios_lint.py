"""Lint: each common mistake is seen where it is planted, and a clean scenario gets no warning."""

# ruff: noqa: E501 -- messages stand here whole, as people see them

import pytest

from scenario_text import GOOD, changed
from scenarios.files import load_text
from scenarios.lint import notes, warnings
from scenarios.template import template

SETTINGS = "settings: {acks: all, enable.idempotence: true, linger.ms: 5}"


@pytest.mark.parametrize("text", [GOOD, template()], ids=["small", "template"])
def test_a_clean_scenario_gets_no_warning(text: str) -> None:
    assert warnings(load_text(text)) == []


WARNED: list[tuple[str, list[tuple[str, str]], list[str]]] = [
    (
        "members too slow for the load",
        [("work: {lognormal: {mean: 2ms, cv: 0.5}}", "work: 20ms")],
        ["28: groups.fulfilment.members is 3: 216.7 events/s of 20.18ms each keep 4.37 members busy, so the group never keeps up; it needs more than 4"],
    ),
    (
        "members too slow for the peak",
        [("work: {lognormal: {mean: 2ms, cv: 0.5}}", "work: 12ms")],
        ["28: groups.fulfilment.members is 3: at the peak 3.64 members would be busy, so lag grows until the load falls; use 4"],
    ),
    (
        "keys that meet in one partition",
        [("key: {zipf: {values: 1000, exponent: 0.5}}", "key: {hot: {share: 90%, values: 1000}}"), ("work: {lognormal: {mean: 2ms, cv: 0.5}}", "work: 6ms")],
        ["10: topics.orders.partitions holds back fulfilment: partition orders/2 gets 92% of the events, 1.2 times what one member can handle, and members do not share a partition; spread the keys"],
    ),
    (
        "more members than partitions",
        [("members: 2", "members: 8")],
        ["38: groups.analytics.members is 8, and there are 6 partitions to read: 2 would be idle; raise partitions, or use 6"],
    ),
    (
        "poison without an end",
        [("    failures: {then: skip}\n", "")],
        ["36: groups.analytics.failures is missing, and some events are poison: each is tried for ever and stops its partition; add failures: {retry: {attempts: 3}, then: dead_letter, dead_letter: TOPIC}"],
    ),
    (
        "poison that ends members",
        [("failures: {then: skip}", "failures: {then: stop}")],
        ["40: groups.analytics.failures.then is stop, and some events are poison: each ends a member, until none is left; use dead_letter"],
    ),
    (
        "one replica",
        [("partitions: 6, replication: 3, settings: {min.insync.replicas: 2}", "partitions: 6, replication: 1")],
        ["10: topics.orders.replication is 1: while its broker is away the topic is gone, and with its disk the events; use 3"],
    ),
    (
        "acks all that one broker gives",
        [("{partitions: 6, replication: 3, settings: {min.insync.replicas: 2}}", "{partitions: 6, replication: 3}")],
        ["10: topics.orders.settings['min.insync.replicas'] lets acks: all be given by the leader alone, so events can be lost with one broker; set min.insync.replicas to 2"],
    ),
    (
        "replicas that must all be there",
        [("min.insync.replicas: 2", "min.insync.replicas: 3")],
        ["10: topics.orders.settings['min.insync.replicas'] is 3 of 3 replicas: one broker away stops every write; use 2"],
    ),
    (
        "acks 1",
        [(SETTINGS, "settings: {acks: 1}")],
        ["17: producers.shop.settings.acks is 1: events are reported as sent that the leader alone has stored, and a broker's crash loses them; use acks: all"],
    ),
    (
        "a producer that may store twice",
        [(SETTINGS, "settings: {acks: all}")],
        ["17: producers.shop.settings['enable.idempotence'] is off: a send that is tried again after a broker's failure can be stored twice and out of order; set enable.idempotence: true"],
    ),
    (
        "commits of what was only handed over",
        [("commit: {every: 1s}", "commit: auto")],
        ["30: groups.fulfilment.commit is auto: librdkafka commits what was handed over, finished or not, so a crash skips up to a whole poll; use after_batch or {every: 1s}"],
    ),
    (
        "failures that would pass",
        [("retry: {attempts: 3, backoff: 20ms, factor: 2}", "retry: {attempts: 1}")],
        ["33: groups.fulfilment.failures.retry.attempts is 1, so a failure that would have passed is final; retry: {attempts: 3, backoff: 100ms} tries again"],
    ),
    (
        "retries longer than the poll interval",
        [("attempts: 3, backoff: 20ms, factor: 2", "attempts: 12, backoff: 1s, factor: 2"), ("0.2%", "0%"), ("poison: 0.1%", "poison: 0%")],
        ["33: groups.fulfilment.failures.retry keeps a failing event for 34m 7s in place, longer than max.poll.interval.ms (5m): the member is put out of its group, and the event comes again; lower attempts or backoff"],
    ),
    (
        "retries without end",
        [("attempts: 3, backoff: 20ms, factor: 2", "attempts: 10000, backoff: 1s, factor: 100"), ("0.2%", "0%"), ("poison: 0.1%", "poison: 0%")],
        ["33: groups.fulfilment.failures.retry keeps a failing event for centuries in place, longer than max.poll.interval.ms (5m): the member is put out of its group, and the event comes again; lower attempts or backoff"],
    ),
    (
        "polls longer than the poll interval",
        [("work: 1ms", "work: 1s\n    settings: {max.poll.records: 500}"), ("rate: 200/s", "rate: 1/s"), ("[200/s, 300/s]", "1/s")],
        ["39: groups.analytics.work is 1s per event: a full poll of 500 takes longer than max.poll.interval.ms (5m), and the member is put out of its group; lower max.poll.records"],
    ),
    (
        "retention shorter than the run",
        [("min.insync.replicas: 2", "min.insync.replicas: 2, retention.ms: 10000")],
        [
            "10: topics.orders.settings['retention.ms'] is 10s, shorter than the run with its drain (90s): a group that falls behind may lose events unread; keep them longer",
        ],
    ),
    (
        "a fault within the warm-up",
        [("at: 20s", "at: 2s")],
        ["43: faults[0].at is 2s, within the warm-up of 5s, which is not measured; begin later"],
    ),
    (
        "a fault that never ends",
        [("for: 15s}", "for: 10m}")],
        ["43: faults[0].for lasts until 10m 20s, beyond the end of the drain, so nothing recovers; shorten it, or lengthen the drain"],
    ),
    (
        "an order without keys",
        [("key: {zipf: {values: 1000, exponent: 0.5}}", "key: none"), ("lost == 0", "inversions == 0")],
        ["50: expect[0] asks for the order per key, and no producer has keys; give one a `key`"],
    ),
    (
        "a plan too large for a first try",
        [("{for: 40s, rate: 200/s}", "{for: 40s, rate: 1000000/s}"), ("work: {lognormal: {mean: 2ms, cv: 0.5}}", "work: 1ns"), ("work: 1ms", "work: 1ns"), ("poison: 0.1%", "poison: 0%"), ("0.2%", "0%")],
        [
            "3: duration makes about 4e+07 events: simulate takes them in stretches, and whoever drives them needs a plan of some 4 GB; lower the rate or the duration for a first try"
        ],
    ),
    (
        "a profile that is not there",
        [("brokers:", "profile: my-laptop\nbrokers:")],
        ["7: profile is 'my-laptop', and there is no profile or file of that name yet; `calibrate --out` writes one"],
    ),
    (
        "settings that the simulator ignores",
        [("linger.ms: 5", "linger.ms: 5, compression.type: zstd"), ("nodes: 3}", "nodes: 3, settings: {num.io.threads: 4, num.oi.threads: 4}}")],
        [
            "7: brokers.settings['num.io.threads'] goes to the brokers and changes nothing in the simulator, which does not model it",
            "7: brokers.settings['num.oi.threads'] is unknown to the brokers, which will ignore it, and so will the simulator; did you mean 'num.io.threads'?",
            "17: producers.shop.settings['compression.type'] goes to the live client and changes nothing in the simulator, which does not model it",
        ],
    ),
    (
        "a setting of the other side",
        [("linger.ms: 5", "linger.ms: 5, max.poll.interval.ms: 60000")],
        ["17: producers.shop.settings['max.poll.interval.ms'] is a setting of consumers, so the client ignores it here; remove it"],
    ),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "lines"), [case[1:] for case in WARNED], ids=[case[0] for case in WARNED])
def test_a_mistake_that_can_be_seen_in_the_file_is_pointed_out(
    changes: list[tuple[str, str]], lines: list[str]
) -> None:
    loaded = load_text(changed(*changes), "small.yaml")

    assert [problem.text("small.yaml") for problem in warnings(loaded)] == [f"small.yaml:{line}" for line in lines]
    assert [problem.message for problem in warnings(loaded.scenario)] == [
        line.split(" ", 2)[2] for line in lines
    ] or len(lines) > 1


NOTED: list[tuple[str, list[tuple[str, str]], str]] = [
    ("dead letters that nobody reads", [], "35: groups.fulfilment.failures.dead_letter is 'orders.dlq', which no group reads: who looks at what lands there?"),
    ("a topic for nothing", [("  orders.dlq:", "  audit: {}\n  orders.dlq:")], "11: topics.audit is used by no producer and no group"),
    ("rebalances that stop everyone", [("fault: slow_work, group: fulfilment, factor: 4", "fault: member_leave, name: slow_work, member: fulfilment/1")], "26: groups.fulfilment.settings leaves group.protocol at classic: every member stops while one comes or goes; consumer moves only its partitions"),
    ("brokers that fall one after another", [("at: 20s, for: 15s", "at: [10s, 20s], for: 5s")], "43: faults[0] begins at 20s, before the broker that fell at 10s can be back in sync"),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "line"), [case[1:] for case in NOTED], ids=[case[0] for case in NOTED])
def test_what_may_well_be_meant_is_noted(changes: list[tuple[str, str]], line: str) -> None:
    noted = [problem.text("small.yaml") for problem in notes(load_text(changed(*changes), "small.yaml"))]

    assert f"small.yaml:{line}" in noted


def test_dead_letters_that_someone_reads_are_not_noted() -> None:
    read = ("  analytics:\n", "  support: {topics: [orders.dlq], work: 1ms, failures: {then: skip}}\n  analytics:\n")

    assert notes(load_text(changed(read))) == []
