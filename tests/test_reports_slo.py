"""Objectives and members: literal events, exact budgets."""

import math

import pytest

from page_data import leader_crash, made_up_run
from reports.capacity import fewest_members
from reports.slo import GIVEN_UP, NO_FAULT, assess, objective_text, objectives_json
from rundata.tables import RunData
from runs import Build
from scenarios.distributions import Constant
from scenarios.quantities import MILLISECOND
from scenarios.schema import Objective, Scenario

FAST = {
    "objectives": {"fast": {"indicator": "latency", "of": "work", "below": "500ms", "target": "90%", "period": "1h"}}
}
CRASH = {"faults": [{"fault": "slow_work", "group": "work", "factor": 2, "at": "3s", "for": "2s"}]}


def ten_events(build: Build, late: tuple[int, ...], never: tuple[int, ...] = ()) -> RunData:
    """Plan an event each second from 0.5 s; the late ones take effect after 1 s, the others after 100 ms."""
    for number in range(10):
        event = build.event(number + 0.5)
        build.send(event)
        if number not in never:
            build.handle(event, number + 0.55, number + (1.5 if number in late else 0.6))
    return build.run()


def test_budget_is_bad_events_over_the_bad_events_that_the_period_may_have():
    """2 of 10 are late. An hour at 1/s brings 3600 events, 360 of which may be bad: 2 / 360 is spent, not 2 / 10 of anything."""
    report = assess(ten_events(Build(FAST), late=(3, 7)))["fast"]

    assert (report.good, report.bad, report.compliance, report.met) == (8, 2, 0.8, False)
    assert (report.forecast, report.budget) == (3600, pytest.approx(360))
    assert report.spent == pytest.approx(2 / 360)


def test_a_forecast_of_the_users_replaces_the_runs_load():
    report = assess(ten_events(Build(FAST), late=(3, 7)), forecast={"fast": 1000})["fast"]

    assert report.spent == pytest.approx(2 / 100)


def test_an_event_that_never_took_effect_is_bad():
    report = assess(ten_events(Build(FAST), late=(), never=(4,)))["fast"]

    assert (report.good, report.bad) == (9, 1)


def test_burn_is_the_bad_share_over_the_allowed_one():
    """In the first 5 s one of five events is late: 20 % where 10 % are allowed."""
    report = assess(ten_events(Build(FAST), late=(3,)))["fast"]

    assert report.burn_at_s.tolist() == [0, 5]
    assert report.burn == pytest.approx([2.0, 0.0])
    assert report.worst_burn == pytest.approx(2.0)


def test_the_fault_in_whose_time_an_event_was_intended_spent_it():
    """Events 3 and 4 lie in the fault, event 2 (at 2.5 s, due at 3 s) was under way when it began, event 8 is nobody's."""
    build = Build({**FAST, **CRASH})
    build.fault(3.0, 5.0)
    report = assess(ten_events(build, late=(2, 3, 4, 8)))["fast"]

    assert {one.fault: one.bad for one in report.spent_by} == {"slow_work": 3, GIVEN_UP: 0, NO_FAULT: 1}
    assert report.spent_by[0].share == pytest.approx(3 / 360)


def test_dead_letters_are_set_apart_in_delivery():
    """A poison event in a fault's time is not the fault's."""
    objective = {"objectives": {"delivered": {"indicator": "delivery", "of": "work", "target": "99%", "period": "1h"}}}
    build = Build({**objective, **CRASH})
    build.fault(3.0, 5.0)
    for number in range(10):
        event = build.event(number + 0.5)
        build.send(event)
        if number == 3:
            build.deliver(event, 3.55)
            build.try_(event, 3.55, 3.6, ok=False)
            build.dead_letter(event, 3.7, 3.71)
        else:
            build.handle(event, number + 0.55, number + 0.6)
    report = assess(build.run())["delivered"]

    assert {one.fault: one.bad for one in report.spent_by if one.bad} == {GIVEN_UP: 1}
    assert report.compliance == 0.9


