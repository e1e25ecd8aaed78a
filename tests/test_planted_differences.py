"""Differences planted in verifications on a real Kafka: each is told for what it is, and nobody is blamed where that cannot be told."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from eventdrill.workflows.telling import SILENT, Telling
from eventdrill.workflows.verify import Verification, Work
from loadgen.clusters.local import LocalKafka, start_local
from loadgen.clusters.model import ClusterSpec
from loadgen.recorder import Progress
from reports.sources import main_source
from scenarios.files import load_text
from scenarios.profiles import Profile, load_profile

pytestmark = pytest.mark.live
P50 = "latency.p50"
CALM = """\
scenario: calm
duration: 12s
warm_up: 2s
drain: 20s
brokers: {kind: kafka, nodes: 3}
topics: {orders: {partitions: 3, replication: 3, settings: {min.insync.replicas: 2}}}
producers:
  shop: {topic: orders, arrivals: 150/s, key: {uniform: 500}, size: 300B, settings: {enable.idempotence: true}}
groups:
  work: {topics: [orders], work: 500us, commit: {every: 1s}}
"""
CRASH = CALM + "faults: [{fault: broker_crash, broker: leader of orders/0, at: 4s, for: 9s}]\n"


@pytest.fixture(scope="module")
def kafka() -> Iterator[LocalKafka]:
    """Brokers with a session of 3 s, which the scenarios do not know of: they take Kafka's 9."""
    settings = {"broker.session.timeout.ms": "3000", "broker.heartbeat.interval.ms": "500"}
    with start_local(ClusterSpec(settings=settings), progress=print) as cluster:
        yield cluster


def verified(
    kafka: LocalKafka, folder: Path, text: str, profile: Profile, watch: Callable[[Progress], None] | None = None
) -> Verification:
    """Predict, drive once and compare; the brokers were warmed by those before."""
    telling = SILENT if watch is None else Telling(SILENT.say, SILENT.bar, lambda: _watched(watch))
    folder.mkdir()
    work = Work(load_text(text, "planted"), folder, replications=40, jobs=1, telling=telling, warm_s=8.0)
    prediction = work.predict(profile)
    return work.compare(prediction, work.drive(kafka, prediction))


@contextmanager
def _watched(watch: Callable[[Progress], None]) -> Iterator[Callable[[Progress], None]]:
    yield watch


def ten_times_as_fast() -> Profile:
    """Return the shipped profile with brokers that take a tenth of their time: a busy host is even further from it."""
    base = load_profile("local-kafka")
    parts = {name: getattr(base, name) for name in ("produce", "produce_leader", "fetch")}
    changed = {
        name: p.model_copy(update={"quantiles_us": tuple(q / 10 for q in p.quantiles_us)}) for name, p in parts.items()
    }
    return base.model_copy(update=changed)


def test_a_wrong_service_time_is_blamed_on_the_profile(kafka: LocalKafka, tmp_path: Path) -> None:
    """Brokers take ten times as long as the profile says; a host that is too busy to drive at all says nothing, and is asked again."""
    for go in range(3):
        result = verified(kafka, tmp_path / str(go), CALM, ten_times_as_fast())
        if not result.observed[0].invalid:
            break
    else:
        pytest.skip(f"the driver was the limit three times: {result.observed[0].invalid}")
    verdict = result.agreement[P50]

    assert verdict.verdict != "agrees"
    assert verdict.observed is not None
    assert verdict.predicted is not None
    assert verdict.observed > 1.1 * verdict.predicted
    assert verdict.sources is not None
    assert main_source([verdict.sources]) == "profile"


def test_a_noisy_neighbour_gives_cannot_tell(kafka: LocalKafka, tmp_path: Path) -> None:
    """The same wrong profile, and other work on every core: nothing is called different any more, and it is said why."""
    spinning = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(2 * (os.cpu_count() or 1))]
    try:
        result = verified(kafka, tmp_path / "v", CALM, ten_times_as_fast())
    finally:
        for each in spinning:
            each.kill()
            each.wait()
    verdict = result.agreement[P50]

    assert verdict.verdict == "cannot tell"
    assert "differs" not in {each.verdict for each in result.agreement.values()}
    assert result.observed[0].invalid or "other work took" in verdict.reason


def test_a_driver_that_is_slowed_by_force_gives_no_verdict(kafka: LocalKafka, tmp_path: Path) -> None:
    """Its producer's process is stopped for 300 ms twice: it sends late, and nothing that came of it is the brokers' or the model's."""
    due_ns = [4_000_000_000, 8_000_000_000]

    def watch(progress: Progress) -> None:
        if progress.phase == "running" and due_ns and progress.at_ns > due_ns[0]:
            due_ns.pop(0)
            pid = next(c.pid for c in psutil.Process().children() if "loadgen.producer_process" in c.cmdline())
            os.kill(pid, signal.SIGSTOP)
            threading.Timer(0.3, os.kill, (pid, signal.SIGCONT)).start()

    result = verified(kafka, tmp_path / "v", CALM, load_profile("local-kafka"), watch)

    assert due_ns == []
    assert "the senders ran" in "; ".join(result.observed[0].invalid)
    assert {each.verdict for each in result.agreement.values()} == {"cannot tell"}
    assert result.exit_code == 3


def test_a_broker_setting_that_the_scenario_does_not_know_is_the_models_input(
    kafka: LocalKafka, tmp_path: Path
) -> None:
    """The controller fences after 3 s where the scenario has 9: no chance explains that, and the page says which setting to look at."""
    for go in range(3):
        result = verified(kafka, tmp_path / str(go), CRASH, load_profile("local-kafka"))
        if not result.observed[0].invalid:
            break
    else:
        pytest.skip(f"the driver was the limit three times: {result.observed[0].invalid}")
    gap = result.agreement["gap[orders]"]

    assert gap.verdict != "agrees"
    assert gap.sources is not None
    assert main_source([gap.sources]) == "model"
    (said,) = result.notices
    assert "by broker.session.timeout.ms (9s) and the heartbeats that takes 7s to 10.1s" in said
