"""Hooks that say what their commands amount to: that is predicted, under the hook's name and at its times, and the commands are driven."""

import pytest

from eventdrill.workflows.sources import as_predicted
from eventdrill.workflows.verify import prepare
from loadgen.clusters.foreign import ForeignKafka
from scenarios.errors import ScenarioError
from scenarios.faults import Hook
from scenarios.files import LoadedScenario, load_text
from test_foreign import SCENARIO


def hooked(like: str, timing: str = "at: [1s, 2s], for: 500ms", name: str = "") -> LoadedScenario:
    hook = f"{{fault: hook, {name}begin: hurt, end: mend, {timing}, like: {like}}}"
    return load_text(SCENARIO, "there.yaml", [f"faults=[{hook}]"])


@pytest.mark.parametrize("kind", ["broker_crash", "broker_stop", "broker_pause"])
@pytest.mark.parametrize("timing", ["at: [1s, 2s], for: 500ms", "random: {mean_between: 1s, mean_for: 100ms}"])
def test_a_hook_is_the_fault_that_it_is_like(kind: str, timing: str):
    """Also with times that are drawn: they are the same in both, since they go by the fault's place in the file."""
    like = hooked(f"{{fault: {kind}, broker: leader of drill-orders/0}}", timing)
    fault = f"{{fault: {kind}, name: hook, broker: leader of drill-orders/0, {timing}}}"

    assert as_predicted(like).scenario == load_text(SCENARIO, "there.yaml", [f"faults=[{fault}]"]).scenario


def test_what_says_nothing_of_itself_stays_as_it_is():
    """A scenario without hooks, and one whose hook is like nothing."""
    plain = load_text(SCENARIO, "there.yaml", [])
    silent = load_text(SCENARIO, "there.yaml", ["faults=[{fault: hook, begin: hurt, end: mend, at: 1s, for: 1s}]"])

    assert as_predicted(plain) is plain
    assert as_predicted(silent) is silent


@pytest.mark.parametrize(
    ("like", "said"),
    [
        ("{fault: broker_crash, broker: 9}", "faults[0].like.broker"),
        ("{fault: cut, broker: 1}", "faults[0].like.fault"),
        ("{fault: broker_crash}", "faults[0].like"),
        ("{fault: broker_crash, broker: 1, for: 1s}", "faults[0].like"),
    ],
)
def test_what_it_cannot_be_like_is_an_error_with_its_place(like: str, said: str):
    with pytest.raises(ScenarioError) as error:
        hooked(like)

    assert said in str(error.value)


def test_a_verification_predicts_the_one_and_drives_the_other(monkeypatch: pytest.MonkeyPatch):
    """With the same events and times on both sides; the reader is told that the prediction rests on the scenario's word."""
    monkeypatch.setattr(
        "loadgen.clusters.foreign.connect", lambda *_given: ForeignKafka("b:9092", {}, "CLUSTER", (1, 2, 3))
    )

    work = prepare(hooked("{fault: broker_crash, broker: 2}", name="name: cut the power, "), on="b:9092")

    predicted, driven = work.simulation.plan, work.drive.plan
    assert [each.fault.kind for each in predicted.faults] == ["broker_crash", "broker_crash"]
    assert all(isinstance(each.fault, Hook) for each in driven.faults)
    assert [(each.label, each.begin_ns, each.end_ns) for each in predicted.faults] == [
        (each.label, each.begin_ns, each.end_ns) for each in driven.faults
    ]
    assert (predicted.intended_ns == driven.intended_ns).all()
    assert work._notices()[1] == (
        "What the commands of `cut the power` do was predicted as broker_crash of broker 2, because the scenario says so."
    )
