"""The predictions of Kafka's behaviour, simulated: each figure's distribution lies within what Kafka's rules allow."""

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from benchmark_files import benchmark
from rundata.replications import Estimate

predictions = benchmark("predictions/run.py")


@pytest.mark.parametrize("name", list(predictions.FORMULAS))
def test_what_is_simulated_is_what_kafkas_rules_say(name: str) -> None:
    """Sixteen plans of each scenario: of each figure at most one outside the formula's bounds."""
    runs = predictions.simulated(name, 16)

    for formula in predictions.FORMULAS[name]:
        values = [one[formula.indicator].value for one in runs]
        outside = [value for value in values if value is None or not formula.low <= value <= formula.high]
        assert len(outside) <= 1, (formula.indicator, formula.words, values)


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
    again = predictions.Row(
        "07-leader-stopped", "lost", 0.0, 0.0, 1.0, (1.0, 2.0), "cannot tell", "2026-11-27", (False, None)
    )

    assert predictions.store([again]) == [other, again]
    assert list(predictions.stored().values()) == [other, again]
    assert [predictions._holds(row) for row in (first, other, again)] == [False, True, False]


def test_a_run_counts_beside_earlier_ones() -> None:
    """One of yesterday and one of today."""
    row = predictions.Row("07-leader-stopped", "lost", 0.0, 0.0, 0.0, (0.0,), "agrees", "2026-11-26")

    (found,) = predictions._driven_rows([row], {"lost": ((1.0,), "differs")}, (True,))

    assert (found.observed, found.verdict, found.busy) == ((0.0, 1.0), "differs", (None, True))
    assert found.cells()[-2:] == ["0, 1*", "differs"]
    assert predictions._with_seen(replace(row, high=1.0, observed=(), when=""), row) == replace(row, high=1.0)
    assert predictions._with_seen(row, None) == row


def test_what_needs_the_same_brokers_shares_a_cluster() -> None:
    """One has brokers that are controllers, too."""
    names = ["01-leader-killed-java", "18-controller-killed", "02-leader-killed-and-restarted"]

    assert predictions._by_cluster(names) == [[names[0], names[2]], [names[1]]]


def test_what_happens_is_told_by_faults_and_actions() -> None:
    """Each kind once; a scenario may have none."""
    names = ("24-two-followers-killed", "51-member-joins-behind-a-long-poll-loop", "42-retry-topic")

    assert [predictions.kinds(name) for name in names] == ["broker_crash", "poll_stall, scale", "none"]


# ---- all of them together --------------------------------------------------------------------------------------------


def _seen(*lines: tuple[str, str, float, float, float, float, float, float | None], calm: bool = False) -> pd.DataFrame:
    """Return observations of one scenario."""
    found = pd.DataFrame([("one", *line, calm) for line in lines], columns=predictions.COLUMNS)
    return found.astype(dict.fromkeys(predictions.NUMBERS, float))


def _told(seen: pd.DataFrame) -> dict[str, list[str]]:
    return {line.pop("what happens"): list(line.values()) for line in predictions.summary(seen)}


def test_observations_outside_rules_and_intervals_are_counted_by_what_happened() -> None:
    """Gaps of 8.1, 12 and 35 s: the second one is beyond the rule's 11 s and 1.6 s beyond its interval, which costs forty times that."""
    told = _told(
        _seen(
            ("broker_crash", "gap[work]", 7, 11, 9, 7.5, 10.4, 8.1),
            ("broker_crash", "gap[work]", 7, 11, 9, 7.5, 10.4, 12.0),
            ("cut", "write_gap[orders]", 30, 45, 37, 31, 45, 35.0),
        )
    )

    assert told["all"] == ["2 of 3", "2 of 3 (p = 0.14)", "2.11", "10.0%", "31.0%", "0.50"]
    assert told["broker_crash"] == ["1 of 2", "1 of 2 (p = 0.098)", "2.97", "21.7%", "32.2%", "0.50"]
    assert told["cut"] == ["1 of 1", "1 of 1 (p = 1)", "0.40", "5.4%", "5.4%", ""]


def test_calm_hosts_have_a_line_of_their_own() -> None:
    """A latency of 5 ms, once there and once beside other work, where it was 9."""
    rule = ("none", "ack_latency[orders].p50", 0.0033, 0.0085, 0.0048, 0.0045, 0.0052)
    told = _told(pd.concat([_seen((*rule, 0.005), calm=True), _seen((*rule, 0.009))]))

    assert told["all"][:2] == ["1 of 2", "1 of 2 (p = 0.098)"]
    assert told["all, on calm hosts"][:2] == ["1 of 1", "1 of 1 (p = 1)"]
    assert "all, on calm hosts" not in _told(_seen((*rule, 0.009)))


def test_what_chance_does_not_move_says_nothing_of_intervals() -> None:
    """One event lost where none may be; a gap of 31 ms where there is to be none has no relative error."""
    told = _told(
        _seen(("none", "lost", 0, 0, 0, 0, 0, 1.0), ("none", "write_gap[orders]", 0, 0.5, 0.006, 0.006, 0.006, 0.031))
    )

    assert told["all"] == ["1 of 2", "", "", "", "", ""]


def test_what_was_never_reached_lies_outside() -> None:
    """A group that did not come back has no drain time."""
    told = _told(_seen(("member_leave", "drain_time[work]", 15, 25, 21, 20, 22, None)))

    assert told["all"] == ["0 of 1", "0 of 1 (p = 0.05)", "", "", "", ""]


def test_intervals_that_are_too_narrow_are_found() -> None:
    """Nine of ten within the rule, and three of ten within an interval of a tenth of a second."""
    values = [8.0, 8.2, 8.6, 8.8, 9.0, 9.02, 9.04, 9.6, 9.8, 12.0]
    told = _told(_seen(*(("broker_crash", "gap[work]", 7, 11, 9, 8.95, 9.05, value) for value in values)))

    assert told["all"][0] == "9 of 10"
    assert told["all"][1] == "3 of 10 (p = 8.2e-08)"


def test_the_page_says_it_together_and_one_by_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page with something before and after; what was simulated only is left out."""
    page = tmp_path / "agreement.md"
    page.write_text(f"before\n\n{predictions.BEGIN}\nold\n{predictions.END}\n\nafter\n")
    monkeypatch.setattr(predictions, "PAGE", page)
    driven = predictions.Row("07-leader-stopped", "lost", 0.0, 0.0, 0.0, (0.0, 0.0), "agrees", "2026-11-26")
    simulated = predictions.Row("01-leader-killed-java", "lost", 0.0, 0.0, 0.0)

    predictions.write([simulated, driven])

    text = page.read_text()
    assert text.startswith(f"before\n\n{predictions.BEGIN}\n\nWritten by `make predictions`; driven on 2026-11-26.\n\n")
    assert "| all | 2 of 2 |  |  |  |  |  |\n| broker_stop | 2 of 2 |" in text
    assert "| 07-leader-stopped | `lost` | none | 0 | 0 (0 to 0) | 0, 0 | agrees |" in text
    assert "01-leader-killed-java" not in text
    assert text.endswith(f"{predictions.END}\n\nafter\n")
