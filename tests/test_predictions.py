"""The predictions of Kafka's behaviour, simulated: each figure's distribution lies within what Kafka's rules allow."""

from dataclasses import replace
from pathlib import Path

import pytest

from benchmark_files import benchmark
from rundata.replications import Estimate

predictions = benchmark("predictions/run.py")


@pytest.mark.parametrize("name", list(predictions.FORMULAS))
def test_what_is_simulated_is_what_kafkas_rules_say(name: str) -> None:
    """Forty plans of each scenario: 95 % of them within the formula's bounds."""
    found = predictions.simulated(name, 40)

    rows = [predictions.Row.of(name, formula, found[formula.indicator]) for formula in predictions.FORMULAS[name]]
    assert [row.cells() for row in rows if not predictions._holds(row)] == []


def test_every_scenario_has_a_formula() -> None:
    """A file without one would never be run."""
    assert sorted(path.stem for path in predictions.HERE.glob("*.yaml")) == sorted(predictions.FORMULAS)


def test_what_leaves_its_bounds_is_told() -> None:
    """Of `lost` none may be: simulated within, observed beyond; nothing observed; simulated beyond."""
    estimate = Estimate(0.0, "events", (0.0, 0.0), (0.0, 0.0), replications=20)
    formula = next(one for one in predictions.FORMULAS["07-leader-stopped"] if one.indicator == "lost")
    row = predictions.Row.of("07-leader-stopped", formula, estimate)

    assert predictions._holds(replace(row, observed=(0.0,)))
    assert not predictions._holds(replace(row, observed=(1.0,)))
    assert not predictions._holds(replace(row, observed=(None,)))
    assert not predictions._holds(replace(row, high=1.0))


def test_lines_of_a_new_run_replace_older_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two scenarios; one of them again: its line is the new one, in the order of the formulas; an unknown figure stays unknown."""
    monkeypatch.setattr(predictions, "FILE", tmp_path / "figures.csv")
    first = predictions.Row("07-leader-stopped", "lost", 0.0, 0.0, 0.0, (0.0, None), "agrees", "2026-11-26")
    other = predictions.Row("01-leader-killed-java", "lost", 0.0, 0.0, 0.0, (0.0,), "agrees", "2026-11-26")

    assert predictions.store([first, other]) == [other, first]
    again = predictions.Row("07-leader-stopped", "lost", 0.0, 0.0, 1.0, (1.0,), "cannot tell", "2026-11-27")

    assert predictions.store([again]) == [other, again]
    assert list(predictions.stored().values()) == [other, again]
    assert [predictions._holds(row) for row in (first, other, again)] == [False, True, False]
