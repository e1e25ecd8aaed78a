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
