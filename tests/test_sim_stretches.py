"""Long runs in stretches: what is simulated, what stands for what, equal results for any number of processes, and what is refused."""

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from rundata.indicators import measure
from scenarios.excerpts import Loads, excerpt
from scenarios.files import load_text
from scenarios.plan import make_plan
from scenarios.profiles import load_profile
from scenarios.quantities import HOUR, MINUTE, SECOND
from scenarios.schema import Scenario
from scenarios.yaml_text import write_yaml
from sim.engine import simulate
from sim.stretches.long_run import LongRun, simulate_in_stretches, windows_tables
from sim.stretches.timeline import Timeline, TimelineError

QUIET: Mapping[str, Any] = {
    "scenario": "long",
    "duration": "1h",
    "warm_up": "10s",
    "brokers": {"kind": "kafka", "nodes": 3},
    "topics": {"orders": {"partitions": 3}},
    "producers": {"shop": {"topic": "orders", "arrivals": "10/s", "key": {"uniform": 100}}},
    "groups": {"work": {"topics": ["orders"], "members": 2, "work": {"exponential": "2ms"}, "commit": {"every": "1s"}}},
}
CRASH = {"fault": "member_crash", "member": "work/1", "at": "30m", "for": "10s"}


def scenario(**changes: Any) -> Scenario:
    return load_text(write_yaml({**QUIET, **changes})).scenario


def long_run(what: Scenario, **options: Any) -> LongRun[None]:
    return simulate_in_stretches(what, load_profile("local-kafka"), seed=1, **options)


# ---- the timeline --------------------------------------------------------------------------------------------------


def test_stretches_cover_the_measured_time_once() -> None:
    """From the warm-up on, without holes; a crash at 30 min begins its stretch half a minute before or more and ends it over two after."""
    placings = Timeline(scenario(faults=[CRASH]), 1, 0).placings()

    assert (placings[0].begin_ns, placings[-1].end_ns) == (10 * SECOND, HOUR)
    assert all(one.end_ns == other.begin_ns for one, other in pairwise(placings))
    disturbed = [each for each in placings if each.how == "disturbed"]
    assert [(each.begin_ns / SECOND, each.end_ns / SECOND) for each in disturbed] == [(29 * 60 + 10, 32 * 60 + 10)]


def test_ten_minutes_before_a_disturbance_nothing_is_drawn() -> None:
    placings = Timeline(scenario(duration="3h", faults=[{**CRASH, "at": "2h"}]), 1, 0).placings()

    begin_ns = next(each.begin_ns for each in placings if each.how == "disturbed")
    before = [each.how for each in placings if begin_ns - 10 * MINUTE <= each.begin_ns < begin_ns]
    assert before == ["exact"] * 10
    assert sum(each.how == "resampled" for each in placings) > 90


def test_what_is_drawn_comes_from_equal_load() -> None:
    """Two rates a day: sixty minutes of each are simulated, and no minute stands for one of the other rate."""
    daily = {"daily": [{"for": "12h", "rate": "5/s"}, {"for": "12h", "rate": "15/s"}]}
    what = scenario(duration="2d", producers={"shop": {"topic": "orders", "arrivals": daily}})
    loads = Loads(what)

    placings = Timeline(what, 1, 0).placings()

    sources = {each.source.begin_ns: each.source for each in placings}
    # The last minute is ten seconds short, and minutes in which the rate changes are like no others but their own kind.
    assert 120 <= len(sources) <= 126
    for each in placings:
        assert loads.shape(each.begin_ns, each.end_ns) == loads.shape(each.source.begin_ns, each.source.end_ns)


def test_exact_stretches_stand_for_themselves_only() -> None:
    placings = Timeline(scenario(duration="3h"), 1, 0, resample=False).placings()

    assert {each.how for each in placings} == {"exact"}


def test_faults_that_would_touch_share_a_stretch() -> None:
    near = Timeline(scenario(faults=[{**CRASH, "at": ["20m", "22m", "40m"]}]), 1, 0).disturbed

    assert [len(each.faults) for each in near] == [2, 1]


def test_a_ramp_is_cut_where_the_stretch_is() -> None:
    """Half-way through 0 to 60/s in an hour the rate is 30/s; a minute later it is 31/s."""
    what = scenario(producers={"shop": {"topic": "orders", "arrivals": {"rate": ["0/s", "60/s"]}}})

    part = excerpt(what, 30 * MINUTE, 31 * MINUTE)

    assert part.producers["shop"].rated(MINUTE)[0].rate == (30.0, 31.0)
    assert (part.duration, part.warm_up) == (MINUTE, 0)
    assert len(make_plan(part, 1)) == pytest.approx(30.5 * 60, abs=4 * np.sqrt(30.5 * 60))


@pytest.mark.parametrize(
    "stays",
    [
        {"fault": "leader_move", "partition": "orders/0", "at": "10m"},
        {"fault": "reassign", "partition": "orders/0", "to": [1], "at": "10m"},
        {"fault": "add_partitions", "topic": "orders", "to": 99, "at": "10m"},
    ],
)
def test_a_fault_that_stays_is_refused(stays: dict[str, Any]) -> None:
    with pytest.raises(TimelineError, match=rf"faults\[0\] \({stays['fault']} at 10m\) is never undone"):
        Timeline(scenario(faults=[stays]), 1, 0)


