"""Wrong links, targets, actions, chains and sweeps: each mistake gets its place, the value and the way out."""

# ruff: noqa: E501 -- messages stand here whole, as people see them

import pytest

from file_changes import Change, action, fault, group
from scenario_text import changed, complaints


def producer(text: str) -> Change:
    """Add a field of the producer in line 17."""
    return "    count: 2\n", f"    count: 2\n    {text}\n"


def section(text: str) -> Change:
    """Add a section in line 46."""
    return "objectives:\n", f"{text}\nobjectives:\n"


PAYMENTS = ("groups:\n", "dependencies: {payments: {takes: 5ms}}\ngroups:\n")

WRONG: list[tuple[str, list[Change], list[str]]] = [
    (
        "a rack where there are none",
        [fault("{fault: broker_crash, rack: a, at: 40s, for: 1s}")],
        ["45: faults[2].rack is 'a', and the brokers have no racks; add them, such as racks: [a, b, c]"],
    ),
    (
        "a rack that is not there",
        [("nodes: 3}", "nodes: 3, racks: [a, b, c]}"), fault("{fault: host_crash, rack: d, at: 40s, for: 1s}")],
        ["45: faults[2].rack is 'd', and there is no such rack; there is a, b, c"],
    ),
    (
        "a broker and a rack",
        [fault("{fault: broker_pause, broker: 1, rack: a, at: 40s, for: 1s}")],
        ["45: faults[2] has both `broker` and `rack`; it has one of `broker: leader of orders/0` and `rack: a`"],
    ),
    (
        "a pause of nothing",
        [fault("{fault: broker_pause, at: 40s, for: 1s}")],
        ["45: faults[2] has no target; it has one of `broker: leader of orders/0` and `rack: a`"],
    ),
    (
        "a pause without a length",
        [fault("{fault: broker_pause, broker: 1, at: 40s}")],
        ["45: faults[2] has no `for`; it says how long the fault lasts, such as `for: 20s`"],
    ),
    (
        "random times without a length",
        [fault("{fault: broker_pause, broker: 1, random: {mean_between: 10s}}")],
        [
            "45: faults[2] has no `for`; it says how long the fault lasts, such as `for: 20s` (or `mean_for` under `random`)"
        ],
    ),
    (
        "a random length for what is over at once",
        [fault("{fault: add_partitions, topic: orders, to: 9, random: {mean_between: 50s, mean_for: 1s}}")],
        ["45: faults[2] has `mean_for`, and it is over at once; `random: {mean_between: 10m}` is enough"],
    ),
    (
        "a length for what is over at once",
        [fault("{fault: delete_records, topic: orders, at: 40s, for: 1s}")],
        ["45: faults[2].for is no field here; there is name, at, every, random, fault, topic, partition and up_to"],
    ),
    (
        "a restart of a broker that is not there",
        [fault("{fault: rolling_restart, brokers: [1, 4, 1], at: 40s, for: 1s}")],
        [
            "45: faults[2].brokers[1] is 4; brokers are numbered from 1 to 3",
            "45: faults[2].brokers[2] is 1 again; name each broker once",
        ],
    ),
    (
        "a cut of one end",
        [fault("{fault: cut, between: [clients], at: 40s, for: 1s}")],
        ["45: faults[2].between is ['clients']; a link is written with its two ends: [clients, broker 1]"],
    ),
    (
        "a cut of what is no end",
        [fault("{fault: cut, between: [clients, shop], at: 40s, for: 1s}")],
        [
            "45: faults[2].between[1] is 'shop'; an end of a link is `clients`, `broker 1`, `leader of TOPIC/PARTITION`, `follower of TOPIC/PARTITION`, `brokers` (all others), `rack a` or `controller`"
        ],
    ),
    (
        "a cut between things that do not talk",
        [fault("{fault: cut, between: [clients, controller], at: 40s, for: 1s}")],
        [
            "45: faults[2].between is [clients, controller], and there is no such link: clients talk to brokers only; name a broker, or `brokers`"
        ],
    ),
    (
        "a cut of a broker from itself",
        [fault("{fault: cut, between: [broker 1, broker 1], at: 40s, for: 1s}")],
        ["45: faults[2].between is [broker 1, broker 1], which has the same at both ends; name two different ones"],
    ),
    (
        "a cut of a broker that is not there",
        [fault("{fault: cut, between: [clients, broker 9], at: 40s, for: 1s}")],
        ["45: faults[2].between[1] is 9; brokers are numbered from 1 to 3"],
    ),
    (
        "heartbeats where there are none",
        [fault("{fault: cut, between: [clients, broker 1], channel: heartbeat, at: 40s, for: 1s}")],
        [
            "45: faults[2].channel is 'heartbeat', and heartbeats and metadata are what goes between a broker and the controller; remove it"
        ],
    ),
    (
        "a way to cut that is none",
        [fault("{fault: cut, between: [clients, broker 1], mode: quiet, at: 40s, for: 1s}")],
        ["45: faults[2].mode is 'quiet'; there is silent and reset"],
    ),
    (
        "a slow link that slows nothing",
        [fault("{fault: slow_link, between: [clients, broker 1], at: 40s, for: 1s}")],
        ["45: faults[2] slows nothing; give `delay: 50ms`, `bandwidth: 1MiB/s` or both"],
    ),
    (
        "jitter beyond the delay",
        [fault("{fault: slow_link, between: [clients, broker 1], delay: 5ms, jitter: 9ms, at: 40s, for: 1s}")],
        [
            "45: faults[2] has jitter 9ms around a delay of 5ms; nothing arrives before it was sent, so jitter is at most the delay"
        ],
    ),
    (
        "a bandwidth that is a size",
        [fault("{fault: slow_link, between: [clients, broker 1], bandwidth: 1MiB, at: 40s, for: 1s}")],
        [
            "45: faults[2].bandwidth is 1MiB; 'MiB' is no unit of a bandwidth, which takes one of B/s, kB/s, KB/s, MB/s, GB/s, TB/s, KiB/s, MiB/s, GiB/s, TiB/s, bit/s, kbit/s, Mbit/s, Gbit/s"
        ],
    ),
    (
        "a bandwidth of nothing",
        [fault("{fault: throttle, producer: shop, rate: 0B/s, at: 40s, for: 1s}")],
        ["45: faults[2].rate is 0B/s; nothing would ever get through, which is what the fault `cut` is for"],
    ),
    (
        "a process that is not there",
        [fault("{fault: producer_crash, producer: shop/3, at: 40s, for: 1s}")],
        ["45: faults[2].producer is 'shop/3', and shop has the processes 1 to 2"],
    ),
    (
        "a process number that is none",
        [fault("{fault: producer_pause, producer: shop/x, at: 40s, for: 1s}")],
        ["45: faults[2].producer is 'shop/x'; a producer's process is written PRODUCER/NUMBER, and numbers start at 1"],
    ),
    (
        "a member that is not there",
        [fault("{fault: poll_stall, member: fulfilment/4, at: 40s, for: 1s}")],
        ["45: faults[2].member is 'fulfilment/4', and fulfilment has the members 1 to 3"],
    ),
    (
        "a deploy of no group",
        [fault("{fault: rolling_deploy, group: orders, at: 40s, for: 1s}")],
        ["45: faults[2].group is 'orders', and there is no such group; there is fulfilment and analytics"],
    ),
    (
        "duplicates of everything twice",
        [fault("{fault: duplicates, producer: shop, share: 1%, events: 3, at: 40s, for: 1s}")],
        ["45: faults[2] needs one of `share: 1%` and `events: 5`"],
    ),
    (
        "late by nothing",
        [fault("{fault: late, producer: shop, share: 1%, at: 40s, for: 1s}")],
        ["45: faults[2].by is missing; it is how much, such as 5s"],
    ),
    (
        "a schema that breaks no group",
        [fault("{fault: schema_change, producer: shop, version: 2, breaks: [billing], at: 40s}")],
        ["45: faults[2].breaks[0] is 'billing', and there is no such group; there is fulfilment and analytics"],
    ),
    (
        "a schema version that is the first",
        [fault("{fault: schema_change, producer: shop, version: 1, at: 40s}")],
        ["45: faults[2].version is 1; it is at least 2"],
    ),
    (
        "a leader that holds no replica",
        [
            ("partitions: 6, replication: 3", "partitions: 6, replication: 2"),
            fault("{fault: leader_move, partition: orders/0, to: 3, at: 40s}"),
        ],
        ["45: faults[2].to is 3, and orders/0 has its replicas on 1, 2; a leader is one of these"],
    ),
    (
        "a leader that can go nowhere",
        [
            ("  orders.dlq: {partitions: 1, replication: 3}", "  orders.dlq: {replication: 1}"),
            fault("{fault: leader_move, partition: orders.dlq/0, at: 40s}"),
        ],
        ["45: faults[2].partition is 'orders.dlq/0', which has one replica, so nowhere to go; raise its replication"],
    ),
    (
        "a partition that is none",
        [fault("{fault: reassign, partition: orders, to: [1, 2, 3], at: 40s}")],
        ["45: faults[2].partition is 'orders'; a partition is written TOPIC/NUMBER, and numbers start at 0"],
    ),
    (
        "partitions that become fewer",
        [fault("{fault: add_partitions, topic: orders, to: 6, at: 40s}")],
        ["45: faults[2].to is 6, and orders has 6 partitions; Kafka only adds some, so name more"],
    ),
    (
        "records of nothing",
        [fault("{fault: delete_records, at: 40s}")],
        ["45: faults[2] has no target; it has one of `topic: orders` and `partition: orders/0`"],
    ),
    (
        "records up to the first",
        [fault("{fault: delete_records, topic: orders, up_to: earliest, at: 40s}")],
        ["45: faults[2].up_to is earliest, so nothing would be deleted; use latest, an offset or a time ago"],
    ),
    (
        "a dependency that is not there",
        [PAYMENTS, fault("{fault: dependency_down, dependency: payment, at: 40s, for: 1s}")],
        ["46: faults[2].dependency is 'payment', and there is no such dependency; did you mean 'payments'?"],
    ),
    (
        "a quota of both",
        [fault("{fault: throttle, producer: shop, group: fulfilment, rate: 1MB/s, at: 40s, for: 1s}")],
        ["45: faults[2] has both `producer` and `group`; it has one of `producer: shop` and `group: fulfilment`"],
    ),
    (
        "a clock of nothing",
        [fault("{fault: clock_skew, by: -5s, at: 40s, for: 1s}")],
        ["45: faults[2] has no target; it has one of `broker: 1` and `producer: shop`"],
    ),
    (
        "a producer that is down already",
        [fault("{fault: producer_pause, producer: shop, at: [30s, 31s], for: 5s}")],
        ["45: faults[2] takes producer shop down at 31s, and faults[2] has it down until 35s; let it come back first"],
    ),
    (
        "an action among faults",
        [fault("{fault: replay, group: fulfilment, from: earliest, at: 40s}")],
        ["45: faults[2].fault is 'replay', which is no fault; it stands under `actions:`"],
    ),
    (
        "an action that is none",
        [action("{action: replya, group: fulfilment, at: 40s}")],
        [
            "47: actions[0].action is 'replya', which is no action; did you mean 'replay'? There is replay, redrive, reset_offsets, scale, deploy"
        ],
    ),
    (
        "an action without a kind",
        [action("{group: fulfilment, at: 40s}")],
        ["47: actions[0] has no `action:`; it names one of replay, redrive, reset_offsets, scale, deploy"],
    ),
    (
        "an action without a time",
        [action("{action: scale, group: fulfilment, to: 4}")],
        ["47: actions[0] has no time; an action has one of `at: 60s`, `every: 10m` and `random: {...}`"],
    ),
    (
        "an action after the load",
        [action("{action: scale, group: fulfilment, to: 4, at: 70s}")],
        ["47: actions[0].at is 70s, and the load ends at 60s; an action begins before that"],
    ),
    (
        "a replay of what is to come",
        [action("{action: replay, group: fulfilment, from: latest, at: 40s}")],
        ["47: actions[0].from is latest, so there is nothing to replay; use earliest, an offset or a time ago"],
    ),
    (
        "a replay from before the run",
        [action("{action: replay, group: fulfilment, from: 5m, at: 40s}")],
        ["47: actions[0].from is 5m ago, and the action comes at 40s, so that lies before the run; write earliest"],
    ),
    (
        "a replay from nowhere",
        [action("{action: replay, group: fulfilment, from: monday, at: 40s}")],
        ["47: actions[0].from is 'monday'; it is earliest, latest, an offset such as 1000, or a time ago such as 5m"],
    ),
    (
        "a redrive of what holds no dead letters",
        [action("{action: redrive, from: orders, at: 40s}")],
        ["47: actions[0].from is 'orders', and no group puts dead letters there; there is orders.dlq"],
    ),
    (
        "a redrive to where it comes from",
        [action("{action: redrive, from: orders.dlq, to: orders.dlq, at: 40s}")],
        ["47: actions[0].to is 'orders.dlq', where the dead letters lie already; name another topic"],
    ),
    (
        "offsets of a topic that the group does not read",
        [action("{action: reset_offsets, group: fulfilment, topic: orders.dlq, to: earliest, at: 40s}")],
        ["47: actions[0].topic is 'orders.dlq', and fulfilment reads orders; name one of these, or leave `topic` out"],
    ),
    (
        "a scale to what there is",
        [action("{action: scale, group: fulfilment, to: 3, at: 40s}")],
        ["47: actions[0].to is 3, as many members as fulfilment has; name another number"],
    ),
    (
        "a roll-back without a canary",
        [action("{action: deploy, group: fulfilment, version: v2, rollback_if: 'errors > 5%', at: 40s}")],
        ["47: actions[0] has `rollback_if` and no canary to watch; add `canary: 10%`"],
    ),
    (
        "a roll-back that is no expectation",
        [action("{action: deploy, group: fulfilment, version: v2, canary: 10%, rollback_if: errors, at: 40s}")],
        [
            "47: actions[0].rollback_if is 'errors'; an expectation is INDICATOR OP QUANTITY with < <= == != >= >, such as `lost == 0`"
        ],
    ),
    (
        "less in hand than workers",
        [group("workers: 4\n    in_hand: 3")],
        [
            "31: groups.fulfilment.in_hand is 3, fewer than the 4 workers, so some would never have anything to do; raise it"
        ],
    ),
    (
        "an order that is none",
        [group("workers: 4\n    ordered_by: event")],
        ["31: groups.fulfilment.ordered_by is 'event'; there is none, key and partition"],
    ),
    (
        "a memory without a window",
        [group("dedupe: {store: shared}")],
        ["30: groups.fulfilment.dedupe.window is missing; it is how long an id is remembered, such as 10m"],
    ),
    (
        "a memory that is a word",
        [group("dedupe: shared")],
        ["30: groups.fulfilment.dedupe is 'shared'; it is none or {window: 10m, store: shared}"],
    ),
    (
        "a call of nothing",
        [group("calls: payments")],
        ["30: groups.fulfilment.calls[0].dependency is 'payments', and there is no such dependency; there is none"],
    ),
    (
        "a breaker that is a word",
        [PAYMENTS, group("calls: [{dependency: payments, breaker: fast}]")],
        ["31: groups.fulfilment.calls[0].breaker is 'fast'; it is a mapping of fields, such as {field: value}"],
    ),
    (
        "a burst without a rate",
        [("groups:\n", "dependencies: {payments: {takes: 5ms, burst: 5}}\ngroups:\n")],
        ["25: dependencies.payments has a `burst` and no `rate` to exceed; add `rate: 100/s`, or remove `burst`"],
    ),
    (
        "a dependency with a topic's name",
        [("groups:\n", "dependencies: {orders: {takes: 5ms}}\ngroups:\n")],
        [
            "25: dependencies.orders has the name of a topic; topics, producers, groups and dependencies share one name space, so rename one"
        ],
    ),
    (
        "emits to nowhere",
        [group("emits: {topic: shipments}")],
        [
            "30: groups.fulfilment.emits[0].topic is 'shipments', and there is no such topic; there is orders and orders.dlq"
        ],
    ),
    (
        "emits in a circle",
        [group("emits: {topic: orders}")],
        [
            "30: groups.fulfilment.emits[0] closes a circle: what fulfilment emits to orders makes fulfilment emit 1 times as much again, without end; add `hops: 3`, a smaller `share`, or another topic"
        ],
    ),
    (
        "emits in a circle of two",
        [
            ("  orders.dlq:", "  replies: {}\n  orders.dlq:"),
            group("emits: {topic: replies, per_event: 2}"),
            (
                "  analytics:\n",
                "  back: {topics: [replies], work: 1ms, emits: {topic: orders, share: 60%}, failures: {then: skip}}\n  analytics:\n",
            ),
        ],
        [
            "31: groups.fulfilment.emits[0] closes a circle: what fulfilment emits to replies makes fulfilment emit 1.2 times as much again, without end; add `hops: 3`, a smaller `share`, or another topic",
            "38: groups.back.emits[0] closes a circle: what back emits to orders makes back emit 1.2 times as much again, without end; add `hops: 3`, a smaller `share`, or another topic",
        ],
    ),
    (
        "effects of our own group",
        [group("effects: {topic: orders}")],
        [
            "30: groups.fulfilment.effects is where the user's own program tells its effects; add `external: true`, or remove it"
        ],
    ),
    (
        "commits of a share group",
        [group("share_group: true")],
        [
            "31: groups.fulfilment.commit does not go with `share_group: true`, whose members acknowledge events; it is after_event or after_batch"
        ],
    ),
    (
        "an order of a share group",
        [("    commit: {every: 1s}\n", "    share_group: true\n    workers: 2\n    ordered_by: key\n")],
        ["32: groups.fulfilment.ordered_by is 'key', and a share group keeps no order; write `ordered_by: none`"],
    ),
    (
        "retry topics of one try",
        [("retry: {attempts: 3, backoff: 20ms, factor: 2}", "retry: {attempts: 1, where: topic}")],
        [
            "33: groups.fulfilment.failures.retry.where is 'topic', and there is one try only, so nothing is ever tried again; raise `attempts`"
        ],
    ),
    (
        "a topic with the name of a retry topic",
        [("backoff: 20ms", "where: topic, backoff: 20ms"), ("  orders.dlq:", "  orders.retry.2: {}\n  orders.dlq:")],
        [
            "34: groups.fulfilment.failures.retry.where makes a topic 'orders.retry.2' of its own, and the file has one of that name; rename it"
        ],
    ),
    (
        "retry topics of two groups",
        [
            ("backoff: 20ms", "where: topic, backoff: 20ms"),
            ("failures: {then: skip}", "failures: {retry: {attempts: 2, where: topic}, then: skip}"),
        ],
        [
            "40: groups.analytics.failures.retry.where makes the topic 'orders.retry.1', and so does group fulfilment, which would try the events of both; use in_place in one of them"
        ],
    ),
    (
        "more retry topics than anyone wants",
        [("attempts: 3, backoff: 20ms", "attempts: 500, where: topic, backoff: 20ms")],
        [
            "33: groups.fulfilment.failures.retry.attempts is 500, and each try but the first has a topic of its own; at most 101, or use in_place"
        ],
    ),
    (
        "an autoscaler that does not begin in its bounds",
        [group("autoscaler: {lag: 100, max: 2}")],
        ["28: groups.fulfilment.members is 3, and the autoscaler keeps 1 to 2; begin with one of these"],
    ),
    (
        "an autoscaler upside down",
        [group("autoscaler: {lag: 100, min: 4, max: 2}")],
        ["30: groups.fulfilment.autoscaler has min 4 above max 2; exchange them"],
    ),
    (
        "a payload with a size",
        [producer("payload: {file: orders.jsonl}")],
        [
            "23: producers.shop.size is given beside `payload`, whose values have a size of their own; remove one of them"
        ],
    ),
    (
        "a payload of a kind that is none",
        [producer("payload: {csv: orders.csv}")],
        ["17: producers.shop.payload is {csv: 'orders.csv'}; it is {file: orders.jsonl} or {schema: order.avsc}"],
    ),
    (
        "a worth without a currency",
        [producer("worth: 12")],
        ["17: producers.shop.worth is 12; it is an amount with its currency, such as 12 EUR or 0.40 USD"],
    ),
    (
        "a day that is no day",
        [
            (
                "    arrivals:\n      - {for: 40s, rate: 200/s}\n      - {for: 20s, rate: [200/s, 300/s], spacing: even}\n",
                "    arrivals: {daily: [{for: 12h, rate: 200/s}, {for: 11h, rate: 100/s}]}\n",
            )
        ],
        ["18: producers.shop.arrivals[0] adds up to 23h; the parts of a day add up to 24h"],
    ),
    (
        "a day beside other parts",
        [("      - {for: 40s, rate: 200/s}\n", "      - {daily: [{for: 24h, rate: 200/s}]}\n")],
        [
            "18: producers.shop.arrivals mixes a recording or a day with other parts; each stands alone: arrivals: {trace: orders.parquet}, or arrivals: {daily: [{for: 12h, rate: 300/s}, {for: 12h, rate: 900/s}]}"
        ],
    ),
    (
        "a recording that is not there",
        [
            (
                "    arrivals:\n      - {for: 40s, rate: 200/s}\n      - {for: 20s, rate: [200/s, 300/s], spacing: even}\n",
                "    arrivals: {trace: none.parquet}\n",
            )
        ],
        ["18: producers.shop.arrivals[0] names the trace 'none.parquet', and there is no such file"],
    ),
    (
        "a sweep of one value",
        [section("sweep: {groups.fulfilment.members: 4}")],
        [
            "46: sweep['groups.fulfilment.members'] is 4; it is a list of values that the field takes in turn, such as [1, 2, 3, 6]"
        ],
    ),
    (
        "a sweep of a field that is none",
        [section("sweep: {groups.fulfilment.membrs: [1, 2]}")],
        [
            "46: sweep['groups.fulfilment.membrs'][0] is 1; with that groups.fulfilment.membrs is no field here; did you mean 'members'?"
        ],
    ),
    (
        "a sweep of a value that does not fit",
        [section("sweep: {groups.fulfilment.members: [3, 0]}")],
        ["46: sweep['groups.fulfilment.members'][1] is 0; with that groups.fulfilment.members is 0; it is at least 1"],
    ),
    (
        "a sweep whose value contradicts the rest",
        [section("sweep: {topics.orders.replication: [2, 3, 5]}")],
        [
            "46: sweep['topics.orders.replication'][2] is 5; with that topics.orders.replication is 5, and there are 3 nodes; a replica needs a broker of its own: at most 3"
        ],
    ),
    (
        "a system without its topics",
        [section("target: {cluster_id: abc, topics: []}")],
        ["46: target.topics is empty; it has at least one entry"],
    ),
]


@pytest.mark.parametrize(("changes", "lines"), [case[1:] for case in WRONG], ids=[case[0] for case in WRONG])
def test_what_does_not_fit_says_what_is_wrong_where_and_what_would_be_right(
    changes: list[Change], lines: list[str]
) -> None:
    assert complaints(changed(*changes)) == [f"small.yaml:{line}" for line in lines]


def test_a_circle_in_which_less_comes_round_than_went_in_is_fine() -> None:
    assert complaints(changed(group("emits: {topic: orders, share: 90%}"))) == []
    assert complaints(changed(group("emits: {topic: orders, per_event: 3, hops: 2}"))) == []


def test_two_groups_may_have_retry_topics_of_different_topics() -> None:
    other = ("  analytics:\n    topics: [orders]", "  analytics:\n    topics: [orders.dlq]")
    both = ("failures: {then: skip}", "failures: {retry: {attempts: 2, where: topic}, then: skip}")

    assert complaints(changed(("backoff: 20ms", "where: topic, backoff: 20ms"), other, both)) == []
