"""The verbs that start brokers, as processes of their own, against the in-process cluster."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from process_groups import left_of_group

EVENTDRILL = str(Path(sys.executable).with_name("eventdrill"))
SMALL = """\
scenario: small
seed: 3
duration: 3s
drain: 10s
brokers: {kind: kafka, nodes: 1}
topics: {orders: {partitions: 2}}
producers: {shop: {topic: orders, arrivals: 50/s, key: {uniform: 20}}}
groups: {fulfilment: {topics: [orders], work: 1ms}}
expect: [lost == 0, passed == 0, "gap[orders] > 1h"]
"""
KEYS = {"indicators", "checks", "expect", "valid", "run"}

pytestmark = [pytest.mark.live, pytest.mark.timeout(180)]


def start(folder: Path, *arguments: str) -> "subprocess.Popen[str]":
    (folder / "small.yaml").write_text(SMALL)
    command = [EVENTDRILL, "drive", "small.yaml", "--on", "embedded", "--out", "run", "--json", *arguments]
    return subprocess.Popen(
        command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )


def wait_for(process: "subprocess.Popen[str]", words: str) -> None:
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith(words):
            return
    raise AssertionError(f"it ended without saying {words!r}")


def facts(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "run" / "run.json").read_text())
    return found


def test_a_driven_run_prints_one_document_and_ends_with_what_it_means(tmp_path: Path) -> None:
    """One expectation cannot hold, so the exit code is 1 (3 where this machine was too busy to tell, with the reason);
    `report` on the same run ends with 0 and the same figures."""
    process = start(tmp_path)
    out, said = process.communicate(timeout=120)
    reported = subprocess.run(
        [EVENTDRILL, "report", "run", "--json"], cwd=tmp_path, capture_output=True, text=True, check=False
    )

    document = json.loads(out)
    assert process.returncode == (1 if document["valid"]["ok"] else 3), said
    assert document["valid"]["ok"] is (document["valid"]["reasons"] == [])
    assert set(document) == KEYS
    assert [each["held"] for each in document["expect"]] == [True, True, False]
    assert document["run"]["brokers"] == {
        "implementation": "librdkafka-mock",
        "version": document["run"]["brokers"]["version"],
        "nodes": 1,
    }
    assert (reported.returncode, json.loads(reported.stdout)) == (0, document)
    assert "<html" in (tmp_path / "run" / "report.html").read_text()


@pytest.mark.parametrize("moment", ["preparing: starting", "warming up", "running"])
def test_ctrl_c_leaves_a_dataset_that_opens_and_nothing_running(tmp_path: Path, moment: str) -> None:
    """Whatever it was doing: 130, nothing on standard output, a state that says so, a page that says so too."""
    process = start(tmp_path)
    wait_for(process, moment)
    time.sleep(0.3)
    os.killpg(process.pid, signal.SIGINT)
    out, said = process.communicate(timeout=60)

    assert (process.returncode, out) == (130, "")
    assert said.splitlines()[-1] == "interrupted: run opens, and says that it is incomplete"
    assert "Traceback" not in said
    assert facts(tmp_path)["state"] == "interrupted"
    assert left_of_group(process.pid) == []
    reported = subprocess.run(
        [EVENTDRILL, "report", "run", "--json"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (reported.returncode, json.loads(reported.stdout)["valid"]["ok"]) == (0, False)


def test_a_cluster_is_up_until_somebody_ends_it(tmp_path: Path) -> None:
    """`up` stays in the foreground, `status` and `logs` see it from elsewhere, a second `up` is harmless, `down` ends it."""
    environment = os.environ | {"XDG_STATE_HOME": str(tmp_path)}

    def call(*arguments: str) -> "subprocess.CompletedProcess[str]":
        command = [EVENTDRILL, "cluster", *arguments]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)

    command = [EVENTDRILL, "cluster", "up", "--kind", "embedded", "--brokers", "2"]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as up:
        assert up.stdout is not None
        address = up.stdout.readline().strip()
        status = json.loads(call("status", "--json").stdout)
        second = call("up", "--kind", "embedded", "--brokers", "2")
        logs = call("logs", "1")
        down = call("down")
        up.wait(30)

    assert (status["health"], status["bootstrap"], len(status["nodes"])) == ("ready", address, 2)
    assert (second.returncode, second.stdout.strip()) == (0, address)
    assert (logs.returncode, down.returncode, up.returncode) == (0, 0, 0)
    assert call("status").returncode == 2
