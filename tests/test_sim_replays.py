"""The action `replay` in both models: what lies in the log is handled once more beside the group; cases worked out by hand."""

from typing import Any

import pytest

from both_models import Run, in_both_models
from by_hand import by_hand, ms
from rundata.checks import check
from rundata.rows import NONE, Kind, Outcome
from rundata.tables import RunData
from scenarios.plan import make_plan
from scenarios.profiles import IDEAL
from sim.engine import simulate
from sim.refuse import cannot


def replay(**what: Any) -> dict[str, Any]:
    """Return a replay from the first record on at 600 ms, when six events are visible."""
    return {"actions": [{"action": "replay", "group": "g", "from": "earliest", "at": "600ms", **what}]}


def replayed(data: RunData, column: str = "started_ns") -> list[float]:
    """Return a column of the tries of no member."""
    return ms(data, Kind.try_, column, process=NONE)


@in_both_models
def test_what_is_visible_is_handled_once_more_beside_the_group(run: Run) -> None:
    """The call collects for 100 ms; then six tries of 10 ms each, while the member goes on with what comes."""
    data = run(**replay())

    assert replayed(data) == [700, 710, 720, 730, 740, 750]
    assert ms(data, Kind.delivery, "offset", process=NONE) == [offset / 1e6 for offset in range(6)]
    assert ms(data, Kind.try_, process=1) == [65.0 + 100 * n for n in range(10)]
    assert ms(data, Kind.commit, process=NONE) == []


@in_both_models
def test_a_rate_spaces_them_and_makes_up_for_a_tenth_of_a_second_at_most(run: Run) -> None:
    """At 20/s: due 600, 650, 700 (begun one after another from 700 on), then 50 ms apart."""
    assert replayed(run(**replay(rate="20/s"))) == [700, 710, 720, 750, 800, 850]


@in_both_models
def test_it_begins_at_an_offset_or_with_the_last_so_much_time(run: Run) -> None:
    """Events are handed over at 50, 150, ... ms: of the last 160 ms before 600 ms those of 450 and 550 ms."""
    assert ms(run(**replay(**{"from": 3})), Kind.delivery, "offset", process=NONE) == [3e-6, 4e-6, 5e-6]
    assert ms(run(**replay(**{"from": "160ms"})), Kind.delivery, "offset", process=NONE) == [4e-6, 5e-6]


@in_both_models
def test_a_memory_of_the_group_passes_over_what_is_known(run: Run) -> None:
    """All six were handled within the window: delivered, and not tried."""
    data = run(**replay(), groups__g__dedupe={"window": "10s", "store": "shared"})

    assert len(ms(data, Kind.delivery, process=NONE)) == 6
    assert replayed(data) == []


@in_both_models
def test_the_policy_for_failures_may_end_it(run: Run) -> None:
    """Events from 150 ms on are poison: the member stops at the first of them, and so does the replay."""
    poison = {"fault": "poison", "producer": "p", "events": 1, "at": "100ms", "for": "100ms"}
    data = run(**replay(), faults=[poison], groups__g__failures={"then": "stop"})

    assert replayed(data, "outcome") == [Outcome.ok / 1e6, Outcome.failed / 1e6]
    assert len(ms(data, Kind.try_, process=1)) == 2


@in_both_models
def test_one_process_replays_for_an_action_time_and_again(run: Run) -> None:
    """Due at 300, 600 and 900 ms; with 80 ms a try the first ends at 640, the second at 1220 ms, and the next one waits for that."""
    data = run(
        actions=[{"action": "replay", "group": "g", "from": "earliest", "every": "300ms"}], groups__g__work="80ms"
    )

    assert [int(offset * 1e6) for offset in ms(data, Kind.delivery, "offset", process=NONE)] == [
        *range(3), *range(6), *range(10),
    ]  # fmt: skip
    assert [replayed(data)[n] for n in (0, 2, 3, 8, 9, 18)] == [400, 560, 740, 1140, 1320, 2040]


def test_effects_come_twice_which_is_told_with_its_reason() -> None:
    """Every check holds, and duplicate effects name the replay."""
    data = simulate(make_plan(by_hand(**replay())), IDEAL)
    found = check(data)

    assert [each.proof for each in data.actions] == ["6 events handed over once more at 0.760 s"]
    assert {name: result.examples for name, result in found.items() if not result.valid} == {}
    assert found["duplicate_effects"].count == 6
    assert found["duplicate_effects"].allowed == "g handles once more what lies in its log (action replay)"


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"groups__g__commit": "transaction"}, "commits in transactions"),
        ({"groups__g__share_group": True}, "is a share group"),
        ({"topics__b": {"partitions": 1}, "groups__g__emits": {"topic": "b"}}, "emits events"),
        ({"groups__g__failures": {"retry": {"attempts": 2, "where": "topic"}, "then": "skip"}}, "retries by topic"),
    ],
)
def test_a_group_whose_handler_does_not_do_all_of_the_work_is_refused(changes: dict[str, Any], why: str) -> None:
    problems = cannot(by_hand(**replay(), **changes))

    assert any(problem.startswith(f"actions[0].action is replay of g, which {why}") for problem in problems)
