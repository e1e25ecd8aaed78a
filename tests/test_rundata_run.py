"""A run as people see it: JSON, frames, notebooks, and what a dataset remembers of its replications."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from rundata.dataset import RunWriter, open_run
from rundata.indicators import measure
from rundata.measurement import Measurement
from rundata.run import Run
from rundata.tables import RunData
from runs import Build, clean_run, without_audit

EXPECTING = {"expect": ["lost == 0", "latency[work].p99 < 50ms"]}


def expecting_run(events: int = 10) -> RunData:
    return clean_run(events, EXPECTING)


def test_the_json_document_has_the_shape_that_people_parse() -> None:
    document = Run(expecting_run()).to_json()

    assert list(document) == ["indicators", "checks", "expect", "valid", "run"]
    assert document["indicators"]["latency[work].p95"] == {
        "value": 0.1,
        "unit": "s",
        "interval": None,
        "mean_interval": None,
    }
    assert document["checks"]["unexpected"] == {"valid": True, "count": 0, "examples": []}
    assert document["expect"] == [
        {"text": "lost == 0", "value": 0.0, "held": True, "share_held": 1.0},
        {"text": "latency[work].p99 < 50ms", "value": 0.1, "held": False, "share_held": 0.0},
    ]
    assert document["valid"] == {"ok": True, "reasons": []}
    assert {key: document["run"][key] for key in ("seed", "engine", "profile", "brokers", "seconds")} == {
        "seed": 0,
        "engine": "simulated",
        "profile": "local-kafka",
        "brokers": {"implementation": "simulated", "version": "4.2", "nodes": 3},
        "seconds": 20.0,
    }


@pytest.mark.parametrize("run", [clean_run(), Build().run(), without_audit(clean_run())], ids=["clean", "empty", "cut"])
def test_the_json_document_holds_no_nan(run: RunData) -> None:
    json.dumps(Run(run).to_json(), allow_nan=False)


def test_an_invalid_run_says_why() -> None:
    data = replace(clean_run(), about={"state": "complete", "invalid": ["shop/1 sent 8 ms late at p99"]})

    assert Run(data).to_json()["valid"] == {"ok": False, "reasons": ["shop/1 sent 8 ms late at p99"]}


def test_frames_have_words_and_missing_values() -> None:
    run = Run(expecting_run(2))

    assert run.indicators.loc["latency[work].p50", "value"] == 0.1
    assert run.indicators.loc["consumed.saturated", "reason"] == "lag never stayed above one second of arrivals"
    sends = run.operations[run.operations["kind"] == "send"]
    assert sends["process"].tolist() == ["shop/1", "shop/2"]
    assert sends["group"].isna().all()
    assert run.operations["delivery_number"].tolist() == run.data.operations["delivery_number"].tolist()
    assert run.log["offset"].tolist() == [0, 0]
    assert isinstance(run.log["topic"].dtype, pd.CategoricalDtype)


def test_operations_of_an_unsorted_run_are_shown_in_order() -> None:
    """A driver hands over its rows as its processes wrote them."""
    data = clean_run(4)
    rows = data.operations[::-1].copy()
    rows["delivery_number"] = 0

    frame = Run(replace(data, operations=rows)).operations

    assert frame["started_ns"].is_monotonic_increasing
    assert frame["delivery_number"][frame["kind"] == "delivery"].tolist() == [1] * 4


def test_a_run_draws_itself_in_a_notebook() -> None:
    text = Run(expecting_run())._repr_html_()

    assert "<b>by-hand</b>: simulated, seed 0, complete; 20 checks passed" in text
    assert "<td>✗</td><td>latency[work].p99 &lt; 50ms</td><td>0.1</td>" in text
    assert repr(Run(expecting_run())) == "<Run: by-hand, simulated, seed 0, complete>"


def replications(run: RunData) -> list[dict[str, Measurement]]:
    """Twenty replications: the run itself, and others whose p99 is 10 ms longer each; two lost an event."""
    own = measure(run)
    others = []
    for number in range(1, 20):
        lost = Measurement(1.0 if number < 3 else 0.0, "events")
        others.append(own | {"latency[work].p99": Measurement(0.01 * number, "s"), "lost": lost})
    return [own, *others]


def test_a_dataset_remembers_the_intervals_of_its_replications(tmp_path: Path) -> None:
    data = expecting_run()
    measured = replications(data)
    RunWriter(tmp_path / "run", data.plan, engine="simulated").finish(data, measured=measured)

    before, after = Run(data, measured).to_json(), open_run(tmp_path / "run").to_json()

    assert after["indicators"] == before["indicators"]
    assert after["indicators"]["latency[work].p99"]["interval"] is not None
    assert after["expect"] == before["expect"]
    assert [each["share_held"] for each in after["expect"]] == [0.9, 0.2]
    assert [each["held"] for each in after["expect"]] == [False, False]
    assert (before["run"]["replications"], after["run"]["replications"]) == (20, 20)
    assert open_run(tmp_path / "run").estimates == Run(data, measured).estimates
    assert open_run(tmp_path / "run").estimates["consumed.windows"].series_interval, "those of each window, too"


def test_a_run_that_kept_no_operations_tells_what_they_added_up_to(tmp_path: Path) -> None:
    """Its tallies are all there is: figures come from them, and checks are not judged on rows that are not there."""
    data = expecting_run()
    measured = [measure(data)]
    empty = replace(data, operations=data.operations[:0], log=data.log[:0], extents=())
    writer = RunWriter(tmp_path / "run", data.plan, {"operations": "none"}, engine="simulated")
    writer.finish(empty, measured=measured)

    opened = open_run(tmp_path / "run")

    assert opened.to_json()["indicators"] == Run(data).to_json()["indicators"]
    assert [each.value for each in opened.expectations] == [0.0, 0.1]
    assert opened.checks["lost"].note == "the operations of this run were not kept (--operations none)"


def test_opened_checks_are_those_of_the_rows() -> None:
    data = clean_run()
    wrong = replace(data, log=data.log[:-1])

    assert not Run(wrong).checks["lost"].valid
    assert Run(data).checks["lost"].valid
    assert np.array_equal(data.log[:-1], wrong.log)
