"""What the live driver costs per event, and how punctual it is, against its peers on the same brokers in the same run.

`python benchmarks/bench_driver.py [embedded|local] [cost|late|peers|memory ...]`; without arguments everything.
"""

import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from eventdrill.workflows.places import Place, spec_of, start_cluster
from loadgen.clusters.jars import local_repository, read_lock
from loadgen.clusters.java import find_java
from loadgen.clusters.model import Cluster
from loadgen.engine import drive
from rundata.dataset import RunWriter
from rundata.rows import Kind
from rundata.tables import RunData
from scenarios.files import load_text
from scenarios.plan import make_plan
from scenarios.yaml_text import write_yaml

EVENTS = 1_000_000
HERE = Path(__file__).parent


def scenario(
    rate: str, spacing: str = "poisson", duration: str = "10s", members: int = 0, work: str = "0ms"
) -> dict[str, Any]:
    """Return one producer of 100 B events, and perhaps a group."""
    found: dict[str, Any] = {
        "scenario": "driver",
        "duration": duration,
        "drain": "60s",
        "brokers": {"kind": "kafka", "nodes": 1},
        "topics": {"events": {"partitions": 1, "replication": 1}},
        "producers": {
            "source": {
                "topic": "events",
                "arrivals": {"rate": rate, "spacing": spacing},
                "key": {"uniform": 1000},
                "size": "100B",
                "settings": {"acks": 1, "queue.buffering.max.messages": 5_000_000, "linger.ms": 5},
            }
        },
    }
    if members:
        found["groups"] = {"sink": {"topics": ["events"], "members": members, "work": work, "commit": {"every": "1s"}}}
    return found


def driven(place: Place, described: dict[str, Any]) -> RunData:
    loaded = load_text(write_yaml(described), "the benchmark's scenario")
    plan = make_plan(loaded.scenario)
    with tempfile.TemporaryDirectory(prefix="bench-", dir="/dev/shm") as folder:
        writer = RunWriter(Path(folder) / "run", plan, text=loaded.text)
        with start_cluster(place, spec_of(loaded.scenario), lambda _text: None) as cluster:
            return drive(loaded, plan, cluster, writer, progress=lambda _state: None, warm=False)


def seconds_of(run: RunData, kind: Kind) -> float:
    """Return from the first such operation to the end of the last one that ended."""
    rows = run.operations[run.operations["kind"] == kind]
    ended = rows["ended_ns"][rows["ended_ns"] < np.iinfo(np.int64).max]
    return float(ended.max() - rows["started_ns"].min()) / 1e9


def cost(place: Place) -> None:
    """Everything at once: how much CPU of the Python thread an event takes, and how many go through a second."""
    run = driven(place, scenario("250000/s", "even", "4s"))
    cpu, events = run.about["driver"]["thread_cpu_s"]["source/1"], len(run.plan)
    rate = events / seconds_of(run, Kind.send)
    print(f"{place}: produced with their rows: {cpu / events * 1e6:.2f} us of the thread each, {rate:,.0f}/s")
    run = driven(place, scenario("60000/s", "even", "6s", members=1))
    cpu = run.about["driver"]["thread_cpu_s"]["sink/1"]
    deliveries = int(np.count_nonzero(run.operations["kind"] == Kind.delivery))
    rate = deliveries / seconds_of(run, Kind.delivery)
    print(f"{place}: consumed with their rows: {cpu / deliveries * 1e6:.2f} us of the thread each, {rate:,.0f}/s")


def late(place: Place) -> None:
    """Poisson schedules: how late the sends went out."""
    for rate in (100, 1_000, 10_000, 30_000, 100_000)[: 5 if place == "embedded" else 4]:
        run = driven(place, scenario(f"{rate}/s", duration="6s"))
        limits, cpu = run.about["driver"], run.about["driver"]["thread_cpu_s"]["source/1"]
        p50, p99, most = (limits[f"lateness_{q}_ns"] / 1e6 for q in ("p50", "p99", "max"))
        print(
            f"{place}: Poisson {rate:,}/s: late p50 {p50:.2f}, p99 {p99:.2f}, max {most:.1f} ms; {cpu / 6:.0%} of a core"
        )


def memory(place: Place) -> None:
    """An hour's worth of events at 1,500/s in 90 s: what each process has in memory after a tenth, and at the end of the load."""
    run = driven(place, scenario("60000/s", "even", "90s", members=1))
    counts = {kind: int(np.count_nonzero(run.operations["kind"] == kind)) for kind in (Kind.send, Kind.delivery)}
    print(f"{place}: {counts[Kind.send]:,} events sent, {counts[Kind.delivery]:,} delivered")
    for name in ("source/1", "sink/1", "driver"):
        sizes = [(g.time_ns, g.value / 2**20) for g in run.gauges if g.name == "own_bytes" and g.where == name]
        tenth = next(size for at_ns, size in sizes if at_ns > 9e9)
        last = [size for at_ns, size in sizes if at_ns < 90e9][-1]
        print(f"{place}: {name}: {tenth:.0f} MiB after a tenth, {last:.0f} MiB at the end of the load")


# ---- peers ---------------------------------------------------------------------------------------------------------


def peers(place: Place) -> None:
    """The same 100 B events, as fast as they go: a bare loop of the client, Kafka's own tools, and Locust's usual user."""
    loaded = load_text(write_yaml(scenario("1/s")), "the benchmark's scenario")
    with start_cluster(place, spec_of(loaded.scenario), lambda _text: None) as cluster:
        create(cluster, "bare", "locust")
        bare_producer(place, cluster)
        bare_consumer(place, cluster)
        locust_user(place, cluster)
        if place == "local":
            create(cluster, "tools")
            kafka_tools(cluster)


