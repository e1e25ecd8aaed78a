"""Which change buys how much budget: pairs of runs with the same events, and what differs between their scenarios."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from eventdrill.command_line import app
from eventdrill.workflows.slo import assessed, document
from reports.slo import assess
from reports.slo_compare import Assessed, changes_text, compare
from rundata.dataset import save
from rundata.tables import RunData
from runs import Build, scenario_with

FAST = {
    "objectives": {"fast": {"indicator": "latency", "of": "work", "below": "500ms", "target": "90%", "period": "1h"}}
}


def run(late: tuple[int, ...], *, members: int = 2, seed: int = 0, shift: float = 0.0) -> RunData:
    """Forty events, four a second; the late ones take a second and a half. An hour brings 14400, of which 1440 may be bad."""
    build = Build({**FAST, "seed": seed, "groups": {"work": {"members": members}}})
    for number in range(40):
        at = number / 4 + 0.1 + shift
        event = build.event(at, key=number)
        build.send(event)
        build.handle(event, at + 0.05, at + (1.5 if number in late else 0.1))
    return build.run()


def named(*runs: RunData) -> list[Assessed]:
    return [Assessed(f"run {number}", one, assess(one)) for number, one in enumerate(runs)]


def test_a_change_buys_what_it_spends_less():
    """Ten of 40 late before, two after: (10 - 2) / 1440 of the hour's budget."""
    (found,) = compare(named(run(tuple(range(10))), run((0, 1), members=3)))

    assert found.variant == "groups.work.members 2 -> 3"
    assert (found.spent_before, found.spent_after) == (pytest.approx(10 / 1440), pytest.approx(2 / 1440))
    assert found.bought == pytest.approx(8 / 1440)
    assert found.same_events and found.pairs == 1
    assert found.interval is not None and found.interval[0] < 8 / 1440 < found.interval[1]


def test_runs_with_equal_seeds_are_pairs_and_their_differences_make_the_interval():
    """Differences 4, 4 and 4 events: no spread, although the runs themselves spread widely."""
    before = [run(tuple(range(count)), seed=seed) for seed, count in ((1, 5), (2, 12), (3, 30))]
    after = [run(tuple(range(count - 4)), seed=seed, members=3) for seed, count in ((3, 30), (1, 5), (2, 12))]
    (found,) = compare(named(*before, *after))

    assert (found.pairs, found.bought) == (3, pytest.approx(4 / 1440))
    assert found.interval == (pytest.approx(4 / 1440), pytest.approx(4 / 1440))


def test_one_pair_of_other_events_has_no_interval():
    (found,) = compare(named(run((0, 1)), run((), members=3, shift=0.01)))

    assert (found.same_events, found.interval) == (False, None)


def test_runs_that_differ_in_the_seed_alone_are_one_variant():
    assert compare(named(run((0,)), run((1,), seed=5))) == []


def test_what_differs_is_named_field_by_field():
    base = scenario_with({})
    other = scenario_with(
        {"groups": {"work": {"commit": {"every": "1s"}}}, "topics": {"orders": {"partitions": 4}}, "seed": 9}
    )

    assert changes_text(base, other) == "topics.orders.partitions 2 -> 4, groups.work.commit.every default -> 1s"


# ---- the verb --------------------------------------------------------------------------------------------------------


def run_verb(*arguments: object) -> Any:
    return CliRunner().invoke(app, [str(each) for each in arguments], prog_name="eventdrill")


def saved(folder: Path, data: RunData) -> Path:
    save(data, folder)
    return folder


def test_slo_prints_what_it_found_and_writes_a_page(tmp_path: Path):
    first, second = saved(tmp_path / "a", run(tuple(range(10)))), saved(tmp_path / "b", run((0, 1), members=3))
    done = run_verb("slo", first, second, "--json", "--openslo", tmp_path / "slo.yaml")
    found: Any = json.loads(done.stdout)

    assert done.exit_code == 0
    assert found["runs"][str(first)]["fast"]["spent"] == pytest.approx(10 / 1440)
    assert found["bought"][0]["variant"] == "groups.work.members 2 -> 3"
    page = (first / "slo.html").read_text()
    assert "What does a change buy?" in page and "groups.work.members 2 -&gt; 3" in page
    assert "http" not in page.replace("http-equiv", "")
    again = run_verb("slo", first, "--objectives", tmp_path / "slo.yaml", "--json")
    assert json.loads(again.stdout)["runs"][str(first)] == found["runs"][str(first)]


def test_slo_shows_people_what_spent_the_budget(tmp_path: Path):
    done = run_verb("slo", saved(tmp_path / "a", run(tuple(range(10)))))

    assert "fast: 90% of latency[work] below 500ms, over 1h" in " ".join(done.stdout.split())
    assert "no fault 100%" in done.stdout
    assert "counted otherwise" in done.stdout


def test_slo_refuses_what_it_cannot_judge(tmp_path: Path):
    plain = Build({})
    plain.flow(0.5)
    bare = saved(tmp_path / "bare", plain.run())
    done = run_verb("slo", bare)
    assert (done.exit_code, "its scenario has no objectives" in done.stderr) == (2, True)

    there = saved(tmp_path / "a", run(()))
    wrong = tmp_path / "slo.yaml"
    wrong.write_text(document_of("nobody"))
    done = run_verb("slo", there, "--objectives", wrong)
    assert (done.exit_code, "objective fast is about 'nobody'; the run has orders" in done.stderr) == (2, True)
    assert run_verb("slo", there, there).exit_code == 2
    assert not (there / "slo.html").exists()


def document_of(group: str) -> str:
    from test_reports_openslo import FILE

    return FILE.replace("of: work", f"of: {group}")


def test_the_document_is_made_of_numbers(tmp_path: Path):
    runs = assessed([saved(tmp_path / "a", run(()))])

    assert (
        json.loads(json.dumps(document(runs, []), allow_nan=False))["runs"][str(tmp_path / "a")]["fast"]["gone_after_s"]
        is None
    )