def test_acknowledgements_have_objectives_too():
    objective = {
        "objectives": {"acked": {"indicator": "ack_latency", "below": "50ms", "target": "50%", "period": "10s"}}
    }
    build = Build(objective)
    for number in range(4):
        event = build.event(number + 0.5)
        build.send(event, ended=number + (0.51 if number else 0.7))
        build.handle(event, number + 0.75, number + 0.8)
    report = assess(build.run())["acked"]

    assert (report.good, report.bad, report.spent) == (3, 1, 0.5)


def test_availability_counts_partition_seconds():
    """Both partitions take part; one cannot be written for 2 of 10 s: 2 of 20 partition-seconds are bad."""
    objective = {"objectives": {"up": {"indicator": "availability", "of": "orders", "target": "90%", "period": "10s"}}}
    build = Build(objective)
    for number in range(4):
        event = build.event(number + 0.5, partition=number % 2)
        build.send(event, ended=number + (2.5 if number == 1 else 0.51))
        build.handle(event, number + 3, number + 3.1)
    report = assess(build.run())["up"]

    assert (report.bad, report.good) == (pytest.approx(2), pytest.approx(18))
    assert report.spent == pytest.approx(1.0)


def test_a_target_of_everything_leaves_no_budget():
    strict = {"objectives": {"all": {"indicator": "delivery", "target": "100%", "period": "1h"}}}
    run = ten_events(Build(strict), late=(), never=(4,))

    assert assess(run)["all"].spent == math.inf
    assert objectives_json(assess(run))["all"]["spent"] is None  # type: ignore[index]  # a document


def test_objectives_in_words():
    objective = Objective.model_validate(
        {"indicator": "latency", "of": "work", "below": "500ms", "target": "99.9%", "period": "30d"}
    )

    assert objective_text(objective) == "99.9% of latency[work] below 500ms, over 30d"


# ---- members ---------------------------------------------------------------------------------------------------------


def steady(members_needed: int) -> tuple[Scenario, list[tuple[int, bool]], object]:
    """Return a scenario, and a stand-in engine in which fewer members than needed make every event late."""
    scenario = leader_crash(
        objectives={"fast": {"indicator": "latency", "of": "fulfilment", "below": "500ms", "target": "99%"}}
    )
    quick = scenario.groups["fulfilment"].model_copy(update={"work": Constant(MILLISECOND)})  # one member can be enough
    scenario = scenario.model_copy(update={"groups": {**scenario.groups, "fulfilment": quick}})
    asked: list[tuple[int, bool]] = []

    def simulate(changed: Scenario) -> RunData:
        members = changed.groups["fulfilment"].members
        asked.append((members, bool(changed.faults)))
        return made_up_run(changed, slower=1.0 if members >= members_needed else 200.0)

    return scenario, asked, simulate


@pytest.mark.parametrize("needed", [1, 2, 3, 4, 6])
def test_the_search_finds_the_fewest_members(needed: int):
    scenario, _, simulate = steady(needed)
    found = fewest_members(scenario, "fulfilment", simulate, drill=False)  # type: ignore[arg-type]  # its type is hidden

    assert (found.fewest, found.members_now, found.most) == (needed, 3, 6)
    assert [one.holds for one in found.tried] == [one.members >= needed for one in found.tried]
    if needed > 1:
        assert needed - 1 in [one.members for one in found.tried]


def test_when_all_partitions_have_a_member_more_do_not_help():
    scenario, _, simulate = steady(7)
    found = fewest_members(scenario, "fulfilment", simulate, drill=False)  # type: ignore[arg-type]  # its type is hidden

    assert found.fewest is None
    assert "not even 6 members, one for each partition, are enough" in found.reason


def test_the_search_leaves_faults_out_and_the_drill_tells_their_cost():
    scenario, asked, simulate = steady(2)
    found = fewest_members(scenario, "fulfilment", simulate)  # type: ignore[arg-type]  # its type is hidden

    assert {faulty for _, faulty in asked} == {True, False}
    assert all((one.spent_by_drill["fast"] or 0) > 0 for one in found.tried)
    assert [one.busy for one in found.tried] == sorted((one.busy for one in found.tried), reverse=True)