def create(cluster: Cluster, *names: str) -> None:
    if cluster.implementation == "librdkafka-mock":
        for name in names:
            cluster.create_topic(name, 1, 1, leaders=[1])  # type: ignore[attr-defined]  # it has no admin API
        return
    admin = AdminClient({"bootstrap.servers": cluster.bootstrap})
    for done in admin.create_topics([NewTopic(name, 1, 1) for name in names]).values():
        done.result(20)
    time.sleep(1)


def bare_producer(place: Place, cluster: Cluster) -> None:
    client = Producer(
        {"bootstrap.servers": cluster.bootstrap, "acks": 1, "linger.ms": 5, "queue.buffering.max.messages": 2_000_000}
    )
    client.list_topics("bare", timeout=10)
    told = [0]

    def acknowledged(_error: object, _message: object) -> None:
        told[0] += 1

    value, cpu, began = b"x" * 100, time.thread_time(), time.perf_counter()
    for number in range(EVENTS):
        if number % 64 == 0:
            client.poll(0)
        client.produce("bare", value, on_delivery=acknowledged)
    client.flush(60)
    cpu, seconds = time.thread_time() - cpu, time.perf_counter() - began
    print(
        f"{place}: bare confluent-kafka, produced: {cpu / EVENTS * 1e6:.2f} us of the thread each, {EVENTS / seconds:,.0f}/s"
    )


def bare_consumer(place: Place, cluster: Cluster) -> None:
    client = Consumer({"bootstrap.servers": cluster.bootstrap, "group.id": "bare", "auto.offset.reset": "earliest"})
    client.assign([TopicPartition("bare", 0, 0)])
    while not client.consume(1, 1.0):
        pass
    seen, cpu, began = 1, time.thread_time(), time.perf_counter()
    while batch := client.consume(500, 1.0):
        seen += len(batch)
        last = time.perf_counter()
    cpu = time.thread_time() - cpu
    client.close()
    print(
        f"{place}: bare confluent-kafka, consumed: {cpu / seen * 1e6:.2f} us of the thread each, {seen / (last - began):,.0f}/s"
    )


def locust_user(place: Place, cluster: Cluster) -> None:
    """The usual Kafka user of Locust: each task sends one event, flushes, and fires a request."""
    environment = {**os.environ, "BENCH_BOOTSTRAP": cluster.bootstrap}
    command = [sys.executable, "-m", "locust", "-f", str(HERE / "peer_locustfile.py"), "--headless"]
    command += ["-u", "10", "-r", "10", "-t", "8s", "--only-summary", "--loglevel", "ERROR"]
    seconds, said = timed(lambda: subprocess.run(command, env=environment, capture_output=True, text=True, check=False))
    row = next(line for line in (said.stdout + said.stderr).splitlines() if line.startswith("KAFKA"))
    count = int(row.split()[2])
    print(
        f"{place}: Locust's usual Kafka user, 10 users: {seconds / count * 1e6:,.0f} us of CPU each, {count / 8:,.0f}/s"
    )


def kafka_tools(cluster: Cluster) -> None:
    """kafka-producer-perf-test and kafka-consumer-perf-test; their CPU is the whole process's."""
    lock = read_lock(cluster.version)
    tools = next((local_repository() / f"org/apache/kafka/kafka-tools/{cluster.version}").glob("*.jar"), None)
    if tools is None:
        print(
            "kafka-tools is not in the local Maven repository: mvn dependency:get -Dartifact=org.apache.kafka:kafka-tools:VERSION"
        )
        return
    java = [str(find_java().program), "-cp", f"{tools}:{lock.directory}/libs/*"]
    produce = ["org.apache.kafka.tools.ProducerPerformance", "--topic", "tools", "--num-records", str(EVENTS)]
    produce += ["--record-size", "100", "--throughput", "-1", "--producer-props"]
    produce += [f"bootstrap.servers={cluster.bootstrap}", "acks=1"]
    report("kafka-producer-perf-test", [*java, *produce], -1)
    consume = [
        "org.apache.kafka.tools.ConsumerPerformance",
        "--bootstrap-server",
        cluster.bootstrap,
        "--topic",
        "tools",
    ]
    report("kafka-consumer-perf-test", [*java, *consume, "--messages", str(EVENTS)], -1)


def report(name: str, command: list[str], line: int) -> None:
    seconds, said = timed(lambda: subprocess.run(command, capture_output=True, text=True, check=False))
    words = [text for text in said.stdout.splitlines() if text.strip()]
    print(
        f"local: {name}: {seconds / EVENTS * 1e6:.2f} us of CPU each, all threads; it says: {words[line] if words else said.stderr}"
    )


def timed(work: Callable[[], subprocess.CompletedProcess[str]]) -> tuple[float, subprocess.CompletedProcess[str]]:
    """Return the CPU that a child took, and what it said."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    said = work()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, said


PLACES: tuple[Place, ...] = ("embedded", "local")
PARTS: dict[str, Callable[[Place], None]] = {"cost": cost, "late": late, "peers": peers, "memory": memory}


def main() -> None:
    asked = sys.argv[1:]
    places = [place for place in PLACES if place in asked] or list(PLACES)
    for place in places:
        for name, part in PARTS.items():
            if name in asked or not set(asked) & set(PARTS):
                part(place)


if __name__ == "__main__":
    main()
