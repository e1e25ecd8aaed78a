"""What the Java producer costs per event, and how punctual it is, against kafka-producer-perf-test on the same brokers at the same rate.

`python benchmarks/bench_java.py [RATE]`; 100 B events, one record each. CPU is that of whole processes, their start included.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

from bench_driver import create, timed

from eventdrill.workflows.places import spec_of, start_cluster
from loadgen.clusters.archive import class_path
from loadgen.clusters.jars import parse_lock, prepare_jars, read_lock
from loadgen.clusters.java import find_java
from loadgen.clusters.model import Cluster
from loadgen.engine import drive
from rundata.dataset import RunWriter
from rundata.tables import RunData
from scenarios.files import LoadedScenario, load_text
from scenarios.plan import make_plan

SCENARIO = """\
scenario: java-producer
duration: 20s
drain: 60s
brokers: {kind: kafka, nodes: 1}
topics: {events: {partitions: 1, replication: 1}}
producers:
  source: {topic: events, client: java, arrivals: {rate: RATE/s, spacing: SPACING}, size: 100B, settings: {acks: 1, linger.ms: 5}}
"""
TOOLS = Path(__file__).parent / "kafka-tools-4.2.1.lock"


def main() -> None:
    rate = int(sys.argv[1]) if len(sys.argv) > 1 else 50_000
    lock = parse_lock("4.2.1", TOOLS.read_text(), "Kafka tools")
    tools = [*prepare_jars(lock, print), *prepare_jars(read_lock("4.2.1"), print)]
    loaded = load_text(SCENARIO.replace("RATE", str(rate)).replace("SPACING", "poisson"), "the benchmark's scenario")
    plan = make_plan(loaded.scenario)
    with (
        tempfile.TemporaryDirectory(prefix="bench-", dir="/dev/shm") as folder,
        start_cluster("local", spec_of(loaded.scenario), lambda _text: None) as cluster,
    ):
        create(cluster, "tools")
        command = [str(find_java().program), "-cp", class_path(tools), "org.apache.kafka.tools.ProducerPerformance"]
        command += [
            "--topic",
            "tools",
            "--num-records",
            str(len(plan)),
            "--record-size",
            "100",
            "--throughput",
            str(rate),
        ]
        command += ["--producer-props", f"bootstrap.servers={cluster.bootstrap}", "acks=1", "linger.ms=5"]
        peer_s, done = timed(lambda: subprocess.run(command, capture_output=True, text=True, check=True))
        said = done.stdout.splitlines()[-1]
        print(
            f"kafka-producer-perf-test at {rate:,}/s: {peer_s / len(plan) * 1e6:.2f} us of CPU an event; it says: {said}"
        )
        cold, warm = (
            driven(cluster, loaded, Path(folder) / name, warm_s) for name, warm_s in (("cold", 0.0), ("warm", 15.0))
        )
    own_s = cold.about["driver"]["process_cpu_s"]["source/1"]
    share = own_s / peer_s
    print(f"Java producer at {rate:,}/s: {own_s / len(plan) * 1e6:.2f} us of CPU an event, {share:.2f} of the peer's")
    told = warm.about["driver"]
    late = ", ".join(f"{q} {told[f'lateness_{q}_ns'] / 1e6:.2f}" for q in ("p50", "p99", "max"))
    print(f"Java producer at {rate:,}/s, Poisson, warm: late {late} ms; invalid: {warm.about['invalid'] or 'no'}")


def driven(cluster: Cluster, loaded: LoadedScenario, folder: Path, warm_s: float) -> RunData:
    plan = make_plan(loaded.scenario)
    writer = RunWriter(folder, plan, text=loaded.text)
    return drive(loaded, plan, cluster, writer, progress=lambda _state: None, warm=warm_s > 0, warm_s=warm_s)


if __name__ == "__main__":
    main()
