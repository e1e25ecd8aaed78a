"""A Java program of the user's own under test: it knows nothing of EventDrill, and two interceptors carry the ids through it."""

import subprocess
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from eventdrill.command_line import app
from live_runs import drive_on, group_code, load, rows_of, spec_of, values_of_orders
from loadgen.clusters.local import start_local
from loadgen.java import build
from rundata.checks import check
from rundata.rows import Kind, Outcome

SCENARIO = """\
scenario: java-app
seed: 4
duration: 5s
drain: 20s
brokers: {kind: kafka, nodes: 1, settings: {group.initial.rebalance.delay.ms: 100}}
topics:
  orders: {partitions: 2, replication: 1}
  orders.done: {partitions: 1, replication: 1}
producers:
  shop: {topic: orders, client: java, arrivals: 40/s, key: {uniform: 10}, payload: {file: PAYLOAD}, poison: 5%}
groups:
  app: {topics: [orders], work: 0ms, external: true, effects: {topic: orders.done}}
  copy: {topics: [orders], client: java, work: 1ms, failures: {then: skip}}
"""


def test_init_writes_the_interceptors_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)

    assert CliRunner().invoke(app, ["init", "--java-ids"]).exit_code == 0
    assert (tmp_path / "EventDrillIds.java").read_text() == build.IDS_SOURCE.read_text()
    assert CliRunner().invoke(app, ["init", "--java-ids"]).exit_code != 0


@pytest.mark.live
def test_ids_travel_through_a_java_program_that_knows_nothing_of_them(tmp_path: Path):
    """Java's producer sends the user's own values; the program's effects are known by the headers that its interceptors carried over."""
    (tmp_path / "orders.jsonl").write_text("".join(f'{{"kind": "order", "number": {n}}}\n' for n in range(7)))
    loaded = load(SCENARIO.replace("PAYLOAD", str(tmp_path / "orders.jsonl")))
    client = build.prepare_client("4.2", print)
    sources = [build.IDS_SOURCE, Path(__file__).parent / "java" / "OrdersApp.java"]
    compiler = [*build._compiler(client.java, print), "-proc:none", "-nowarn", "-cp", client.class_path]
    subprocess.run([*compiler, "-d", tmp_path / "classes", *sources], check=True, stdin=subprocess.DEVNULL)
    with start_local(spec_of(loaded), progress=print, log_dir=tmp_path / "logs") as cluster:
        command = [
            str(client.java.program),
            "-XX:TieredStopAtLevel=1",
            "-cp",
            f"{tmp_path / 'classes'}:{client.class_path}",
        ]
        command += ["users.OrdersApp", cluster.bootstrap, "EventDrillIds$Read", "EventDrillIds$Sent"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as program:
            assert program.stdout is not None
            assert program.stdout.readline() == b"up\n"
            run = drive_on(cluster, loaded, tmp_path / "run")
            program.kill()
        values = values_of_orders(cluster)

    assert run.about["state"] == "complete"
    effects = rows_of(run, Kind.try_, outcome=Outcome.ok, group=group_code(run, "app"))
    assert np.sort(effects["event_id"]).tolist() == list(range(len(run.plan)))
    assert {name: found.examples for name, found in check(run).items() if not found.valid} == {}
    poison = int(np.count_nonzero(run.plan.poison))
    assert poison > 3
    assert sum(value.startswith(b'{"kind": "order"') for value in values) == len(run.plan) - poison
    own = rows_of(
        run, Kind.try_, group=group_code(run, "copy")
    )  # a Java member of ours reads the ids from the headers as well
    assert np.sort(own["event_id"][own["outcome"] == Outcome.ok]).tolist() == np.flatnonzero(~run.plan.poison).tolist()
