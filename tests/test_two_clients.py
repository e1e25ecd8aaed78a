"""One scenario with either client in both engines: what differs between the clients comes out alike, and one page shows it."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from live_runs import drive_on, load, rows_of, spec_of
from loadgen.clusters.local import start_local
from parsed_page import Parsed
from reports.contents import contents
from reports.page import render
from rundata.checks import check
from rundata.indicators import measure
from rundata.rows import Kind, Outcome
from rundata.run import Run
from rundata.tables import RunData
from scenarios.files import LoadedScenario
from scenarios.plan import make_plan
from scenarios.profiles import load_profile
from sim.engine import simulate

pytestmark = pytest.mark.live

SCENARIO = """\
scenario: either-client
seed: 2
duration: 14s
drain: 40s
brokers: {kind: kafka, nodes: 3, settings: {group.initial.rebalance.delay.ms: 100, group.min.session.timeout.ms: 1000}}
topics: {orders: {partitions: 6, replication: 3}, slips: {partitions: 1, replication: 3}}
producers:
  shop:
    topic: orders
    arrivals: [{for: 2s, rate: 60/s}, {for: 500ms, rate: 1200/s}, {for: 11500ms, rate: 60/s}]
    key: {uniform: 500}
    settings: {acks: all, enable.idempotence: true}
  till: {topic: slips, arrivals: 40/s, size: 2000B, settings: {acks: all, enable.idempotence: true, queue.buffering.max.messages: 32}}
groups:
  mails:
    topics: [orders]
    members: 2
    work: 9ms
    commit: auto
    settings: {session.timeout.ms: 2000, heartbeat.interval.ms: 300, auto.commit.interval.ms: 200}
faults:
  - {fault: member_crash, member: mails/1, at: 3700ms, for: 1s}
  - {fault: broker_pause, broker: leader of slips/0, at: 8s, for: 5s}
"""
JAVA = (
    "producers.shop.client=java",
    "producers.till.client=java",
    "producers.till.settings={acks: all, buffer.memory: 65536}",
    "groups.mails.client=java",
)
Four = dict[tuple[str, str], RunData]


def loaded_for(client: str) -> LoadedScenario:
    return load(SCENARIO, JAVA if client == "java" else ())


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Four]:
    """Each client, simulated and driven on the same brokers."""
    found: Four = {}
    with start_local(spec_of(load(SCENARIO)), progress=print, log_dir=tmp_path_factory.mktemp("logs")) as cluster:
        for client in ("librdkafka", "java"):
            loaded = loaded_for(client)
            found[client, "simulated"] = simulate(make_plan(loaded.scenario), load_profile("local-kafka"))
            folder: Path = tmp_path_factory.mktemp(client) / "run"
            found[client, "driven"] = drive_on(cluster, loaded, folder, warm_s=5)
        yield found


BOTH = [(client, engine) for client in ("librdkafka", "java") for engine in ("simulated", "driven")]


@pytest.mark.parametrize(("client", "engine"), BOTH)
def test_each_run_breaks_no_rule_that_its_client_keeps(runs: Four, client: str, engine: str):
    run = runs[client, engine]

    assert Run(run).complete
    assert {name: found.examples for name, found in check(run).items() if not found.valid} == {}


@pytest.mark.parametrize("client", ["librdkafka", "java"])
def test_each_event_lies_in_the_partition_that_was_predicted(runs: Four, client: str):
    """By key, in both engines; of six partitions the clients agree about one key in six."""
    where = {engine: partitions(runs[client, engine]) for engine in ("simulated", "driven")}
    other = partitions(runs["java" if client == "librdkafka" else "librdkafka", "driven"])

    assert where["simulated"].tolist() == where["driven"].tolist()
    assert 0.1 < np.mean(where["driven"] == other) < 0.25


def partitions(run: RunData) -> NDArray[np.int64]:
    """Return by event of `shop` where it lies."""
    own = run.log[(run.log["topic"] == run.names.topics.index("orders")) & (run.log["event_id"] >= 0)]
    found = np.full(len(run.plan), -1)
    found[own["event_id"]] = own["partition"]
    return found[run.plan.producer == run.plan.producers.index("shop")]


@pytest.mark.parametrize("engine", ["simulated", "driven"])
def test_a_crash_in_mid_batch_loses_with_librdkafka_and_repeats_with_java(runs: Four, engine: str):
    """Some hundred events are in the killed member's hands, and what librdkafka handed over is committed within 200 ms, or later on a busy machine."""
    rdk, java = (measure(runs[client, engine]) for client in ("librdkafka", "java"))

    assert rdk["passed"].value > {"simulated": 20, "driven": 0}[engine]
    assert java["passed"].value == 0
    assert java["duplicate_effects"].value > 0


@pytest.mark.parametrize("engine", ["simulated", "driven"])
def test_a_full_buffer_refuses_with_librdkafka_and_blocks_with_java(runs: Four, engine: str):
    """40 events a second for 5 s are 200, of which 32 have room: the others are refused at once, or handed over when the leader goes on."""
    rdk, java = runs["librdkafka", engine], runs["java", engine]
    refused = rows_of(rdk, Kind.send, outcome=Outcome.failed)
    late_s = {name: lateness_s(run) for name, run in (("librdkafka", rdk), ("java", java))}

    assert 120 < len(refused) < 200
    assert len(rows_of(java, Kind.send, outcome=Outcome.failed)) == 0
    assert late_s["librdkafka"] < 1
    assert 3 < late_s["java"] < 5.5


def lateness_s(run: RunData) -> float:
    """Return how late the latest event of `till` was handed to its client."""
    sends = rows_of(run, Kind.send, process=run.names.processes.index("till/1"))
    return float((sends["started_ns"] - sends["intended_ns"]).max()) / 1e9


def test_one_page_shows_the_four_side_by_side(runs: Four):
    page = render(contents([Run(runs[each]) for each in BOTH]))

    assert Parsed(page).problems == []
    assert "What differs between the runs" in page
    for words in ("murmur2", "crc32", "what earlier polls handed over", "what was handed over, finished or not"):
        assert words in page
