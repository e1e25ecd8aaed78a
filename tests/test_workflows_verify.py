"""What verifications mean and write, on the in-process cluster, and how earlier demos are kept."""

import json
from pathlib import Path
from typing import Any

import pytest

from eventdrill.errors import WrongInputError
from eventdrill.verbs.demo import _move_earlier_aside
from eventdrill.workflows.prediction import predict
from eventdrill.workflows.telling import SILENT
from eventdrill.workflows.verify import _finite, notices_of, notices_there, prepare, verify
from loadgen.clusters.foreign import ForeignKafka
from rundata.dataset import open_run
from scenarios.files import LoadedScenario, load_scenario, load_text
from scenarios.profiles import load_profile
from test_foreign import HOOK, SCENARIO

BRIEF = ["duration=6s", "warm_up=1s", "drain=10s", "producers.shop.arrivals=60/s", "faults=[]", "agreement={}"]
BRIEF += ["expect=[lost == 0]"]


def brief() -> LoadedScenario:
    return load_scenario("leader-crash", BRIEF)


def locked(folder: Path, replications: int = 3) -> Any:
    folder.mkdir()
    return predict(
        brief(), load_profile("local-kafka"), folder, seed=4, replications=replications, jobs=1, telling=SILENT
    )


def test_a_prediction_is_written_with_its_hash_and_is_the_same_again(tmp_path: Path) -> None:
    """Equal scenario, seed and profile give an equal text, and so an equal hash."""
    first, again = locked(tmp_path / "a"), locked(tmp_path / "b")

    text = (tmp_path / "a" / "prediction.json").read_text()
    assert (first.text, first.sha256) == (text, again.sha256)
    document = json.loads(text)
    assert (document["seed"], document["replications"], document["profile"]["profile"]) == (4, 3, "local-kafka")
    assert document["indicators"]["latency.p50"]["interval"][0] > 0


def test_another_number_of_replications_is_another_prediction(tmp_path: Path) -> None:
    """The hash covers all that it rests on."""
    assert locked(tmp_path / "a", 2).sha256 != locked(tmp_path / "b", 3).sha256


def test_the_simulated_run_lies_beside_it_with_its_intervals(tmp_path: Path) -> None:
    """`simulated/` opens, is complete, and is the plan that is driven."""
    prediction = locked(tmp_path / "a")

    run = open_run(tmp_path / "a" / "simulated")
    assert (run.state, run.data.plan.seed, run.data.plan.replication) == ("complete", 4, 0)
    assert run.estimates["latency.p50"].interval == prediction.estimates["latency.p50"].interval


def test_numbers_that_json_cannot_hold_become_null() -> None:
    """A budget spent without end has no number."""
    assert _finite({"a": (1.5, float("inf")), "b": float("nan"), "c": "x"}) == {"a": [1.5, None], "b": None, "c": "x"}


def test_a_folder_with_something_in_it_is_refused_before_anything_starts(tmp_path: Path) -> None:
    """Nothing is ever overwritten."""
    (tmp_path / "note.txt").write_text("mine")

    with pytest.raises(WrongInputError, match="not empty"):
        verify(brief(), on="embedded", out=tmp_path)


def test_an_earlier_demo_is_moved_aside_and_other_peoples_files_are_not(tmp_path: Path) -> None:
    """The first free number is taken; a folder with anything else in it stays where it is."""
    out = tmp_path / "demo"
    for number in (1, 2):
        (out / "driven").mkdir(parents=True)
        (out / "verify.json").write_text(str(number))
        _move_earlier_aside(out)
    (out / "driven").mkdir(parents=True)
    (out / "thesis.tex").write_text("mine")
    _move_earlier_aside(out)

    assert [(tmp_path / f"demo-{n}" / "verify.json").read_text() for n in (1, 2)] == ["1", "2"]
    assert sorted(path.name for path in out.iterdir()) == ["driven", "thesis.tex"]


def test_only_a_real_kafka_needs_no_warning() -> None:
    """The page says what the in-process cluster does not prove."""
    assert notices_of("local") == ()
    assert "not on Apache Kafka" in notices_of("embedded")[0]


def test_what_cannot_be_predicted_of_somebody_elses_brokers_is_refused_before_they_are_asked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What a hook's command does only its owner knows; nobody is connected to."""
    monkeypatch.setattr("loadgen.clusters.foreign.connect", lambda *_given: pytest.fail("was asked"))

    with pytest.raises(WrongInputError, match=r"there.yaml: faults\[0\].fault is hook; .* it cannot be predicted"):
        prepare(load_text(SCENARIO, "there.yaml", [HOOK]), on="b:9092")
    with pytest.raises(WrongInputError, match="target is left out, so nothing may be touched"):
        prepare(brief(), on="b:9092")


def test_somebody_elses_brokers_are_told_apart_from_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every act is told before any, for each of the runs; the page says what nobody sees there."""
    there = ForeignKafka("b:9092", {}, "CLUSTER", (1, 2, 3))
    monkeypatch.setattr("loadgen.clusters.foreign.connect", lambda *_given: there)

    work = prepare(load_text(SCENARIO, "there.yaml", []), on="b:9092")

    assert work.drive.system is there
    assert work.acts(1)[0].startswith("create topic drill-orders: 3 partitions")
    assert work.acts(1) == work.acts(3)[:-1]
    assert work.acts(3)[-1] == "all of that 3 times, one after the other"
    assert "neither their CPU time nor their logs" in notices_there("CLUSTER")[0]


@pytest.mark.live
def test_a_verification_locks_drives_judges_and_writes_everything(tmp_path: Path) -> None:
    """On the in-process cluster: the driven run knows the prediction it was made against; `verify.json` is what is printed."""
    result = verify(brief(), on="embedded", replications=20, jobs=1, repeats=2, out=tmp_path / "v")

    driven = open_run(tmp_path / "v" / "driven")
    assert driven.data.about["prediction"]["sha256"] == result.prediction.sha256
    document = json.loads((tmp_path / "v" / "verify.json").read_text())
    assert {"predicted", "observed", "agreement", "prediction"} <= document.keys()
    assert len(document["agreement"]["latency.p50"]["repeats"]) == 2
    # Beside other work the driver may be the limit; then there is no verdict, and that is what it says.
    limited = not document["observed"]["valid"]["ok"]
    assert document["agreement"]["lost"]["verdict"] == ("cannot tell" if limited else "agrees")
    assert "differs" not in {each["verdict"] for each in document["agreement"].values()}
    names = {path.name for path in (tmp_path / "v").iterdir()}
    assert names >= {"simulated", "driven", "driven-2", "prediction.json", "prediction.html", "report.html"}
