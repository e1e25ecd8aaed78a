"""A small valid scenario that tests change in one place, and what comes of it."""

from scenarios.errors import ScenarioError
from scenarios.files import load_text
from scenarios.schema import Scenario

GOOD = """\
scenario: small
seed: 1
duration: 60s
warm_up: 5s
drain: 30s

brokers: {kind: kafka, nodes: 3}

topics:
  orders: {partitions: 6, replication: 3, settings: {min.insync.replicas: 2}}
  orders.dlq: {partitions: 1, replication: 3}

producers:
  shop:
    topic: orders
    count: 2
    settings: {acks: all, enable.idempotence: true, linger.ms: 5}
    arrivals:
      - {for: 40s, rate: 200/s}
      - {for: 20s, rate: [200/s, 300/s], spacing: even}
    key: {zipf: {values: 1000, exponent: 0.5}}
    size: {lognormal: {mean: 400B, cv: 0.5}}
    poison: 0.1%

groups:
  fulfilment:
    topics: [orders]
    members: 3
    work: {lognormal: {mean: 2ms, cv: 0.5}}
    commit: {every: 1s}
    failures:
      transient: {chance: 0.2%, attempts: 1}
      retry: {attempts: 3, backoff: 20ms, factor: 2}
      then: dead_letter
      dead_letter: orders.dlq
  analytics:
    topics: [orders]
    members: 2
    work: 1ms
    failures: {then: skip}

faults:
  - {fault: broker_crash, broker: leader of orders/0, at: 20s, for: 15s}
  - {fault: slow_work, group: fulfilment, factor: 4, at: 45s, for: 5s}

objectives:
  fast: {indicator: latency, of: fulfilment, below: 500ms, target: 99%, period: 30d}

expect:
  - lost == 0
  - gap[orders] < 13s
  - drain_time[fulfilment, slow_work] < 20s

agreement: {"latency[before faults].p50": 15%}
"""


def changed(*changes: tuple[str, str]) -> str:
    """Return the good text with each first occurrence replaced."""
    text = GOOD
    for old, new in changes:
        assert old in text, f"the good scenario holds no {old!r}"
        text = text.replace(old, new, 1)
    return text


def small(*changes: tuple[str, str]) -> Scenario:
    """Return the good scenario, changed."""
    return load_text(changed(*changes), "small.yaml").scenario


def complaints(text: str) -> list[str]:
    """Return the lines of the error that a text gets, or none."""
    try:
        load_text(text, "small.yaml")
    except ScenarioError as error:
        return str(error).splitlines()
    return []


