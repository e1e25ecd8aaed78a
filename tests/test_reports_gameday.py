"""Game days: thresholds from the prediction, rules that fire when they should and rarely otherwise, verdicts."""

import numpy as np
import pytest

from reports.disturbers import HARMFUL_ACTIONS
from reports.gameday import (
    MOST_FALSE_STOPS,
    Course,
    Hypothesis,
    Limits,
    Watch,
    first_stop,
    make_rules,
    rules_of,
    score,
    share_inside,
)
from reports.remedies import REMEDIES
from rundata.measurement import Measurement
from scenarios.faults import FAULTS

RISE = np.array([0, 0, 0, 0, 500, 1000, 1500, 1000, 500, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0] + [0.0] * 20)


def courses(count: int = 200, spread: float = 0.2) -> list[Course]:
    """Peaks around 1,500 events, some 20 % apart."""
    rng = np.random.default_rng(1)
    return [Course({"work": RISE * (1 + spread * z)}, 0.0) for z in rng.standard_normal(count)]


def test_few_runs_that_go_as_predicted_are_stopped() -> None:
    """Also of runs that the limits have never seen."""
    rules = make_rules(courses())
    others = courses(400)[200:]
    stopped = sum(first_stop(rules, course) is not None for course in others)

    assert rules.chance <= MOST_FALSE_STOPS
    assert rules.chance <= rules.at_most < 0.12
    assert stopped / 200 <= MOST_FALSE_STOPS
    assert 1500 < rules.lag_above["work"] < 4000


def test_a_backlog_far_above_the_prediction_stops_the_run() -> None:
    stop = first_stop(make_rules(courses()), Course({"work": RISE * 4}, 0.0))

    assert stop is not None
    assert (stop.rule, stop.at_s <= 3.5) == ("lag of work", True)
    assert stop.text.startswith("lag of work is ")


def test_outside_the_band_and_worsening_for_five_seconds_stops_the_run() -> None:
    """From second 10 on nothing was predicted; 200 events and more, in the end, are no peak and no good sign."""
    slow = np.concatenate([RISE[:20], 100 + 10 * np.arange(20.0)])
    stop = first_stop(make_rules(courses()), Course({"work": slow}, 0.0))

    assert stop is not None
    assert stop.rule == "band of work"
    assert 14 <= stop.at_s <= 17


def test_outside_the_band_but_falling_goes_on() -> None:
    falling = np.concatenate([RISE[:20], 300 - 10 * np.arange(20.0)])
    assert first_stop(make_rules(courses()), Course({"work": falling}, 0.0)) is None


def test_failed_sends_beyond_any_prediction_stop_the_run() -> None:
    stop = Watch(make_rules(courses())).see(1.0, {"work": 0.0}, 21.0)
    assert stop is not None
    assert stop.text == "21 sends failed or are unknown, more than 20"


def test_rules_survive_their_file() -> None:
    rules = make_rules(courses())
    again = rules_of(rules.to_json())

    assert again.lag_above == rules.lag_above
    assert again.chance == rules.chance
    assert np.allclose(again.band_high["work"], rules.band_high["work"], atol=0.06)


GAP = Hypothesis("H1", "gap[orders] < 13s", 9.8, (7.0, 11.0), "s", 1.0)


@pytest.mark.parametrize(
    ("value", "invalid", "stopped", "outcome", "inside"),
    [
        (10.0, (), None, "confirmed", True),
        (12.0, (), None, "confirmed", False),
        (14.0, (), None, "refuted", False),
        (14.0, ("shop/1 sent 8 ms late at p99",), None, "inconclusive", None),
        (14.0, (), "a person's word", "aborted", None),
        (None, (), None, "refuted", None),
    ],
)
def test_a_hypothesis_is_confirmed_refuted_inconclusive_or_aborted(value, invalid, stopped, outcome, inside) -> None:
    found = score(GAP, {"gap[orders]": Measurement(value, "s", 20.0 if value is None else None)}, invalid=invalid, stopped=stopped)  # fmt: skip
    assert (found.outcome, found.inside) == (outcome, inside)


def test_what_was_not_measured_is_inconclusive() -> None:
    assert score(GAP, {}, invalid=(), stopped=None).outcome == "inconclusive"


def test_the_share_inside_the_band_is_over_groups_and_time() -> None:
    low, high = {"work": np.zeros(4)}, {"work": np.array([5.0, 5.0, 5.0, 5.0])}
    observed = [(0.0, {"work": 3.0}), (0.5, {"work": 9.0}), (1.0, {"work": 5.0}), (9.0, {"work": 1.0})]
    assert share_inside(observed, low, high) == pytest.approx(2 / 3)


def test_limits_that_are_given_stop_a_run_beyond_them() -> None:
    """Age, a backlog that takes too long, and what a drill may cost; each by its own rule."""
    usual = [Course({"work": each.lag["work"]}, 0.0, {"fast": 10.0}, {"work": 2.0}) for each in courses()]
    rules = make_rules(usual, Limits({"work": 60.0}, {"work": 2700.0}, 10.0, {"fast": 25.0}))

    def stopped(course: Course) -> str | None:
        stop = first_stop(rules, course)
        return stop.rule if stop is not None else None

    assert rules.left_out == ()
    assert rules.chance <= MOST_FALSE_STOPS
    assert stopped(Course({"work": RISE * 0}, 0.0, {"fast": 26.0}, {"work": 2.0})) == "budget of fast"
    assert stopped(Course({"work": RISE * 0}, 0.0, {"fast": 25.0}, {"work": 61.0})) == "age of work"
    assert Watch(rules).see(2.5, {"work": 2701.0}, 0.0) is not None
    assert rules_of(rules.to_json()).drain_lag == {"work": 2700.0}


def test_a_limit_that_the_prediction_often_meets_is_left_out_and_named() -> None:
    """Half of the predicted runs have more than 1,500 events of lag, which no stop rule may mind."""
    rules = make_rules(courses(), Limits(drain_lag={"work": 1500.0}, recover_s=5.0))

    assert rules.drain_lag == {}
    assert rules.left_out[0].startswith("the backlog of work cannot be worked off within 5 s: ")
    assert rules.chance <= MOST_FALSE_STOPS


def test_every_kind_of_fault_has_its_way_back_and_what_prevents_it() -> None:
    kinds = {kind.model_fields["fault"].annotation.__args__[0] for kind in FAULTS}  # type: ignore[union-attr]  # each declares its literal
    assert kinds | set(HARMFUL_ACTIONS) == set(REMEDIES)
    assert all(each.prevents and each.rollback and each.sign for each in REMEDIES.values())
