"""The record's place: every verification adds a file, and all of them are one table."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest

import eventdrill as ed
from eventdrill.workflows.record import predictions, record_folder, remember
from runs import Build
from scenarios.profiles import load_profile
from test_reports_record import verdict


@pytest.fixture(autouse=True)
def _own_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))


def verified(invalid: tuple[str, ...] = (), implementation: str = "apache-kafka", **about: str) -> Any:
    build = Build(changes={"faults": [{"fault": "broker_crash", "broker": 1, "at": "3s", "for": "3s"}]})
    build.fault(3.0, 6.0)
    brokers = {"implementation": implementation, "version": "4.2.1"}
    data = build.run(engine="driven", about={"brokers": brokers, **about})
    return SimpleNamespace(
        agreement={"lag.max": verdict("lag.max", (9.0, 13.0))},
        prediction=SimpleNamespace(plan=data.plan, sha256="abc", profile=load_profile("local-kafka")),
        observed=(SimpleNamespace(data=data, invalid=invalid),),
    )


def test_every_verification_stays_in_the_record():
    """Two of them, with two live runs each; whoever has pandas can read the folder as it is."""
    assert predictions().empty

    remember(verified())
    remember(verified())

    found = ed.predictions()
    told = found[["indicator", "run", "observed", "faults", "counts"]].values.tolist()
    assert sorted(told) == [  # by time they may alternate: whether a second lies between the two
        ["lag.max", 1, 9.0, "broker_crash", True],
        ["lag.max", 1, 9.0, "broker_crash", True],
        ["lag.max", 2, 13.0, "broker_crash", True],
        ["lag.max", 2, 13.0, "broker_crash", True],
    ]
    assert found["brokers"].unique().tolist() == ["apache-kafka 4.2.1"]
    assert len(pd.read_parquet(record_folder())) == 4


def test_runs_of_other_brokers_or_of_a_limited_driver_are_kept_and_do_not_count():
    """The record says why a figure is left out, instead of leaving out the run."""
    remember(verified(implementation="librdkafka-mock"))
    remember(verified(foreign_cluster="theirs"))
    remember(verified(invalid=("the senders ran behind the plan",)))

    assert predictions()["counts"].tolist() == [False] * 6
