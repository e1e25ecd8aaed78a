"""A broker whose disk has room again: one that ends itself all the same is started, whenever that is.

The nodes are told of by a stand-in for their keeper; tests/test_lab_kafka.py does it to real brokers.
"""

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from loadgen.clusters.local import LocalKafka
from loadgen.clusters.model import ClusterError
from loadgen.lab import brokers
from loadgen.lab.applied import Applied
from loadgen.watchdog.client import GRACE_S
from rundata.tables import Incident
from runs import Build


class Keeper:
    """Says of one node what a test has it say: it ends itself after so many looks."""

    def __init__(self, ends_after_looks: int | None, *, ends_at_the_request: bool = False) -> None:
        self.looks_left = ends_after_looks
        self.ends_at_the_request = ends_at_the_request
        self.asked: list[dict[str, Any]] = []
        self.ended = False

    def ask(self, do: str, **what: Any) -> dict[str, Any]:
        if do == "free_disk" and self.ends_at_the_request:
            self.ended = True
            raise ClusterError("node 1 does not run: start it first")
        if do == "start":
            self.ended, self.looks_left = False, None
        if do == "status" and self.looks_left is not None:
            self.looks_left -= 1
            self.ended = self.looks_left < 0
        self.asked.append({"do": do, **what})
        return {"nodes": {"1": {"pid": None if self.ended else 77, "exit": 1 if self.ended else None}}}


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[SimpleNamespace]:
    """The lab's own time: each wait takes as long as it says, but the first one, in which the machine stands still for 11 s."""
    now = SimpleNamespace(s=0.0, waits=0)

    def sleep(wait_s: float) -> None:
        now.s += 11.0 if not now.waits else wait_s
        now.waits += 1

    monkeypatch.setattr(brokers, "time", SimpleNamespace(sleep=sleep, monotonic=lambda: now.s))
    return now


def filled_and_freed(keeper: Keeper) -> tuple[Applied, list[Incident]]:
    """Fill broker 1's disk, give it room again, and return what is said of it."""
    build = Build({"faults": [{"fault": "disk_full", "broker": 1, "at": "1s", "for": "1s"}]})
    build.fault(1, 2)
    (planned,) = build.run().plan.faults
    spec = SimpleNamespace(nodes=1, disks=True, clocks=False)
    cluster = LocalKafka(
        SimpleNamespace(cluster_id="", bootstrap="", spec=spec), keeper, {}, SimpleNamespace(version=""), Path(), None
    )
    incidents: list[Incident] = []
    tools: Any = SimpleNamespace(
        cluster=cluster,
        clock=SimpleNamespace(now_ns=lambda: 2_000_000_000),
        incidents=incidents,
        expiry_s=lambda _planned: 11.0,
    )
    applied = brokers.begin(tools, planned, planned.fault, (1,))
    assert applied.undo is not None
    applied.note(applied.undo())
    return applied, incidents


def test_a_broker_that_ends_itself_after_the_machine_stood_still_is_started(clock: SimpleNamespace) -> None:
    """Looks are counted: 11 s in which nobody ran are one of them."""
    applied, incidents = filled_and_freed(Keeper(ends_after_looks=6))

    assert applied.proof.endswith("it ended itself with status 1; room again, started again at 2.000 s")
    assert [(each.kind, each.where) for each in incidents] == [("restart", "broker 1")]
    assert clock.s > 11


def test_a_broker_that_ends_itself_just_then_is_started() -> None:
    """Between the look and the request for room there is none to ask for."""
    applied, _incidents = filled_and_freed(Keeper(None, ends_at_the_request=True))

    assert applied.proof.endswith("it ended itself with status 1; room again, started again at 2.000 s")


def test_a_broker_that_had_not_to_write_stays_up_and_is_watched(clock: SimpleNamespace) -> None:
    """Its keeper starts it if it ends itself later: it is told to look again after ten seconds."""
    keeper = Keeper(None)
    applied, incidents = filled_and_freed(keeper)

    assert applied.proof.endswith("room again at 2.000 s; it had not had to write and stayed up")
    assert incidents == []
    assert {"do": "free_disk", "node": 1, "for_s": GRACE_S} in keeper.asked
    assert clock.waits == 60