WHOLE = """\
scenario: whole
duration: 10m
drain: 60s
owner: team-orders
brokers: {kind: kafka, nodes: 3, racks: [a, b, c], controllers: separate, version: 4.2}
topics:
  orders: {partitions: 6, replication: 3, owner: shop, runbook: 'https://example.org/orders'}
  shipments: {partitions: 3}
  orders.dlq: {}
  done: {}
producers:
  shop:
    topic: orders
    count: 2
    arrivals: 100/s
    key: {uniform: 100}
    event: OrderPlaced
    worth: 12.50 EUR
  till: {topic: orders, arrivals: 10/s, payload: {file: orders.jsonl}}
  kiosk: {topic: orders, arrivals: 10/s, external: true}
  app: {topic: shipments, arrivals: 10/s, payload: {schema: order.avsc}}
groups:
  fulfilment:
    topics: [orders]
    members: 3
    work: 2ms
    workers: 4
    in_hand: 100
    ordered_by: key
    commit: transaction
    failures:
      retry: {attempts: 3, backoff: 1s, factor: 10, where: topic}
      then: dead_letter
      dead_letter: orders.dlq
    dedupe: {window: 10m, store: member}
    calls:
      - payments
      - {dependency: stock, timeout: 200ms, breaker: {opens_after: 10, stays_open: 5s, probes: 2, while_open: wait}}
    emits:
      topic: shipments
      event: ShippingScheduled
      per_event: 2
      share: 50%
      size: {exponential: 300B}
      poison: 1%
      settings: {acks: all}
      outbox: {every: 200ms}
      worth: 1 EUR
    autoscaler: {lag: 1000, min: 1, max: 6, poll: 10s, cooldown: 1m, start_up: 5s}
  shipping:
    topics: [shipments]
    work: 1ms
    share_group: true
    emits:
      - {topic: done, share: 10%}
      - {topic: shipments, hops: 2}
  theirs: {topics: [done], work: 1ms, external: true, effects: {file: effects.jsonl}, dedupe: none}
  ours: {topics: [done], work: 1ms, external: true, effects: {topic: done}, calls: payments}
dependencies:
  payments: {takes: {lognormal: {mean: 20ms, cv: 1}}, rate: 200/s, burst: 20, concurrency: 10, over: refuse, fails: 0.1%}
  stock: {takes: 1ms, owner: team-stock}
faults:
  - {fault: broker_crash, rack: a, at: 10s, for: 5s, name: a rack dies}
  - {fault: broker_stop, broker: 1, at: [30s, 60s], for: 5s}
  - {fault: broker_pause, broker: leader of orders/0, every: 2m, for: 5s}
  - {fault: rolling_restart, at: 70s, for: 5s, pause: 8s, brokers: [3, 1]}
  - {fault: cut, between: [clients, broker 1], at: 10s, for: 5s, mode: reset, direction: to}
  - {fault: cut, name: blind, between: [broker 2, controller], at: 10s, for: 5s, channel: heartbeat}
  - {fault: cut, name: alone, between: [leader of orders/0, brokers], at: 10s, for: 5s}
  - {fault: slow_link, between: [rack a, rack b], delay: 50ms, jitter: 10ms, bandwidth: 1MiB/s, at: 10s, for: 5s}
  - {fault: producer_crash, producer: shop/2, at: 10s, for: 5s}
  - {fault: producer_pause, producer: shop, random: {mean_between: 5m, mean_for: 2s}}
  - {fault: surge, producer: shop, factor: 2, random: {mean_between: 5m}, for: 10s}
  - {fault: member_crash, member: fulfilment/1, at: 10s, for: 5s}
  - {fault: member_pause, member: fulfilment/2, at: 10s, for: 5s}
  - {fault: member_leave, member: fulfilment/3, at: 10s, for: 5s}
  - {fault: rolling_deploy, group: fulfilment, at: 100s, for: 2s, pause: 1s}
  - {fault: slow_work, group: fulfilment, factor: 2, plus: 1ms, at: 10s, for: 5s}
  - {fault: failing_work, group: fulfilment, share: 50%, at: 10s, for: 5s}
  - {fault: poll_stall, member: fulfilment/1, at: 20s, for: 5s}
  - {fault: poison, producer: shop, events: 3, at: 10s, for: 5s}
  - {fault: duplicates, producer: shop, share: 1%, after: 2s, at: 10s, for: 5s}
  - {fault: oversized, producer: shop, events: 3, size: 3MiB, at: 10s, for: 5s}
  - {fault: late, producer: shop, share: 10%, by: {uniform: [1s, 5s]}, at: 10s, for: 5s}
  - {fault: schema_change, producer: shop, version: 2, breaks: [fulfilment], share: 20%, at: 10s, for: 5s}
  - {fault: schema_change, name: for good, producer: shop, version: 3, at: 10s}
  - {fault: leader_move, partition: orders/0, to: 2, at: 10s}
  - {fault: leader_move, name: back and forth, partition: orders/1, every: 1m, for: 10s}
  - {fault: retention, topic: orders, to: 10s, at: 10s, for: 5s}
  - {fault: delete_records, topic: orders, at: 10s}
  - {fault: delete_records, name: old ones, partition: orders/1, up_to: 5s, at: 10s}
  - {fault: reassign, partition: orders/0, to: [2, 3, 1], at: 10s}
  - {fault: add_partitions, topic: orders, to: 12, at: 10s}
  - {fault: dependency_down, dependency: payments, at: 10s, for: 5s}
  - {fault: dependency_slow, dependency: stock, factor: 10, plus: 5ms, at: 10s, for: 5s}
  - {fault: throttle, producer: shop, rate: 100kB/s, at: 10s, for: 5s}
  - {fault: disk_stall, broker: 1, at: 10s, for: 5s}
  - {fault: disk_full, broker: follower of orders/0, at: 10s, for: 5s}
  - {fault: host_crash, rack: b, at: 10s, for: 5s}
  - {fault: clock_skew, broker: 1, by: -5s, at: 10s, for: 5s}
  - {fault: clock_skew, name: fast, producer: shop, by: 5s, at: 10s, for: 5s}
  - {fault: hook, begin: ./hurt.sh, end: ./mend.sh, probe: ./is-hurt.sh, at: 10s, for: 5s}
actions:
  - {action: replay, group: fulfilment, from: 5m, rate: 100/s, at: 8m}
  - {action: replay, name: all of it, group: fulfilment, from: earliest, at: 8m}
  - {action: redrive, from: orders.dlq, to: orders, rate: 10/s, most: 2, every: 3m}
  - {action: reset_offsets, group: fulfilment, to: 1000, topic: orders, at: 9m}
  - {action: scale, group: fulfilment, to: 6, at: 60s, for: 60s}
  - action: deploy
    group: fulfilment
    version: v2
    canary: 30%
    watch: 20s
    rollback_if: errors[fulfilment] > 5%
    work: {exponential: 3ms}
    fails: 20%
    decodes: 2
    at: 5m
sweep: {groups.fulfilment.members: [3, 4, 6], "topics['orders'].partitions": [6, 9]}
target: {cluster_id: MkU3OEVBNTcwNTJENDM2Qg, topics: [drill-*], harm: allowed}
expect: [lost == 0]
"""
"""A scenario with every fault, action and field of the format."""
