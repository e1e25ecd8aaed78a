"""The usual mistakes of event-driven systems: each is pointed out in a file that makes it, and not in one that avoids it."""

# ruff: noqa: E501 -- messages stand here whole, as people see them

from pathlib import Path

import pytest

from file_changes import Change, action, fault, group
from scenario_text import changed
from scenarios.files import load_text
from scenarios.lint import notes, warnings


def expect(text: str) -> Change:
    """Add an expectation."""
    return "  - lost == 0\n", f"  - lost == 0\n  - {text}\n"


def topic(text: str) -> Change:
    """Add a topic in line 11."""
    return "  orders.dlq:", f"  {text}\n  orders.dlq:"


def dependency(text: str) -> Change:
    """Add the dependency payments in line 25."""
    return "groups:\n", f"dependencies: {{payments: {text}}}\ngroups:\n"


SETTINGS = "settings: {acks: all, enable.idempotence: true, linger.ms: 5}"
ONCE = expect("duplicate_effects == 0")
SCHEMA = "{fault: schema_change, producer: shop, version: 2, breaks: [analytics], at: 30s"
POISON_OFTEN = ("poison: 0.1%", "poison: 4%")
NO_TRANSIENT = ("      transient: {chance: 0.2%, attempts: 1}\n", "")
DEPLOY = "{action: deploy, group: analytics, version: v2, at: 20s, decodes: 2}"
MODERN = ("  analytics:\n", "  analytics:\n    settings: {group.protocol: consumer}\n")
SHIPPING = "  shipping: {topics: [shipments], work: 1ms, failures: {then: skip}}\n  analytics:\n"

