"""The scenario that `eventdrill init` writes: short, commented, valid, and ready to run in both engines."""

import re

from scenarios.errors import Problem, ScenarioError

_TEXT = """\
# A scenario says what should happen; EventDrill simulates it, drives it on real brokers, and compares the two.
#   eventdrill check {name}.yaml       is it right, and what is worth a second look
#   eventdrill simulate {name}.yaml    what the model predicts, in seconds
#   eventdrill verify {name}.yaml      predicts it, drives it on a local Kafka, and judges the difference
# A quantity carries its unit: 250ms 5s 2m, 600/s, 400B 16KiB, 0.1%. All fields: `eventdrill schema`.

scenario: {name}
seed: 1                       # the same seed gives the same events; --seed changes it
about: A member of the group dies under steady load. How long do its partitions wait, and is anything lost or done twice?
duration: 40s                 # how long the load runs
warm_up: 5s                   # of it, not counted
drain: 60s                    # longest wait for the groups to finish afterwards

brokers:
  kind: kafka
  nodes: 3
  settings: {{broker.session.timeout.ms: 9000}}   # native names, as in server.properties

topics:
  orders:
    partitions: 6
    replication: 3
    settings: {{min.insync.replicas: 2}}      # with acks: all, one lost broker loses nothing
  orders.dlq:
    partitions: 1
    replication: 3

producers:
  shop:
    topic: orders
    count: 2                  # processes
    settings: {{acks: all, enable.idempotence: true, linger.ms: 5}}
    arrivals:                 # or: 200/s          or: {{rate: 200/s, spacing: even}}
      - {{for: 10s, rate: 150/s}}
      - {{for: 10s, rate: [150/s, 200/s]}}     # a ramp
      - {{for: 20s, rate: 200/s}}              # the parts add up to the duration
    key: {{uniform: 500}}       # none | {{uniform: n}} | {{zipf: {{values: n, exponent: 1.1}}}} | {{hot: {{share: 40%, values: n}}}} | sequence
    size: {{lognormal: {{mean: 400B, cv: 0.5}}}}
    event: OrderPlaced
    poison: 0.1%              # events that no handler can ever process

groups:
  fulfilment:
    topics: [orders]
    members: 3
    settings: {{session.timeout.ms: 6000, heartbeat.interval.ms: 2000}}
    work: {{lognormal: {{mean: 2ms, cv: 0.5}}}}  # time a handler needs per try
    commit: {{every: 1s}}       # auto | after_event | after_batch | before_work | {{every: 1s}}
    failures:
      retry: {{attempts: 3, backoff: 20ms, factor: 2}}   # attempts counts all tries
      then: dead_letter       # dead_letter | skip | stop
      dead_letter: orders.dlq

faults:                       # broker_crash, broker_stop, member_crash, member_leave, slow_work, failing_work, poison, surge
  - {{fault: member_crash, member: fulfilment/2, at: 15s, for: 15s}}

objectives:
  fast: {{indicator: latency, of: fulfilment, below: 500ms, target: 90%, period: 30d}}

expect:                       # what must hold; `eventdrill list` names the indicators
  - lost == 0
  - passed == 0
  - gap[orders] < 15s         # the dead member's session (6 s) and a rebalance
  - "dead_lettered[fulfilment] < 50"         # inside [...] an expectation with brackets is quoted
"""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}\Z")


def template(name: str = "my-scenario") -> str:
    """Return the text of a commented scenario to start from; raise ScenarioError for a name that is none."""
    if not _NAME.match(name):
        message = f"{name!r} is no name for a scenario; use letters, digits, `.`, `_` and `-`"
        raise ScenarioError("init", [Problem("", message)])
    return _TEXT.format(name=name)
