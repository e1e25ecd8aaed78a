"""Sweeps: which variants, what they show against the first, that a second start goes on, and clusters with equal results."""

import json
from collections import Counter
from pathlib import Path

import pytest
from typer.testing import CliRunner

import eventdrill as ed
from eventdrill.command_line import app
from eventdrill.errors import WrongInputError
from eventdrill.workflows import sweep as sweeping
from eventdrill.workflows.sweep import grid, prepare, sampled

SMALL = """\
scenario: small
seed: 3
profile: ideal
duration: 4s
drain: 10s
brokers: {kind: kafka, nodes: 1}
topics: {orders: {partitions: 4}}
producers: {shop: {topic: orders, arrivals: 200/s, key: {uniform: 200}}}
groups: {fulfilment: {topics: [orders], work: 8ms}}
expect: ["latency.p50 < 100ms"]
sweep: {groups.fulfilment.members: [1, 2, 4]}
"""
OVER = {"groups.fulfilment.members": [1, 2], "topics.orders.partitions": [2, 4, 8]}


@pytest.fixture(autouse=True)
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("small.yaml").write_text(SMALL)


def test_a_grid_is_every_combination_in_order() -> None:
    assert [tuple(each.values()) for each in grid(OVER)] == [(1, 2), (1, 4), (1, 8), (2, 2), (2, 4), (2, 8)]


def test_a_sample_spreads_evenly_and_is_the_same_for_a_seed() -> None:
    """Twenty of a hundred: each of ten values twice, none of the combinations twice."""
    over = {"a": list(range(10)), "b": list(range(10))}
    found = sampled(over, 20, seed=1)

    assert found == sampled(over, 20, seed=1) != sampled(over, 20, seed=2)
    assert len({tuple(each.values()) for each in found}) == 20
    for name in ("a", "b"):
        assert max(Counter(each[name] for each in found).values()) <= 4


def test_a_sweep_of_the_file_compares_each_variant_with_the_first() -> None:
    """One member cannot keep up with 200/s of 8 ms; two can; the same events meet each of them."""
    found = ed.sweep("small.yaml", replications=4, jobs=1)

    assert [point.changes for point in found.points] == [{"groups.fulfilment.members": n} for n in (1, 2, 4)]
    assert [point.held["latency.p50 < 100ms"] for point in found.points] == [0.0, 1.0, 1.0]
    first, second, _ = found.comparisons
    assert first["latency.p50"].verdict == "the same"
    assert (second["latency.p50"].verdict, second["produced"].verdict) == ("better", "the same")
    frame = found.frame
    chosen = frame[(frame["indicator"] == "latency.p50") & (frame["groups.fulfilment.members"] == 2)]
    assert chosen["verdict"].tolist() == ["better"]
    assert chosen["mean_low"].item() < chosen["value"].item() < chosen["mean_high"].item()


def test_what_was_finished_before_ctrl_c_is_not_simulated_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """The second start finds one variant there, simulates two, and says the same as a start that nobody stopped."""
    work = prepare("small.yaml", replications=2)
    whole = work.run(Path("whole"), jobs=1)
    asked: list[int] = []
    show = sweeping.show

    def counted(trial):
        asked.append(trial.scenario.groups["fulfilment"].members)
        if len(asked) == 2:
            raise KeyboardInterrupt
        return show(trial)

    monkeypatch.setattr(sweeping, "show", counted)
    with pytest.raises(KeyboardInterrupt):
        work.run(Path("stopped"), jobs=1)
    again = work.run(Path("stopped"), jobs=1)

    assert asked == [1, 2, 2, 4]
    assert again.to_json() == whole.to_json()
    assert Path("stopped/results.csv").read_bytes() == Path("whole/results.csv").read_bytes()


def test_a_folder_of_another_sweep_is_refused() -> None:
    prepare("small.yaml", replications=2).run(Path("out"), jobs=1)

    with pytest.raises(WrongInputError, match="out holds another sweep; name a new folder"):
        prepare("small.yaml", replications=3).run(Path("out"), jobs=1)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ["--over", "groups.fulfilment.members=2"],
            "the values are a list, such as groups.fulfilment.members=[1, 2, 3]",
        ),
        (["--over", "groups.billing.members=[1]"], "groups has no 'billing'"),
        (["--over", "groups.fulfilment.members=[1, 0]"], "groups.fulfilment.members"),
        (["--set", "sweep={}"], "there is nothing to sweep over"),
    ],
)
def test_what_cannot_be_swept_is_refused_before_anything_starts(arguments: list[str], said: str) -> None:
    found = CliRunner().invoke(app, ["sweep", "small.yaml", *arguments])

    assert found.exit_code == 2
    assert said in found.stderr
    assert not Path("runs").exists()


def test_the_command_writes_page_table_and_document() -> None:
    found = CliRunner().invoke(app, ["sweep", "small.yaml", "--replications", "3", "--jobs", "1", "--json"])
    document = json.loads(found.stdout)
    page = Path("runs/small-sweep-1/report.html").read_text()

    assert found.exit_code == 0, found.stderr
    assert [point["expect"] for point in document["points"]] == [{"latency.p50 < 100ms": share} for share in (0, 1, 1)]
    assert json.loads(Path("runs/small-sweep-1/results.json").read_text()) == document
    assert "In how many variants did every expectation hold?" in page
    assert "2 of 3" in page
    assert "http" not in page.replace("http-equiv", "")
    table = CliRunner().invoke(app, ["sweep", "small.yaml", "--replications", "3", "--jobs", "1"]).stdout
    assert "FAILED latency.p50 < 100ms" in table
    assert "(better)" in table


@pytest.mark.live
@pytest.mark.filterwarnings("ignore")
def test_dask_and_ray_sweep_with_identical_results() -> None:
    """A local cluster of each, and one process of our own."""
    distributed, ray = pytest.importorskip("distributed"), pytest.importorskip("ray")
    alone = ed.sweep("small.yaml", replications=3, jobs=1).to_json()
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
        assert ed.sweep("small.yaml", replications=3, jobs=f"dask:{cluster.scheduler_address}").to_json() == alone
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    try:
        assert ed.sweep("small.yaml", replications=3, jobs="ray").to_json() == alone
    finally:
        ray.shutdown()