MISTAKES: list[tuple[str, list[Change], str, list[Change]]] = [
    (
        "1 too few workers",
        [("work: {lognormal: {mean: 2ms, cv: 0.5}}", "work: 60ms\n    workers: 4")],
        "28: groups.fulfilment.members is 3: 216.7 events/s of 60.34ms each keep 13.1 workers busy, so the group never keeps up; it needs more than 3 and as many partitions",
        [("work: {lognormal: {mean: 2ms, cv: 0.5}}", "work: 15ms\n    workers: 4\n    ordered_by: key")],
    ),
    (
        "1 too slow for what others emit",
        [topic("shipments: {}"), group("emits: {topic: shipments, per_event: 5, outbox: {every: 1s}}"), ("  analytics:\n", SHIPPING)],
        "38: groups.shipping.members is 1: 1083 events/s of 1ms each keep 1.08 members busy, so the group never keeps up; it needs more than 1 and as many partitions",
        [topic("shipments: {}"), group("emits: {topic: shipments, share: 10%, outbox: {every: 1s}}"), ("  analytics:\n", SHIPPING)],
    ),
    (
        "2 no dead letters for poison that another group emits",
        [topic("shipments: {}"), group("emits: {topic: shipments, poison: 1%, outbox: {every: 1s}}"), ("  analytics:\n", SHIPPING.replace(", failures: {then: skip}", ""))],
        "38: groups.shipping.failures is missing, and some events are poison: each is tried for ever and stops its partition; add failures: {retry: {attempts: 3}, then: dead_letter, dead_letter: TOPIC}",
        [topic("shipments: {}"), group("emits: {topic: shipments, poison: 1%, outbox: {every: 1s}}"), ("  analytics:\n", SHIPPING)],
    ),
    (
        "3 at least once, and every effect may come once only",
        [ONCE, fault("{fault: member_crash, member: fulfilment/1, at: 30s, for: 5s}")],
        "30: groups.fulfilment.commit is at least once, faults[2] takes a member away, and duplicate_effects must be 0: what was done and not committed is done again; add dedupe: {window: 10m, store: shared}, or commit: transaction",
        [ONCE, fault("{fault: member_crash, member: fulfilment/1, at: 30s, for: 5s}"), group("dedupe: {window: 10m}")],
    ),
    (
        "4 keys that leave from several processes",
        [("    count: 2\n", "    count: 2\n    share: arrivals\n"), expect("inversions == 0")],
        "17: producers.shop.share is 'arrivals': events of one key leave from different processes, which keep no order among them; use keys",
        [expect("inversions == 0")],
    ),
    (
        "4 workers that overtake each other",
        [group("workers: 2\n    ordered_by: none"), expect("inversions == 0")],
        "31: groups.fulfilment.ordered_by is none: workers overtake each other, and inversions must be few; use key",
        [group("workers: 2\n    ordered_by: key"), expect("inversions == 0")],
    ),
    (
        "4 two partitioners for one topic",
        [("groups:\n", "  app: {topic: orders, client: java, key: {uniform: 9}, arrivals: 1/s}\ngroups:\n")],
        "25: producers.app.client is java, and shop sends to orders with librdkafka: the two put the same key into different partitions (crc32 against murmur2); use one client, or one partitioner",
        [("groups:\n", "  app: {topic: orders, key: {uniform: 9}, settings: {enable.idempotence: true}, arrivals: 1/s}\ngroups:\n")],
    ),
    (
        "5 producers that are deployed first",
        [fault(SCHEMA + "}"), expect("errors < 50%")],
        "45: faults[2].version is 2, which analytics cannot decode: consumers go first; deploy them before with decodes: 2, or let the change be one that old versions can read (breaks: [])",
        [fault(SCHEMA + "}"), expect("errors < 50%"), action(DEPLOY), MODERN],
    ),
    (
        "6 a topic without an end",
        [("min.insync.replicas: 2", "min.insync.replicas: 2, retention.ms: -1")],
        "10: topics.orders.settings['retention.ms'] is -1, and nothing else ends it: the topic grows until a disk is full; give it an end, or cleanup.policy: compact",
        [("min.insync.replicas: 2", "min.insync.replicas: 2, retention.ms: 86400000")],
    ),
    (
        "6 tiers that hold the same twice",
        [("min.insync.replicas: 2", "min.insync.replicas: 2, remote.storage.enable: true")],
        "10: topics.orders.settings['remote.storage.enable'] tiers records that stay on the brokers' disks just as long, so they are paid for twice; set local.retention.ms below retention.ms",
        [("min.insync.replicas: 2", "min.insync.replicas: 2, remote.storage.enable: true, local.retention.ms: 3600000")],
    ),
    (
        "8 an objective that is always missed",
        [("below: 500ms", "below: 3ms")],
        "47: objectives.fast.below is 3ms, and lingering and work alone take about 4.5ms in fulfilment: it is missed all the time, and so would its alerts fire; raise it, or make the work faster",
        [("below: 500ms", "below: 50ms")],
    ),
    (
        "9 acks that one broker gives",
        [(SETTINGS, "settings: {acks: 1}")],
        "17: producers.shop.settings.acks is 1: events are reported as sent that the leader alone has stored, and a broker's crash loses them; use acks: all",
        [],
    ),
    (
        "10 a reset past data",
        [fault("{fault: delete_records, topic: orders, at: 30s}")],
        "26: groups.fulfilment.settings['auto.offset.reset'] is latest, and faults[2] removes records: a group that finds its offset gone skips the whole backlog, also what is still there; use earliest",
        [
            fault("{fault: delete_records, topic: orders, at: 30s}"), group("settings: {auto.offset.reset: earliest}"),
            ("  analytics:\n", "  analytics:\n    settings: {auto.offset.reset: earliest}\n"),
        ],
    ),
    (
        "10 offsets that expire before the data",
        [("nodes: 3}", "nodes: 3, settings: {offsets.retention.minutes: 60}}")],
        "7: brokers.settings['offsets.retention.minutes'] is 1h, and orders keeps records for 168h: a group that is away longer forgets where it was while its events are still there; keep offsets longer than records",
        [("nodes: 3}", "nodes: 3, settings: {offsets.retention.minutes: 20000}}")],
    ),
    (
        "11 dead letters that come back",
        [("  analytics:\n", "  support: {topics: [orders.dlq], work: 1ms, failures: {then: dead_letter, dead_letter: orders}}\n  analytics:\n")],
        "35: groups.fulfilment.failures.dead_letter comes back to fulfilment (fulfilment -> support -> fulfilment): a poison event goes round for ever; end it in a topic for people",
        [("  analytics:\n", "  support: {topics: [orders.dlq], work: 1ms, failures: {then: skip}}\n  analytics:\n")],
    ),
    (
        "12 an interval of commits that is over before an event is done",
        [("commit: {every: 1s}", "commit: {every: 1ms}")],
        "30: groups.fulfilment.commit.every is 1ms, and an event takes 2ms: the interval is over before the next event is done, so it never is what it says; make it longer, or write after_event",
        [("commit: {every: 1s}", "commit: {every: 20ms}")],
    ),
    (
        "13 a deploy that stops everyone again and again",
        [fault("{fault: rolling_deploy, group: analytics, at: 30s, for: 1s}")],
        "36: groups.analytics.settings leaves group.protocol at classic, and faults[2] replaces 2 members: each leave and each return stops them all; use group.protocol: consumer, partition.assignment.strategy: cooperative-sticky or group.instance.id",
        [fault("{fault: rolling_deploy, group: analytics, at: 30s, for: 1s}"), MODERN],
    ),
    (
        "14 more calls than a dependency takes",
        [dependency("{takes: 1ms, rate: 100/s}"), group("calls: payments")],
        "31: groups.fulfilment.calls[0] sends payments up to 300 calls/s, and it takes 100/s; limit the rate before it, fewer workers for instance, or let it take more",
        [dependency("{takes: 1ms, rate: 400/s, concurrency: 10}"), group("calls: payments")],
    ),
    (
        "14 calls that wait for ever",
        [dependency("{takes: 1ms}"), group("calls: payments"), fault("{fault: dependency_slow, dependency: payments, factor: 9, at: 30s, for: 5s}")],
        "31: groups.fulfilment.calls[0] has neither `timeout` nor `breaker`, and faults[2] makes payments slow or silent: each member waits with it; add timeout: 500ms, breaker: {opens_after: 5}",
        [dependency("{takes: 1ms}"), group("calls: {dependency: payments, timeout: 5ms}"), fault("{fault: dependency_slow, dependency: payments, factor: 9, at: 30s, for: 5s}")],
    ),
    (
        "16 a schema change that nothing judges",
        [fault(SCHEMA.replace("[analytics]", "[]") + "}"), ("  - drain_time[fulfilment, slow_work] < 20s\n", ""), ("  - gap[orders] < 13s\n", "")],
        "45: faults[2].fault changes a schema, and no expectation would notice: expect something of errors, dead_lettered or delivery",
        [fault(SCHEMA.replace("[analytics]", "[]") + "}"), expect("errors < 50%")],
    ),
    (
        "17 an archive that nobody watches",
        [("  analytics:\n", "  archive: {topics: [orders], work: 1us, failures: {then: skip}}\n  analytics:\n")],
        "36: groups.archive looks like an archive, and no expectation or objective is about it; add one, such as delivery[archive] > 99.9%",
        [("  analytics:\n", "  archive: {topics: [orders], work: 1us, failures: {then: skip}}\n  analytics:\n"), expect("delivery[archive] > 99%")],
    ),
    (
        "18 no look at events before the work",
        [POISON_OFTEN, NO_TRANSIENT],
        "32: groups.fulfilment.failures.retry tries events again that can never be processed, which takes 56% of the members' time; look at events before the work, and send what is no event to the dead letters at once (attempts: 1)",
        [POISON_OFTEN, NO_TRANSIENT, ("attempts: 3, backoff: 20ms, factor: 2", "attempts: 1")],
    ),
    (
        "19 a group that is scaled away",
        [action("{action: scale, group: analytics, to: 0, at: 30s}")],
        "47: actions[0].to is 0, and nothing brings analytics back; add `for: 20s`, or a later scale",
        [action("{action: scale, group: analytics, to: 0, at: 30s, for: 5s}")],
    ),
    (
        "19 nobody to take over",
        [("members: 2", "members: 1\n    settings: {session.timeout.ms: 6000}"), fault("{fault: member_pause, member: analytics/1, at: 30s, for: 8s}")],
        "46: faults[2].for hangs the only member for 8s, longer than its session (6s), and nobody is there to take over; use two members",
        [("members: 2", "members: 2\n    settings: {session.timeout.ms: 6000}"), fault("{fault: member_pause, member: analytics/1, at: 30s, for: 8s}")],
    ),
    (
        "20 a replay by hand",
        [action("{action: reset_offsets, group: analytics, to: earliest, at: 30s}")],
        "47: actions[0].action stops all of analytics and does everything since then again at full speed; {action: replay, group: analytics, from: ..., rate: 100/s} does it beside the running group",
        [action("{action: replay, group: analytics, from: earliest, rate: 50/s, at: 30s}")],
    ),
    (
        "21 labels without bounds",
        [("partitions: 6, replication: 3", "partitions: 6000, replication: 3")],
        "10: topics.orders.partitions make 12,000 series of each lag metric, one for each group and partition; alert on sums by group and topic, or use fewer partitions",
        [("partitions: 6, replication: 3", "partitions: 600, replication: 3")],
    ),
    (
        "22 emitted without an outbox",
        [topic("mails: {}"), group("emits: {topic: mails}")],
        "31: groups.fulfilment.emits[0] follows from a handler that may run again (is tried again when it fails), so mails may get its events twice; add outbox: {every: 200ms}, commit: transaction, or dedupe in the groups that read it",
        [topic("mails: {}"), group("emits: {topic: mails, outbox: {every: 200ms}}")],
    ),
    (
        "23 a secret in the file",
        [(SETTINGS, "settings: {acks: all, enable.idempotence: true, linger.ms: 5, sasl.password: hunter2}")],
        "17: producers.shop.settings['sasl.password'] is a secret, and the scenario is stored with every run; keep it in the environment or in a file of client settings",
        [],
    ),
    (
        "23 records in logs",
        [("    count: 2\n    " + SETTINGS, "    count: 2\n    settings: {acks: all, enable.idempotence: true, linger.ms: 5, debug: 'msg,broker'}")],
        "17: producers.shop.settings.debug is msg,broker, which writes records to the log; leave it out, or use a context without payloads such as cgrp",
        [("    count: 2\n    " + SETTINGS, "    count: 2\n    settings: {acks: all, enable.idempotence: true, linger.ms: 5, debug: cgrp}")],
    ),
    (
        "24 members that come too late",
        [group("autoscaler: {lag: 500, max: 6, min: 3}")],
        "53: expect[2] asks for less than 20s, and a new member of fulfilment is there after up to 40s (poll and start_up of its autoscaler); scale earlier, or keep members in reserve",
        [group("autoscaler: {lag: 500, max: 6, min: 3, poll: 5s, start_up: 5s}")],
    ),
    (
        "retention that nobody enforces in time",
        [fault("{fault: retention, topic: orders, to: 5s, at: 30s, for: 10s}")],
        "45: faults[2].for lasts 10s, and brokers look for what to delete each 5m (log.retention.check.interval.ms), so it may well have no effect; set that to 1000 under brokers.settings",
        [fault("{fault: retention, topic: orders, to: 5s, at: 30s, for: 10s}"), ("nodes: 3}", "nodes: 3, settings: {log.retention.check.interval.ms: 1000}}")],
    ),
    (
        "two lengths",
        [fault("{fault: broker_pause, broker: 1, random: {mean_between: 20s, mean_for: 1s}, for: 5s}")],
        "45: faults[2].for is not used beside `mean_for`, by which lengths are random; remove one of them",
        [fault("{fault: broker_pause, broker: 1, random: {mean_between: 20s, mean_for: 1s}}")],
    ),
    (
        "an order of one worker",
        [group("ordered_by: key")],
        "30: groups.fulfilment.ordered_by is about several workers, and there is one; add `workers: 4`, or remove it",
        [group("ordered_by: partition")],
    ),
]  # fmt: skip