def test_an_action_is_refused() -> None:
    scale = {"action": "scale", "group": "work", "to": 9, "at": "10m"}

    with pytest.raises(TimelineError, match=r"actions\[0\] \(scale\) changes what comes after it"):
        Timeline(scenario(actions=[scale]), 1, 0)


def test_what_may_end_a_reader_for_good_is_refused() -> None:
    what = {"groups": {"work": {**QUIET["groups"]["work"], "settings": {"auto.offset.reset": "error"}}}}
    delete = {"fault": "delete_records", "topic": "orders", "at": "10m"}

    assert Timeline(scenario(**what), 1, 0).placings()
    with pytest.raises(TimelineError, match=r"groups\.work has auto\.offset\.reset: none"):
        Timeline(scenario(**what, faults=[delete]), 1, 0)


# ---- simulated -----------------------------------------------------------------------------------------------------


def test_results_do_not_depend_on_the_number_of_processes() -> None:
    what = scenario(duration="40m", faults=[CRASH])

    alone, shared = (long_run(what, jobs=jobs) for jobs in (1, 2))

    assert alone.measured == shared.measured
    assert alone.run.incidents == shared.run.incidents
    assert alone.run.faults == shared.run.faults


def test_stretches_say_what_the_whole_run_says() -> None:
    """Half an hour with a crashed member, of some 18,000 events: counts within chance, latencies within 3 %, the gap is the session's."""
    what = scenario(duration="30m", faults=[{**CRASH, "at": "10m"}])
    whole = measure(simulate(make_plan(what, 1), load_profile("local-kafka")))

    long = long_run(what, resample=False)

    for name, near in {
        "produced": 0.05,
        "latency.p50": 0.03,
        "latency[before faults].p95": 0.05,
        "gap[work]": 0.15,
    }.items():
        assert long.measured[name].value == pytest.approx(whole[name].value, rel=near), name
    for name in ("delivery", "lost", "passed", "restarts.count", "refused", "pending"):
        assert long.measured[name].value == whole[name].value, name


def test_a_disturbance_that_takes_longer_has_a_longer_stretch() -> None:
    """Work sixty times as slow for two minutes piles up some 1,170 events, worked off at 6.7/s: a minute longer than the two that are simulated."""
    slow = {"fault": "slow_work", "group": "work", "factor": 60, "at": "20m", "for": "2m"}
    group = {**QUIET["groups"]["work"], "members": 1, "work": "60ms"}
    what = scenario(duration="2h", faults=[slow], groups={"work": group})

    first = Timeline(what, 1, 0).disturbed[0]
    long = long_run(what)

    last = next(each for each in long.placings if each.how == "disturbed")
    assert first.end_ns - first.begin_ns == 5 * MINUTE
    assert last.end_ns == first.end_ns + 2 * MINUTE
    assert long.measured["delivery"].value == 1.0


def test_load_that_leaves_a_backlog_behind_cannot_be_parted() -> None:
    group = {**QUIET["groups"]["work"], "members": 1, "work": "150ms"}

    with pytest.raises(TimelineError, match="a minute of quiet load leaves a backlog behind"):
        long_run(scenario(duration="4m", groups={"work": group}))


def test_an_event_that_takes_its_time_is_no_backlog() -> None:
    """One event in two seconds, each worked on for most of a second: at the end of many a minute one is under way."""
    slow = {**QUIET["groups"]["work"], "members": 1, "work": "800ms"}
    producers = {"shop": {"topic": "orders", "arrivals": "0.5/s", "key": {"uniform": 100}}}

    found = long_run(scenario(duration="30m", groups={"work": slow}, producers=producers))

    assert found.measured["delivery"].value == 1.0


def test_without_faults_all_of_the_time_is_quiet() -> None:
    found = long_run(scenario(duration="20m"))

    assert found.quiet == found.measured


def test_without_windows_the_figures_are_the_same() -> None:
    what = scenario(duration="20m", faults=[{**CRASH, "at": "10m"}])

    some, none = (long_run(what, windows=windows) for windows in (True, False))

    assert none.measured == some.measured
    assert [sum(len(table) > 0 for table in windows_tables(found)) > 0 for found in (some, none)] == [True, False]


def test_windows_hold_what_was_counted_minute_by_minute() -> None:
    """Of the stretch around the crash, of exact minutes and of resampled ones: as many acknowledgements as `produced` counts."""
    found = long_run(scenario(duration="2h", faults=[{**CRASH, "at": "90m"}]))

    rows = [row for table in windows_tables(found) for row in table.to_pylist()]

    acks, effects = ([row for row in rows if row["stage"] == stage] for stage in ("ack", "effect"))
    measured_s = 2 * 3600 - 10
    assert sum(row["count"] for row in acks) == round((found.measured["produced"].value or 0) * measured_s)
    assert sum(row["count"] for row in effects) == round((found.measured["consumed"].value or 0) * measured_s)
    for some in (acks, effects):
        begins = [row["begin_ns"] for row in some]
        assert (begins[0], begins) == (10 * SECOND, sorted(set(begins)))
    assert all(sum(row["counts"]) == row["count"] and len(row["bins"]) == len(row["counts"]) for row in rows)
    assert {(row["topic"], row["partition"], row["of"]) for row in acks} == {("orders", None, "shop")}
