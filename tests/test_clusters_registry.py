"""Clusters with names, as the command line brings them up, shows and ends them."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from loadgen.clusters import registry
from loadgen.clusters.embedded import start_embedded
from loadgen.clusters.model import ClusterError, ClusterSpec
from loadgen.clusters.processes import identify

ONE = ClusterSpec(nodes=1)
# `cluster up` in another terminal.
OTHER = """
import sys
from loadgen.clusters import registry
from loadgen.clusters.model import ClusterSpec
with registry.up(sys.argv[1], ClusterSpec(nodes=2), progress=lambda line: None, kind="embedded") as cluster:
    print(cluster.status().keeper_pid, flush=True)
    cluster.wait()
"""


@pytest.fixture(autouse=True)
def own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keep the names of these clusters apart from the user's."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    return tmp_path / "eventdrill" / "clusters"


def soon(condition: Callable[[], bool], within_s: float = 10.0) -> bool:
    """Wait until something is so."""
    until = time.monotonic() + within_s
    while not condition() and time.monotonic() < until:
        time.sleep(0.02)
    return condition()


def start_other(name: str) -> tuple[subprocess.Popen[str], int]:
    other = subprocess.Popen([sys.executable, "-P", "-c", OTHER, name], stdout=subprocess.PIPE, text=True)
    assert other.stdout is not None
    keeper_pid = int(other.stdout.readline())
    other.stdout.close()
    return other, keeper_pid


def test_a_name_without_a_cluster_is_an_error_that_lists_those_that_run():
    with pytest.raises(ClusterError, match="no cluster named demo runs; none does"):
        registry.status("demo")
    assert registry.down("demo") is False
    assert registry.running() == []


def test_names_cannot_lead_out_of_the_directory():
    with pytest.raises(ClusterError, match=r"a cluster cannot be named '\.\./x'"):
        registry.down("../x")


@pytest.mark.live
def test_a_second_up_of_the_same_name_gives_the_running_one():
    said: list[str] = []
    with registry.up("demo", ONE, progress=said.append, kind="embedded") as first:
        with registry.up("demo", ONE, progress=said.append, kind="embedded") as second:
            assert not second.owned
            assert second.status() == first.status()
        with registry.up("demo", ClusterSpec(nodes=2), progress=said.append, kind="embedded"):
            pass
        bootstrap = first.status().bootstrap
        assert first.status().health == "ready"

    assert said[1:] == [
        f"cluster demo runs already at {bootstrap}",
        f"cluster demo runs already at {bootstrap}, with other settings than asked for; end it first to have those",
    ]
    assert registry.running() == []


@pytest.mark.live
def test_several_run_side_by_side_and_each_is_ended_by_its_name():
    other, _ = start_other("theirs")
    with registry.up("mine", ONE, progress=print, kind="embedded"):
        assert registry.running() == ["mine", "theirs"]
        assert registry.status("theirs").owner_pid == other.pid

        assert registry.down("theirs") is True

        assert other.wait(10) == 0
        assert registry.running() == ["mine"]


@pytest.mark.live
def test_a_cluster_ends_with_the_process_that_brought_it_up(own_state: Path):
    other, keeper_pid = start_other("theirs")

    other.kill()
    other.wait()

    assert soon(lambda: identify(keeper_pid) is None)
    assert soon(lambda: not (own_state / "theirs.json").exists())
    assert registry.running() == []


@pytest.mark.live
def test_a_state_that_names_a_process_born_at_another_time_harms_nobody(own_state: Path):
    """The number may have passed to somebody else since."""
    other, keeper_pid = start_other("theirs")
    path = own_state / "theirs.json"
    state = json.loads(path.read_text())
    bystander = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    path.write_text(json.dumps(state | {"keeper": {"pid": bystander.pid, "born": "1"}}))

    assert registry.down("theirs") is False

    assert bystander.poll() is None
    assert not path.exists()
    bystander.kill()
    bystander.wait()
    other.kill()
    other.wait()
    assert soon(lambda: identify(keeper_pid) is None)


@pytest.mark.live
def test_the_state_of_a_real_kafka_shows_its_nodes_and_their_logs():
    """A killed broker is shown without a process, and the cluster as degraded."""
    with registry.up("real", ClusterSpec(nodes=2, heap_mib=128), progress=print) as up:
        assert up.cluster is not None
        found = registry.status("real")
        assert (found.health, found.implementation, found.version) == ("ready", "apache-kafka", "4.2.1")
        assert [(each.node, each.pid, each.registered) for each in found.nodes] == [
            (100, up.cluster.pid(100), None),
            (1, up.cluster.pid(1), True),
            (2, up.cluster.pid(2), True),
        ]
        assert set(found.nodes[1].ports) == {"CLIENT", "INTERNAL"}
        assert found.owner_pid == os.getpid()
        assert any("Kafka Server started" in line for line in registry.logs("real", 2))
        assert len(registry.logs("real", 2, last=3)) == 3
        with pytest.raises(ClusterError, match="cluster real has no node 9; it has 100, 1, 2"):
            registry.logs("real", 9)

        assert [each.kind for each in registry.incidents("real") if each.kind == "started"] == ["started"] * 3

        up.cluster.pause(1)
        up.cluster.tell(["broker_pause (broker 1)"])
        found = registry.status("real")
        assert (found.nodes[1].hangs, found.nodes[2].hangs) == (True, False)
        assert found.faults == ("broker_pause (broker 1)",)
        up.cluster.resume(1)
        up.cluster.tell([])
        up.cluster.kill(2)

        found = registry.status("real")
        assert (found.health, found.nodes[2].pid, found.nodes[2].registered) == ("degraded", None, False)
        assert (found.nodes[1].hangs, found.faults) == (False, ())


@pytest.mark.live
def test_a_runs_own_cluster_can_be_looked_at_under_a_name(own_state: Path):
    """A name that is taken stays the other cluster's, and the name goes with the cluster."""
    with start_embedded(ONE, progress=print) as first, start_embedded(ONE, progress=print) as second:
        assert registry.give_name("run-1", first, ONE) == "run-1"
        assert registry.give_name("run-1", second, ONE) is None
        assert registry.status("run-1").bootstrap == first.bootstrap

    assert registry.running() == []
    assert not (own_state / "run-1.json").exists()