def said(changes: list[Change]) -> list[str]:
    return [problem.text("small.yaml") for problem in warnings(load_text(changed(*changes), "small.yaml"))]


@pytest.mark.parametrize(
    ("made", "line", "avoided"), [case[1:] for case in MISTAKES], ids=[case[0] for case in MISTAKES]
)
def test_a_mistake_is_pointed_out_where_it_is_made_and_only_there(
    made: list[Change], line: str, avoided: list[Change]
) -> None:
    without_line_number = line.split(" ", 1)[1]

    assert f"small.yaml:{line}" in said(made)
    assert not any(text.endswith(without_line_number) for text in said(avoided))
    reason = without_line_number.split(" ", 1)[1][:40]
    assert not any(reason in text for text in said(avoided)), said(avoided)


@pytest.mark.parametrize(
    ("value", "what"),
    [
        ('{"mail": "ada@example.org"}', "an e-mail address in line 2"),
        ('{"card": "4111 1111 1111 1111"}', "what looks like a card number in line 2"),
        ('{"account": "DE89 3704 0044 0532 0130 00"}', "what looks like an IBAN in line 2"),
    ],
)
def test_personal_data_in_plain_payloads_is_pointed_out(tmp_path: Path, value: str, what: str) -> None:
    """Mistake 15. Order numbers, though as long as those of cards, do not carry their check digit."""
    file = tmp_path / "orders.jsonl"
    text = changed(
        ("    count: 2\n", f"    count: 2\n    payload: {{file: {file}}}\n"),
        ("    size: {lognormal: {mean: 400B, cv: 0.5}}\n", ""),
    )

    file.write_text('{"order": "4111111111111112", "time": 1764162000.123456}\n')
    assert warnings(load_text(text)) == []
    file.write_text(f'{{"order": 1}}\n{value}\n')
    assert [what in problem.message for problem in warnings(load_text(text))] == [True]


def test_dead_letters_that_are_sent_back_are_drained() -> None:
    """Mistake 11, the other half: a group that reads them, or a redrive, drains them."""
    redrive = action("{action: redrive, from: orders.dlq, rate: 10/s, at: 50s}")

    assert any("which no group reads" in problem.message for problem in notes(load_text(changed())))
    assert not any("which no group reads" in problem.message for problem in notes(load_text(changed(redrive))))


def test_sweeps_and_stalls_that_are_too_short_are_noted() -> None:
    swept = changed(("objectives:\n", "sweep: {groups.fulfilment.members: [3, 4]}\nobjectives:\n"))
    stalled = changed(fault("{fault: poll_stall, member: fulfilment/1, at: 30s, for: 5s}"))

    assert any(problem.path == "sweep" for problem in notes(load_text(swept)))
    assert any("max.poll.interval.ms" in problem.message for problem in notes(load_text(stalled)))
