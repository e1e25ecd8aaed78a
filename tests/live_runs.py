"""Small scenarios driven for real, for the tests of the live driver."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from confluent_kafka import Consumer, TopicPartition
from numpy.typing import NDArray

from eventdrill.workflows import places
from loadgen.clusters.embedded import EmbeddedKafka, start_embedded
from loadgen.clusters.local import start_local
from loadgen.clusters.model import Cluster, ClusterSpec
from loadgen.control_link import Fleet, Ui
from loadgen.engine import drive
from loadgen.recorder import Progress
from rundata.dataset import RunWriter
from rundata.rows import Kind
from rundata.tables import RunData
from scenarios.files import LoadedScenario, load_text
from scenarios.plan import make_plan

SMALL = """\
scenario: small
seed: 3
duration: 4s
warm_up: 1s
drain: 10s
brokers: {kind: kafka, nodes: 3, settings: {group.initial.rebalance.delay.ms: 100, group.min.session.timeout.ms: 1000}}
topics:
  orders: {partitions: 4, replication: 3}
  orders.dlq: {partitions: 1, replication: 3}
producers:
  shop:
    topic: orders
    count: 2
    settings: {acks: all, enable.idempotence: true, linger.ms: 5}
    arrivals: 200/s
    key: {uniform: 100}
    size: {lognormal: {mean: 400B, cv: 0.5}}
    event: OrderPlaced
    poison: 1%
groups:
  fulfilment:
    topics: [orders]
    members: 2
    work: 1ms
    commit: {every: 1s}
    settings: {session.timeout.ms: 2000, heartbeat.interval.ms: 300}
    failures:
      transient: {chance: 2%, attempts: 1}
      retry: {attempts: 3, backoff: 20ms, factor: 2}
      then: dead_letter
      dead_letter: orders.dlq
"""


def silent(_progress: Progress) -> None:
    """Show nothing."""


def load(text: str = SMALL, settings: Sequence[str] = ()) -> LoadedScenario:
    return load_text(text, "the test's scenario", settings)


def spec_of(loaded: LoadedScenario) -> ClusterSpec:
    return places.spec_of(loaded.scenario)


def start(loaded: LoadedScenario) -> EmbeddedKafka:
    return start_embedded(spec_of(loaded), progress=print, move_after_s=1.0)


CLIENTS = ("librdkafka", "java")


@contextmanager
def start_for(client: str, loaded: LoadedScenario, log_dir: Path) -> Iterator[Cluster]:
    """Start the least cluster that a client speaks with: the embedded one, or for Java a real Kafka."""
    if client == "librdkafka":
        with start(loaded) as embedded:
            yield embedded
    else:
        with start_local(spec_of(loaded), progress=print, log_dir=log_dir) as kafka:
            yield kafka


def drive_on(
    cluster: Cluster,
    loaded: LoadedScenario,
    folder: Path,
    *,
    progress: Callable[[Progress], None] = silent,
    ui: Ui | None = None,
    fleet: Fleet | None = None,
    warm_s: float = 0.0,
) -> RunData:
    plan = make_plan(loaded.scenario)
    writer = RunWriter(folder, plan, text=loaded.text)
    return drive(loaded, plan, cluster, writer, progress=progress, ui=ui, fleet=fleet, warm=warm_s > 0, warm_s=warm_s)


def drive_embedded(loaded: LoadedScenario, folder: Path, **options: Any) -> RunData:
    with start(loaded) as cluster:
        return drive_on(cluster, loaded, folder, **options)


def values_of_orders(cluster: Cluster) -> list[bytes]:
    """Return what lies in the two partitions of topic orders."""
    reader = Consumer({"bootstrap.servers": cluster.bootstrap, "group.id": "r", "auto.offset.reset": "earliest"})
    reader.assign([TopicPartition("orders", number, 0) for number in (0, 1)])
    values = [each.value() or b"" for each in reader.consume(1000, 3)]
    reader.close()
    return values


def rows_of(run: RunData, kind: Kind, **where: int) -> NDArray[np.void]:
    rows = run.operations[run.operations["kind"] == kind]
    for name, value in where.items():
        rows = rows[rows[name] == value]
    return rows


def group_code(run: RunData, name: str) -> int:
    return run.names.groups.index(name)


def facts(run: RunData) -> Mapping[str, Any]:
    return run.about