def test_a_member_that_a_fault_names_must_exist():
    scenario = leader_crash(faults=[{"fault": "member_crash", "member": "fulfilment/2", "at": "20s", "for": "5s"}])
    found = fewest_members(scenario, "fulfilment", made_up_run, drill=False)

    assert min(one.members for one in found.tried) == 2


# ---- methods, intervals, incidents -----------------------------------------------------------------------------------


def test_timeslices_differ_from_occurrences_where_bad_events_lie_together():
    """Two of ten events are late, both in the first of two slices: 80 % of events, half of the slices, and a mean of 80 %."""
    report = assess(ten_events(Build(FAST), late=(3, 4)))["fast"]

    assert (report.compliance, report.timeslices, report.mean_of_slices) == (0.8, 0.5, pytest.approx(0.8))


def test_a_slice_with_fewer_events_counts_as_much_in_the_mean_of_slices():
    """Nine events in the first slice, all good, and one in the second, late: 90 % of events, 50 % of the mean."""
    build = Build(FAST)
    for number in range(10):
        at = 0.5 * number + 0.2 if number < 9 else 7.0
        event = build.event(at)
        build.send(event)
        build.handle(event, at + 0.05, at + (0.1 if number < 9 else 2.0))
    report = assess(build.run())["fast"]

    assert (report.compliance, report.mean_of_slices) == (0.9, 0.5)


def test_a_budget_lasts_as_long_as_the_average_rate_of_bad_events_lets_it():
    """2 bad in 10 s where 360 are allowed: 1800 s. The average burn is 20 % over 10 %."""
    report = assess(ten_events(Build(FAST), late=(3, 7)))["fast"]

    assert (report.gone_after_s, report.average_burn) == (pytest.approx(1800), pytest.approx(2))
    assert assess(ten_events(Build(FAST), late=()))["fast"].gone_after_s == math.inf


def test_an_interval_holds_the_compliance_and_knows_that_none_of_few_is_not_never():
    build = Build(FAST)
    for number in range(40):
        event = build.event(number / 4 + 0.1)
        build.send(event)
        build.handle(event, number / 4 + 0.15, number / 4 + (1.5 if number % 8 == 0 else 0.2))
    report = assess(build.run())["fast"]
    assert report.interval is not None
    low, high = report.interval
    assert low < 0.875 < high < 1

    clean = Build(FAST)
    for number in range(40):
        clean.flow(number / 4 + 0.1)
    assert assess(clean.run())["fast"].interval == (pytest.approx(0.025 ** (1 / 40)), 1.0)
    assert assess(ten_events(Build(FAST), late=()))["fast"].interval is None, "ten events say too little"


def test_what_no_fault_explains_goes_to_the_incident_before_it():
    """A rebalance at 3.2 s: event 3 (intended at 3.5 s) is late and no fault is there; event 0 was late long before."""
    build = Build(FAST)
    build.incident(3.2, "rebalance", "work", "a member left")
    report = assess(ten_events(build, late=(0, 3)))["fast"]

    assert {one.fault: one.bad for one in report.spent_by} == {"rebalance of work": 1, GIVEN_UP: 0, NO_FAULT: 1}


def test_availability_burns_in_the_seconds_in_which_a_partition_could_not_be_written():
    """Partition 1 cannot be written from 1.5 to 3.5 s: 2 of 10 partition-seconds in the first window, where 10 % are allowed."""
    objective = {"objectives": {"up": {"indicator": "availability", "of": "orders", "target": "90%", "period": "10s"}}}
    build = Build(objective)
    for number in range(4):
        event = build.event(number + 0.5, partition=number % 2)
        build.send(event, ended=number + (2.5 if number == 1 else 0.51))
        build.handle(event, number + 3, number + 3.1)
    report = assess(build.run())["up"]

    assert report.burn.tolist() == [pytest.approx(2.0), 0.0]
